//! What the kernel checks when a system service or a worker routine is over.
//!
//! Sources: the pages of bugchecks 0x01 and 0x4A.

use crate::Machine;
use crate::bugcheck_codes::{APC_INDEX_MISMATCH, IRQL_GT_ZERO_AT_SYSTEM_SERVICE};
use crate::flow::Flow;
use crate::layout::KTHREAD;

/// Parameter 4 of bugcheck 0x01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallType {
    /// A system call.
    SystemCall = 0,
    /// A worker routine.
    WorkerRoutine = 1,
}

/// The bugcheck of a routine that returns at a raised IRQL or inside of a critical or guarded region.
#[must_use]
pub fn on_exit(cx: &Machine, routine: u64, call: CallType) -> Option<Flow> {
    let irql = cx.irql();
    if irql != 0 && call == CallType::SystemCall {
        return Some(Flow::Bugcheck(
            IRQL_GT_ZERO_AT_SYSTEM_SERVICE,
            [routine, u64::from(irql), 0, 0],
        ));
    }
    let thread = cx.thread().object.cast::<KTHREAD>();
    let disable = super::apc::combined_disable(cx, thread);
    if disable == 0 {
        return None;
    }
    let index: u8 = cx.memory.get(thread, KTHREAD::ApcStateIndex).unwrap_or(0);
    Some(Flow::Bugcheck(
        APC_INDEX_MISMATCH,
        [routine, u64::from(index), u64::from(disable), call as u64],
    ))
}
