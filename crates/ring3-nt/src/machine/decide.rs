//! Every choice that the machine's state does not determine.
//!
//! Host randomness, clocks and threads never decide anything. A choice is numbered, answered by the
//! [`Decider`], and recorded; the record answers the same choices again in a replay.

use std::fmt::Debug;

/// What is being decided.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Choice {
    /// Which processor runs next.
    Processor,
    /// How many instructions it runs before the next choice.
    Slice,
    /// Which of several ready threads of one priority runs.
    Thread,
    /// Whether an allocation fails (0 no, 1 yes).
    AllocationFails,
    /// What `rdrand` and `rdseed` return, in 16-bit pieces.
    Random,
    /// Any other choice of a kernel routine, by name.
    Other(&'static str),
}

/// A recorded answer.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What was asked.
    pub choice: Choice,
    /// How many answers were possible.
    pub of: u32,
    /// The answer, less than `of`.
    pub answer: u32,
}

/// Answers choices.
pub trait Decider: Debug + Send + Sync {
    /// An answer below `of` (which is at least 2).
    fn decide(&mut self, choice: Choice, of: u32) -> u32;
    /// A copy with the same future.
    fn boxed(&self) -> Box<dyn Decider>;
}

/// The default: seed 0 is plain round robin without preemption between slices; any other seed is a
/// fixed pseudo-random sequence.
#[derive(Clone, Debug)]
pub struct Seeded {
    seed: u64,
    state: u64,
    turn: u32,
}

impl Seeded {
    /// A decider for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d,
            turn: 0,
        }
    }

    /// SplitMix64: the published generator.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Decider for Seeded {
    fn decide(&mut self, choice: Choice, of: u32) -> u32 {
        match choice {
            Choice::AllocationFails => 0,
            Choice::Random => (self.next() % u64::from(of)) as u32,
            Choice::Processor if self.seed == 0 => {
                self.turn = self.turn.wrapping_add(1);
                self.turn % of
            }
            Choice::Slice if self.seed == 0 => of - 1,
            _ if self.seed == 0 => 0,
            _ => (self.next() % u64::from(of)) as u32,
        }
    }
    fn boxed(&self) -> Box<dyn Decider> {
        Box::new(self.clone())
    }
}

/// Answers from a record, then from another decider.
#[derive(Debug)]
pub struct Scripted {
    script: Vec<Decision>,
    at: usize,
    then: Box<dyn Decider>,
}

impl Scripted {
    /// Plays `script`, then asks `then`.
    #[must_use]
    pub fn new(script: Vec<Decision>, then: Box<dyn Decider>) -> Self {
        Self {
            script,
            at: 0,
            then,
        }
    }
}

impl Decider for Scripted {
    fn decide(&mut self, choice: Choice, of: u32) -> u32 {
        match self.script.get(self.at) {
            Some(decision) => {
                self.at += 1;
                decision.answer.min(of - 1)
            }
            None => self.then.decide(choice, of),
        }
    }
    fn boxed(&self) -> Box<dyn Decider> {
        Box::new(Self {
            script: self.script.clone(),
            at: self.at,
            then: self.then.boxed(),
        })
    }
}

impl Clone for Box<dyn Decider> {
    fn clone(&self) -> Self {
        self.boxed()
    }
}
