//! Events with names and handles. Documentation: wdm.h, ntifs.h, "Event Objects".

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::device::read_string;
use super::zw_file::path_of;
use crate::Machine;
use crate::flow::Flow;
use crate::ke::dispatcher::{self, kind};
use crate::ke::event::initialize_header;
use crate::ke::waiting;
use crate::layout::{
    DISPATCHER_HEADER, FILE_OBJECT, KEVENT, LARGE_INTEGER, OBJECT_ATTRIBUTES, UNICODE_STRING,
};
use crate::machine::thread::ProcessId;
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_HANDLE, STATUS_OBJECT_NAME_COLLISION,
    STATUS_OBJECT_NAME_EXISTS, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH,
    STATUS_SUCCESS,
};
use crate::ob::{Kind, handles};

/// `EVENT_ALL_ACCESS`.
const EVENT_ALL_ACCESS: u32 = 0x001f_0003;
/// `OBJ_OPENIF`, `OBJ_KERNEL_HANDLE`.
const OBJ_OPENIF: u32 = 0x80;
const OBJ_KERNEL_HANDLE: u32 = 0x200;

/// Opens or creates an event. The handle and whether it existed, or the status that refuses it.
fn open_or_create(
    cx: &mut Machine,
    path: &str,
    access: u32,
    attributes: u32,
    create: Option<(u8, bool)>,
) -> Result<Result<(u64, bool), NTSTATUS>, Fault> {
    let existing = if path.is_empty() {
        None
    } else {
        cx.lookup_path(path).filter(|f| f.rest.is_empty())
    };
    let process: ProcessId = cx.thread().space();
    let kernel = attributes & OBJ_KERNEL_HANDLE != 0;
    if let Some(found) = existing {
        if cx.ob.objects.get(&found.body).map(|o| &o.kind) != Some(&Kind::Event) {
            return Ok(Err(STATUS_OBJECT_TYPE_MISMATCH));
        }
        if create.is_some() && attributes & OBJ_OPENIF == 0 {
            return Ok(Err(STATUS_OBJECT_NAME_COLLISION));
        }
        return Ok(Ok((
            handles::open(cx, found.body, access, process, kernel),
            true,
        )));
    }
    let Some((kind, state)) = create else {
        return Ok(Err(STATUS_OBJECT_NAME_NOT_FOUND));
    };
    let owner = cx.caller;
    let Some(body) = cx.create_object(Kind::Event, KEVENT::SIZE, path, owner) else {
        return Ok(Err(STATUS_INSUFFICIENT_RESOURCES));
    };
    initialize_header(cx, body.cast(), kind, KEVENT::SIZE, i32::from(state))?;
    let handle = handles::open(cx, body.raw(), access, process, kernel);
    // The handle holds the object from now on.
    cx.dereference_object(body.raw());
    Ok(Ok((handle, false)))
}

/// IoCreateNotificationEvent and IoCreateSynchronizationEvent: signalled when new, with a kernel handle.
fn named(
    cx: &mut Machine,
    name: Gva<UNICODE_STRING>,
    out: Gva<u64>,
    kind: u8,
) -> Result<Gva<KEVENT>, Fault> {
    let path = read_string(cx, name)?;
    cx.memory.read(out)?;
    let made = open_or_create(
        cx,
        &path,
        EVENT_ALL_ACCESS,
        OBJ_OPENIF | OBJ_KERNEL_HANDLE,
        Some((kind, true)),
    )?;
    let Ok((handle, _)) = made else {
        return Ok(Gva::NULL);
    };
    cx.memory.write(out, handle)?;
    let mode = std::mem::replace(&mut cx.thread_mut().previous_mode, 0);
    let object = handles::find(cx, handle).map_or(0, |h| h.object);
    cx.thread_mut().previous_mode = mode;
    Ok(Gva::new(object))
}

fn event_at(cx: &Machine, handle: u64) -> Result<Gva<DISPATCHER_HEADER>, NTSTATUS> {
    let entry = handles::find(cx, handle).ok_or(STATUS_INVALID_HANDLE)?;
    match cx.ob.objects.get(&entry.object).map(|o| &o.kind) {
        Some(Kind::Event) => Ok(Gva::new(entry.object)),
        _ => Err(STATUS_OBJECT_TYPE_MISMATCH),
    }
}

/// Sets the state of the event behind a handle; the state before goes to `previous` unless it is null.
fn change(
    cx: &mut Machine,
    handle: u64,
    previous: Gva<i32>,
    signal: bool,
) -> Result<NTSTATUS, Fault> {
    let event = match event_at(cx, handle) {
        Ok(event) => event,
        Err(status) => return Ok(status),
    };
    let before = cx.memory.get(event, DISPATCHER_HEADER::SignalState)?;
    if !previous.is_null() {
        cx.memory.write(previous, before)?;
    }
    if signal {
        dispatcher::signal(cx, event, 1);
    } else {
        cx.memory.set(event, DISPATCHER_HEADER::SignalState, 0)?;
    }
    Ok(STATUS_SUCCESS)
}

/// Routines on events with handles.
pub struct NamedEvents;

#[exports("ntoskrnl.exe")]
impl NamedEvents {
    /// Opens or creates a named synchronization event.
    #[page("wdm/nf-wdm-iocreatesynchronizationevent")]
    #[irql(PASSIVE_LEVEL)]
    fn IoCreateSynchronizationEvent(
        cx: &mut Machine,
        EventName: Gva<UNICODE_STRING>,
        EventHandle: Gva<u64>,
    ) -> Result<Gva<KEVENT>, Fault> {
        named(cx, EventName, EventHandle, kind::EVENT_SYNCHRONIZATION)
    }

    /// Opens or creates a named notification event.
    #[page("wdm/nf-wdm-iocreatenotificationevent")]
    #[irql(PASSIVE_LEVEL)]
    fn IoCreateNotificationEvent(
        cx: &mut Machine,
        EventName: Gva<UNICODE_STRING>,
        EventHandle: Gva<u64>,
    ) -> Result<Gva<KEVENT>, Fault> {
        named(cx, EventName, EventHandle, kind::EVENT_NOTIFICATION)
    }

    /// Creates an event, or opens it under OBJ_OPENIF.
    #[page("ntifs/nf-ntifs-zwcreateevent")]
    #[irql(PASSIVE_LEVEL)]
    fn ZwCreateEvent(
        cx: &mut Machine,
        EventHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        EventType: u32,
        InitialState: bool,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.read(EventHandle)?;
        let path = match path_of(cx, ObjectAttributes)? {
            Ok(path) => path,
            Err(status) => return Ok(status),
        };
        let attributes = if ObjectAttributes.is_null() {
            0
        } else {
            cx.memory
                .get(ObjectAttributes, OBJECT_ATTRIBUTES::Attributes)?
        };
        let kind = if EventType == 0 {
            kind::EVENT_NOTIFICATION
        } else {
            kind::EVENT_SYNCHRONIZATION
        };
        match open_or_create(
            cx,
            &path,
            DesiredAccess,
            attributes,
            Some((kind, InitialState)),
        )? {
            Ok((handle, existed)) => {
                cx.memory.write(EventHandle, handle)?;
                Ok(if existed {
                    STATUS_OBJECT_NAME_EXISTS
                } else {
                    STATUS_SUCCESS
                })
            }
            Err(status) => Ok(status),
        }
    }

    /// Opens an event by name.
    #[page("wdm/nf-wdm-zwopenevent")]
    #[irql(PASSIVE_LEVEL)]
    fn ZwOpenEvent(
        cx: &mut Machine,
        EventHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.read(EventHandle)?;
        let path = match path_of(cx, ObjectAttributes)? {
            Ok(path) => path,
            Err(status) => return Ok(status),
        };
        let attributes = cx
            .memory
            .get(ObjectAttributes, OBJECT_ATTRIBUTES::Attributes)?;
        match open_or_create(cx, &path, DesiredAccess, attributes, None)? {
            Ok((handle, _)) => {
                cx.memory.write(EventHandle, handle)?;
                Ok(STATUS_SUCCESS)
            }
            Err(status) => Ok(status),
        }
    }

    /// Sets an event to the signalled state.
    #[page("ntifs/nf-ntifs-zwsetevent")]
    #[irql(PASSIVE_LEVEL)]
    fn ZwSetEvent(
        cx: &mut Machine,
        EventHandle: u64,
        PreviousState: Gva<i32>,
    ) -> Result<NTSTATUS, Fault> {
        change(cx, EventHandle, PreviousState, true)
    }

    /// Sets an event to the not-signalled state.
    #[irql(PASSIVE_LEVEL)]
    #[assumed("as NtClearEvent of user mode; it has no page of its own")]
    fn ZwClearEvent(cx: &mut Machine, EventHandle: u64) -> Result<NTSTATUS, Fault> {
        change(cx, EventHandle, Gva::NULL, false)
    }

    /// Sets an event to the not-signalled state and gives the state before.
    #[irql(PASSIVE_LEVEL)]
    #[assumed("as NtResetEvent of user mode; it has no page of its own")]
    fn ZwResetEvent(
        cx: &mut Machine,
        EventHandle: u64,
        PreviousState: Gva<i32>,
    ) -> Result<NTSTATUS, Fault> {
        change(cx, EventHandle, PreviousState, false)
    }

    /// Waits for the object behind a handle.
    #[page("ntifs/nf-ntifs-zwwaitforsingleobject")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("alerts; objects other than events, threads, processes and files")]
    fn ZwWaitForSingleObject(
        cx: &mut Machine,
        Handle: u64,
        Alertable: bool,
        Timeout: Gva<LARGE_INTEGER>,
    ) -> Result<Flow, Fault> {
        let Some(entry) = handles::find(cx, Handle) else {
            return Ok(Flow::Return(u64::from(STATUS_INVALID_HANDLE.0)));
        };
        let object = match cx.ob.objects.get(&entry.object).map(|o| &o.kind) {
            Some(Kind::Event | Kind::Thread | Kind::Process) => {
                Gva::<DISPATCHER_HEADER>::new(entry.object)
            }
            Some(Kind::File) => Gva::<FILE_OBJECT>::new(entry.object)
                .at(FILE_OBJECT::Event)
                .cast(),
            _ => {
                return Ok(Flow::NotModelled(
                    "ZwWaitForSingleObject for an object of this type".into(),
                ));
            }
        };
        let timeout = waiting::timeout(cx, Timeout)?;
        Ok(waiting::wait(cx, vec![object], false, Alertable, timeout))
    }
}
