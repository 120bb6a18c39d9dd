//! Waiting. Documentation: wdm.h, "KeWaitForSingleObject" and neighbours.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::dispatcher;
use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Exception, Flow, Pass, Until};
use crate::layout::{DISPATCHER_HEADER, KMUTANT, KTHREAD, LARGE_INTEGER};
use crate::locks::{Kind, Mode};
use crate::machine::finding::Severity;
use crate::machine::wait::Wait;
use crate::ntstatus::{NTSTATUS, STATUS_MUTANT_LIMIT_EXCEEDED, STATUS_TIMEOUT};

/// A timeout as Windows takes it: negative is relative, positive absolute system time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// No timeout.
    Never,
    /// Test only.
    Zero,
    /// Due at this virtual time (100 ns since boot).
    Due(u64),
}

/// Turns a signed Windows time into a point in virtual time.
#[must_use]
pub fn due_time(cx: &Machine, value: i64) -> u64 {
    if value <= 0 {
        cx.clock.now().saturating_add(value.unsigned_abs())
    } else {
        // Absolute system time; a point in the past is due now.
        let behind = (value as u64).saturating_sub(cx.clock.system());
        cx.clock.now().saturating_add(behind)
    }
}

/// Reads the `Timeout` argument of a wait.
///
/// # Errors
/// A fault if it cannot be read.
pub fn timeout(cx: &Machine, pointer: Gva<LARGE_INTEGER>) -> Result<Timeout, Fault> {
    if pointer.is_null() {
        return Ok(Timeout::Never);
    }
    let value: i64 = cx.memory.read(pointer.cast())?;
    Ok(if value == 0 {
        Timeout::Zero
    } else {
        Timeout::Due(due_time(cx, value))
    })
}

/// The `Wait` argument of routines that signal: TRUE promises that a wait is the next call, and nothing
/// comes between the two. The dispatcher stays locked, so the caller goes on at DISPATCH_LEVEL.
pub fn keep_for_wait(cx: &mut Machine, wait: bool) {
    if wait {
        let level = cx.irql();
        cx.thread_mut().wait_next = Some(level);
        cx.set_irql(level.max(DISPATCH_LEVEL));
    }
}

/// Whether a thread owns a mutex as often as it may.
fn at_mutex_limit(cx: &Machine, object: Gva<DISPATCHER_HEADER>) -> bool {
    let is_mutant = cx
        .memory
        .get(object, DISPATCHER_HEADER::Type)
        .is_ok_and(|t| t & 0x7f == dispatcher::kind::MUTANT);
    let owner = || cx.memory.get(object.cast(), KMUTANT::OwnerThread);
    let state: i32 = cx
        .memory
        .get(object, DISPATCHER_HEADER::SignalState)
        .unwrap_or(0);
    is_mutant && state == i32::MIN && owner().is_ok_and(|o| o.raw() == cx.thread().object.raw())
}

/// Waits for objects, as the current thread.
pub fn wait(
    cx: &mut Machine,
    objects: Vec<Gva<DISPATCHER_HEADER>>,
    all: bool,
    alertable: bool,
    timeout: Timeout,
) -> Flow {
    if let Some(level) = cx.thread_mut().wait_next.take() {
        cx.set_irql(level);
    }
    let thread = cx.thread().id;
    if objects.iter().any(|o| at_mutex_limit(cx, *o)) {
        return Flow::Raise(Exception::new(STATUS_MUTANT_LIMIT_EXCEEDED));
    }
    // Whoever gives up after a time is not stuck, and one of several objects is enough.
    let mutexes = if timeout == Timeout::Never && (all || objects.len() == 1) {
        dispatcher::mutexes(cx, &objects)
    } else {
        Vec::new()
    };
    for mutex in &mutexes {
        cx.lock_wanted(Kind::Mutex, *mutex, Mode::Exclusive, false);
    }
    if let Some(result) = dispatcher::try_satisfy(cx, &objects, all, thread) {
        return Flow::Return(result);
    }
    let due = match timeout {
        Timeout::Zero => return Flow::Return(u64::from(STATUS_TIMEOUT.0)),
        Timeout::Never => None,
        Timeout::Due(due) => Some(due),
    };
    if alertable && let Some(status) = super::alert::pending(cx) {
        return Flow::Return(u64::from(status.0));
    }
    if cx.irql() >= DISPATCH_LEVEL {
        let level = cx.irql();
        cx.report(
            "irql/wait",
            Severity::Error,
            format!("a wait that must block at IRQL {level}"),
        );
        // Windows would switch threads at DISPATCH_LEVEL: ATTEMPTED_SWITCH_FROM_DPC.
        let thread = cx.thread().object.raw();
        return Flow::Bugcheck(0xb8, [thread, 0, 0, 0]);
    }
    for mutex in mutexes {
        cx.lock_waited_for(Kind::Mutex, mutex, Mode::Exclusive);
    }
    Flow::Wait(
        Wait::Objects {
            objects,
            all,
            alertable,
            due,
        },
        Box::new(Pass),
    )
}

/// `DelayExecution` of the KWAIT_REASON enumeration.
const DELAY_EXECUTION: u32 = 4;

/// Leaves in the thread why and for whom it waits: `KTHREAD.WaitReason`, `KTHREAD.WaitMode`.
fn note_wait(cx: &mut Machine, reason: u32, mode: u8) {
    let thread = cx.thread().object.cast::<KTHREAD>();
    let _ = cx.memory.set(thread, KTHREAD::WaitReason, reason as u8);
    let _ = cx.memory.set(thread, KTHREAD::WaitMode, mode as i8);
}

/// A delay that an alert or a user APC may end; to be over is success.
#[resumable]
fn alertable_delay(cx: &mut Machine, due: u64) -> u64 {
    let _ = &cx;
    let status: u64 = wait!(Wait::Objects {
        objects: Vec::new(),
        all: false,
        alertable: true,
        due: Some(due),
    });
    if status == u64::from(STATUS_TIMEOUT.0) {
        return 0;
    }
    status
}

/// Routines that wait.
pub struct Waiting;

#[exports("ntoskrnl.exe")]
impl Waiting {
    /// Puts the thread into a wait until an object is signalled or the time is over.
    #[page("wdm/nf-wdm-kewaitforsingleobject")]
    #[alias("KeWaitForMutexObject")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(NTSTATUS)]
    fn KeWaitForSingleObject(
        cx: &mut Machine,
        Object: Gva<DISPATCHER_HEADER>,
        WaitReason: u32,
        WaitMode: u8,
        Alertable: bool,
        Timeout: Gva<LARGE_INTEGER>,
    ) -> Result<Flow, Fault> {
        note_wait(cx, WaitReason, WaitMode);
        cx.memory.get(Object, DISPATCHER_HEADER::SignalState)?;
        let timeout = timeout(cx, Timeout)?;
        Ok(wait(cx, vec![Object], false, Alertable, timeout))
    }

    /// Puts the thread into a wait for several objects.
    #[page("wdm/nf-wdm-kewaitformultipleobjects")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(NTSTATUS)]
    fn KeWaitForMultipleObjects(
        cx: &mut Machine,
        Count: u32,
        Object: Gva<u64>,
        WaitType: u32,
        WaitReason: u32,
        WaitMode: u8,
        Alertable: bool,
        Timeout: Gva<LARGE_INTEGER>,
        WaitBlockArray: Gva<u64>,
    ) -> Result<Flow, Fault> {
        note_wait(cx, WaitReason, WaitMode);
        // THREAD_WAIT_OBJECTS 3 without an array of wait blocks, MAXIMUM_WAIT_OBJECTS 64 with one:
        // MAXIMUM_WAIT_OBJECTS_EXCEEDED.
        if Count > 64 || Count > 3 && WaitBlockArray.is_null() || Count == 0 {
            return Ok(Flow::Bugcheck(0x0c, [0; 4]));
        }
        let mut objects = Vec::new();
        for i in 0..u64::from(Count) {
            let object = Gva::<DISPATCHER_HEADER>::new(cx.memory.read(Object.add(i))?);
            cx.memory.get(object, DISPATCHER_HEADER::SignalState)?;
            objects.push(object);
        }
        let timeout = timeout(cx, Timeout)?;
        Ok(wait(cx, objects, WaitType == 0, Alertable, timeout))
    }

    /// Puts the thread into a wait for a time.
    #[page("wdm/nf-wdm-kedelayexecutionthread")]
    #[irql(..=APC_LEVEL)]
    #[returns(NTSTATUS)]
    fn KeDelayExecutionThread(
        cx: &mut Machine,
        WaitMode: u8,
        Alertable: bool,
        Interval: Gva<LARGE_INTEGER>,
    ) -> Result<Flow, Fault> {
        note_wait(cx, DELAY_EXECUTION, WaitMode);
        let timeout = timeout(cx, Interval)?;
        if Alertable && let Some(status) = super::alert::pending(cx) {
            return Ok(Flow::Return(u64::from(status.0)));
        }
        Ok(match timeout {
            Timeout::Zero | Timeout::Never => {
                // The rest of the quantum goes to others of the same priority.
                cx.yield_processor();
                Flow::Return(0)
            }
            Timeout::Due(due) if Alertable => Flow::Become(alertable_delay(due)),
            Timeout::Due(due) => Flow::Wait(Wait::Until(due), Box::new(Pass)),
        })
    }

    /// Keeps the processor busy for a number of microseconds.
    #[page("wdm/nf-wdm-kestallexecutionprocessor")]
    #[irql(any)]
    #[hal]
    #[returns(())]
    fn KeStallExecutionProcessor(cx: &mut Machine, MicroSeconds: u32) -> Flow {
        if MicroSeconds > 50 {
            let text = format!(
                "KeStallExecutionProcessor for {MicroSeconds} µs; its documentation asks for at most 50"
            );
            cx.report("time/long-stall", Severity::Warning, text);
        }
        let due = cx.clock.now() + u64::from(MicroSeconds) * 10;
        Flow::Spin(Until::Time(due), Box::new(Pass))
    }
}
