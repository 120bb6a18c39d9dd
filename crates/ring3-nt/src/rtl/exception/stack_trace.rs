//! Return addresses of the caller's stack. Documentation: ntifs.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};
use ring3_symbols::unwind::Registers;

use super::raise::caller_context;
use super::walk;
use crate::Machine;

/// Where the frames of the current stack stand, the caller of the export first.
fn frames(cx: &Machine, skip: u32, count: u32) -> Vec<u64> {
    let context = caller_context(cx);
    let mut registers = Registers {
        gpr: context.gpr,
        rip: context.rip,
        xmm: context.xmm,
    };
    let mut found = Vec::new();
    let end = skip.saturating_add(count).min(walk::MAX_FRAMES);
    for index in 0..end {
        if registers.rip == 0 {
            break;
        }
        if index >= skip {
            found.push(registers.rip);
        }
        match walk::unwind_frame(cx, &mut registers) {
            Some(frame) if walk::on_stack(cx, frame.establisher) => {}
            _ => break,
        }
    }
    found
}

fn store(cx: &mut Machine, at: Gva<u64>, values: &[u64]) -> Result<(), Fault> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    cx.memory.write_bytes(at, &bytes)
}

/// Routines that look at the stack.
pub struct StackTraces;

#[exports("ntoskrnl.exe")]
impl StackTraces {
    /// Stores the return addresses of the callers.
    #[page("ntifs/nf-ntifs-rtlcapturestackbacktrace")]
    #[irql(any)]
    fn RtlCaptureStackBackTrace(
        cx: &mut Machine,
        FramesToSkip: u32,
        FramesToCapture: u32,
        BackTrace: Gva<u64>,
        BackTraceHash: Gva<u32>,
    ) -> Result<u16, Fault> {
        let found = frames(cx, FramesToSkip, FramesToCapture);
        store(cx, BackTrace, &found)?;
        if !BackTraceHash.is_null() {
            // Documented as the sum of the pointers that were captured.
            let sum = found
                .iter()
                .fold(0u32, |sum, v| sum.wrapping_add(*v as u32));
            cx.memory.write(BackTraceHash, sum)?;
        }
        Ok(u16::try_from(found.len()).unwrap_or(u16::MAX))
    }

    /// Stores the return addresses of the callers; the upper bytes of Flags say how many to skip.
    #[page("ntifs/nf-ntifs-rtlwalkframechain")]
    #[irql(any)]
    #[partial("user-mode stacks: none has frames")]
    fn RtlWalkFrameChain(
        cx: &mut Machine,
        Callers: Gva<u64>,
        Count: u32,
        Flags: u32,
    ) -> Result<u32, Fault> {
        if Flags & 1 != 0 {
            return Ok(0);
        }
        let found = frames(cx, Flags >> 8, Count);
        store(cx, Callers, &found)?;
        Ok(found.len() as u32)
    }
}
