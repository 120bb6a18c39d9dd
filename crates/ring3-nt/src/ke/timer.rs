//! Kernel timers: the queue of set ones, and their expiry.

use std::collections::BTreeMap;

use ring3_memory::Gva;

use super::dispatcher;
use crate::Machine;
use crate::layout::{DISPATCHER_HEADER, KTIMER};

/// The set timers, by due time and then by the order in which they were set.
#[derive(Clone, Hash, Debug, Default)]
pub struct Timers {
    queue: BTreeMap<(u64, u64), Gva<KTIMER>>,
    sequence: u64,
}

impl Timers {
    /// Sets a timer, due at a point in virtual time (100 ns units). True if it was set before.
    pub fn set(&mut self, timer: Gva<KTIMER>, due: u64) -> bool {
        let was_set = self.cancel(timer);
        self.sequence += 1;
        self.queue.insert((due, self.sequence), timer);
        was_set
    }

    /// Takes a timer off. True if it was set.
    pub fn cancel(&mut self, timer: Gva<KTIMER>) -> bool {
        let key = self
            .queue
            .iter()
            .find(|(_, t)| **t == timer)
            .map(|(k, _)| *k);
        key.is_some_and(|k| self.queue.remove(&k).is_some())
    }

    /// When the next one is due.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    /// The set timers with their due times.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Gva<KTIMER>)> {
        self.queue.iter().map(|((due, _), timer)| (*due, *timer))
    }
}

impl Machine {
    /// When the next timer or timeout is due, in 100 ns of virtual time.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        let waits = self.threads.values().filter_map(|t| match &t.state {
            super::super::machine::thread::ThreadState::Waiting(wait, _) => wait.due(),
            _ => None,
        });
        let spins = self.processors.iter().filter_map(|p| match p.spinning {
            Some(crate::flow::Until::Time(due)) => Some(due),
            _ => None,
        });
        waits
            .chain(spins)
            .chain(self.ke.timers.next_due())
            .chain(self.devices.next_due())
            .min()
    }

    /// Expires what is due: timers are signalled and queue their DPC, waits time out.
    pub(crate) fn expire_timers(&mut self) {
        let now = self.clock.now();
        self.tick_devices();
        while let Some((&key, &timer)) = self.ke.timers.queue.iter().next() {
            if key.0 > now {
                break;
            }
            self.ke.timers.queue.remove(&key);
            self.expire(timer, key.0);
        }
        self.expire_waits(now);
    }

    fn expire(&mut self, timer: Gva<KTIMER>, due: u64) {
        self.trace.event("timer", &[timer.raw()]);
        let Ok(period) = self.memory.get(timer, KTIMER::Period) else {
            return;
        };
        if let Some(period) = super::ex_timer::period(self, timer) {
            self.ke.timers.set(timer, due + period);
        } else if period != 0 {
            self.ke.timers.set(timer, due + u64::from(period) * 10_000);
        } else {
            // KTIMER.Header.Inserted is cleared when a timer leaves the queue.
            let _ = DISPATCHER_HEADER::Inserted.write(&mut self.memory, timer.cast(), 0);
        }
        let dpc = self.memory.get(timer, KTIMER::Dpc).unwrap_or(Gva::NULL);
        dispatcher::signal(self, timer.cast(), 1);
        if !dpc.is_null() && super::dpc::insert(self, dpc, 0, 0) {
            self.ke.timer_dpcs.insert(dpc.raw());
        }
    }
}
