//! Dispatcher objects: signalling them and waiting for them.
//!
//! The signal state is in guest memory, in the object's DISPATCHER_HEADER. As in NT the signaller
//! satisfies the wait: it consumes the object's state, stores the result and readies the thread.

use ring3_memory::Gva;

use crate::Machine;
use crate::layout::{DISPATCHER_HEADER, KMUTANT};
use crate::machine::thread::{ThreadId, ThreadState};
use crate::machine::wait::Wait;
use crate::ntstatus::{STATUS_ABANDONED_WAIT_0, STATUS_TIMEOUT};

/// `DISPATCHER_HEADER.Type`: the KOBJECTS enumeration of the 19041 symbols.
pub mod kind {
    /// Notification event: stays signalled.
    pub const EVENT_NOTIFICATION: u8 = 0;
    /// Synchronization event: releases one waiter.
    pub const EVENT_SYNCHRONIZATION: u8 = 1;
    /// Mutant.
    pub const MUTANT: u8 = 2;
    /// Process.
    pub const PROCESS: u8 = 3;
    /// Queue.
    pub const QUEUE: u8 = 4;
    /// Semaphore.
    pub const SEMAPHORE: u8 = 5;
    /// Thread.
    pub const THREAD: u8 = 6;
    /// Gate.
    pub const GATE: u8 = 7;
    /// Notification timer.
    pub const TIMER_NOTIFICATION: u8 = 8;
    /// Synchronization timer.
    pub const TIMER_SYNCHRONIZATION: u8 = 9;
}

/// The object type without the lock bit.
fn kind_of(cx: &Machine, object: Gva<DISPATCHER_HEADER>) -> u8 {
    cx.memory.get(object, DISPATCHER_HEADER::Type).unwrap_or(0) & 0x7f
}

/// Which of these objects are mutexes.
#[must_use]
pub fn mutexes(cx: &Machine, objects: &[Gva<DISPATCHER_HEADER>]) -> Vec<u64> {
    let mutexes = objects.iter().filter(|o| kind_of(cx, **o) == kind::MUTANT);
    mutexes.map(|o| o.raw()).collect()
}

fn state(cx: &Machine, object: Gva<DISPATCHER_HEADER>) -> i32 {
    cx.memory
        .get(object, DISPATCHER_HEADER::SignalState)
        .unwrap_or(0)
}

fn set_state(cx: &mut Machine, object: Gva<DISPATCHER_HEADER>, value: i32) {
    let _ = cx.memory.set(object, DISPATCHER_HEADER::SignalState, value);
}

/// Whether a wait of `thread` for this object would be satisfied now.
#[must_use]
pub fn is_signalled(cx: &Machine, object: Gva<DISPATCHER_HEADER>, thread: ThreadId) -> bool {
    let signalled = state(cx, object) > 0;
    if kind_of(cx, object) == kind::MUTANT && !signalled {
        let owner = cx
            .memory
            .get(object.cast(), KMUTANT::OwnerThread)
            .unwrap_or(Gva::NULL);
        return owner.raw() == cx.thread_by(thread).object.raw();
    }
    signalled
}

/// Takes what a satisfied wait takes from an object. True if it was an abandoned mutant.
fn consume(cx: &mut Machine, object: Gva<DISPATCHER_HEADER>, thread: ThreadId) -> bool {
    match kind_of(cx, object) {
        kind::EVENT_SYNCHRONIZATION | kind::TIMER_SYNCHRONIZATION => set_state(cx, object, 0),
        kind::SEMAPHORE => {
            let value = state(cx, object);
            set_state(cx, object, value - 1);
        }
        kind::MUTANT => return super::mutex::acquire(cx, object.cast(), thread),
        _ => {}
    }
    false
}

/// If the wait can be satisfied for this thread, satisfies it and gives the result.
pub fn try_satisfy(
    cx: &mut Machine,
    objects: &[Gva<DISPATCHER_HEADER>],
    all: bool,
    thread: ThreadId,
) -> Option<u64> {
    if all {
        if !objects.iter().all(|o| is_signalled(cx, *o, thread)) {
            return None;
        }
        let mut abandoned = false;
        for object in objects {
            abandoned |= consume(cx, *object, thread);
        }
        return Some(if abandoned {
            u64::from(STATUS_ABANDONED_WAIT_0.0)
        } else {
            0
        });
    }
    let at = objects.iter().position(|o| is_signalled(cx, *o, thread))?;
    let abandoned = consume(cx, objects[at], thread);
    Some(
        at as u64
            + if abandoned {
                u64::from(STATUS_ABANDONED_WAIT_0.0)
            } else {
                0
            },
    )
}

/// Threads that wait for this object, in the order in which they began to wait.
fn waiters(cx: &Machine, object: Gva<DISPATCHER_HEADER>) -> Vec<ThreadId> {
    let mut found: Vec<(u64, ThreadId)> = cx
        .threads
        .values()
        .filter_map(|t| match &t.state {
            ThreadState::Waiting(Wait::Objects { objects, .. }, number)
                if objects.contains(&object) =>
            {
                Some((*number, t.id))
            }
            _ => None,
        })
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, id)| id).collect()
}

/// Sets the signal state and satisfies waits while it lasts. Gives the previous state.
pub fn signal(cx: &mut Machine, object: Gva<DISPATCHER_HEADER>, value: i32) -> i32 {
    signal_boosted(cx, object, value, 0)
}

/// The same; the priorities of threads whose waits are satisfied rise by an increment for a while.
pub fn signal_boosted(
    cx: &mut Machine,
    object: Gva<DISPATCHER_HEADER>,
    value: i32,
    increment: i32,
) -> i32 {
    let before = state(cx, object);
    set_state(cx, object, value);
    satisfy_boosted(cx, object, increment);
    before
}

/// Satisfies the waits that the object's state allows.
fn satisfy_boosted(cx: &mut Machine, object: Gva<DISPATCHER_HEADER>, increment: i32) {
    for id in waiters(cx, object) {
        if state(cx, object) <= 0 {
            break;
        }
        let ThreadState::Waiting(Wait::Objects { objects, all, .. }, _) =
            cx.thread_by(id).state.clone()
        else {
            continue;
        };
        if let Some(result) = try_satisfy(cx, &objects, all, id) {
            cx.boost(id, increment);
            cx.make_ready(id, result);
        }
    }
}

impl Machine {
    /// Ends waits whose time is over.
    pub(crate) fn expire_waits(&mut self, now: u64) {
        let over: Vec<(ThreadId, u64)> = self
            .threads
            .values()
            .filter_map(|t| match &t.state {
                ThreadState::Waiting(wait, _) if wait.due().is_some_and(|due| due <= now) => {
                    let result = if matches!(wait, Wait::Until(_)) {
                        0
                    } else {
                        u64::from(STATUS_TIMEOUT.0)
                    };
                    Some((t.id, result))
                }
                _ => None,
            })
            .collect();
        for (id, result) in over {
            self.make_ready(id, result);
        }
    }
}
