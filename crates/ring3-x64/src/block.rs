//! Translated code: blocks, the links between them, and where to find them.

use std::cell::Cell;
use std::collections::BTreeMap;

use iced_x86::Instruction;

use crate::op::{Next, Op};
use crate::ops::slow::Slow;
use crate::ops::sse::Vector;

/// A block that has this as its generation is never entered before it was looked up again.
const NEVER: u64 = 0;

/// Entries of the cache for indirect jumps.
const JUMPS: usize = 4096;

/// This many blocks that are no longer valid are kept before everything is dropped.
const MOST_DEAD: usize = 4096;

/// A direct exit of a block.
pub(crate) struct Link {
    /// Where it leads.
    pub target: u64,
    block: Cell<*const Block>,
}

impl Link {
    /// The block that it leads to; the sentinel until known.
    #[inline(always)]
    pub fn block(&self) -> *const Block {
        self.block.get()
    }

    /// Remembers where it leads.
    pub fn set(&self, block: *const Block) {
        self.block.set(block);
    }
}

/// An instruction that is executed from its decoded form.
pub(crate) struct SlowOp {
    pub instruction: Instruction,
    pub run: Slow,
}

/// Consecutive instructions, entered only at the first.
pub(crate) struct Block {
    /// Number of instructions.
    pub count: u64,
    generation: Cell<u64>,
    /// The first op.
    pub first: Next,
    /// Address of the first instruction.
    pub rip: u64,
    /// Exits: 0 is falling through or the only target, 1 is a taken branch.
    pub links: [Link; 2],
    /// For ops that need the whole instruction.
    pub slow: Box<[SlowOp]>,
    /// For ops of the SSE family.
    pub vectors: Box<[Vector]>,
    /// Frame of the first byte, and of the last if that lies in another.
    frames: (u64, Option<u64>),
    /// What `first` points to.
    _ops: Box<[Op]>,
}

/// What a block is made from.
#[derive(Default)]
pub(crate) struct Parts {
    pub rip: u64,
    pub count: u16,
    pub ops: Vec<Op>,
    pub targets: [u64; 2],
    pub slow: Vec<SlowOp>,
    pub vectors: Vec<Vector>,
    pub pfn: u64,
    pub next_pfn: Option<u64>,
}

impl Block {
    /// Whether it may be entered in `generation` without being looked up.
    #[inline(always)]
    pub fn current(&self, generation: u64) -> bool {
        self.generation.get() == generation
    }

    /// The frames whose content and mapping it depends on.
    pub fn frames(&self) -> (u64, Option<u64>) {
        self.frames
    }

    /// Makes it enterable in `generation`.
    pub fn confirm(&self, generation: u64) {
        self.generation.set(generation);
    }
}

/// One entry of [`Jumps`].
struct Jump {
    rip: Cell<u64>,
    block: Cell<*const Block>,
}

/// The cache for indirect jumps, and the sentinel: a block of no code, which never fits a budget.
pub(crate) struct Jumps {
    entries: Box<[Jump; JUMPS]>,
    sentinel: Box<Block>,
}

impl Jumps {
    pub fn new() -> Self {
        let mut sentinel = Box::new(Block {
            count: u64::MAX,
            generation: Cell::new(NEVER),
            first: std::ptr::null(),
            rip: 0,
            links: [0, 0].map(|target| Link {
                target,
                block: Cell::new(std::ptr::null()),
            }),
            slow: Box::new([]),
            vectors: Box::new([]),
            frames: (0, None),
            _ops: Box::new([]),
        });
        let place: *const Block = &raw const *sentinel;
        for link in &mut sentinel.links {
            link.set(place);
        }
        let entries = std::array::from_fn(|_| Jump {
            rip: Cell::new(0),
            block: Cell::new(place),
        });
        Self {
            entries: Box::new(entries),
            sentinel,
        }
    }

    /// What a link leads to that isn't known yet.
    #[inline(always)]
    pub fn sentinel(&self) -> *const Block {
        &raw const *self.sentinel
    }

    /// The block remembered for an address, or the sentinel.
    #[inline(always)]
    pub fn find(&self, rip: u64) -> *const Block {
        let entry = &self.entries[jump_slot(rip)];
        if entry.rip.get() == rip {
            entry.block.get()
        } else {
            self.sentinel()
        }
    }

    /// Lets [`Self::find`] find a block.
    pub fn remember(&self, block: &Block) {
        let entry = &self.entries[jump_slot(block.rip)];
        entry.rip.set(block.rip);
        entry.block.set(block);
    }

    fn clear(&self) {
        for entry in self.entries.iter() {
            entry.block.set(self.sentinel());
        }
    }
}

/// All blocks. They live until [`Cache::clear`], which must not be called while one executes.
#[derive(Default)]
pub(crate) struct Cache {
    #[expect(clippy::vec_box, reason = "links point to blocks, which must not move")]
    blocks: Vec<Box<Block>>,
    /// By address and frame of the first instruction.
    index: BTreeMap<(u64, u64), usize>,
    /// Blocks that depend on a frame.
    by_frame: BTreeMap<u64, Vec<usize>>,
    dead: usize,
    scratch: Option<Box<Block>>,
}

fn build(jumps: &Jumps, parts: Parts) -> Box<Block> {
    let ops = parts.ops.into_boxed_slice();
    Box::new(Block {
        count: u64::from(parts.count),
        generation: Cell::new(NEVER),
        first: ops.as_ptr(),
        rip: parts.rip,
        links: parts.targets.map(|target| Link {
            target,
            block: Cell::new(jumps.sentinel()),
        }),
        slow: parts.slow.into_boxed_slice(),
        vectors: parts.vectors.into_boxed_slice(),
        frames: (parts.pfn, parts.next_pfn),
        _ops: ops,
    })
}

impl Cache {
    /// Keeps a block.
    pub fn insert(&mut self, jumps: &Jumps, parts: Parts) -> &Block {
        let block = build(jumps, parts);
        let number = self.blocks.len();
        self.index.insert((block.rip, block.frames.0), number);
        self.by_frame
            .entry(block.frames.0)
            .or_default()
            .push(number);
        if let Some(next) = block.frames.1 {
            self.by_frame.entry(next).or_default().push(number);
        }
        self.blocks.push(block);
        &self.blocks[number]
    }

    /// Keeps a block until the next call, for one execution.
    pub fn insert_scratch(&mut self, jumps: &Jumps, parts: Parts) -> &Block {
        let block = build(jumps, parts);
        self.scratch.insert(block)
    }

    /// The block for an address whose first byte lies in frame `pfn`.
    pub fn find(&self, rip: u64, pfn: u64) -> Option<&Block> {
        let number = *self.index.get(&(rip, pfn))?;
        self.blocks.get(number).map(|block| &**block)
    }

    /// Forgets a block that no longer is what memory holds.
    pub fn forget(&mut self, rip: u64, pfn: u64) {
        if let Some(number) = self.index.remove(&(rip, pfn)) {
            self.kill(number);
        }
    }

    fn kill(&mut self, number: usize) {
        if let Some(block) = self.blocks.get(number) {
            block.confirm(NEVER);
            self.dead += 1;
            let key = (block.rip, block.frames.0);
            if self.index.get(&key) == Some(&number) {
                self.index.remove(&key);
            }
        }
    }

    /// Forgets all blocks that depend on a frame. Gives whether there were any.
    pub fn forget_frame(&mut self, pfn: u64) -> bool {
        let Some(numbers) = self.by_frame.remove(&pfn) else {
            return false;
        };
        for number in numbers {
            self.kill(number);
        }
        true
    }

    /// Whether so much is dead that it is time for [`Self::clear`].
    pub fn crowded(&self) -> bool {
        self.dead > MOST_DEAD
    }

    /// Drops all blocks.
    pub fn clear(&mut self, jumps: &Jumps) {
        jumps.clear();
        *self = Self::default();
    }
}

#[inline(always)]
fn jump_slot(rip: u64) -> usize {
    (rip ^ (rip >> 12)) as usize % JUMPS
}
