//! Ops that only record. They stand before what they record, in blocks translated while recording.

use crate::engine::AccessRecord;
use crate::op::{Next, Op};
use crate::vm::{Vm, access};
use crate::width::{Slot, slot};

/// Notes that the block is entered.
pub(crate) fn cover(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let rip = vm.rip_of(op);
    vm.recorder.coverage.enter(rip);
    op.then(vm, held)
}

/// Notes an access: `dst` is the slot of the segment base, `extra` the size, `src` is 1 for a write. If the access
/// fails the run loop takes the record back.
pub(crate) fn log(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let record = AccessRecord {
        va: vm.address(op).wrapping_add(slot(&vm.regs, op.dst)),
        size: op.extra,
        access: access(op.src != Slot::S0),
        rip: vm.rip_of(op),
        icount: vm.icount(op),
    };
    vm.recorder.log(record);
    op.then(vm, held)
}
