//! Registering routines that are told of processes, threads and images. Documentation: ntddk.h.

use ring3_macros::{exports, resumable};
use ring3_memory::Gva;

use super::notify::{Event, Routine, done_key};
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::machine::wait::Wait;
use crate::ntstatus::{
    NTSTATUS, STATUS_ACCESS_DENIED, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER,
    STATUS_PROCEDURE_NOT_FOUND, STATUS_SUCCESS,
};

/// Routines of one kind at most (PsSetLoadImageNotifyRoutine, "Remarks").
const MOST: usize = 64;
/// `IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY`.
const FORCE_INTEGRITY: u16 = 0x80;
/// `PsCreateThreadNotifyNonSystem`, `PsCreateThreadNotifySubsystems`.
const NON_SYSTEM: u32 = 0;
const SUBSYSTEMS: u32 = 1;

/// Whether the image with this code was linked to be checked before it is loaded.
#[must_use]
pub fn is_integrity_checked(cx: &Machine, address: u64) -> bool {
    let module = cx.modules.at(address);
    module
        .and_then(|m| m.image.as_ref())
        .is_some_and(|i| i.dll_characteristics & FORCE_INTEGRITY != 0)
}

fn add(cx: &mut Machine, event: Event, address: u64, duplicate: bool, full: NTSTATUS) -> NTSTATUS {
    let same = |r: &&Routine| r.event == event;
    let all = &cx.ps.notify.routines;
    if duplicate && all.iter().filter(same).any(|r| r.address == address) {
        return STATUS_INVALID_PARAMETER;
    }
    if all.iter().filter(same).count() >= MOST {
        return full;
    }
    let owner = cx.caller;
    cx.ps.notify.routines.push(Routine {
        event,
        address,
        owner,
    });
    STATUS_SUCCESS
}

/// Takes a routine off the list and waits until no thread is in it.
#[resumable]
fn remove(cx: &mut Machine, events: Vec<Event>, address: u64, missing: NTSTATUS) -> NTSTATUS {
    let wanted = |r: &Routine| events.contains(&r.event) && r.address == address;
    let found = cx.ps.notify.routines.iter().position(wanted);
    let Some(at) = found else {
        return missing;
    };
    cx.ps.notify.routines.remove(at);
    while cx.ps.notify.running.contains_key(&address) {
        wait!(Wait::On(done_key(address)));
    }
    STATUS_SUCCESS
}

fn process_routine(cx: &mut Machine, event: Event, address: u64, take_back: bool) -> Flow {
    if take_back {
        return Flow::Become(remove(vec![event], address, STATUS_PROCEDURE_NOT_FOUND));
    }
    if event == Event::ProcessEx && !is_integrity_checked(cx, address) {
        return Flow::Return(u64::from(STATUS_ACCESS_DENIED.0));
    }
    let status = add(cx, event, address, true, STATUS_INVALID_PARAMETER);
    Flow::Return(u64::from(status.0))
}

/// Routines that register notify routines.
pub struct NotifyRoutines;

#[exports("ntoskrnl.exe")]
impl NotifyRoutines {
    /// Registers a routine that is told of processes, or takes it back.
    #[page("ntddk/nf-ntddk-pssetcreateprocessnotifyroutine")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn PsSetCreateProcessNotifyRoutine(
        cx: &mut Machine,
        NotifyRoutine: Gva<Code>,
        Remove: bool,
    ) -> Flow {
        process_routine(cx, Event::Process, NotifyRoutine.raw(), Remove)
    }

    /// Registers a routine that is told more of processes and may refuse them, or takes it back.
    #[page("ntddk/nf-ntddk-pssetcreateprocessnotifyroutineex")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[assumed("a process that is refused is never told of as ended")]
    fn PsSetCreateProcessNotifyRoutineEx(
        cx: &mut Machine,
        NotifyRoutine: Gva<Code>,
        Remove: bool,
    ) -> Flow {
        process_routine(cx, Event::ProcessEx, NotifyRoutine.raw(), Remove)
    }

    /// The same, for processes of all subsystems.
    #[page("ntddk/nf-ntddk-pssetcreateprocessnotifyroutineex2")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn PsSetCreateProcessNotifyRoutineEx2(
        cx: &mut Machine,
        NotifyType: u32,
        NotifyInformation: Gva<Code>,
        Remove: bool,
    ) -> Flow {
        // PsCreateProcessNotifySubsystems is the only type.
        if NotifyType != 0 {
            return Flow::Return(u64::from(STATUS_INVALID_PARAMETER.0));
        }
        process_routine(cx, Event::ProcessEx, NotifyInformation.raw(), Remove)
    }

    /// Registers a routine that is told of threads.
    #[page("ntddk/nf-ntddk-pssetcreatethreadnotifyroutine")]
    #[irql(PASSIVE_LEVEL)]
    #[partial(
        "further threads that a workload needs for calls that block are not told of before they end"
    )]
    fn PsSetCreateThreadNotifyRoutine(cx: &mut Machine, NotifyRoutine: Gva<Code>) -> NTSTATUS {
        let full = STATUS_INSUFFICIENT_RESOURCES;
        add(cx, Event::Thread, NotifyRoutine.raw(), false, full)
    }

    /// Registers a routine that is told of threads, in the thread or in its creator.
    #[page("ntddk/nf-ntddk-pssetcreatethreadnotifyroutineex")]
    #[irql(PASSIVE_LEVEL)]
    fn PsSetCreateThreadNotifyRoutineEx(
        cx: &mut Machine,
        NotifyType: u32,
        NotifyInformation: Gva<Code>,
    ) -> NTSTATUS {
        let event = match NotifyType {
            NON_SYSTEM => Event::ThreadNonSystem,
            SUBSYSTEMS => Event::Thread,
            _ => return STATUS_INVALID_PARAMETER,
        };
        let full = STATUS_INSUFFICIENT_RESOURCES;
        add(cx, event, NotifyInformation.raw(), false, full)
    }

    /// Takes back a routine that is told of threads.
    #[page("ntddk/nf-ntddk-psremovecreatethreadnotifyroutine")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn PsRemoveCreateThreadNotifyRoutine(cx: &mut Machine, NotifyRoutine: Gva<Code>) -> Flow {
        let _ = &cx;
        let events = vec![Event::Thread, Event::ThreadNonSystem];
        let missing = STATUS_PROCEDURE_NOT_FOUND;
        Flow::Become(remove(events, NotifyRoutine.raw(), missing))
    }

    /// Registers a routine that is told of images.
    #[page("ntddk/nf-ntddk-pssetloadimagenotifyroutine")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("of a process only its own image is told of: no DLL is loaded")]
    fn PsSetLoadImageNotifyRoutine(cx: &mut Machine, NotifyRoutine: Gva<Code>) -> NTSTATUS {
        let full = STATUS_INSUFFICIENT_RESOURCES;
        add(cx, Event::Image, NotifyRoutine.raw(), false, full)
    }

    /// Registers a routine that is told of images, those of another processor architecture too if wanted.
    #[page("ntddk/nf-ntddk-pssetloadimagenotifyroutineex")]
    #[irql(PASSIVE_LEVEL)]
    #[partial("of a process only its own image is told of: no DLL is loaded")]
    fn PsSetLoadImageNotifyRoutineEx(
        cx: &mut Machine,
        NotifyRoutine: Gva<Code>,
        Flags: u64,
    ) -> NTSTATUS {
        // PS_IMAGE_NOTIFY_CONFLICTING_ARCHITECTURE is the only flag.
        if Flags & !1 != 0 {
            return STATUS_INVALID_PARAMETER;
        }
        let full = STATUS_INSUFFICIENT_RESOURCES;
        add(cx, Event::Image, NotifyRoutine.raw(), false, full)
    }

    /// Takes back a routine that is told of images.
    #[page("ntddk/nf-ntddk-psremoveloadimagenotifyroutine")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn PsRemoveLoadImageNotifyRoutine(cx: &mut Machine, NotifyRoutine: Gva<Code>) -> Flow {
        let _ = &cx;
        let missing = STATUS_PROCEDURE_NOT_FOUND;
        Flow::Become(remove(vec![Event::Image], NotifyRoutine.raw(), missing))
    }
}
