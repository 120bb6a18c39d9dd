//! CONTEXT records: to and from registers.

use ring3_memory::{Fault, Field, Gva};
use ring3_symbols::unwind::Registers;

use crate::Machine;
use crate::layout::CONTEXT;
use crate::machine::SCRUBBED;
use crate::machine::context::{KGDT64_R0_CODE, KGDT64_R0_DATA, ThreadContext};

/// `CONTEXT_FULL` of x64 with the segments: control, integer, segments, floating point.
const CONTEXT_FLAGS: u32 = 0x0010_000f;

/// Rax to R15 stand in encoding order.
const GENERAL: Field<CONTEXT, [u64; 16]> = Field::new(CONTEXT::Rax.offset());
/// Xmm0 to Xmm15 in order.
const VECTORS: Field<CONTEXT, [u128; 16]> = Field::new(CONTEXT::Xmm0.offset());

/// Flags that a context may set: the arithmetic ones, direction, trap, interrupt, alignment check.
const SETTABLE_FLAGS: u64 = 0x0004_0fd5;

/// Writes a whole context.
///
/// # Errors
/// A fault.
pub fn write(cx: &mut Machine, at: Gva<CONTEXT>, context: &ThreadContext) -> Result<(), Fault> {
    let debug = cx.processor().cpu.dr;
    let m = &mut cx.memory;
    m.fill(at, CONTEXT::SIZE, 0)?;
    m.set(at, CONTEXT::ContextFlags, CONTEXT_FLAGS)?;
    m.set(at, CONTEXT::MxCsr, context.mxcsr)?;
    m.set(
        at.at(CONTEXT::FltSave),
        crate::layout::XSAVE_FORMAT::MxCsr,
        context.mxcsr,
    )?;
    m.set(at, CONTEXT::SegCs, context.cs)?;
    m.set(at, CONTEXT::SegSs, context.ss)?;
    for segment in [CONTEXT::SegDs, CONTEXT::SegEs] {
        m.set(at, segment, 0x2b)?;
    }
    m.set(at, CONTEXT::SegFs, 0x53)?;
    m.set(at, CONTEXT::SegGs, 0x2b)?;
    m.set(at, CONTEXT::EFlags, context.rflags as u32)?;
    m.set(at, CONTEXT::Dr6, debug[6])?;
    m.set(at, CONTEXT::Dr7, debug[7])?;
    m.set(at, GENERAL, context.gpr)?;
    m.set(at, CONTEXT::Rip, context.rip)?;
    m.set(at, VECTORS, context.xmm)
}

/// The registers of a context.
///
/// # Errors
/// A fault.
pub fn registers(cx: &Machine, at: Gva<CONTEXT>) -> Result<Registers, Fault> {
    Ok(Registers {
        gpr: cx.memory.get(at, GENERAL)?,
        rip: cx.memory.get(at, CONTEXT::Rip)?,
        xmm: cx.memory.get(at, VECTORS)?,
    })
}

/// Changes the registers of a context.
///
/// # Errors
/// A fault.
pub fn set_registers(
    cx: &mut Machine,
    at: Gva<CONTEXT>,
    registers: &Registers,
) -> Result<(), Fault> {
    cx.memory.set(at, GENERAL, registers.gpr)?;
    cx.memory.set(at, CONTEXT::Rip, registers.rip)?;
    cx.memory.set(at, VECTORS, registers.xmm)
}

/// A context as the processor can load it: in kernel mode, at the current IRQL.
///
/// # Errors
/// A fault.
pub fn load(cx: &Machine, at: Gva<CONTEXT>) -> Result<ThreadContext, Fault> {
    let registers = registers(cx, at)?;
    let flags = u64::from(cx.memory.get(at, CONTEXT::EFlags)?);
    Ok(ThreadContext {
        gpr: registers.gpr,
        rip: registers.rip,
        // Bit 1 is always set; interrupts stay as they are.
        rflags: flags & (SETTABLE_FLAGS | 0x200) | 2,
        xmm: registers.xmm,
        mxcsr: cx.memory.get(at, CONTEXT::MxCsr)? & 0xffff,
        cs: KGDT64_R0_CODE,
        ss: KGDT64_R0_DATA,
        irql: cx.irql(),
    })
}

/// Volatile general registers hold nothing that a handler's code may use; a constant shows who does.
pub fn scrub(registers: &mut Registers) {
    for volatile in [1, 2, 8, 9, 10, 11] {
        registers.gpr[volatile] = SCRUBBED;
    }
}
