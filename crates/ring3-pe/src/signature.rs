//! The certificate table: who signed the image (source: "Windows Authenticode Portable Executable Signature Format").

use cms::cert::CertificateChoices;
use cms::cert::x509::der::asn1::{Any, ObjectIdentifier, OctetString};
use cms::cert::x509::der::{self, DateTime, Decode, Encode, SliceReader, Tag, Tagged};
use cms::content_info::ContentInfo;
use cms::signed_data::{SignedData, SignerIdentifier, SignerInfo};

/// What the Authenticode signature in the certificate table says. It is read, not verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// The name of the digest algorithm of the file's digest (`SHA256`), or its OID where it has no name here.
    pub digest_algorithm: String,
    /// The common names of the signers' certificates.
    pub signers: Vec<String>,
    /// The countersigned time, in seconds since 1970-01-01 UTC; none where no time stamp could be read.
    pub timestamp: Option<u64>,
}

/// Bytes of the header of a WIN_CERTIFICATE.
const HEADER: usize = 8;
/// WIN_CERT_TYPE_PKCS_SIGNED_DATA.
const PKCS_SIGNED_DATA: u16 = 2;
/// Largest table read, in bytes: signatures have some ten kilobytes.
const LARGEST: usize = 2 << 20;
/// Signatures are nested one level deep where a file is signed twice.
const DEEPEST: u8 = 3;

/// Reads the certificate table at file offset `offset`, of `size` bytes. `Ok(None)` where it holds no PKCS#7 signature; the
/// error is a sentence for the warnings, as Windows in test mode loads a driver with a damaged signature, too.
pub(crate) fn parse(bytes: &[u8], offset: u32, size: u32) -> Result<Option<Signature>, String> {
    let (start, size) = (offset as usize, size as usize);
    let table = bytes.get(start..).unwrap_or_default();
    let Some(mut table) = table.get(..size) else {
        return Err(format!(
            "the certificate table is cut: it needs {size} bytes at offset {start:#x}, the file has {} of them; the signature is ignored",
            table.len()
        ));
    };
    if size > LARGEST {
        return Err(format!(
            "the certificate table claims {size} bytes, no signature is that long; it is ignored"
        ));
    }
    let mut found: Option<Signature> = None;
    while let Some((header, rest)) = table.split_first_chunk::<HEADER>() {
        let [l0, l1, l2, l3, _, _, t0, t1] = *header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let Some(content) = length
            .checked_sub(HEADER)
            .and_then(|length| rest.get(..length))
        else {
            return Err(format!(
                "a certificate at offset {start:#x} has the impossible length {length}; the signature is ignored"
            ));
        };
        if u16::from_le_bytes([t0, t1]) == PKCS_SIGNED_DATA {
            let signature = found.get_or_insert_default();
            read(content, signature, DEEPEST).map_err(|error| {
                format!(
                    "the signature at offset {start:#x} cannot be read ({error}); it is ignored"
                )
            })?;
        }
        table = table.get(length.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(found)
}

/// Reads one PKCS#7 SignedData into `signature`.
fn read(content: &[u8], signature: &mut Signature, deepest: u8) -> der::Result<()> {
    // What follows the structure is padding.
    let info = ContentInfo::decode(&mut SliceReader::new(content)?)?;
    let signed: SignedData = info.content.decode_as()?;
    if signature.digest_algorithm.is_empty()
        && let Some(content) = &signed.encap_content_info.econtent
    {
        signature.digest_algorithm = digest_algorithm(content)?;
    }
    for signer in signed.signer_infos.0.iter() {
        if let Some(name) = signer_name(&signed, signer)
            && !signature.signers.contains(&name)
        {
            signature.signers.push(name);
        }
        for attribute in signer
            .unsigned_attrs
            .iter()
            .flat_map(|attributes| attributes.iter())
        {
            for value in attribute.values.iter() {
                if attribute.oid == NESTED_SIGNATURE && deepest > 0 {
                    read(&value.to_der()?, signature, deepest - 1)?;
                } else if signature.timestamp.is_none() {
                    signature.timestamp = time_stamp(attribute.oid, value);
                }
            }
        }
    }
    Ok(())
}

/// SPC_NESTED_SIGNATURE: a second signature with another digest.
const NESTED_SIGNATURE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.4.1");
/// SPC_RFC3161: a time stamp token.
const TIME_STAMP_TOKEN: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.3.3.1");
/// PKCS#9 countersignature: the older time stamp.
const COUNTERSIGNATURE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.6");
/// PKCS#9 signingTime.
const SIGNING_TIME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.5");
/// The attribute commonName.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The digest algorithm of SpcIndirectDataContent: a sequence of what was signed and its DigestInfo.
fn digest_algorithm(content: &Any) -> der::Result<String> {
    let mut reader = SliceReader::new(content.value())?;
    Any::decode(&mut reader)?;
    let digest = Any::decode(&mut reader)?;
    let algorithm = Any::decode(&mut SliceReader::new(digest.value())?)?;
    let oid = ObjectIdentifier::decode(&mut SliceReader::new(algorithm.value())?)?.to_string();
    Ok(match oid.as_str() {
        "1.2.840.113549.2.5" => "MD5".to_owned(),
        "1.3.14.3.2.26" => "SHA1".to_owned(),
        "2.16.840.1.101.3.4.2.1" => "SHA256".to_owned(),
        "2.16.840.1.101.3.4.2.2" => "SHA384".to_owned(),
        "2.16.840.1.101.3.4.2.3" => "SHA512".to_owned(),
        _ => oid,
    })
}

/// The common name of the certificate that `signer` names.
fn signer_name(signed: &SignedData, signer: &SignerInfo) -> Option<String> {
    let SignerIdentifier::IssuerAndSerialNumber(id) = &signer.sid else {
        return None;
    };
    let certificate = signed
        .certificates
        .iter()
        .flat_map(|all| all.0.iter())
        .find_map(|choice| match choice {
            CertificateChoices::Certificate(certificate) => {
                let body = &certificate.tbs_certificate;
                (body.issuer == id.issuer && body.serial_number == id.serial_number).then_some(body)
            }
            CertificateChoices::Other(_) => None,
        })?;
    let attribute = certificate
        .subject
        .0
        .iter()
        .flat_map(|rdn| rdn.0.iter())
        .find(|attribute| attribute.oid == COMMON_NAME)?;
    let bytes = attribute.value.value();
    Some(if attribute.value.tag() == Tag::BmpString {
        let (units, _) = bytes.as_chunks::<2>();
        String::from_utf16_lossy(
            &units
                .iter()
                .map(|unit| u16::from_be_bytes(*unit))
                .collect::<Vec<_>>(),
        )
    } else {
        String::from_utf8_lossy(bytes).into_owned()
    })
}

/// The time that an unsigned attribute of a signer states, in seconds since 1970; none where it is no time stamp.
fn time_stamp(oid: ObjectIdentifier, value: &Any) -> Option<u64> {
    match oid {
        TIME_STAMP_TOKEN => {
            let info: ContentInfo = value.decode_as().ok()?;
            let signed: SignedData = info.content.decode_as().ok()?;
            let token: OctetString = signed.encap_content_info.econtent?.decode_as().ok()?;
            // TSTInfo: version, policy, message imprint, serial number, time.
            let sequence = Any::from_der(token.as_bytes()).ok()?;
            let mut reader = SliceReader::new(sequence.value()).ok()?;
            for _ in 0..4 {
                Any::decode(&mut reader).ok()?;
            }
            seconds(Any::decode(&mut reader).ok()?.value())
        }
        COUNTERSIGNATURE => {
            let signer: SignerInfo = value.decode_as().ok()?;
            let attributes = signer.signed_attrs?;
            let attribute = attributes
                .iter()
                .find(|attribute| attribute.oid == SIGNING_TIME)?;
            let value = attribute.values.iter().next()?;
            match value.tag() {
                // Two digits of the year: 50 to 99 are 19xx (RFC 5280, 4.1.2.5.1).
                Tag::UtcTime => {
                    let century: &[u8] = if value.value().first()? >= &b'5' {
                        b"19"
                    } else {
                        b"20"
                    };
                    seconds(&[century, value.value()].concat())
                }
                _ => seconds(value.value()),
            }
        }
        _ => None,
    }
}

/// Seconds since 1970 of a time that starts `YYYYMMDDhhmmss`; parts of a second are dropped.
fn seconds(time: &[u8]) -> Option<u64> {
    let number = |from: usize, to: usize| {
        std::str::from_utf8(time.get(from..to)?)
            .ok()?
            .parse::<u16>()
            .ok()
    };
    let small = |from: usize| number(from, from + 2).map(|number| number as u8);
    let time = DateTime::new(
        number(0, 4)?,
        small(4)?,
        small(6)?,
        small(8)?,
        small(10)?,
        small(12)?,
    )
    .ok()?;
    Some(time.unix_duration().as_secs())
}
