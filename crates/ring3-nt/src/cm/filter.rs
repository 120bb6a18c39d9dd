//! How registry callbacks see an operation: what they are given before and after it, and what they can
//! do about it. Documentation: "Handling Notifications", wdm.h, `REG_NOTIFY_CLASS`.

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};

use super::callback::Callback;
use super::operation::{Buffer, Name, Operation, Target, perform};
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::flow::{Flow, IntoFlow};
use crate::layout::{REG_CREATE_KEY_INFORMATION, REG_POST_OPERATION_INFORMATION};
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_CALLBACK_BYPASS, STATUS_INSUFFICIENT_RESOURCES, STATUS_SUCCESS,
};
use crate::ob::{Kind, handles};

const TAG: u32 = u32::from_le_bytes(*b"CMcb");
/// Bytes that every information structure fits in.
const INFORMATION: u64 = 0x80;
/// Where post-operation information lies behind the other.
const POST: u64 = INFORMATION;
/// `RegNtPostDeleteKey` minus `RegNtPreDeleteKey`: the post class of classes 0 to 9.
const POST_OF_OLD: u32 = 15;
/// `RegNtPreKeyHandleClose`, `RegNtPostKeyHandleClose`.
const CLOSE: u32 = 14;
const CLOSED: u32 = 25;
/// `RegNtPreCreateKeyEx`, `RegNtPreOpenKeyEx`, `RegNtPreFlushKey`; their post classes are the next ones.
const CREATE: u32 = 26;
const OPEN: u32 = 28;
const FLUSH: u32 = 30;
/// `RegNtCallbackObjectContextCleanup`.
const CONTEXT_CLEANUP: u32 = 40;
/// `OBJ_KERNEL_HANDLE`.
const OBJ_KERNEL_HANDLE: u32 = 0x200;

/// REG_NOTIFY_CLASS, and where CallContext lies in the information.
fn class_of(operation: &Operation) -> (u32, u64) {
    match operation {
        Operation::DeleteKey(_) => (0, 0x8),
        Operation::SetValue(..) => (1, 0x28),
        Operation::DeleteValue(..) => (2, 0x10),
        Operation::EnumerateKey(..) => (5, 0x28),
        Operation::EnumerateValue(..) => (6, 0x28),
        Operation::QueryKey(..) => (7, 0x28),
        Operation::QueryValue(..) => (8, 0x30),
        Operation::Create(..) => (CREATE, 0x50),
        Operation::Open(..) => (OPEN, 0x50),
        Operation::Rename(..) => (4, 0x10),
        Operation::SetInformation(..) => (3, 0x20),
        Operation::Flush(..) => (FLUSH, 0x8),
    }
}

fn post_class(class: u32) -> u32 {
    if class >= CREATE {
        class + 1
    } else {
        class + POST_OF_OLD
    }
}

/// The words of the REG_*_KEY_INFORMATION of an operation, by offset.
fn information(operation: &Operation, key_type: u64) -> Vec<(u64, u64)> {
    let object = |t: &Target| (0, t.object);
    let pair = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    let buffer = |at: u64, b: &Buffer| {
        [
            (at, b.at.raw()),
            (at + 8, u64::from(b.length)),
            (at + 16, b.needed.raw()),
        ]
    };
    let name = |n: &Name| {
        vec![
            (0, n.given.raw()),
            (8, n.root),
            (0x10, key_type),
            (0x38, pair(n.access, 0)),
        ]
    };
    match operation {
        Operation::DeleteKey(t) | Operation::Flush(t) => vec![object(t)],
        Operation::Rename(t, name) => vec![object(t), (8, name.raw())],
        Operation::SetInformation(t, class, data, size) => vec![
            object(t),
            (8, u64::from(*class)),
            (0x10, data.raw()),
            (0x18, u64::from(*size)),
        ],
        Operation::SetValue(t, name, kind, data, size) => {
            vec![
                object(t),
                (8, name.raw()),
                (0x10, pair(0, *kind)),
                (0x18, data.raw()),
                (0x20, u64::from(*size)),
            ]
        }
        Operation::DeleteValue(t, name) => vec![object(t), (8, name.raw())],
        Operation::QueryKey(t, b) => [
            vec![object(t), (8, u64::from(b.class))],
            buffer(0x10, b).to_vec(),
        ]
        .concat(),
        Operation::QueryValue(t, name, b) => [
            vec![object(t), (8, name.raw()), (0x10, u64::from(b.class))],
            buffer(0x18, b).to_vec(),
        ]
        .concat(),
        Operation::EnumerateKey(t, index, b) | Operation::EnumerateValue(t, index, b) => [
            vec![object(t), (8, pair(*index, b.class))],
            buffer(0x10, b).to_vec(),
        ]
        .concat(),
        Operation::Open(n) => name(n),
        Operation::Create(n, class, options, disposition) => {
            let more = vec![
                (0x18, u64::from(*options)),
                (0x20, class.raw()),
                (0x40, disposition.raw()),
            ];
            [name(n), more].concat()
        }
    }
}

/// Shows an operation to the callbacks and performs it in between.
#[resumable]
fn filtered(cx: &mut Machine, operation: Operation) -> Result<Flow, Fault> {
    let callbacks: Vec<Callback> = cx.cm.callbacks.clone();
    let Some(block) = cx.pool_allocate(Pool::Paged, 2 * INFORMATION, TAG) else {
        return Ok(Flow::Return(u64::from(STATUS_INSUFFICIENT_RESOURCES.0)));
    };
    let at: u64 = block.raw();
    let key_type = cx
        .export_address("ntoskrnl.exe", "CmKeyObjectType")
        .and_then(|variable| cx.memory.peek(variable.cast::<u64>()))
        .unwrap_or(0);
    for (offset, word) in information(&operation, key_type) {
        cx.memory.write(Gva::<u64>::new(at + offset), word)?;
    }
    let class: u32 = class_of(&operation).0;
    let context_at: u64 = class_of(&operation).1;
    let mut contexts: Vec<u64> = Vec::new();
    let mut status: NTSTATUS = STATUS_SUCCESS;
    let mut go: bool = true;
    while go && contexts.len() < callbacks.len() {
        let Some(callback) = callbacks.get(contexts.len()).cloned() else {
            break;
        };
        let given: u64 = context_of(cx, subject(&operation), callback.cookie);
        cx.memory.write(Gva::<u64>::new(at + context_at), 0)?;
        // The object's context follows the call's in every one of the structures.
        cx.memory
            .write(Gva::<u64>::new(at + context_at + 8), given)?;
        let verdict: NTSTATUS = call!(callback.routine, callback.context, class, at);
        if verdict.is_success() {
            let context = cx.memory.read(Gva::<u64>::new(at + context_at))?;
            contexts.push(context);
        } else {
            go = false;
            status = verdict;
        }
    }
    if !go && status == STATUS_CALLBACK_BYPASS {
        status = bypassed(cx, &operation, at)?;
    }
    if go {
        status = perform(cx, &operation)?;
    }
    let post = Gva::<REG_POST_OPERATION_INFORMATION>::new(at + POST);
    cx.memory.set(
        post,
        REG_POST_OPERATION_INFORMATION::Object,
        Gva::new(object_of(cx, &operation, status)),
    )?;
    cx.memory
        .set(post, REG_POST_OPERATION_INFORMATION::Status, status)?;
    cx.memory.set(
        post,
        REG_POST_OPERATION_INFORMATION::PreInformation,
        Gva::new(at),
    )?;
    while let Some(context) = contexts.pop() {
        let Some(callback) = callbacks.get(contexts.len()).cloned() else {
            break;
        };
        let post = Gva::<REG_POST_OPERATION_INFORMATION>::new(at + POST);
        cx.memory
            .set(post, REG_POST_OPERATION_INFORMATION::ReturnStatus, status)?;
        cx.memory.set(
            post,
            REG_POST_OPERATION_INFORMATION::CallContext,
            Gva::new(context),
        )?;
        let known: u64 = cx.memory.read(Gva::<u64>::new(at + POST))?;
        let given: u64 = context_of(cx, known, callback.cookie);
        cx.memory.set(
            post,
            REG_POST_OPERATION_INFORMATION::ObjectContext,
            Gva::new(given),
        )?;
        let verdict: NTSTATUS = call!(
            callback.routine,
            callback.context,
            post_class(class),
            at + POST
        );
        if verdict == STATUS_CALLBACK_BYPASS {
            let post = Gva::<REG_POST_OPERATION_INFORMATION>::new(at + POST);
            status = cx
                .memory
                .get(post, REG_POST_OPERATION_INFORMATION::ReturnStatus)?;
        }
    }
    cx.pool_free(Gva::new(at));
    Ok(Flow::Return(u64::from(status.0)))
}

/// The context that a callback gave to a key object; 0 for none.
fn context_of(cx: &Machine, object: u64, cookie: u64) -> u64 {
    cx.cm.contexts.get(&(object, cookie)).copied().unwrap_or(0)
}

/// The key object that an operation starts from: the root for an open.
fn subject(operation: &Operation) -> u64 {
    match operation {
        Operation::Open(name) | Operation::Create(name, ..) => name.root,
        other => other.target().map_or(0, |t| t.object),
    }
}

/// What the caller gets for an operation that a callback did itself: STATUS_SUCCESS, and for an open a
/// handle to the key object that the callback left (wdm.h, `REG_CREATE_KEY_INFORMATION`).
fn bypassed(cx: &mut Machine, operation: &Operation, at: u64) -> Result<NTSTATUS, Fault> {
    let (Operation::Open(name) | Operation::Create(name, ..)) = operation else {
        return Ok(STATUS_SUCCESS);
    };
    let given = Gva::<REG_CREATE_KEY_INFORMATION>::new(at);
    let object = cx
        .memory
        .get(given, REG_CREATE_KEY_INFORMATION::ResultObject)?
        .raw();
    let access = cx
        .memory
        .get(given, REG_CREATE_KEY_INFORMATION::GrantedAccess)?;
    if !matches!(
        cx.ob.objects.get(&object).map(|o| &o.kind),
        Some(Kind::Key(_))
    ) {
        return Ok(STATUS_SUCCESS);
    }
    let process: ProcessId = cx.thread().space();
    let kernel = name.flags & OBJ_KERNEL_HANDLE != 0;
    let handle = handles::open(cx, object, access, process, kernel);
    // The callback referenced the object for the handle.
    cx.dereference_object(object);
    cx.memory.write(name.handle, handle)?;
    Ok(STATUS_SUCCESS)
}

/// Tells the callbacks that the last handle of a key object is closed, before and after, and lets those go
/// over their contexts that have some.
#[resumable]
pub fn closing(cx: &mut Machine, object: u64, after: bool) -> Result<(), Fault> {
    let callbacks: Vec<Callback> = cx.cm.callbacks.clone();
    if let Some(block) = cx.pool_allocate(Pool::Paged, 2 * INFORMATION, TAG) {
        let at: u64 = block.raw();
        let mut next: usize = 0;
        while next < callbacks.len() {
            let Some(found) = callbacks.get(next).cloned() else {
                break;
            };
            let callback: Callback = found;
            next += 1;
            let context: u64 = context_of(cx, object, callback.cookie);
            let words = if after {
                vec![(0, object), (8, 0), (0x28, context)]
            } else {
                vec![(0, object), (8, 0), (0x10, context)]
            };
            for (offset, word) in words {
                cx.memory.write(Gva::<u64>::new(at + offset), word)?;
            }
            let class: u32 = if after { CLOSED } else { CLOSE };
            call!(callback.routine, callback.context, class, at);
            if after && context != 0 {
                host!(clean_up(callback.clone(), object));
            }
        }
        cx.pool_free(Gva::new(at));
    }
    if after {
        super::object_context::forget(cx, object);
    }
    Ok(())
}

/// Takes the context of a key object back from a callback that gave it.
#[resumable]
pub fn clean_up(cx: &mut Machine, callback: Callback, object: u64) -> Result<(), Fault> {
    let context: u64 = cx
        .cm
        .contexts
        .remove(&(object, callback.cookie))
        .unwrap_or(0);
    if let Some(block) = cx.pool_allocate(Pool::Paged, INFORMATION, TAG) {
        let at: u64 = block.raw();
        for (offset, word) in [(0, object), (8, context)] {
            cx.memory.write(Gva::<u64>::new(at + offset), word)?;
        }
        call!(callback.routine, callback.context, CONTEXT_CLEANUP, at);
        cx.pool_free(Gva::new(at));
    }
    Ok(())
}

/// The key object that post-operation information names.
fn object_of(cx: &Machine, operation: &Operation, status: NTSTATUS) -> u64 {
    match operation {
        Operation::Open(name) | Operation::Create(name, ..) => {
            if !status.is_success() {
                return 0;
            }
            let handle = cx.memory.peek(name.handle).unwrap_or(0);
            crate::ob::handles::find(cx, handle).map_or(0, |entry| entry.object)
        }
        other => other.target().map_or(0, |t| t.object),
    }
}

/// Performs an operation, with callbacks where there are any.
///
/// # Errors
/// A fault if memory of the caller cannot be used.
pub fn start(cx: &mut Machine, operation: Operation) -> Result<Flow, Fault> {
    if cx.cm.callbacks.is_empty() {
        return Ok(perform(cx, &operation)?.into_flow());
    }
    Ok(Flow::Become(filtered(operation)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn post_classes_follow_the_header() {
        assert_eq!(post_class(0), 15);
        assert_eq!(post_class(8), 23);
        assert_eq!(post_class(CREATE), 27);
        assert_eq!(post_class(OPEN), 29);
        assert_eq!(post_class(FLUSH), 31);
    }
}
