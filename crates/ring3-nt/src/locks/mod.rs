//! Who holds which lock, who wants one, and in which order locks are taken.
//!
//! The state of a lock is in guest memory, where the driver and a debugger see it. What stands here is
//! beside it: the holder of each lock, with the place where it was taken, for the findings, for the
//! lock order ([`order`]) and for the answer to "who waits for whom" ([`waits`]).

pub mod order;
pub mod waits;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::machine::finding::Severity;
use crate::machine::thread::ThreadId;
use order::Order;

/// What sort of lock it is.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `KSPIN_LOCK`.
    SpinLock,
    /// `KSPIN_LOCK`, taken by way of a `KLOCK_QUEUE_HANDLE`.
    QueuedSpinLock,
    /// `EX_SPIN_LOCK`.
    ReaderWriterSpinLock,
    /// The cancel spin lock of the system.
    CancelSpinLock,
    /// `FAST_MUTEX`, which guarded mutexes are too.
    FastMutex,
    /// `KMUTEX`.
    Mutex,
    /// `ERESOURCE`.
    Resource,
    /// `EX_PUSH_LOCK`.
    PushLock,
}

impl Kind {
    /// How sentences name it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::SpinLock => "spin lock",
            Self::QueuedSpinLock => "queued spin lock",
            Self::ReaderWriterSpinLock => "reader-writer spin lock",
            Self::CancelSpinLock => "cancel spin lock",
            Self::FastMutex => "fast mutex",
            Self::Mutex => "mutex",
            Self::Resource => "resource",
            Self::PushLock => "push lock",
        }
    }

    /// Whether its holder may take it again.
    #[must_use]
    pub const fn recursive(self) -> bool {
        matches!(self, Self::Mutex | Self::Resource)
    }

    /// The finding for a holder that takes it again.
    const fn recursion_rule(self) -> &'static str {
        match self {
            Self::CancelSpinLock => "lock/recursive-cancel-lock",
            Self::FastMutex => "lock/recursive-mutex",
            Self::PushLock => "lock/recursive-push-lock",
            _ => "lock/recursive-spin-lock",
        }
    }
}

/// How a lock is held.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Alone.
    Exclusive,
    /// With others.
    Shared,
}

/// Whose lock it is: a thread's, or that of the DPCs of a processor, which run on top of some thread
/// but do not hold what that thread holds.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// A thread.
    Thread(ThreadId),
    /// DPCs and interrupts of this processor.
    Dpc(usize),
    /// Whoever uses this owner pointer of `ExSetResourceOwnerPointer`.
    Pointer(u64),
}

/// A lock that is held, or wanted.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address of the lock.
    pub lock: u64,
    /// What it is.
    pub kind: Kind,
    /// How.
    pub mode: Mode,
    /// By whom.
    pub holder: Holder,
    /// The return address of the call that took it, or that waits for it.
    pub at: u64,
    /// Virtual time of that call, in 100 ns.
    pub since: u64,
    /// How often it has been taken.
    pub count: u32,
    /// The IRQL to go back to, for spin locks that were taken with a change of the IRQL.
    pub level: Option<u8>,
}

/// The locks of a machine.
#[derive(Clone, Debug, Default)]
pub struct State {
    held: Vec<Claim>,
    wanted: Vec<Claim>,
    order: Arc<Order>,
    /// Spin locks that were taken by way of a queue handle.
    queued: Arc<BTreeSet<u64>>,
}

impl Hash for State {
    /// The order, and what kind of lock each is, is no state: it only leads to findings.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.held.hash(state);
        self.wanted.hash(state);
    }
}

impl State {
    /// Everything that is held.
    #[must_use]
    pub fn held(&self) -> &[Claim] {
        &self.held
    }

    /// Everything that somebody waits for.
    #[must_use]
    pub fn wanted(&self) -> &[Claim] {
        &self.wanted
    }

    /// Who holds a lock.
    pub fn holders(&self, lock: u64) -> impl Iterator<Item = &Claim> {
        self.held.iter().filter(move |c| c.lock == lock)
    }

    /// The claim of one holder on a lock.
    #[must_use]
    pub fn held_by(&self, lock: u64, holder: Holder) -> Option<&Claim> {
        self.held
            .iter()
            .find(|c| c.lock == lock && c.holder == holder)
    }

    /// The order in which locks have been taken so far.
    #[must_use]
    pub fn order(&self) -> &Order {
        &self.order
    }
}

impl Machine {
    /// Whose locks the running code takes.
    #[must_use]
    pub fn lock_holder(&self) -> Holder {
        let processor = self.processor();
        if processor.dpc_active {
            Holder::Dpc(self.current)
        } else {
            Holder::Thread(processor.current)
        }
    }

    /// How a holder is named.
    #[must_use]
    pub fn holder_name(&self, holder: Holder) -> String {
        match holder {
            Holder::Thread(id) => match self.threads.get(&id) {
                Some(thread) => format!("thread {}", thread.name),
                None => format!("thread {}", id.0),
            },
            Holder::Dpc(n) => format!("a DPC of processor {n}"),
            Holder::Pointer(at) => format!("the owner pointer {at:#x}"),
        }
    }

    /// A lock by its kind and address.
    #[must_use]
    pub fn lock_name(&self, kind: Kind, lock: u64) -> String {
        if kind == Kind::CancelSpinLock {
            return "the cancel spin lock".to_owned();
        }
        match self.modules.at(lock) {
            Some(_) => format!("the {} {}", kind.word(), self.symbolize(lock)),
            None => format!("the {} {lock:#x}", kind.word()),
        }
    }

    /// The running code is about to take a lock, and would wait for it: adds to the lock order, and
    /// says what is wrong with that. `wait` tells that it does have to wait now.
    pub fn lock_wanted(&mut self, kind: Kind, lock: u64, mode: Mode, wait: bool) {
        let holder = self.lock_holder();
        let mine = self.locks.held_by(lock, holder).map(|c| c.at);
        if let Some(at) = mine {
            if !kind.recursive() {
                self.report_recursion(kind, lock, mode, at);
            }
        } else if self.locks.held.iter().any(|c| c.holder == holder) {
            self.order_locks(kind, lock, holder);
        }
        if wait {
            self.lock_waited_for(kind, lock, mode);
        }
    }

    /// The running code begins to wait for a lock.
    pub fn lock_waited_for(&mut self, kind: Kind, lock: u64, mode: Mode) {
        let holder = self.lock_holder();
        let claim = Claim {
            lock,
            kind,
            mode,
            holder,
            at: self.caller,
            since: self.clock.now(),
            count: 1,
            level: None,
        };
        self.locks.wanted.push(claim);
        self.report_deadlock(kind, lock, holder);
    }

    /// The running code has taken a lock.
    pub fn lock_taken(&mut self, kind: Kind, lock: u64, mode: Mode) {
        let holder = self.lock_holder();
        self.lock_taken_by(kind, lock, mode, holder);
    }

    /// A lock was given to somebody.
    pub fn lock_taken_by(&mut self, kind: Kind, lock: u64, mode: Mode, holder: Holder) {
        let wanted = &mut self.locks.wanted;
        let at = match wanted
            .iter()
            .position(|c| c.lock == lock && c.holder == holder)
        {
            Some(i) => wanted.remove(i).at,
            None => self.caller,
        };
        let since = self.clock.now();
        let held = &mut self.locks.held;
        if kind.recursive()
            && let Some(claim) = held
                .iter_mut()
                .find(|c| c.lock == lock && c.holder == holder)
        {
            claim.count = claim.count.saturating_add(1);
            return;
        }
        held.push(Claim {
            lock,
            kind,
            mode,
            holder,
            at,
            since,
            count: 1,
            level: None,
        });
    }

    /// Remembers the IRQL to go back to when the running code releases the lock that it took last.
    pub fn lock_level(&mut self, level: u8) {
        if let Some(claim) = self.locks.held.last_mut() {
            claim.level = Some(level);
        }
    }

    /// Says what is wrong with going back to this IRQL when a spin lock is released. Two locks may be
    /// released in the order in which they were taken if their levels are exchanged too.
    pub fn check_level(&mut self, kind: Kind, lock: u64, level: u8) {
        let holder = self.lock_holder();
        let held = &self.locks.held;
        let Some(mine) = held
            .iter()
            .position(|c| c.lock == lock && c.holder == holder && c.level.is_some())
        else {
            return;
        };
        let other = held
            .iter()
            .position(|c| c.lock != lock && c.holder == holder && c.level.is_some());
        let was = held[mine].level.unwrap_or(level);
        if let Some(other) = other
            && level >= DISPATCH_LEVEL
        {
            let claim = &mut self.locks.held[other];
            claim.level = claim.level.map(|l| l.min(was));
            return;
        }
        if level == was && other.is_none() {
            return;
        }
        let name = self.lock_name(kind, lock);
        let text = match other.map(|o| held[o].clone()) {
            Some(claim) => format!(
                "{name} is released with IRQL {level} to go to, while {} is still held",
                self.lock_name(claim.kind, claim.lock)
            ),
            None => format!(
                "{name} is released with IRQL {level} to go to, but it was acquired at IRQL {was}"
            ),
        };
        self.report("lock/wrong-irql", Severity::Error, text);
    }

    /// One acquisition less of the running code, or of whoever holds the lock if that is somebody
    /// else; `None` if nobody does. Says whether it was the running code's.
    pub fn lock_released(&mut self, lock: u64) -> Option<bool> {
        let holder = self.lock_holder();
        let held = &mut self.locks.held;
        let (i, mine) = match held
            .iter()
            .rposition(|c| c.lock == lock && c.holder == holder)
        {
            Some(i) => (i, true),
            None => (held.iter().rposition(|c| c.lock == lock)?, false),
        };
        if held[i].count > 1 {
            held[i].count -= 1;
        } else {
            held.remove(i);
        }
        Some(mine)
    }

    /// One acquisition less of this holder.
    pub fn lock_released_by(&mut self, lock: u64, holder: Holder) {
        let held = &mut self.locks.held;
        if let Some(i) = held
            .iter()
            .rposition(|c| c.lock == lock && c.holder == holder)
        {
            if held[i].count > 1 {
                held[i].count -= 1;
            } else {
                held.remove(i);
            }
        }
    }

    /// The running code now holds a lock in another way.
    pub fn lock_converted(&mut self, lock: u64, mode: Mode) {
        let holder = self.lock_holder();
        let claim = self.locks.held.iter_mut();
        for claim in claim.filter(|c| c.lock == lock && c.holder == holder) {
            claim.mode = mode;
        }
    }

    /// What the running code holds of a lock belongs to another holder from now on.
    pub fn lock_moved(&mut self, lock: u64, to: Holder) {
        let holder = self.lock_holder();
        let claim = self.locks.held.iter_mut();
        for claim in claim.filter(|c| c.lock == lock && c.holder == holder) {
            claim.holder = to;
        }
    }

    /// Memory is given back: locks in it are none any more. Reports those that are held.
    pub fn locks_freed(&mut self, start: u64, size: u64) {
        if self.locks.held.is_empty() && self.locks.order.is_empty() && self.locks.queued.is_empty()
        {
            return;
        }
        let inside = |lock: u64| lock >= start && lock - start < size;
        let held: Vec<Claim> = self
            .locks
            .held
            .iter()
            .filter(|c| inside(c.lock))
            .cloned()
            .collect();
        for claim in held {
            let text = format!(
                "memory is freed in which {} lies, which {} holds since {}",
                self.lock_name(claim.kind, claim.lock),
                self.holder_name(claim.holder),
                self.return_place(claim.at)
            );
            self.report("lock/freed-held", Severity::Error, text);
        }
        self.locks.held.retain(|c| !inside(c.lock));
        let end = start.saturating_add(size);
        if self.locks.queued.range(start..end).next().is_some() {
            Arc::make_mut(&mut self.locks.queued).retain(|lock| !inside(*lock));
        }
        if self.locks.order.mentions(start, size) {
            Arc::make_mut(&mut self.locks.order).forget(start, size);
        }
    }

    /// A spin lock is used as a plain or as a queued one: it must be one of the two.
    pub fn lock_used_as(&mut self, kind: Kind, lock: u64) {
        let queued = self.locks.queued.contains(&lock);
        if kind == Kind::QueuedSpinLock {
            let plain = self.locks.holders(lock).any(|c| c.kind == Kind::SpinLock);
            if !queued && !self.on_a_stack(lock) {
                Arc::make_mut(&mut self.locks.queued).insert(lock);
            }
            if !plain {
                return;
            }
        } else if !queued {
            return;
        }
        let text = format!(
            "{} is used both as a queued spin lock and as a plain one",
            self.lock_name(Kind::SpinLock, lock)
        );
        self.report("lock/mixed-spin-lock", Severity::Error, text);
    }

    /// A lock is made anew: nobody holds it, and what was known of it is over.
    pub fn lock_renewed(&mut self, lock: u64) {
        self.locks.held.retain(|c| c.lock != lock);
        if self.locks.order.mentions(lock, 1) {
            Arc::make_mut(&mut self.locks.order).forget(lock, 1);
        }
    }

    /// The running thread ends: what it holds stays held for ever.
    pub fn locks_at_thread_end(&mut self) {
        let holder = Holder::Thread(self.thread().id);
        let held: Vec<Claim> = self
            .locks
            .held
            .iter()
            .filter(|c| c.holder == holder)
            .cloned()
            .collect();
        for claim in held {
            let text = format!(
                "{} ends and still holds {}, taken at {}",
                self.holder_name(holder),
                self.lock_name(claim.kind, claim.lock),
                self.return_place(claim.at)
            );
            self.report_at(
                "lock/thread-ended",
                Severity::Error,
                text,
                claim.at.wrapping_sub(1),
            );
        }
    }

    fn report_recursion(&mut self, kind: Kind, lock: u64, mode: Mode, at: u64) {
        let holder = self.lock_holder();
        let both_shared = mode == Mode::Shared
            && self
                .locks
                .held_by(lock, holder)
                .is_some_and(|c| c.mode == Mode::Shared);
        let end = if both_shared {
            "a deadlock as soon as somebody waits for exclusive access in between"
        } else {
            "a deadlock"
        };
        let text = format!(
            "{} is acquired again by {}, which has held it since {}: {end}",
            self.lock_name(kind, lock),
            self.holder_name(holder),
            self.return_place(at)
        );
        self.report(kind.recursion_rule(), Severity::Error, text);
    }

    /// A lock was released by somebody who does not hold it; names who does.
    pub fn report_not_owner(&mut self, kind: Kind, lock: u64) {
        let holder = self.locks.holders(lock).next().cloned();
        let name = self.lock_name(kind, lock);
        let text = match holder {
            Some(claim) => format!(
                "{name} is released by {}, but {} holds it since {}",
                self.holder_name(self.lock_holder()),
                self.holder_name(claim.holder),
                self.return_place(claim.at)
            ),
            None => format!("{name} is released but nobody holds it"),
        };
        let rule = if self.locks.holders(lock).next().is_some() {
            "lock/not-owner"
        } else {
            "lock/not-held"
        };
        self.report(rule, Severity::Error, text);
    }
}
