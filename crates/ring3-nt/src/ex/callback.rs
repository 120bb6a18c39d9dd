//! Callback objects: named lists of routines that one driver calls and others register.
//! Documentation: wdm.h, "Callback Objects".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::argument::Code;
use crate::layout::OBJECT_ATTRIBUTES;
use crate::machine::finding::Severity;
use crate::machine::modules::within;
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_OBJECT_NAME_NOT_FOUND,
    STATUS_OBJECT_TYPE_MISMATCH, STATUS_SUCCESS,
};
use crate::ob::Kind;

/// The objects that the system itself calls. By assumption they take any number of routines.
const SYSTEM: [&str; 3] = [
    r"\Callback\SetSystemTime",
    r"\Callback\PowerState",
    r"\Callback\ProcessorAdd",
];
/// Bytes of an object's body, which nobody looks into.
const BODY: u64 = 0x40;

/// A registered routine.
#[derive(Clone, Hash, Debug)]
pub struct Registration {
    /// What ExUnregisterCallback takes.
    pub handle: u64,
    /// The object.
    pub object: u64,
    /// The routine.
    pub routine: u64,
    /// Its first argument.
    pub context: u64,
    /// Who registered it: a return address.
    pub owner: u64,
}

/// Callback objects.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// Objects that take only one routine.
    single: Vec<u64>,
    /// Registered routines, in order.
    registrations: Vec<Registration>,
    next: u64,
}

/// Calls the routines of an object.
#[resumable]
fn notify(cx: &mut Machine, object: u64, first: u64, second: u64) {
    let called: Vec<Registration> = cx
        .ex
        .callbacks
        .registrations
        .iter()
        .filter(|r| r.object == object)
        .cloned()
        .collect();
    let mut next: usize = 0;
    while let Some(registration) = called.get(next).cloned() {
        next += 1;
        // A routine may have taken a later one back.
        if cx
            .ex
            .callbacks
            .registrations
            .iter()
            .any(|r| r.handle == registration.handle)
        {
            call!(registration.routine, registration.context, first, second);
        }
    }
}

/// Reports the routines that code of this image registered and did not take back.
pub fn report_left(cx: &mut Machine, base: u64, size: u32) {
    let inside = within(base, size);
    let left: Vec<Registration> = cx
        .ex
        .callbacks
        .registrations
        .iter()
        .filter(|r| inside(r.owner) || inside(r.routine))
        .cloned()
        .collect();
    for registration in left {
        let text = "a routine is still registered with a callback object after unload";
        cx.report_at(
            "callback/left",
            Severity::Error,
            text,
            registration.owner.wrapping_sub(1),
        );
    }
}

/// Routines on callback objects.
pub struct CallbackObjects;

#[exports("ntoskrnl.exe")]
impl CallbackObjects {
    /// Opens a callback object, or creates it.
    #[page("wdm/nf-wdm-excreatecallback")]
    #[irql(..=APC_LEVEL)]
    #[partial("the system's own objects are never notified")]
    fn ExCreateCallback(
        cx: &mut Machine,
        CallbackObject: Gva<u64>,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        Create: bool,
        AllowMultipleCallbacks: bool,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.read(CallbackObject)?;
        let path = if ObjectAttributes.is_null() {
            String::new()
        } else {
            match crate::ob::directories::path_of(cx, ObjectAttributes)? {
                Ok((path, _)) => path,
                Err(status) => return Ok(status),
            }
        };
        if !path.is_empty()
            && let Some(found) = cx.object_named(&path)
        {
            let kind = cx.ob.objects.get(&found).map(|o| &o.kind);
            if !matches!(kind, Some(Kind::Callback)) {
                return Ok(STATUS_OBJECT_TYPE_MISMATCH);
            }
            cx.reference_object(found);
            cx.memory.write(CallbackObject, found)?;
            return Ok(STATUS_SUCCESS);
        }
        let of_system = SYSTEM.iter().any(|name| name.eq_ignore_ascii_case(&path));
        if !Create && !of_system {
            return Ok(STATUS_OBJECT_NAME_NOT_FOUND);
        }
        let owner = if of_system { 0 } else { cx.caller };
        let Some(object) = cx.create_object(Kind::Callback, BODY, &path, owner) else {
            return Ok(STATUS_INSUFFICIENT_RESOURCES);
        };
        if of_system {
            cx.reference_object(object.raw());
        } else if !AllowMultipleCallbacks {
            cx.ex.callbacks.single.push(object.raw());
        }
        cx.memory.write(CallbackObject, object.raw())?;
        Ok(STATUS_SUCCESS)
    }

    /// Registers a routine; NULL if the object takes no more.
    #[page("wdm/nf-wdm-exregistercallback")]
    #[irql(..=APC_LEVEL)]
    fn ExRegisterCallback(
        cx: &mut Machine,
        CallbackObject: u64,
        CallbackFunction: Gva<Code>,
        CallbackContext: u64,
    ) -> Gva {
        let state = &cx.ex.callbacks;
        let taken = state
            .registrations
            .iter()
            .any(|r| r.object == CallbackObject);
        if taken && state.single.contains(&CallbackObject)
            || cx.reference_object(CallbackObject).is_none()
        {
            return Gva::NULL;
        }
        let owner = cx.caller;
        let state = &mut cx.ex.callbacks;
        state.next += 1;
        // Not a pointer that anybody may use, but as recognisable as one.
        let handle = 0xffff_cb00_0000_0000 | state.next << 4;
        let routine = CallbackFunction.raw();
        let registration = Registration {
            handle,
            object: CallbackObject,
            routine,
            context: CallbackContext,
            owner,
        };
        state.registrations.push(registration);
        Gva::new(handle)
    }

    /// Takes a routine back.
    #[page("wdm/nf-wdm-exunregistercallback")]
    #[irql(..=APC_LEVEL)]
    #[partial("does not wait for the routine to end on other threads")]
    fn ExUnregisterCallback(cx: &mut Machine, CbRegistration: u64) {
        let found = cx
            .ex
            .callbacks
            .registrations
            .iter()
            .position(|r| r.handle == CbRegistration);
        match found {
            Some(at) => {
                let registration = cx.ex.callbacks.registrations.remove(at);
                cx.dereference_object(registration.object);
            }
            None => {
                let text = format!("{CbRegistration:#x} is no registration with a callback object");
                cx.report("callback/bad-registration", Severity::Error, text);
            }
        }
    }

    /// Calls the routines that are registered with an object.
    #[page("wdm/nf-wdm-exnotifycallback")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(())]
    fn ExNotifyCallback(
        cx: &mut Machine,
        CallbackObject: u64,
        Argument1: u64,
        Argument2: u64,
    ) -> crate::flow::Flow {
        let _ = &cx;
        crate::flow::Flow::Become(notify(CallbackObject, Argument1, Argument2))
    }
}
