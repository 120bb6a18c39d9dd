//! Blobs: making them from text and taking numbers and text out of them.

use rhai::{Blob, Engine, ImmutableString};

use super::shared::{Outcome, mistake, unsigned};

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("blob", parse);
    engine.register_fn("text_blob", |text: ImmutableString| -> Blob {
        text.as_bytes().to_vec()
    });
    engine.register_fn("wide_blob", |text: ImmutableString| -> Blob {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    });
    engine.register_fn("u8", |blob: &mut Blob, at: i64| number::<1>(blob, at));
    engine.register_fn("u16", |blob: &mut Blob, at: i64| number::<2>(blob, at));
    engine.register_fn("u32", |blob: &mut Blob, at: i64| number::<4>(blob, at));
    engine.register_fn("u64", |blob: &mut Blob, at: i64| number::<8>(blob, at));
    engine.register_fn("set_u8", |blob: &mut Blob, at: i64, value: i64| {
        store::<1>(blob, at, value)
    });
    engine.register_fn("set_u16", |blob: &mut Blob, at: i64, value: i64| {
        store::<2>(blob, at, value)
    });
    engine.register_fn("set_u32", |blob: &mut Blob, at: i64, value: i64| {
        store::<4>(blob, at, value)
    });
    engine.register_fn("set_u64", |blob: &mut Blob, at: i64, value: i64| {
        store::<8>(blob, at, value)
    });
    engine.register_fn("text", |blob: &mut Blob| -> String { text(blob) });
    engine.register_fn("wide_text", |blob: &mut Blob| -> String { wide(blob) });
    engine.register_fn("hex", |blob: &mut Blob| -> String { hex(blob) });
}

/// `"00 01 ff"`: pairs of hexadecimal digits, spaces where one likes.
fn parse(text: ImmutableString) -> Outcome<Blob> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| match pair {
        [high, low] => Some((high.to_digit(16)? << 4 | low.to_digit(16)?) as u8),
        _ => None,
    };
    match digits.chunks(2).map(byte).collect() {
        Some(bytes) => Ok(bytes),
        None => mistake(format!(
            "blob({text:?}): pairs of hexadecimal digits are needed, e.g. \"00 01 ff\""
        )),
    }
}

fn range<const N: usize>(blob: &Blob, at: i64) -> Outcome<usize> {
    let start: usize = unsigned(at, "offset")?;
    match start.checked_add(N) {
        Some(end) if end <= blob.len() => Ok(start),
        _ => mistake(format!(
            "{N} bytes at offset {at} reach past the end of a blob of {} bytes",
            blob.len()
        )),
    }
}

/// A little-endian number.
fn number<const N: usize>(blob: &Blob, at: i64) -> Outcome<i64> {
    let start = range::<N>(blob, at)?;
    let bytes = blob.iter().skip(start).take(N);
    Ok(bytes
        .rev()
        .fold(0u64, |value, byte| value << 8 | u64::from(*byte)) as i64)
}

fn store<const N: usize>(blob: &mut Blob, at: i64, value: i64) -> Outcome<()> {
    let start = range::<N>(blob, at)?;
    for (slot, byte) in blob
        .iter_mut()
        .skip(start)
        .zip(value.to_le_bytes().iter().take(N))
    {
        *slot = *byte;
    }
    Ok(())
}

/// ASCII or UTF-8 up to the first NUL.
fn text(blob: &Blob) -> String {
    let end = blob.iter().position(|b| *b == 0).unwrap_or(blob.len());
    String::from_utf8_lossy(blob.get(..end).unwrap_or_default()).into_owned()
}

/// UTF-16 up to the first NUL.
fn wide(blob: &Blob) -> String {
    let units = blob
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    char::decode_utf16(units.take_while(|u| *u != 0))
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

fn hex(blob: &Blob) -> String {
    blob.iter()
        .map(|b| format!("{b:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_text_round_trips() {
        let blob = parse("00 01fF".into()).unwrap_or_default();
        assert_eq!(blob, [0, 1, 0xff]);
        assert_eq!(hex(&blob), "00 01 ff");
        assert!(parse("0".into()).is_err());
        assert!(parse("xy".into()).is_err());
    }

    #[test]
    fn numbers_are_little_endian_and_bounded() {
        let mut blob = vec![1, 2, 3, 4, 0, 0, 0, 0x80];
        assert_eq!(number::<4>(&blob, 0).ok(), Some(0x0403_0201));
        assert_eq!(
            number::<8>(&blob, 0).ok(),
            Some(0x8000_0000_0403_0201u64 as i64)
        );
        assert!(number::<4>(&blob, 5).is_err());
        assert!(number::<1>(&blob, -1).is_err());
        assert!(number::<8>(&blob, i64::MAX).is_err());
        assert!(store::<2>(&mut blob, 6, 0x1234).is_ok());
        assert_eq!(blob, [1, 2, 3, 4, 0, 0, 0x34, 0x12]);
    }

    #[test]
    fn text_ends_at_the_first_nul() {
        assert_eq!(text(&b"abc\0def".to_vec()), "abc");
        assert_eq!(wide(&vec![0x41, 0, 0xe9, 0, 0, 0, 0x42, 0]), "A\u{e9}");
    }
}
