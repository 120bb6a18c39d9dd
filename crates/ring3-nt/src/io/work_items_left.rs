//! Work items of a driver that is being unloaded. Documentation: IoQueueWorkItem, "Remarks".
//!
//! The object that an IO_WORKITEM names is referenced until its routine has returned, and the image of
//! its driver stays as long. An item of ExQueueWorkItem has no such protection.

use ring3_macros::resumable;

use crate::Machine;
use crate::ex::work_queue::{DONE, Work};
use crate::machine::finding::Severity;
use crate::machine::modules::within;
use crate::machine::wait::Wait;

/// The items that code of an image queued or that run in it.
fn items_of(cx: &Machine, base: u64, size: u32) -> Vec<Work> {
    let inside = within(base, size);
    cx.ex
        .work
        .pending()
        .filter(|w| inside(w.routine) || inside(w.owner))
        .cloned()
        .collect()
}

/// Waits until no item with an object is left that belongs to the image.
#[resumable]
pub fn finish_items(cx: &mut Machine, base: u64, size: u32) {
    let left = items_of(cx, base, size);
    if let Some(work) = left.iter().find(|w| w.object != 0) {
        let text = format!(
            "the work item {:#x} was not done when DriverUnload returned; the system waits",
            work.item
        );
        cx.report_at(
            "driver/work-item-pending",
            Severity::Note,
            text,
            work.owner.wrapping_sub(1),
        );
    }
    while items_of(cx, base, size).iter().any(|w| w.object != 0) {
        wait!(Wait::On(DONE));
    }
}

/// Reports the items that are left when the image of a driver goes away.
pub fn report_items_left(cx: &mut Machine, base: u64, size: u32) {
    for work in items_of(cx, base, size) {
        let text = format!(
            "the work item {:#x} is still queued or running after unload",
            work.item
        );
        cx.report_at(
            "driver/work-item-left",
            Severity::Error,
            text,
            work.owner.wrapping_sub(1),
        );
    }
}
