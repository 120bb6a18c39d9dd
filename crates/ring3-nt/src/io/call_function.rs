//! Calling an internal function of a driver from outside, as a unit test does.

use ring3_macros::resumable;
use ring3_memory::Gva;

use crate::flow::{Flow, args};
use crate::machine::finding::Severity;
use crate::machine::thread::ThreadId;
use crate::ntstatus::{NTSTATUS, STATUS_SUCCESS};

/// Calls a function in the current thread; what it returns in rax is the thread's note.
#[resumable]
pub fn call_function(cx: &mut Machine, address: u64, arguments: Vec<u64>, irql: u8) -> NTSTATUS {
    let thread: ThreadId = cx.thread().id;
    cx.set_irql(irql);
    let result: u64 = host!(jump(address, arguments.clone()));
    if cx.irql() != irql {
        let text = format!(
            "the function was called at IRQL {irql} and returned at {}",
            cx.irql()
        );
        cx.report("irql/function", Severity::Error, text);
    }
    cx.set_irql(0);
    cx.io.user.note(thread, result);
    STATUS_SUCCESS
}

/// The call itself: up to twelve arguments.
#[resumable]
fn jump(cx: &mut Machine, address: u64, arguments: Vec<u64>) -> Flow {
    let _ = &cx;
    Flow::Call(
        Gva::new(address),
        args(&arguments),
        Box::new(crate::flow::Pass),
    )
}
