//! Runs one vector instruction from its table row alone, without the interpreter: the steps of the `vector` module page.

use iced_x86::{Instruction, OpKind, Register};
use ring3_x64::vector::{self, Destination, Source, VectorContext, VectorOp};

use super::case::{CASE, Case, Executor, Outcome, SCRATCH, State};

/// #GP.
const GENERAL_PROTECTION: u8 = 13;
/// #PF.
const PAGE_FAULT: u8 = 14;
/// #XM.
const SIMD: u8 = 19;

/// Executes by the table.
pub struct Glue;

impl Executor for Glue {
    fn run(&mut self, case: &Case) -> Outcome {
        let Some(op) = vector::lookup(case.code) else {
            return Outcome::NotModelled(format!("{:?}", case.code));
        };
        let (mut state, mut scratch) = (case.state.clone(), case.scratch.clone());
        let vector = execute(&op, case, &mut state, &mut scratch).err();
        let rip = if vector.is_some() {
            CASE
        } else {
            CASE + case.bytes.len() as u64
        };
        if vector.is_some() {
            let mxcsr = state.mxcsr;
            (state, scratch) = (case.state.clone(), case.scratch.clone());
            state.mxcsr = mxcsr;
        }
        Outcome::Done {
            state: Box::new(state),
            rip,
            vector,
            scratch,
        }
    }
}

fn execute(op: &VectorOp, case: &Case, state: &mut State, scratch: &mut [u8]) -> Result<(), u8> {
    let i = &case.instruction;
    let size = usize::from(op.memory);
    let check = |address: u64| {
        if op.aligned && !address.is_multiple_of(16) {
            Err(GENERAL_PROTECTION)
        } else {
            Ok(())
        }
    };
    let mut context = VectorContext::new(state.mxcsr);
    (context.xmm0, context.rax, context.rdx) = (state.xmm[0], state.gpr[0], state.gpr[2]);
    let src = match op.source {
        Source::None => 0,
        Source::Operand(n) if i.op_kind(n.into()) == OpKind::Memory => {
            context.from_memory = true;
            let address = case.address.ok_or(PAGE_FAULT)?;
            check(address)?;
            let at = address.wrapping_sub(SCRATCH) as usize;
            let mut bytes = [0; 16];
            bytes[..size].copy_from_slice(scratch.get(at..at + size).ok_or(PAGE_FAULT)?);
            u128::from_le_bytes(bytes)
        }
        Source::Operand(n) => read(state, i.op_register(n.into())),
    };
    let imm = if op.imm { i.immediate8() } else { 0 };
    let first = if op.destination == Destination::MaskedStore {
        1
    } else {
        0
    };
    let dst = if i.op_kind(first) == OpKind::Register {
        read(state, i.op_register(first))
    } else {
        0
    };
    let result = (op.f)(&mut context, dst, src, imm);
    if context.exception {
        state.mxcsr = context.mxcsr;
        return Err(SIMD);
    }
    match op.destination {
        Destination::Operand0 if i.op0_kind() == OpKind::Memory => {
            let address = case.address.ok_or(PAGE_FAULT)?;
            check(address)?;
            let at = address.wrapping_sub(SCRATCH) as usize;
            scratch
                .get_mut(at..at + size)
                .ok_or(PAGE_FAULT)?
                .copy_from_slice(&result.to_le_bytes()[..size]);
        }
        Destination::Operand0 => write(state, i, result),
        Destination::Flags => {}
        Destination::Ecx => state.gpr[1] = u64::from(result as u32),
        Destination::Xmm0 => state.xmm[0] = result,
        Destination::MaskedStore => {
            let start = state.gpr[7].wrapping_sub(SCRATCH) as usize;
            for (k, byte) in dst
                .to_le_bytes()
                .into_iter()
                .enumerate()
                .filter(|(k, _)| result >> k & 1 != 0)
            {
                *scratch.get_mut(start + k).ok_or(PAGE_FAULT)? = byte;
            }
        }
    }
    state.mxcsr = context.mxcsr;
    state.rflags = state.rflags & !u64::from(op.flags) | u64::from(context.flags & op.flags);
    Ok(())
}

fn read(state: &State, register: Register) -> u128 {
    if register.is_xmm() {
        return state.xmm[register.number()];
    }
    let full = state.gpr[register.full_register().number()];
    let value = match register {
        Register::AH | Register::CH | Register::DH | Register::BH => full >> 8,
        _ => full,
    };
    u128::from(value & (u64::MAX >> (64 - 8 * register.size())))
}

fn write(state: &mut State, instruction: &Instruction, result: u128) {
    let register = instruction.op0_register();
    if register.is_xmm() {
        state.xmm[register.number()] = result;
    } else {
        let mask = u64::MAX >> (64 - 8 * register.size());
        state.gpr[register.full_register().number()] = result as u64 & mask;
    }
}
