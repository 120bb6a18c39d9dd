//! The x87 control instructions: they move words that FXSAVE shows. Nothing here computes.

use iced_x86::{Instruction, Mnemonic};

use crate::cpu::{X87, cr0};
use crate::exit::vector_number;
use crate::op::Op;
use crate::ops::slow::{Flow, read, write};
use crate::vm::{Trap, Vm};

/// The exception flags, the stack fault and the busy bit of the status word, which FNCLEX clears.
const CLEARED: u16 = 0x80ff;

/// FNINIT, FNCLEX, FLDCW, FNSTCW, FNSTSW, FWAIT, EMMS.
pub(crate) fn control(vm: &mut Vm, op: &Op, instruction: &Instruction) -> Result<Flow, Trap> {
    let blocking = match instruction.mnemonic() {
        // WAIT only minds TS, and only together with MP (Intel SDM volume 2, WAIT).
        Mnemonic::Wait => vm.cpu.cr0 & (cr0::TS | cr0::MP) == cr0::TS | cr0::MP,
        _ => vm.cpu.cr0 & (cr0::EM | cr0::TS) != 0,
    };
    if blocking {
        return Err(Trap::Exception(vector_number::DEVICE_NOT_AVAILABLE, 0));
    }
    match instruction.mnemonic() {
        Mnemonic::Fninit => {
            // The registers keep their values; only their tags become empty.
            let st = vm.cpu.x87.st;
            vm.cpu.x87 = X87 {
                st,
                ..X87::default()
            };
        }
        Mnemonic::Fnclex => vm.cpu.x87.fsw &= !CLEARED,
        Mnemonic::Fldcw => {
            // Bit 6 always reads as one.
            let value = read(vm, op, instruction, 0)? as u16;
            vm.cpu.x87.fcw = value & 0x1f7f | 0x40;
        }
        Mnemonic::Fnstcw => {
            let value = u64::from(vm.cpu.x87.fcw);
            write(vm, op, instruction, 0, value)?;
        }
        Mnemonic::Fnstsw => {
            let value = u64::from(vm.cpu.x87.fsw);
            write(vm, op, instruction, 0, value)?;
        }
        Mnemonic::Emms => vm.cpu.x87.ftw = 0,
        _ => {}
    }
    Ok(Flow::Next)
}
