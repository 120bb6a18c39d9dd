//! Telling drivers of processes, threads and images. Documentation: ntddk.h, "PsSetCreateProcessNotifyRoutine",
//! "PsSetCreateThreadNotifyRoutine", "PsSetLoadImageNotifyRoutine".

use std::collections::BTreeMap;

use ring3_macros::resumable;
use ring3_memory::Gva;

use super::processes::{image_path, pool_string};
use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::flow::{Flow, Key};
use crate::ke::level::region;
use crate::layout::{CLIENT_ID, PS_CREATE_NOTIFY_INFO};
use crate::machine::finding::Severity;
use crate::machine::modules::within;
use crate::machine::thread::{ProcessId, ThreadId};
use crate::ntstatus::{NTSTATUS, STATUS_SUCCESS};

/// What a routine is told of.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Processes, by id.
    Process,
    /// Processes, with a structure that tells more and may refuse.
    ProcessEx,
    /// Threads, in the thread that creates them.
    Thread,
    /// Threads of user processes, in the new thread itself.
    ThreadNonSystem,
    /// Images.
    Image,
}

impl Event {
    /// As a sentence calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Process | Self::ProcessEx => "process",
            Self::Thread | Self::ThreadNonSystem => "thread",
            Self::Image => "image load",
        }
    }
}

/// A registered routine.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Routine {
    /// What it is told of.
    pub event: Event,
    /// Its address.
    pub address: u64,
    /// Who registered it: a return address.
    pub owner: u64,
}

/// Registered routines.
#[derive(Clone, Hash, Debug, Default)]
pub struct State {
    /// In order of registration.
    pub routines: Vec<Routine>,
    /// How many threads are in which routine.
    pub running: BTreeMap<u64, u32>,
}

const TAG: u32 = u32::from_le_bytes(*b"PsNi");
/// `IMAGE_INFO` of ntddk.h: 28h bytes.
const IMAGE_INFO: u64 = 0x28;
/// `IMAGE_ADDRESSING_MODE_32BIT`, in the lowest 8 bits of `IMAGE_INFO.Properties`.
const ADDRESSING_MODE: u32 = 3;
/// `SystemModeImage`.
const SYSTEM_MODE: u32 = 1 << 8;

/// What a thread waits for that is not to run before everybody has been told.
#[must_use]
pub const fn start_key(thread: ThreadId) -> Key {
    Key::new("thread-start", thread.0 as u64)
}

/// What a removal waits for.
#[must_use]
pub const fn done_key(address: u64) -> Key {
    Key::new("notify-done", address)
}

fn registered(cx: &Machine, event: Event) -> Vec<Routine> {
    let all = cx.ps.notify.routines.iter();
    all.filter(|r| r.event == event).cloned().collect()
}

/// Calls routines one after another, each in a critical region.
#[resumable]
pub fn call_all(cx: &mut Machine, routines: Vec<Routine>, first: u64, second: u64, third: u64) {
    let mut next: usize = 0;
    while let Some(routine) = routines.get(next).cloned() {
        next += 1;
        // An earlier one may have taken it back.
        if !cx.ps.notify.routines.contains(&routine) {
            continue;
        }
        let address: u64 = routine.address;
        cx.trace.event("notify", &[address, first, second, third]);
        *cx.ps.notify.running.entry(address).or_default() += 1;
        let _ = region(cx, false, -1);
        call!(address, first, second, third);
        let _ = region(cx, false, 1);
        if cx.irql() != 0 {
            let text = format!("a notify routine returned at IRQL {}", cx.irql());
            cx.report("irql/notify-routine", Severity::Error, text);
            cx.set_irql(0);
        }
        if let Some(count) = cx.ps.notify.running.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                cx.ps.notify.running.remove(&address);
            }
        }
        cx.wake(done_key(address));
    }
}

/// The structure for PsSetCreateProcessNotifyRoutineEx, and the name in it. 0 if memory is used up.
fn create_info(cx: &mut Machine, process: ProcessId) -> (u64, u64) {
    let path = image_path(cx, process);
    let Ok(Some(name)) = pool_string(cx, Pool::Paged, TAG, &path, 0) else {
        return (0, 0);
    };
    let Some(block) = cx.pool_allocate(Pool::NonPaged, PS_CREATE_NOTIFY_INFO::SIZE, TAG) else {
        return (0, name.raw());
    };
    let info: Gva<PS_CREATE_NOTIFY_INFO> = block.cast();
    let (parent, thread) = (cx.thread().process.guest(), cx.thread().id.guest());
    let m = &mut cx.memory;
    let _ = m.set(
        info,
        PS_CREATE_NOTIFY_INFO::Size,
        PS_CREATE_NOTIFY_INFO::SIZE,
    );
    // FileOpenNameAvailable: ImageFileName is the name by which the file was opened.
    let _ = m.set(info, PS_CREATE_NOTIFY_INFO::Flags, 1);
    let _ = m.set(
        info,
        PS_CREATE_NOTIFY_INFO::ParentProcessId,
        Gva::new(parent),
    );
    let creator = info.at(PS_CREATE_NOTIFY_INFO::CreatingThreadId);
    let _ = m.set(creator, CLIENT_ID::UniqueProcess, Gva::new(parent));
    let _ = m.set(creator, CLIENT_ID::UniqueThread, Gva::new(thread));
    let _ = m.set(info, PS_CREATE_NOTIFY_INFO::ImageFileName, name);
    let _ = m.set(info, PS_CREATE_NOTIFY_INFO::CommandLine, name);
    let _ = m.set(info, PS_CREATE_NOTIFY_INFO::CreationStatus, STATUS_SUCCESS);
    (info.raw(), name.raw())
}

/// A process is there and has not run yet. The status that its creation is to have.
#[resumable]
pub fn process_created(cx: &mut Machine, process: ProcessId) -> NTSTATUS {
    let object: u64 = cx.processes.get(&process).map_or(0, |p| p.object.raw());
    let parent: u64 = cx.thread().process.guest();
    let plain = registered(cx, Event::Process);
    host!(call_all(plain, parent, process.guest(), 1));
    let more = registered(cx, Event::ProcessEx);
    if more.is_empty() {
        return STATUS_SUCCESS;
    }
    let (made, text) = create_info(cx, process);
    let info: u64 = made;
    let name: u64 = text;
    if info != 0 {
        host!(call_all(more, object, process.guest(), info));
    }
    let status: NTSTATUS = cx
        .memory
        .peek(Gva::<PS_CREATE_NOTIFY_INFO>::new(info).at(PS_CREATE_NOTIFY_INFO::CreationStatus))
        .unwrap_or(STATUS_SUCCESS);
    for block in [info, name] {
        if block != 0 {
            cx.pool_free(Gva::new(block));
        }
    }
    status
}

/// A process ends; the last of its threads tells.
#[resumable]
pub fn process_ended(cx: &mut Machine, process: ProcessId) {
    let object: u64 = cx.processes.get(&process).map_or(0, |p| p.object.raw());
    let parent: u64 = cx
        .memory
        .peek(
            Gva::<crate::layout::EPROCESS>::new(object)
                .at(crate::layout::EPROCESS::InheritedFromUniqueProcessId),
        )
        .map_or(0, |id| id.raw());
    let plain = registered(cx, Event::Process);
    host!(call_all(plain, parent, process.guest(), 0));
    let more = registered(cx, Event::ProcessEx);
    host!(call_all(more, object, process.guest(), 0));
}

/// A thread is there and has not run yet.
#[resumable]
pub fn thread_created(cx: &mut Machine, thread: ThreadId) {
    let process: u64 = cx.thread_by(thread).process.guest();
    let routines = registered(cx, Event::Thread);
    host!(call_all(routines, process, thread.guest(), 1));
}

/// What a new thread of a user process does first: it tells of itself where that is asked for, and the first one
/// tells of the image.
#[resumable]
pub fn thread_started(cx: &mut Machine) {
    let process: ProcessId = cx.thread().process;
    let thread: u64 = cx.thread().id.guest();
    if process == ProcessId::SYSTEM {
        return;
    }
    let routines = registered(cx, Event::ThreadNonSystem);
    host!(call_all(routines, process.guest(), thread, 1));
    let Some(details) = cx.ps.processes.get_mut(&process).filter(|d| !d.image_told) else {
        return;
    };
    details.image_told = true;
    let (path, base, wow64) = (details.image.clone(), details.image_base, details.wow64);
    let mode = if wow64 { 2 } else { ADDRESSING_MODE };
    let size = super::create::IMAGE_SIZE;
    host!(image_loaded(path, process.guest(), base, size, mode));
}

/// A thread ends, by its own doing.
#[resumable]
pub fn thread_ended(cx: &mut Machine) {
    let process: u64 = cx.thread().process.guest();
    let thread: u64 = cx.thread().id.guest();
    let mut routines = registered(cx, Event::Thread);
    if cx.thread().process != ProcessId::SYSTEM {
        routines.extend(registered(cx, Event::ThreadNonSystem));
    }
    host!(call_all(routines, process, thread, 0));
}

/// Tells, and ends the current thread.
#[resumable]
pub fn end_thread(cx: &mut Machine) -> Flow {
    if let Some(flow) = super::attach::ended_attached(cx) {
        return flow;
    }
    let (process, thread) = (cx.thread().process, cx.thread().id);
    let told = cx.ps.processes.get(&process).and_then(|d| d.told_end);
    if told != Some(thread) {
        host!(thread_ended());
    }
    Flow::ThreadEnd
}

/// A driver's image is there and has not run yet.
#[resumable]
pub fn driver_loaded(cx: &mut Machine, base: u64) {
    let Some(module) = cx.modules.at(base).cloned() else {
        return;
    };
    let path = format!(r"\SystemRoot\System32\drivers\{}", module.name);
    let size = u64::from(module.size);
    host!(image_loaded(
        path,
        0,
        base,
        size,
        ADDRESSING_MODE | SYSTEM_MODE
    ));
}

/// An image was mapped.
#[resumable]
fn image_loaded(
    cx: &mut Machine,
    path: String,
    process: u64,
    base: u64,
    size: u64,
    properties: u32,
) {
    let routines = registered(cx, Event::Image);
    if routines.is_empty() {
        return;
    }
    let Ok(Some(text)) = pool_string(cx, Pool::Paged, TAG, &path, 0) else {
        return;
    };
    let name: u64 = text.raw();
    let Some(block) = cx.pool_allocate(Pool::NonPaged, IMAGE_INFO, TAG) else {
        cx.pool_free(Gva::new(name));
        return;
    };
    let info: u64 = block.raw();
    // Properties, ImageBase, ImageSelector, ImageSize, ImageSectionNumber.
    let _ = cx.memory.write(Gva::<u32>::new(info), properties);
    let _ = cx.memory.write(Gva::<u64>::new(info + 8), base);
    let _ = cx.memory.write(Gva::<u64>::new(info + 0x18), size);
    host!(call_all(routines, name, process, info));
    cx.pool_free(Gva::new(info));
    cx.pool_free(Gva::new(name));
}

/// Reports the routines that code of this image registered and did not take back.
pub fn report_left(cx: &mut Machine, base: u64, size: u32) {
    let inside = within(base, size);
    let left: Vec<Routine> = cx
        .ps
        .notify
        .routines
        .iter()
        .filter(|r| inside(r.address) || inside(r.owner))
        .cloned()
        .collect();
    for routine in left {
        let text = format!(
            "a {} notify routine is still registered after unload",
            routine.event.name()
        );
        cx.report_at(
            "process/notify-left",
            Severity::Error,
            text,
            routine.owner.wrapping_sub(1),
        );
    }
}
