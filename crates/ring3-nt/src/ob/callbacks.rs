//! Drivers that are asked when handles of processes and threads are opened. Documentation: wdm.h,
//! ObRegisterCallbacks.

use std::collections::BTreeMap;

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::Kind;
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::flow::{Flow, Key};
use crate::io::device::read_string;
use crate::layout::UNICODE_STRING;
use crate::machine::finding::Severity;
use crate::machine::modules::within;
use crate::machine::wait::Wait;
use crate::ntstatus::{
    NTSTATUS, STATUS_ACCESS_DENIED, STATUS_FLT_INSTANCE_ALTITUDE_COLLISION,
    STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};
use crate::ps::notify_exports::is_integrity_checked;

/// `OB_OPERATION_HANDLE_CREATE`.
const HANDLE_CREATE: u32 = 1;
/// `OB_FLT_REGISTRATION_VERSION`.
const VERSION: u16 = 0x0100;
/// Bytes of OB_OPERATION_REGISTRATION: ObjectType, Operations, PreOperation, PostOperation.
const ENTRY: u64 = 0x20;
const TAG: u32 = u32::from_le_bytes(*b"ObCb");

/// What a driver wants to be asked about.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The OBJECT_TYPE.
    pub object_type: u64,
    /// `OB_OPERATION_*` bits.
    pub operations: u32,
    /// Called before; 0 for none.
    pub before: u64,
    /// Called after; 0 for none.
    pub after: u64,
}

/// A registration.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Where it stands among the others: higher ones are asked first.
    pub altitude: String,
    /// The first argument of its routines.
    pub context: u64,
    /// What it wants to be asked about.
    pub operations: Vec<Operation>,
    /// Who registered it: a return address.
    pub owner: u64,
}

/// Registrations.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// By handle.
    registrations: BTreeMap<u64, Registration>,
    /// How many threads are in routines of which registration.
    running: BTreeMap<u64, u32>,
    next: u64,
}

const fn done_key(handle: u64) -> Key {
    Key::new("ob-callback", handle)
}

/// An altitude is a decimal number with a fraction: compared by value, as text of digits.
fn altitude_key(text: &str) -> (usize, String, String) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    (whole.len(), whole.to_owned(), fraction.to_owned())
}

/// One routine to be asked: its registration, its context and its operation.
type Asked = (u64, u64, Operation);

/// Who is to be asked about handles of a type, highest first.
fn asked_for(cx: &Machine, object_type: u64) -> Vec<Asked> {
    let mut found: Vec<_> = cx
        .ob
        .callbacks
        .registrations
        .iter()
        .flat_map(|(handle, r)| r.operations.iter().map(move |o| (*handle, r, o)))
        .filter(|(_, _, o)| o.object_type == object_type && o.operations & HANDLE_CREATE != 0)
        .collect();
    found.sort_by_key(|(_, r, _)| std::cmp::Reverse(altitude_key(&r.altitude)));
    found
        .into_iter()
        .map(|(handle, r, o)| (handle, r.context, o.clone()))
        .collect()
}

/// Writes an operation information with its parameters behind it.
fn write_information(
    cx: &mut Machine,
    at: u64,
    object: u64,
    kernel: bool,
    parameters: (u32, u32),
    status: Option<NTSTATUS>,
) {
    let object_type = cx.type_of_object(object).raw();
    // OB_PRE_OPERATION_INFORMATION: Operation, Flags (bit 0: KernelHandle), Object, ObjectType, CallContext,
    // Parameters. In the other one ReturnStatus lies before Parameters.
    let context = cx.memory.read(Gva::<u64>::new(at + 0x18)).unwrap_or(0);
    let words = match status {
        None => [
            u64::from(HANDLE_CREATE) | u64::from(kernel) << 32,
            object,
            object_type,
            0,
            at + 0x40,
            0,
        ],
        Some(status) => [
            u64::from(HANDLE_CREATE) | u64::from(kernel) << 32,
            object,
            object_type,
            context,
            u64::from(status.0),
            at + 0x40,
        ],
    };
    for (word, i) in words.into_iter().zip(0..) {
        let _ = cx.memory.write(Gva::<u64>::new(at + 8 * i), word);
    }
    let _ = cx.memory.write(Gva::<u32>::new(at + 0x40), parameters.0);
    let _ = cx.memory.write(Gva::<u32>::new(at + 0x44), parameters.1);
}

/// Enters and leaves a routine, for those who wait until it is not running.
fn enter(cx: &mut Machine, handle: u64, by: i32) {
    let count = cx.ob.callbacks.running.entry(handle).or_default();
    *count = count.saturating_add_signed(by);
    if *count == 0 {
        cx.ob.callbacks.running.remove(&handle);
        cx.wake(done_key(handle));
    }
}

/// Asks about a new handle of a process or thread; gives the access that is left. `after` of this is for
/// [`handle_opened`].
#[resumable]
pub fn ask(cx: &mut Machine, object: u64, access: u32, kernel: bool) -> u64 {
    let asked: Vec<Asked> = asked_for(cx, cx.type_of_object(object).raw());
    if asked.is_empty() {
        return u64::from(access);
    }
    let Some(block) = cx.pool_allocate(Pool::NonPaged, 0x48, TAG) else {
        return u64::from(access);
    };
    let at: u64 = block.raw();
    let mut left: u32 = access;
    let mut next: usize = 0;
    while let Some((of, context, operation)) = asked.get(next).cloned() {
        next += 1;
        if operation.before == 0 {
            continue;
        }
        let handle: u64 = of;
        write_information(cx, at, object, kernel, (left, access), None);
        enter(cx, handle, 1);
        call!(operation.before, context, at);
        enter(cx, handle, -1);
        let wanted = cx.memory.read(Gva::<u32>::new(at + 0x40)).unwrap_or(left);
        // Rights can be taken away, not added.
        left = wanted & access;
    }
    cx.pool_free(Gva::new(at));
    u64::from(left)
}

/// Tells that a handle of a process or thread was opened, or why not.
#[resumable]
pub fn handle_opened(cx: &mut Machine, object: u64, granted: u32, kernel: bool, status: NTSTATUS) {
    let mut asked: Vec<Asked> = asked_for(cx, cx.type_of_object(object).raw());
    asked.retain(|(_, _, o)| o.after != 0);
    if asked.is_empty() {
        return;
    }
    let Some(block) = cx.pool_allocate(Pool::NonPaged, 0x48, TAG) else {
        return;
    };
    let at: u64 = block.raw();
    // The lowest one first.
    while let Some((of, context, operation)) = asked.pop() {
        let handle: u64 = of;
        write_information(cx, at, object, kernel, (granted, granted), Some(status));
        enter(cx, handle, 1);
        call!(operation.after, context, at);
        enter(cx, handle, -1);
    }
    cx.pool_free(Gva::new(at));
}

/// Takes a registration back and waits until none of its routines runs.
#[resumable]
fn unregister(cx: &mut Machine, handle: u64) {
    if cx.ob.callbacks.registrations.remove(&handle).is_none() {
        let text = format!("{handle:#x} is no registration of ObRegisterCallbacks");
        cx.report("object/bad-unregister", Severity::Error, text);
        return;
    }
    while cx.ob.callbacks.running.contains_key(&handle) {
        wait!(Wait::On(done_key(handle)));
    }
}

/// Reports the registrations that code of this image made and did not take back.
pub fn report_left(cx: &mut Machine, base: u64, size: u32) {
    let inside = within(base, size);
    let left: Vec<u64> = cx
        .ob
        .callbacks
        .registrations
        .values()
        .map(|r| r.owner)
        .filter(|owner| inside(*owner))
        .collect();
    for owner in left {
        let text = "callbacks of ObRegisterCallbacks are still registered after unload";
        cx.report_at(
            "object/callbacks-left",
            Severity::Error,
            text,
            owner.wrapping_sub(1),
        );
    }
}

/// Reads the operations of a registration.
fn operations_of(
    cx: &Machine,
    list: u64,
    count: u16,
) -> Result<Result<Vec<Operation>, NTSTATUS>, Fault> {
    let mut operations = Vec::new();
    for i in 0..u64::from(count) {
        let at = list.wrapping_add(i * ENTRY);
        let variable: u64 = cx.memory.read(Gva::new(at))?;
        let object_type = cx.memory.read(Gva::<u64>::new(variable))?;
        let bits = cx.memory.read(Gva::<u32>::new(at + 8))?;
        let before = cx.memory.read(Gva::<u64>::new(at + 0x10))?;
        let after = cx.memory.read(Gva::<u64>::new(at + 0x18))?;
        let supported = [Kind::Process, Kind::Thread]
            .iter()
            .any(|k| cx.object_type(k.type_name()).raw() == object_type);
        if !supported || bits == 0 || bits & !3 != 0 || before == 0 && after == 0 {
            return Ok(Err(STATUS_INVALID_PARAMETER));
        }
        let unchecked = |routine: u64| routine != 0 && !is_integrity_checked(cx, routine);
        if unchecked(before) || unchecked(after) {
            return Ok(Err(STATUS_ACCESS_DENIED));
        }
        operations.push(Operation {
            object_type,
            operations: bits,
            before,
            after,
        });
    }
    Ok(Ok(operations))
}

/// Routines that register callbacks for handles.
pub struct HandleCallbacks;

#[exports("ntoskrnl.exe")]
impl HandleCallbacks {
    /// Registers routines that are asked about handles of processes and threads.
    #[page("wdm/nf-wdm-obregistercallbacks")]
    #[irql(..=APC_LEVEL)]
    #[partial("handles are never duplicated; desktops are no objects here")]
    fn ObRegisterCallbacks(
        cx: &mut Machine,
        CallbackRegistration: Gva<u64>,
        RegistrationHandle: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        // OB_CALLBACK_REGISTRATION: Version, OperationRegistrationCount, Altitude, RegistrationContext,
        // OperationRegistration.
        let at = CallbackRegistration.raw();
        let version = cx.memory.read(Gva::<u16>::new(at))?;
        let count = cx.memory.read(Gva::<u16>::new(at + 2))?;
        let altitude = read_string(cx, Gva::<UNICODE_STRING>::new(at + 8))?;
        let context = cx.memory.read(Gva::<u64>::new(at + 0x18))?;
        let list = cx.memory.read(Gva::<u64>::new(at + 0x20))?;
        cx.memory.read(RegistrationHandle)?;
        if version != VERSION || count == 0 || altitude.is_empty() {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        let operations = match operations_of(cx, list, count)? {
            Ok(operations) => operations,
            Err(status) => return Ok(status),
        };
        let key = altitude_key(&altitude);
        let taken = |r: &Registration| altitude_key(&r.altitude) == key;
        if cx.ob.callbacks.registrations.values().any(taken) {
            return Ok(STATUS_FLT_INSTANCE_ALTITUDE_COLLISION);
        }
        cx.ob.callbacks.next += 1;
        // Not a pointer that anybody may use, but as recognisable as one.
        let handle = 0xffff_cb80_0000_0000 | cx.ob.callbacks.next << 4;
        let registration = Registration {
            altitude,
            context,
            operations,
            owner: cx.caller,
        };
        cx.ob.callbacks.registrations.insert(handle, registration);
        cx.memory.write(RegistrationHandle, handle)?;
        Ok(STATUS_SUCCESS)
    }

    /// Takes a registration back.
    #[page("wdm/nf-wdm-obunregistercallbacks")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ObUnRegisterCallbacks(cx: &mut Machine, RegistrationHandle: u64) -> Flow {
        let _ = &cx;
        Flow::Become(unregister(RegistrationHandle))
    }

    /// The version of registrations.
    #[page("wdm/nf-wdm-obgetfilterversion")]
    #[irql(any)]
    fn ObGetFilterVersion(cx: &mut Machine) -> u16 {
        let _ = &cx;
        VERSION
    }
}
