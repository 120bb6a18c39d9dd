//! Registry callbacks: drivers that see operations before and after they are performed.
//!
//! Documentation: wdm.h, "Filtering Registry Calls", "CmRegisterCallbackEx", "EX_CALLBACK_FUNCTION".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::operation::{Buffer, Name, Operation, Target, perform};
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::export::argument::Code;
use crate::flow::{Flow, IntoFlow};
use crate::io::device::read_string;
use crate::layout::{REG_POST_OPERATION_INFORMATION, UNICODE_STRING};
use crate::ntstatus::{
    NTSTATUS, STATUS_CALLBACK_BYPASS, STATUS_FLT_INSTANCE_ALTITUDE_COLLISION,
    STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};

const TAG: u32 = u32::from_le_bytes(*b"CMcb");
/// Bytes that every information structure fits in.
const INFORMATION: u64 = 0x80;
/// Where post-operation information lies behind the other.
const POST: u64 = INFORMATION;
/// `RegNtPostDeleteKey` minus `RegNtPreDeleteKey`: the post class of classes 0 to 9.
const POST_OF_OLD: u32 = 15;
/// `RegNtPreCreateKeyEx`, `RegNtPreOpenKeyEx`; their post classes are the next ones.
const CREATE: u32 = 26;
const OPEN: u32 = 28;
/// The altitude of CmRegisterCallback, which asks for none.
const OLD_ALTITUDE: &str = "0";

/// A registered callback.
#[derive(Clone, Hash, Debug)]
pub struct Callback {
    /// What CmUnRegisterCallback takes.
    pub cookie: u64,
    /// The altitude, as given.
    pub altitude: String,
    /// The routine.
    pub routine: u64,
    /// Its first argument.
    pub context: u64,
    /// Who registered it: a return address.
    pub owner: u64,
}

/// Compares altitudes: decimal numbers of any length, with a fraction.
fn higher(a: &str, b: &str) -> std::cmp::Ordering {
    let split = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole = whole.trim_start_matches('0').to_owned();
        (
            whole.len(),
            whole,
            fraction.trim_end_matches('0').to_owned(),
        )
    };
    split(a).cmp(&split(b))
}

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
        Operation::DeleteKey(t) => vec![object(t)],
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
        cx.memory.write(Gva::<u64>::new(at + context_at), 0)?;
        let verdict: NTSTATUS = call!(callback.routine, callback.context, class, at);
        if verdict.is_success() {
            let context = cx.memory.read(Gva::<u64>::new(at + context_at))?;
            contexts.push(context);
        } else {
            go = false;
            status = if verdict == STATUS_CALLBACK_BYPASS {
                STATUS_SUCCESS
            } else {
                verdict
            };
        }
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
        Operation::DeleteKey(t)
        | Operation::SetValue(t, ..)
        | Operation::DeleteValue(t, ..)
        | Operation::QueryKey(t, ..)
        | Operation::QueryValue(t, ..)
        | Operation::EnumerateKey(t, ..)
        | Operation::EnumerateValue(t, ..) => t.object,
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

fn register(
    cx: &mut Machine,
    altitude: String,
    routine: u64,
    context: u64,
    cookie_at: Gva<u64>,
) -> Result<NTSTATUS, Fault> {
    if altitude != OLD_ALTITUDE
        && cx
            .cm
            .callbacks
            .iter()
            .any(|c| higher(&c.altitude, &altitude).is_eq())
    {
        return Ok(STATUS_FLT_INSTANCE_ALTITUDE_COLLISION);
    }
    let (cookie, owner) = (cx.cm.next_cookie, cx.caller);
    cx.memory.write(cookie_at, cookie)?;
    cx.cm.next_cookie += 1;
    let at = cx
        .cm
        .callbacks
        .partition_point(|c| higher(&c.altitude, &altitude).is_ge());
    cx.cm.callbacks.insert(
        at,
        Callback {
            cookie,
            altitude,
            routine,
            context,
            owner,
        },
    );
    Ok(STATUS_SUCCESS)
}

/// Reports the callbacks that code of this image registered and did not take back.
pub fn report_left(cx: &mut Machine, base: u64, size: u32) {
    let inside = |address: u64| address >= base && address - base < u64::from(size);
    let left: Vec<Callback> = cx
        .cm
        .callbacks
        .iter()
        .filter(|c| inside(c.owner) || inside(c.routine))
        .cloned()
        .collect();
    for callback in left {
        let text = "a registry callback is still registered after unload: the next registry call runs code that is gone";
        cx.report_at(
            "registry/callback-left",
            crate::machine::finding::Severity::Error,
            text,
            callback.owner.wrapping_sub(1),
        );
    }
}

/// Routines on registry callbacks.
pub struct Callbacks;

#[exports("ntoskrnl.exe")]
impl Callbacks {
    /// Registers a callback at an altitude.
    #[page("wdm/nf-wdm-cmregistercallbackex")]
    #[irql(..=APC_LEVEL)]
    #[partial("object contexts, transactions, and the classes of operations that are not modelled")]
    fn CmRegisterCallbackEx(
        cx: &mut Machine,
        Function: Gva<Code>,
        Altitude: Gva<UNICODE_STRING>,
        Driver: Gva,
        Context: u64,
        Cookie: Gva<u64>,
        Reserved: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let _ = (Driver, Reserved);
        let altitude = read_string(cx, Altitude)?;
        register(cx, altitude, Function.raw(), Context, Cookie)
    }

    /// Registers a callback without an altitude.
    #[page("wdm/nf-wdm-cmregistercallback")]
    #[irql(..=APC_LEVEL)]
    #[partial("object contexts, transactions, and the classes of operations that are not modelled")]
    fn CmRegisterCallback(
        cx: &mut Machine,
        Function: Gva<Code>,
        Context: u64,
        Cookie: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        register(cx, OLD_ALTITUDE.to_owned(), Function.raw(), Context, Cookie)
    }

    /// Takes a callback back.
    #[page("wdm/nf-wdm-cmunregistercallback")]
    #[irql(..=APC_LEVEL)]
    #[partial("does not wait for callbacks that run on other threads")]
    fn CmUnRegisterCallback(cx: &mut Machine, Cookie: u64) -> NTSTATUS {
        let Some(at) = cx.cm.callbacks.iter().position(|c| c.cookie == Cookie) else {
            return STATUS_INVALID_PARAMETER;
        };
        cx.cm.callbacks.remove(at);
        STATUS_SUCCESS
    }

    /// The version of registry filtering: 1.1.
    #[page("wdm/nf-wdm-cmgetcallbackversion")]
    #[irql(..=APC_LEVEL)]
    fn CmGetCallbackVersion(
        cx: &mut Machine,
        Major: Gva<u32>,
        Minor: Gva<u32>,
    ) -> Result<(), Fault> {
        for at in [Major, Minor] {
            if !at.is_null() {
                cx.memory.write(at, 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    #[test]
    fn altitudes_are_decimal_numbers_of_any_length() {
        assert_eq!(higher("360000", "85000.5"), Ordering::Greater);
        assert_eq!(higher("85000.5", "85000.45"), Ordering::Greater);
        assert_eq!(higher("085000.50", "85000.5"), Ordering::Equal);
        assert_eq!(higher("0", "1"), Ordering::Less);
    }

    #[test]
    fn post_classes_follow_the_header() {
        assert_eq!(post_class(0), 15);
        assert_eq!(post_class(8), 23);
        assert_eq!(post_class(CREATE), 27);
        assert_eq!(post_class(OPEN), 29);
    }
}
