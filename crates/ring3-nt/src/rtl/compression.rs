//! Compression. Documentation: ntifs.h, "RtlCompressBuffer" and neighbours.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::lznt1;
use crate::Machine;
use crate::flow::{Flow, IntoFlow};
use crate::ntstatus::{
    NTSTATUS, STATUS_BAD_COMPRESSION_BUFFER, STATUS_BUFFER_ALL_ZEROS, STATUS_BUFFER_TOO_SMALL,
    STATUS_INVALID_PARAMETER, STATUS_NOT_SUPPORTED, STATUS_SUCCESS, STATUS_UNSUPPORTED_COMPRESSION,
};

/// `COMPRESSION_FORMAT_*`, in the low byte.
mod format {
    pub const NONE: u16 = 0;
    pub const DEFAULT: u16 = 1;
    pub const LZNT1: u16 = 2;
    pub const XPRESS: u16 = 3;
    pub const XPRESS_HUFF: u16 = 4;
}
/// `COMPRESSION_ENGINE_MAXIMUM`; the standard engine is 0.
const ENGINE_MAXIMUM: u16 = 0x100;
/// Longest buffer that is handled.
const LIMIT: u32 = 64 << 20;

/// What a format (and engine) comes to: nothing to object to, or an answer.
fn refuse(what: &str, format_and_engine: u16) -> Option<Flow> {
    let engine = format_and_engine & 0xff00;
    match format_and_engine & 0xff {
        format::NONE | format::DEFAULT => Some(STATUS_INVALID_PARAMETER.into_flow()),
        format::LZNT1 | format::XPRESS | format::XPRESS_HUFF
            if engine != 0 && engine != ENGINE_MAXIMUM =>
        {
            Some(STATUS_NOT_SUPPORTED.into_flow())
        }
        format::LZNT1 => None,
        format::XPRESS | format::XPRESS_HUFF => Some(Flow::NotModelled(format!(
            "{what} with an Xpress format ({format_and_engine:#x})"
        ))),
        _ => Some(STATUS_UNSUPPORTED_COMPRESSION.into_flow()),
    }
}

fn read(cx: &Machine, at: Gva, size: u32) -> Result<Vec<u8>, Fault> {
    cx.memory.read_vec(at, u64::from(size.min(LIMIT)))
}

/// Decompresses from an offset of the text on.
fn decompress(
    cx: &mut Machine,
    to: Gva,
    room: u32,
    from: (Gva, u32),
    offset: u32,
    written: Gva<u32>,
) -> Result<NTSTATUS, Fault> {
    let packed = read(cx, from.0, from.1)?;
    let limit = room.min(LIMIT) as usize + offset.min(LIMIT) as usize;
    let Some(text) = lznt1::decompress(&packed, limit) else {
        return Ok(STATUS_BAD_COMPRESSION_BUFFER);
    };
    let text = text.get(offset as usize..).unwrap_or(&[]);
    cx.memory.write_bytes(to, text)?;
    cx.memory.write(written, text.len() as u32)?;
    Ok(STATUS_SUCCESS)
}

/// Compression.
pub struct Compression;

#[exports("ntoskrnl.exe")]
impl Compression {
    /// Bytes of work space that the other routines need.
    #[page("ntifs/nf-ntifs-rtlgetcompressionworkspacesize")]
    #[irql(..=APC_LEVEL)]
    #[returns(NTSTATUS)]
    #[assumed("the sizes themselves")]
    fn RtlGetCompressionWorkSpaceSize(
        cx: &mut Machine,
        CompressionFormatAndEngine: u16,
        CompressBufferWorkSpaceSize: Gva<u32>,
        CompressFragmentWorkSpaceSize: Gva<u32>,
    ) -> Result<Flow, Fault> {
        if let Some(answer) = refuse("RtlGetCompressionWorkSpaceSize", CompressionFormatAndEngine) {
            return Ok(answer);
        }
        cx.memory.write(CompressBufferWorkSpaceSize, 0x8010)?;
        cx.memory.write(CompressFragmentWorkSpaceSize, 0x1000)?;
        Ok(STATUS_SUCCESS.into_flow())
    }

    /// Compresses a buffer.
    #[page("ntifs/nf-ntifs-rtlcompressbuffer")]
    #[irql(..=APC_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial(
        "formats other than LZNT1; the result may differ from Windows' where several are right"
    )]
    fn RtlCompressBuffer(
        cx: &mut Machine,
        CompressionFormatAndEngine: u16,
        UncompressedBuffer: Gva,
        UncompressedBufferSize: u32,
        CompressedBuffer: Gva,
        CompressedBufferSize: u32,
        UncompressedChunkSize: u32,
        FinalCompressedSize: Gva<u32>,
        WorkSpace: Gva,
    ) -> Result<Flow, Fault> {
        let _ = (UncompressedChunkSize, WorkSpace);
        if let Some(answer) = refuse("RtlCompressBuffer", CompressionFormatAndEngine) {
            return Ok(answer);
        }
        let text = read(cx, UncompressedBuffer, UncompressedBufferSize)?;
        let packed = lznt1::compress(&text);
        if packed.len() > CompressedBufferSize as usize {
            return Ok(STATUS_BUFFER_TOO_SMALL.into_flow());
        }
        cx.memory.write_bytes(CompressedBuffer, &packed)?;
        cx.memory.write(FinalCompressedSize, packed.len() as u32)?;
        let zero = text.iter().all(|byte| *byte == 0);
        Ok(if zero {
            STATUS_BUFFER_ALL_ZEROS.into_flow()
        } else {
            STATUS_SUCCESS.into_flow()
        })
    }

    /// Decompresses a buffer.
    #[page("ntifs/nf-ntifs-rtldecompressbuffer")]
    #[irql(..=APC_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial(
        "formats other than LZNT1; a buffer that is too small is filled and that is a success"
    )]
    fn RtlDecompressBuffer(
        cx: &mut Machine,
        CompressionFormat: u16,
        UncompressedBuffer: Gva,
        UncompressedBufferSize: u32,
        CompressedBuffer: Gva,
        CompressedBufferSize: u32,
        FinalUncompressedSize: Gva<u32>,
    ) -> Result<Flow, Fault> {
        if let Some(answer) = refuse("RtlDecompressBuffer", CompressionFormat & 0xff) {
            return Ok(answer);
        }
        let from = (CompressedBuffer, CompressedBufferSize);
        let status = decompress(
            cx,
            UncompressedBuffer,
            UncompressedBufferSize,
            from,
            0,
            FinalUncompressedSize,
        )?;
        Ok(status.into_flow())
    }

    /// Decompresses a buffer, with work space.
    #[page("ntifs/nf-ntifs-rtldecompressbufferex")]
    #[irql(..=APC_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial(
        "formats other than LZNT1; a buffer that is too small is filled and that is a success"
    )]
    fn RtlDecompressBufferEx(
        cx: &mut Machine,
        CompressionFormat: u16,
        UncompressedBuffer: Gva,
        UncompressedBufferSize: u32,
        CompressedBuffer: Gva,
        CompressedBufferSize: u32,
        FinalUncompressedSize: Gva<u32>,
        WorkSpace: Gva,
    ) -> Result<Flow, Fault> {
        let _ = WorkSpace;
        if let Some(answer) = refuse("RtlDecompressBufferEx", CompressionFormat & 0xff) {
            return Ok(answer);
        }
        let from = (CompressedBuffer, CompressedBufferSize);
        let status = decompress(
            cx,
            UncompressedBuffer,
            UncompressedBufferSize,
            from,
            0,
            FinalUncompressedSize,
        )?;
        Ok(status.into_flow())
    }

    /// Decompresses a part of a buffer, from an offset of the text on.
    #[page("ntifs/nf-ntifs-rtldecompressfragment")]
    #[irql(..=APC_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("formats other than LZNT1")]
    fn RtlDecompressFragment(
        cx: &mut Machine,
        CompressionFormat: u16,
        UncompressedFragment: Gva,
        UncompressedFragmentSize: u32,
        CompressedBuffer: Gva,
        CompressedBufferSize: u32,
        FragmentOffset: u32,
        FinalUncompressedSize: Gva<u32>,
        WorkSpace: Gva,
    ) -> Result<Flow, Fault> {
        let _ = WorkSpace;
        if let Some(answer) = refuse("RtlDecompressFragment", CompressionFormat & 0xff) {
            return Ok(answer);
        }
        let from = (CompressedBuffer, CompressedBufferSize);
        let status = decompress(
            cx,
            UncompressedFragment,
            UncompressedFragmentSize,
            from,
            FragmentOffset,
            FinalUncompressedSize,
        )?;
        Ok(status.into_flow())
    }
}
