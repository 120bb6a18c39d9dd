//! Alerts, and the exports on APCs. Documentation: "Do waiting threads receive alerts and APCs?".
//!
//! The APC routines are exported and in use, though no page documents them; their prototypes are in public
//! headers.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::apc;
use crate::Machine;
use crate::export::argument::Code;
use crate::layout::{KAPC, KAPC_STATE, KTHREAD};
use crate::machine::thread::ThreadState;
use crate::machine::wait::Wait;
use crate::ntstatus::{NTSTATUS, STATUS_ALERTED, STATUS_USER_APC};

/// `KTHREAD.Alerted`: one byte for each mode.
fn alerted(thread: Gva<KTHREAD>, mode: i8) -> Gva<u8> {
    thread
        .at(KTHREAD::Alerted)
        .cast::<u8>()
        .byte_add(u64::from(mode & 1 != 0))
}

/// What ends an alertable wait of the current thread at once: an alert of its mode, a queued user APC, or
/// for user-mode waits an alert of kernel mode.
pub(super) fn pending(cx: &mut Machine) -> Option<NTSTATUS> {
    let thread = cx.thread().object.cast::<KTHREAD>();
    let mode: i8 = cx.memory.get(thread, KTHREAD::WaitMode).unwrap_or(0);
    if cx.memory.read(alerted(thread, mode)).unwrap_or(0) != 0 {
        let _ = cx.memory.write(alerted(thread, mode), 0);
        return Some(STATUS_ALERTED);
    }
    if mode == apc::USER_MODE && apc::has_user_apcs(cx, cx.thread().id) {
        let state = thread.at(KTHREAD::ApcState);
        let _ = KAPC_STATE::UserApcPending.write(&mut cx.memory, state, 1);
        cx.thread_mut().user_apc = true;
        return Some(STATUS_USER_APC);
    }
    if mode == apc::USER_MODE && cx.memory.read(alerted(thread, 0)).unwrap_or(0) != 0 {
        let _ = cx.memory.write(alerted(thread, 0), 0);
        return Some(STATUS_ALERTED);
    }
    None
}

/// Routines on APCs and alerts.
pub struct Apcs;

#[exports("ntoskrnl.exe")]
impl Apcs {
    /// Initialises an APC for a thread.
    #[page("kernel/types-of-apcs")]
    #[irql(any)]
    fn KeInitializeApc(
        cx: &mut Machine,
        Apc: Gva<KAPC>,
        Thread: Gva<KTHREAD>,
        Environment: u32,
        KernelRoutine: Gva<Code>,
        RundownRoutine: Gva<Code>,
        NormalRoutine: Gva<Code>,
        ProcessorMode: i8,
        NormalContext: Gva,
    ) -> Result<(), Fault> {
        /// `CurrentApcEnvironment` of the KAPC_ENVIRONMENT enumeration.
        const CURRENT_APC_ENVIRONMENT: u32 = 2;
        let index = if Environment == CURRENT_APC_ENVIRONMENT {
            cx.memory.get(Thread, KTHREAD::ApcStateIndex)? as i8
        } else {
            Environment as i8
        };
        let m = &mut cx.memory;
        m.set(Apc, KAPC::Type, super::suspend::APC_OBJECT)?;
        m.set(Apc, KAPC::Size, KAPC::SIZE as u8)?;
        m.set(Apc, KAPC::Thread, Thread)?;
        m.set(Apc, KAPC::KernelRoutine, KernelRoutine)?;
        m.set(Apc, KAPC::RundownRoutine, RundownRoutine)?;
        m.set(Apc, KAPC::NormalRoutine, NormalRoutine)?;
        m.set(Apc, KAPC::ApcStateIndex, index)?;
        m.set(Apc, KAPC::Inserted, 0u8)?;
        // A special kernel APC has neither mode nor context.
        let special = NormalRoutine.is_null();
        let mode = if special { 0 } else { ProcessorMode };
        let context = if special { Gva::NULL } else { NormalContext };
        m.set(Apc, KAPC::ApcMode, mode)?;
        m.set(Apc, KAPC::NormalContext, context.cast())
    }

    /// Queues an APC; FALSE if it is queued already.
    #[page("kernel/types-of-apcs")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeInsertQueueApc(
        cx: &mut Machine,
        Apc: Gva<KAPC>,
        SystemArgument1: Gva,
        SystemArgument2: Gva,
        Increment: i32,
    ) -> Result<bool, Fault> {
        apc::insert(
            cx,
            Apc,
            [SystemArgument1.cast(), SystemArgument2.cast()],
            Increment,
        )
    }

    /// Alerts a thread: an alertable wait of the mode ends. TRUE if it was alerted already.
    #[page("kernel/do-waiting-threads-receive-alerts-and-apcs-")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeAlertThread(cx: &mut Machine, Thread: Gva<KTHREAD>, AlertMode: i8) -> Result<bool, Fault> {
        let at = alerted(Thread, AlertMode);
        if cx.memory.read(at)? != 0 {
            return Ok(true);
        }
        let mode: i8 = cx.memory.get(Thread, KTHREAD::WaitMode)?;
        let waits = cx.thread_of_object(Thread.raw()).filter(|t| {
            AlertMode <= mode
                && matches!(
                    &t.state,
                    ThreadState::Waiting(
                        Wait::Objects {
                            alertable: true,
                            ..
                        },
                        _
                    )
                )
        });
        match waits.map(|t| t.id) {
            Some(id) => cx.make_ready(id, u64::from(STATUS_ALERTED.0)),
            None => cx.memory.write(at, 1)?,
        }
        Ok(false)
    }

    /// Takes an alert of the current thread back; TRUE if there was one.
    #[page("kernel/do-waiting-threads-receive-alerts-and-apcs-")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeTestAlertThread(cx: &mut Machine, AlertMode: i8) -> Result<bool, Fault> {
        let thread = cx.thread().object.cast::<KTHREAD>();
        let at = alerted(thread, AlertMode);
        let was = cx.memory.read(at)? != 0;
        cx.memory.write(at, 0)?;
        if !was && AlertMode == apc::USER_MODE && apc::has_user_apcs(cx, cx.thread().id) {
            let state = thread.at(KTHREAD::ApcState);
            KAPC_STATE::UserApcPending.write(&mut cx.memory, state, 1)?;
            cx.thread_mut().user_apc = true;
        }
        Ok(was)
    }
}
