//! Who waits for a lock that whom holds.

use std::fmt::Write;

use super::{Claim, Holder, Kind};
use crate::Machine;
use crate::machine::finding::Severity;

/// Steps of a chain of waits that are followed.
const LONGEST: usize = 16;

impl Machine {
    /// Everybody in the circle of waits that `holder` closes by waiting for `lock`: who wants which
    /// lock. Empty if there is none.
    #[must_use]
    pub fn lock_circle(&self, lock: u64, holder: Holder) -> Vec<Claim> {
        let mut path = Vec::new();
        if self.closes_circle(lock, holder, holder, &mut path) {
            path
        } else {
            Vec::new()
        }
    }

    fn closes_circle(&self, lock: u64, by: Holder, start: Holder, path: &mut Vec<Claim>) -> bool {
        if path.len() >= LONGEST {
            return false;
        }
        let Some(wish) = self
            .locks
            .wanted
            .iter()
            .find(|c| c.lock == lock && c.holder == by)
        else {
            return false;
        };
        path.push(wish.clone());
        for owner in self.blockers(wish) {
            if owner == start {
                return true;
            }
            if path.iter().any(|c| c.holder == owner) {
                continue;
            }
            let next: Vec<u64> = self
                .locks
                .wanted
                .iter()
                .filter(|c| c.holder == owner)
                .map(|c| c.lock)
                .collect();
            for lock in next {
                if self.closes_circle(lock, owner, start, path) {
                    return true;
                }
            }
        }
        path.pop();
        false
    }

    /// Whom a wish waits for: those who hold the lock, and for shared access also those who wait for
    /// exclusive access before it.
    fn blockers(&self, wish: &Claim) -> Vec<Holder> {
        let mut owners: Vec<Holder> = self.locks.holders(wish.lock).map(|c| c.holder).collect();
        if wish.mode == super::Mode::Shared {
            owners.retain(|o| {
                self.locks
                    .held_by(wish.lock, *o)
                    .is_some_and(|c| c.mode == super::Mode::Exclusive)
            });
            let before = self.locks.wanted.iter().filter(|c| {
                c.lock == wish.lock && c.mode == super::Mode::Exclusive && c.holder != wish.holder
            });
            owners.extend(before.map(|c| c.holder));
        }
        owners
    }

    /// Reports a deadlock of at least two that is complete now.
    pub(super) fn report_deadlock(&mut self, kind: Kind, lock: u64, holder: Holder) {
        let circle = self.lock_circle(lock, holder);
        if circle.len() < 2 {
            return;
        }
        let text = format!(
            "{} waits for {} and nobody can go on: {}",
            self.holder_name(holder),
            self.lock_name(kind, lock),
            self.describe_circle(&circle)
        );
        self.report("lock/deadlock", Severity::Error, text);
    }

    /// A circle of waits in words.
    #[must_use]
    pub fn describe_circle(&self, circle: &[Claim]) -> String {
        let mut out = String::new();
        for (i, wish) in circle.iter().enumerate() {
            let next = circle.get(i + 1).or(circle.first());
            let _ = write!(
                out,
                "{}{} waits for {} at {}",
                if i == 0 { "" } else { "; " },
                self.holder_name(wish.holder),
                self.lock_name(wish.kind, wish.lock),
                self.return_place(wish.at)
            );
            let Some(next) = next else { continue };
            match self.locks.held_by(wish.lock, next.holder) {
                Some(held) => {
                    let _ = write!(
                        out,
                        ", which {} holds since {}",
                        self.holder_name(next.holder),
                        self.return_place(held.at)
                    );
                }
                None => {
                    let _ = write!(
                        out,
                        ", for which {} waits before it",
                        self.holder_name(next.holder)
                    );
                }
            }
        }
        out
    }

    /// The wait-for graph in lines: circles first, then every wish with who holds the lock, then the
    /// locks that are held though nobody waits for them.
    #[must_use]
    pub fn describe_locks(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut told: Vec<Holder> = Vec::new();
        for wish in &self.locks.wanted {
            if told.contains(&wish.holder) {
                continue;
            }
            let circle = self.lock_circle(wish.lock, wish.holder);
            if circle.is_empty() {
                continue;
            }
            told.extend(circle.iter().map(|c| c.holder));
            lines.push(format!("deadlock: {}", self.describe_circle(&circle)));
        }
        for wish in &self.locks.wanted {
            let holders: Vec<String> = self
                .locks
                .holders(wish.lock)
                .map(|c| {
                    format!(
                        "held by {} since {}",
                        self.holder_name(c.holder),
                        self.return_place(c.at)
                    )
                })
                .collect();
            let holders = if holders.is_empty() {
                "which nobody is known to hold".to_owned()
            } else {
                holders.join(" and ")
            };
            lines.push(format!(
                "{} waits for {} at {}, {holders}",
                self.holder_name(wish.holder),
                self.lock_name(wish.kind, wish.lock),
                self.return_place(wish.at)
            ));
        }
        for claim in &self.locks.held {
            if self.locks.wanted.iter().all(|c| c.lock != claim.lock) {
                lines.push(format!(
                    "{} holds {} since {}",
                    self.holder_name(claim.holder),
                    self.lock_name(claim.kind, claim.lock),
                    self.return_place(claim.at)
                ));
            }
        }
        lines
    }
}
