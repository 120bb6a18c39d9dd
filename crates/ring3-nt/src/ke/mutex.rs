//! Mutexes and mutants. Documentation: "Mutex Objects", wdm.h.
//!
//! A thread that owns a KMUTEX gets no normal kernel APCs, as in a critical region: the owner's
//! KernelApcDisable counts `KMUTANT.ApcDisable`. What a thread owns is in its `KTHREAD.MutantListHead`.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::dispatcher::{self, kind};
use super::event::initialize_header;
use super::list;
use crate::Machine;
use crate::flow::{Exception, Flow};
use crate::layout::{DISPATCHER_HEADER, KMUTANT, KTHREAD};
use crate::locks::{Holder, Kind, Mode};
use crate::machine::thread::ThreadId;
use crate::ntstatus::{STATUS_ABANDONED, STATUS_MUTANT_NOT_OWNED};

/// `THREAD_TERMINATE_HELD_MUTEX`.
const THREAD_TERMINATE_HELD_MUTEX: u32 = 0x4000_008a;
/// `MUTANT_INCREMENT` of wdm.h.
const MUTANT_INCREMENT: i32 = 1;

/// Makes a thread an owner, once more or for the first time. True if the last owner abandoned it.
pub(super) fn acquire(cx: &mut Machine, mutant: Gva<KMUTANT>, thread: ThreadId) -> bool {
    let header = mutant.cast::<DISPATCHER_HEADER>();
    let value: i32 = cx
        .memory
        .get(header, DISPATCHER_HEADER::SignalState)
        .unwrap_or(0);
    let _ = cx.memory.set(
        header,
        DISPATCHER_HEADER::SignalState,
        value.wrapping_sub(1),
    );
    let owner = cx.thread_by(thread).object.cast::<KTHREAD>();
    let _ = cx.memory.set(mutant, KMUTANT::OwnerThread, owner);
    if value == 1 {
        hold_off_apcs(cx, mutant, owner, -1);
        let entry = mutant.at(KMUTANT::MutantListEntry);
        let _ = list::insert_before(&mut cx.memory, owner.at(KTHREAD::MutantListHead), entry);
    }
    let abandoned = KMUTANT::Abandoned.read(&cx.memory, mutant).unwrap_or(0) != 0;
    let _ = KMUTANT::Abandoned.write(&mut cx.memory, mutant, 0);
    let holder = Holder::Thread(thread);
    cx.lock_taken_by(Kind::Mutex, mutant.raw(), Mode::Exclusive, holder);
    abandoned
}

fn hold_off_apcs(cx: &mut Machine, mutant: Gva<KMUTANT>, owner: Gva<KTHREAD>, sign: i16) {
    let by: u8 = cx.memory.get(mutant, KMUTANT::ApcDisable).unwrap_or(0);
    let value: i16 = cx.memory.get(owner, KTHREAD::KernelApcDisable).unwrap_or(0);
    let value = value.wrapping_add(i16::from(by) * sign);
    let _ = cx.memory.set(owner, KTHREAD::KernelApcDisable, value);
}

/// Takes a mutant from its owner, who is done with it.
fn disown(cx: &mut Machine, mutant: Gva<KMUTANT>, owner: Gva<KTHREAD>) -> Result<(), Fault> {
    cx.memory.set(mutant, KMUTANT::OwnerThread, Gva::NULL)?;
    hold_off_apcs(cx, mutant, owner, 1);
    list::remove(&mut cx.memory, mutant.at(KMUTANT::MutantListEntry))
}

/// What the current thread still owns when it ends: a bugcheck for a KMUTEX, abandonment for a mutant.
pub(crate) fn abandon_all(cx: &mut Machine) -> Option<(u32, [u64; 4])> {
    let thread = cx.thread().object.cast::<KTHREAD>();
    for entry in list::entries(&cx.memory, thread.at(KTHREAD::MutantListHead)) {
        let mutant = entry
            .byte_sub(KMUTANT::MutantListEntry.offset().into())
            .cast::<KMUTANT>();
        let kernel: u8 = cx.memory.get(mutant, KMUTANT::ApcDisable).unwrap_or(0);
        if kernel != 0 {
            return Some((
                THREAD_TERMINATE_HELD_MUTEX,
                [thread.raw(), mutant.raw(), 0, 0],
            ));
        }
        let _ = disown(cx, mutant, thread);
        cx.lock_renewed(mutant.raw());
        let _ = KMUTANT::Abandoned.write(&mut cx.memory, mutant, 1);
        dispatcher::signal_boosted(cx, mutant.cast(), 1, MUTANT_INCREMENT);
    }
    None
}

fn initialize(cx: &mut Machine, mutant: Gva<KMUTANT>, kernel: bool) -> Result<(), Fault> {
    initialize_header(cx, mutant.cast(), kind::MUTANT, KMUTANT::SIZE, 1)?;
    cx.lock_renewed(mutant.raw());
    cx.memory.set(mutant, KMUTANT::OwnerThread, Gva::NULL)?;
    KMUTANT::Abandoned.write(&mut cx.memory, mutant, 0)?;
    cx.memory.set(mutant, KMUTANT::ApcDisable, u8::from(kernel))
}

/// Takes one acquisition back. The result is the previous signal state: 0 if the mutex is free now.
fn release(
    cx: &mut Machine,
    mutant: Gva<KMUTANT>,
    increment: i32,
    abandon: bool,
    wait: bool,
) -> Result<Flow, Fault> {
    let header = mutant.cast::<DISPATCHER_HEADER>();
    let before: i32 = cx.memory.get(header, DISPATCHER_HEADER::SignalState)?;
    let owner = cx.memory.get(mutant, KMUTANT::OwnerThread)?;
    if abandon {
        KMUTANT::Abandoned.write(&mut cx.memory, mutant, 1)?;
    } else if owner.raw() != cx.thread().object.raw() {
        let abandoned = KMUTANT::Abandoned.read(&cx.memory, mutant)? != 0;
        cx.report_not_owner(Kind::Mutex, mutant.raw());
        return Ok(Flow::Raise(Exception::new(if abandoned {
            STATUS_ABANDONED
        } else {
            STATUS_MUTANT_NOT_OWNED
        })));
    }
    let after = if abandon { 1 } else { before.wrapping_add(1) };
    if after == 1 && before <= 0 && !owner.is_null() {
        disown(cx, mutant, owner)?;
    }
    cx.lock_released(mutant.raw());
    super::waiting::keep_for_wait(cx, wait);
    dispatcher::signal_boosted(cx, header, after, increment);
    Ok(Flow::Return(before as u32 as u64))
}

/// Routines on mutexes.
pub struct Mutexes;

#[exports("ntoskrnl.exe")]
impl Mutexes {
    /// Initialises a mutex.
    #[page("wdm/nf-wdm-keinitializemutex")]
    #[irql(any)]
    fn KeInitializeMutex(cx: &mut Machine, Mutex: Gva<KMUTANT>, Level: u32) -> Result<(), Fault> {
        let _ = Level;
        initialize(cx, Mutex, true)
    }

    /// Initialises a mutant: a mutex that does not hold off kernel APCs, perhaps owned by the caller.
    #[page("kernel/defining-and-using-a-mutex-object")]
    #[irql(any)]
    fn KeInitializeMutant(
        cx: &mut Machine,
        Mutant: Gva<KMUTANT>,
        InitialOwner: bool,
    ) -> Result<(), Fault> {
        initialize(cx, Mutant, false)?;
        if InitialOwner {
            let thread = cx.thread().id;
            acquire(cx, Mutant, thread);
        }
        Ok(())
    }

    /// Releases a mutex; raises an exception if the caller does not own it.
    #[page("wdm/nf-wdm-kereleasemutex")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(i32)]
    fn KeReleaseMutex(cx: &mut Machine, Mutex: Gva<KMUTANT>, Wait: bool) -> Result<Flow, Fault> {
        release(cx, Mutex, MUTANT_INCREMENT, false, Wait)
    }

    /// Releases a mutant, or abandons it in the name of its owner.
    #[page("kernel/defining-and-using-a-mutex-object")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(i32)]
    fn KeReleaseMutant(
        cx: &mut Machine,
        Mutant: Gva<KMUTANT>,
        Increment: i32,
        Abandoned: bool,
        Wait: bool,
    ) -> Result<Flow, Fault> {
        release(cx, Mutant, Increment, Abandoned, Wait)
    }

    /// Gives the current state of a mutex: 1 if it is free.
    #[page("wdm/nf-wdm-kereadstatemutex")]
    #[irql(any)]
    #[alias("KeReadStateMutant")]
    fn KeReadStateMutex(cx: &mut Machine, Mutex: Gva<KMUTANT>) -> Result<i32, Fault> {
        cx.memory.get(Mutex.cast(), DISPATCHER_HEADER::SignalState)
    }
}
