//! Who wants to hear of changes of a key. Documentation: ntifs.h, `ZwNotifyChangeKey`.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::operation;
use super::tree::canonical;
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::flow::Flow;
use crate::ke::dispatcher::{self, kind};
use crate::ke::event::initialize_header;
use crate::layout::{DISPATCHER_HEADER, IO_STATUS_BLOCK, KEVENT};
use crate::machine::wait::Wait;
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER, STATUS_NOTIFY_CLEANUP,
    STATUS_PENDING, STATUS_SUCCESS,
};
use crate::ob::{Kind, handles};

const TAG: u32 = u32::from_le_bytes(*b"CMnb");
/// `REG_NOTIFY_CHANGE_NAME`.
pub const NAME: u32 = 1;
/// `REG_NOTIFY_CHANGE_ATTRIBUTES`.
pub const ATTRIBUTES: u32 = 2;
/// `REG_NOTIFY_CHANGE_LAST_SET`.
pub const LAST_SET: u32 = 4;
/// `REG_NOTIFY_CHANGE_SECURITY`.
pub const SECURITY: u32 = 8;
/// `REG_LEGAL_CHANGE_FILTER` without the flag that user mode adds.
const LEGAL: u32 = NAME | ATTRIBUTES | LAST_SET | SECURITY;

/// A wish to hear of the next change.
#[derive(Clone, Hash, Debug)]
pub struct Watch {
    /// The key object.
    pub key: u64,
    /// `REG_NOTIFY_CHANGE_*`.
    pub filter: u32,
    /// Whether changes below the key count.
    pub tree: bool,
    /// The event that is set; 0 for none.
    pub event: u64,
    /// Whether the event is an object with a reference of ours.
    pub referenced: bool,
    /// The work item that is queued, and its queue; 0 for none.
    pub work: (u64, u32),
    /// The IO_STATUS_BLOCK.
    pub status: u64,
}

/// Something of a key changed: ends the watches that wait for it.
pub fn changed(cx: &mut Machine, path: &str, what: u32) {
    let place = canonical(path);
    let mut hit = Vec::new();
    let mut rest = Vec::new();
    for watch in std::mem::take(&mut cx.cm.watches) {
        let watched = match cx.ob.objects.get(&watch.key).map(|o| &o.kind) {
            Some(Kind::Key(path)) => canonical(path),
            _ => String::new(),
        };
        let here = watched == place || watch.tree && place.starts_with(&format!("{watched}\\"));
        if !watched.is_empty() && watch.filter & what != 0 && here {
            hit.push(watch);
        } else {
            rest.push(watch);
        }
    }
    cx.cm.watches = rest;
    for watch in hit {
        finish(cx, &watch, STATUS_SUCCESS);
    }
}

/// A key was made, deleted or renamed: for the key above it a change of names.
pub fn changed_below(cx: &mut Machine, path: &str) {
    if let Some((parent, _)) = path.rsplit_once('\\') {
        changed(cx, parent, NAME);
    }
}

/// The last handle of a key object is gone: its watches end without a change.
pub fn closed(cx: &mut Machine, object: u64) {
    let (hit, rest) = std::mem::take(&mut cx.cm.watches)
        .into_iter()
        .partition(|w| w.key == object);
    cx.cm.watches = rest;
    let hit: Vec<Watch> = hit;
    for watch in hit {
        finish(cx, &watch, STATUS_NOTIFY_CLEANUP);
    }
}

fn finish(cx: &mut Machine, watch: &Watch, status: NTSTATUS) {
    let block = Gva::<IO_STATUS_BLOCK>::new(watch.status);
    let _ = cx.memory.set(block, IO_STATUS_BLOCK::Status, status);
    let _ = cx.memory.set(block, IO_STATUS_BLOCK::Information, 0);
    if watch.event != 0 {
        dispatcher::signal(cx, Gva::<DISPATCHER_HEADER>::new(watch.event), 1);
        if watch.referenced {
            cx.dereference_object(watch.event);
        }
    }
    let (item, queue) = watch.work;
    if item != 0 {
        let _ = crate::ex::work_queue::queue_item(cx, Gva::new(item), queue);
    }
}

/// Waits for the change, and gives its status.
#[resumable]
fn wait_for_change(cx: &mut Machine, watch: Watch) -> Result<Flow, Fault> {
    let Some(block) = cx.pool_allocate(Pool::NonPaged, KEVENT::SIZE, TAG) else {
        return Ok(Flow::Return(u64::from(STATUS_INSUFFICIENT_RESOURCES.0)));
    };
    let event: Gva<DISPATCHER_HEADER> = block.cast();
    initialize_header(cx, event, kind::EVENT_NOTIFICATION, KEVENT::SIZE, 0)?;
    let status_at: u64 = watch.status;
    let theirs: u64 = watch.event;
    let referenced: bool = watch.referenced;
    let mut own = watch.clone();
    own.event = event.raw();
    own.referenced = false;
    cx.cm.watches.push(own);
    wait!(Wait::Objects {
        objects: vec![event],
        all: false,
        alertable: false,
        due: None,
    });
    cx.pool_free(event.cast());
    if theirs != 0 {
        dispatcher::signal(cx, Gva::<DISPATCHER_HEADER>::new(theirs), 1);
        if referenced {
            cx.dereference_object(theirs);
        }
    }
    let block = Gva::<IO_STATUS_BLOCK>::new(status_at);
    let status = cx.memory.get(block, IO_STATUS_BLOCK::Status)?;
    Ok(Flow::Return(u64::from(status.0)))
}

/// Notifications.
pub struct Notifications;

#[exports("ntoskrnl.exe")]
impl Notifications {
    /// Tells of the next change of a key.
    #[page("ntifs/nf-ntifs-zwnotifychangekey")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("APC routines of user mode")]
    fn ZwNotifyChangeKey(
        cx: &mut Machine,
        KeyHandle: u64,
        Event: u64,
        ApcRoutine: Gva,
        ApcContext: u64,
        IoStatusBlock: Gva<IO_STATUS_BLOCK>,
        CompletionFilter: u32,
        WatchTree: bool,
        Buffer: Gva,
        BufferSize: u32,
        Asynchronous: bool,
    ) -> Result<Flow, Fault> {
        let _ = (Buffer, BufferSize);
        let status = |s: NTSTATUS| Ok(Flow::Return(u64::from(s.0)));
        let key = match operation::target(cx, KeyHandle) {
            Ok(key) => key,
            Err(error) => return status(error),
        };
        if CompletionFilter == 0 || CompletionFilter & !LEGAL != 0 {
            return status(STATUS_INVALID_PARAMETER);
        }
        cx.memory.get(IoStatusBlock, IO_STATUS_BLOCK::Status)?;
        let mut event = 0;
        if Event != 0 {
            match handles::find(cx, Event) {
                Some(entry)
                    if cx.ob.objects.get(&entry.object).map(|o| &o.kind) == Some(&Kind::Event) =>
                {
                    event = entry.object;
                }
                Some(_) => return status(crate::ntstatus::STATUS_OBJECT_TYPE_MISMATCH),
                None => return status(crate::ntstatus::STATUS_INVALID_HANDLE),
            }
            cx.reference_object(event);
            cx.memory
                .set(Gva::new(event), DISPATCHER_HEADER::SignalState, 0)?;
        }
        let watch = Watch {
            key: key.object,
            filter: CompletionFilter,
            tree: WatchTree,
            event,
            referenced: event != 0,
            // For a kernel-mode caller the routine is a work item and the context its queue.
            work: (ApcRoutine.raw(), ApcContext as u32),
            status: IoStatusBlock.raw(),
        };
        if Asynchronous {
            cx.cm.watches.push(watch);
            return status(STATUS_PENDING);
        }
        Ok(Flow::Become(wait_for_change(watch)))
    }
}
