//! The order in which locks are taken.
//!
//! Taking B, and being ready to wait for it, while A is held is an edge from A to B. A cycle of edges
//! is a deadlock that only waits for its schedule, so it is a finding the first time the last of its
//! edges is seen, whether or not anything hangs. Edges whose holders all held one further lock alone
//! exclude each other and make no cycle. Trying adds no edge, since who tries does not wait.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::{Holder, Kind, Mode};
use crate::Machine;
use crate::machine::finding::{Place, Severity};

/// Edges of a cycle at most; and steps of a search for one.
const LONGEST: usize = 8;
const PATIENCE: usize = 4096;
/// Frames of a stack that are kept and shown.
const FRAMES: usize = 6;

/// One lock was taken while another was held.
#[derive(Clone, Debug)]
pub struct Edge {
    /// What sorts of locks they are.
    pub kinds: (Kind, Kind),
    /// Who did it first.
    pub holder: String,
    /// The return address of the call that took the lock that was held.
    pub held_at: u64,
    /// The stack on which the other one was taken.
    pub stack: Arc<[Place]>,
    /// Locks held alone by everybody who did it.
    guards: Vec<u64>,
}

/// All edges so far.
#[derive(Clone, Debug, Default)]
pub struct Order {
    edges: BTreeMap<(u64, u64), Edge>,
    /// How many edges touch each lock.
    locks: BTreeMap<u64, u32>,
}

impl Order {
    /// Whether there is no edge.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }

    /// The edge between two locks.
    #[must_use]
    pub fn edge(&self, from: u64, to: u64) -> Option<&Edge> {
        self.edges.get(&(from, to))
    }

    /// Whether a lock in this memory has an edge.
    #[must_use]
    pub fn mentions(&self, start: u64, size: u64) -> bool {
        let end = start.saturating_add(size);
        self.locks.range(start..end).next().is_some()
    }

    /// Drops the edges of locks in this memory.
    pub fn forget(&mut self, start: u64, size: u64) {
        let inside = |lock: u64| lock >= start && lock - start < size;
        self.edges
            .retain(|(from, to), _| !inside(*from) && !inside(*to));
        self.locks.clear();
        for (from, to) in self.edges.keys() {
            *self.locks.entry(*from).or_default() += 1;
            *self.locks.entry(*to).or_default() += 1;
        }
    }

    /// Whether an edge with these guards says something new.
    fn is_news(&self, from: u64, to: u64, guards: &[u64]) -> bool {
        match self.edges.get(&(from, to)) {
            Some(edge) => edge.guards.iter().any(|g| !guards.contains(g)),
            None => true,
        }
    }

    fn add(&mut self, from: u64, to: u64, edge: Edge) {
        if let Some(old) = self.edges.get_mut(&(from, to)) {
            old.guards.retain(|g| edge.guards.contains(g));
            return;
        }
        *self.locks.entry(from).or_default() += 1;
        *self.locks.entry(to).or_default() += 1;
        self.edges.insert((from, to), edge);
    }

    /// A way back along edges from the end of an edge to its beginning, the edge included; none if
    /// there is no such way, or if one lock guards all of it.
    fn cycle(&self, from: u64, to: u64) -> Option<Vec<(u64, u64)>> {
        let edge = self.edges.get(&(from, to))?;
        let mut path = vec![(from, to)];
        let mut steps = 0;
        self.search(&mut path, edge.guards.clone(), &mut steps)
            .then_some(path)
    }

    fn search(&self, path: &mut Vec<(u64, u64)>, guards: Vec<u64>, steps: &mut usize) -> bool {
        let Some((&(start, _), &(_, at))) = path.first().zip(path.last()) else {
            return false;
        };
        // The way home first: the shortest cycle is the easiest to understand.
        let next = self.edges.range((at, 0)..=(at, u64::MAX));
        let mut next: Vec<(&(u64, u64), &Edge)> = next.collect();
        next.sort_by_key(|((_, to), _)| *to != start);
        for (key, edge) in next {
            *steps += 1;
            if *steps > PATIENCE || path.len() >= LONGEST {
                return false;
            }
            let both: Vec<u64> = guards
                .iter()
                .copied()
                .filter(|g| edge.guards.contains(g))
                .collect();
            if key.1 == start {
                if both.is_empty() {
                    path.push(*key);
                    return true;
                }
                continue;
            }
            if path.iter().any(|(from, _)| *from == key.1) {
                continue;
            }
            path.push(*key);
            if self.search(path, both, steps) {
                return true;
            }
            path.pop();
        }
        false
    }
}

impl Machine {
    /// Adds the edges from all that a holder has to a lock that it is about to take.
    pub(super) fn order_locks(&mut self, kind: Kind, lock: u64, holder: Holder) {
        let mine: Vec<super::Claim> = self
            .locks
            .held
            .iter()
            .filter(|c| c.holder == holder && c.lock != lock)
            .cloned()
            .collect();
        for claim in &mine {
            let guards: Vec<u64> = mine
                .iter()
                .filter(|c| c.lock != claim.lock && c.mode == Mode::Exclusive)
                .map(|c| c.lock)
                .collect();
            if !self.locks.order.is_news(claim.lock, lock, &guards)
                || self.on_a_stack(lock)
                || self.on_a_stack(claim.lock)
            {
                continue;
            }
            let stack = self.stack_trace();
            let edge = Edge {
                kinds: (claim.kind, kind),
                holder: self.holder_name(holder),
                held_at: claim.at,
                stack: stack.into_iter().take(FRAMES).collect(),
                guards,
            };
            Arc::make_mut(&mut self.locks.order).add(claim.lock, lock, edge);
            if let Some(cycle) = self.locks.order.cycle(claim.lock, lock) {
                self.report_cycle(&cycle);
            }
        }
    }

    /// Locks in stack memory come and go with their functions, and the next one at the same address
    /// is another one.
    pub(super) fn on_a_stack(&self, lock: u64) -> bool {
        self.threads
            .values()
            .any(|t| lock >= t.stack_limit && lock < t.stack_base)
    }

    fn report_cycle(&mut self, cycle: &[(u64, u64)]) {
        let order = Arc::clone(&self.locks.order);
        let mut text =
            String::from("locks are taken in a circle, which is a deadlock when they meet:");
        let mut first = true;
        for (from, to) in cycle {
            let Some(edge) = order.edge(*from, *to) else {
                continue;
            };
            let taken_at = self.blame(&edge.stack);
            let _ = write!(
                text,
                "{} {} took {} at {} while it held {}, taken at {}",
                if first { "" } else { ";" },
                edge.holder,
                self.lock_name(edge.kinds.1, *to),
                taken_at,
                self.lock_name(edge.kinds.0, *from),
                self.return_place(edge.held_at)
            );
            first = false;
        }
        self.report("lock/order-cycle", Severity::Error, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(guards: &[u64]) -> Edge {
        Edge {
            kinds: (Kind::SpinLock, Kind::SpinLock),
            holder: String::new(),
            held_at: 0,
            stack: Arc::new([]),
            guards: guards.to_vec(),
        }
    }

    fn order(edges: &[(u64, u64)]) -> Order {
        let mut order = Order::default();
        for (from, to) in edges {
            order.add(*from, *to, edge(&[]));
        }
        order
    }

    #[test]
    fn opposite_orders_are_a_cycle_and_the_same_order_is_none() {
        assert_eq!(order(&[(1, 2), (2, 3), (1, 3)]).cycle(1, 2), None);
        let two = order(&[(1, 2), (2, 1)]);
        assert_eq!(two.cycle(2, 1), Some(vec![(2, 1), (1, 2)]));
    }

    #[test]
    fn a_cycle_may_have_many_locks() {
        let three = order(&[(1, 2), (2, 3), (3, 4), (3, 1)]);
        assert_eq!(three.cycle(3, 1), Some(vec![(3, 1), (1, 2), (2, 3)]));
    }

    #[test]
    fn one_lock_around_everything_breaks_a_cycle() {
        let mut order = Order::default();
        order.add(1, 2, edge(&[9]));
        order.add(2, 1, edge(&[9, 8]));
        assert_eq!(order.cycle(2, 1), None);
        // Once without it is enough.
        assert!(order.is_news(1, 2, &[8]));
        order.add(1, 2, edge(&[8]));
        assert_eq!(order.cycle(1, 2), Some(vec![(1, 2), (2, 1)]));
        assert!(!order.is_news(1, 2, &[9, 8]));
    }

    #[test]
    fn freed_memory_takes_its_edges_along() {
        let mut order = order(&[(0x100, 0x200), (0x200, 0x300)]);
        assert!(order.mentions(0x1f0, 0x20) && !order.mentions(0x201, 0x10));
        order.forget(0x1f0, 0x20);
        assert!(order.is_empty() && !order.mentions(0, u64::MAX));
    }
}
