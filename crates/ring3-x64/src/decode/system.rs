//! Translators of system instructions, string instructions and what does nothing.

use iced_x86::{Code, Instruction, Mnemonic as M, OpKind};

use super::Then;
use super::builder::{Builder, segment_slot};
use crate::op::Handler;
use crate::ops::string::{CMPS, LODS, MOVS, REPE, REPNE, SCAS, STOS};
use crate::ops::{moves, ports, processor, sse, string, system, x87};

/// Translates an instruction if it is of these kinds.
pub(super) fn lower(b: &mut Builder, i: &Instruction) -> Option<Then> {
    Some(match i.mnemonic() {
        M::Vmcall => {
            let op = b.op(system::vmcall);
            b.end(op)
        }
        M::Nop
        | M::Pause
        | M::Lfence
        | M::Mfence
        | M::Sfence
        | M::Endbr64
        | M::Endbr32
        | M::Prefetchnta
        | M::Prefetcht0
        | M::Prefetcht1
        | M::Prefetcht2
        | M::Prefetch
        | M::Prefetchw
        | M::Prefetchwt1
        | M::Reservednop
        // Without shadow stacks these leave their operand alone (Intel SDM volume 2, RDSSP).
        | M::Rdsspd
        | M::Rdsspq => {
            let op = b.op(moves::nop);
            b.more(op)
        }
        M::Movsb | M::Movsw | M::Movsq => strings(b, i, MOVS),
        M::Movsd | M::Cmpsd if !i.is_string_instruction() => return None,
        M::Movsd => strings(b, i, MOVS),
        M::Stosb | M::Stosw | M::Stosd | M::Stosq => strings(b, i, STOS),
        M::Lodsb | M::Lodsw | M::Lodsd | M::Lodsq => strings(b, i, LODS),
        M::Cmpsb | M::Cmpsw | M::Cmpsd | M::Cmpsq => strings(b, i, CMPS),
        M::Scasb | M::Scasw | M::Scasd | M::Scasq => strings(b, i, SCAS),
        M::Pushf | M::Pushfq => b.slow(i, system::pushf),
        M::Popf | M::Popfq => b.slow_cut(i, system::popf),
        M::Cli | M::Sti | M::Cld | M::Std => b.slow(i, system::change_flag),
        M::Clac | M::Stac => b.slow_cut(i, system::change_flag),
        M::Enter if i.code() == Code::Enterq_imm16_imm8 => b.slow(i, system::enter),
        M::Xlatb => b.slow(i, system::xlat),
        M::Syscall => b.slow_cut(i, system::syscall),
        M::Sysretq => b.slow_cut(i, system::sysret),
        M::Iretq => b.slow_cut(i, system::iret),
        M::Int | M::Int3 | M::Int1 => b.slow_cut(i, system::interrupt),
        M::Ud2 | M::Ud1 | M::Ud0 => {
            let op = b.op(system::undefined);
            b.end(op)
        }
        M::Hlt => b.slow_cut(i, system::hlt),
        M::In | M::Out => b.slow_cut(i, ports::port),
        M::Rdrand | M::Rdseed => b.slow_cut(i, ports::random),
        M::Clts => b.slow_cut(i, processor::clts),
        M::Smsw | M::Str | M::Sldt => b.slow(i, processor::store_word),
        M::Ltr | M::Lldt => b.slow(i, processor::load_selector),
        M::Sgdt | M::Sidt => b.slow(i, processor::store_table),
        M::Lgdt | M::Lidt => b.slow(i, processor::load_table),
        M::Rdmsr => b.slow(i, processor::rdmsr),
        M::Wrmsr => b.slow_cut(i, processor::wrmsr),
        M::Swapgs => b.slow(i, processor::swapgs),
        M::Rdfsbase | M::Rdgsbase | M::Wrfsbase | M::Wrgsbase => b.slow(i, processor::segment_base),
        M::Cpuid => b.slow(i, processor::cpuid),
        M::Rdtsc | M::Rdtscp => b.slow(i, processor::rdtsc),
        M::Xgetbv => b.slow(i, processor::xgetbv),
        M::Invlpg | M::Wbinvd | M::Invd | M::Wbnoinvd => b.slow_cut(i, processor::privileged_nop),
        M::Clflush | M::Clflushopt | M::Clwb => b.slow(i, processor::flush_line),
        M::Ldmxcsr | M::Stmxcsr => match sse_exception(b) {
            Some(then) => then,
            None => b.slow(i, sse::mxcsr),
        },
        M::Fxsave | M::Fxsave64 => b.slow(i, sse::fxsave),
        M::Fxrstor | M::Fxrstor64 => b.slow(i, sse::fxrstor),
        M::Fninit | M::Fnclex | M::Fldcw | M::Fnstcw | M::Fnstsw | M::Wait | M::Emms => {
            b.slow(i, x87::control)
        }
        _ => return None,
    })
}

/// The exception that an SSE instruction raises now, if any.
pub(super) fn sse_exception(b: &mut Builder) -> Option<Then> {
    let vector = b.options.no_sse?;
    let mut op = b.op(system::raise);
    op.extra = vector;
    Some(b.end(op))
}

fn strings(b: &mut Builder, i: &Instruction, kind: u8) -> Then {
    let size = i.memory_size().size();
    macro_rules! handler {
        ($kind:ident) => {
            match size {
                1 => string::string::<u8, $kind> as Handler,
                2 => string::string::<u16, $kind>,
                4 => string::string::<u32, $kind>,
                _ => string::string::<u64, $kind>,
            }
        };
    }
    let mut op = b.op(match kind {
        MOVS => handler!(MOVS),
        STOS => handler!(STOS),
        LODS => handler!(LODS),
        CMPS => handler!(CMPS),
        _ => handler!(SCAS),
    });
    op.src = segment_slot(i.segment_prefix()).into();
    let narrow = (0..i.op_count()).any(|operand| {
        matches!(
            i.op_kind(operand),
            OpKind::MemorySegESI | OpKind::MemoryESEDI
        )
    });
    op.dst = (if narrow { 4 } else { 8 }).into();
    if !i.has_rep_prefix() && !i.has_repne_prefix() {
        return b.more(op);
    }
    op.extra = if i.has_repne_prefix() { REPNE } else { REPE };
    b.parts.targets[0] = i.next_ip();
    b.end(op)
}
