//! Pool: blocks with the header and tag that Windows gives them, between red zones.
//!
//! Every block is surrounded by bytes that nobody may touch, byte for byte, and freed blocks stay
//! untouchable for a while (quarantine), so that overruns and uses after free are findings at the very
//! instruction.

use std::collections::{BTreeMap, VecDeque};

use ring3_memory::{Gva, PageFlags, codes};

use crate::Machine;
use crate::layout::POOL_HEADER;
use crate::machine::decide::Choice;
use crate::machine::finding::Severity;
use crate::mm::space::{self, PAGE, Region};

/// Kinds of pool.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Nonpaged, not executable.
    NonPaged,
    /// Nonpaged and executable: the old NonPagedPool.
    NonPagedExecute,
    /// Paged.
    Paged,
}

/// Header before each block and red zone after it.
const HEADER: u64 = 16;
/// Blocks above this get pages of their own.
const LARGEST_SMALL: u64 = 2048;
/// Freed blocks that stay untouchable.
const QUARANTINE: usize = 512;
/// What fresh blocks hold where they are not zeroed: visible in dumps, not a valid address.
const FRESH: u8 = 0xcd;

/// A block.
#[derive(Clone, Hash, Debug)]
pub struct Block {
    /// Bytes asked for.
    pub size: u64,
    /// Bytes of the slot, header and red zone included.
    slot: u64,
    /// The tag.
    pub tag: u32,
    /// The kind.
    pub kind: Kind,
    /// Who asked: a return address; 0 for the kernel itself.
    pub owner: u64,
    /// Number of the allocation.
    pub number: u64,
}

/// The pool of a machine.
#[derive(Clone, Hash, Debug, Default)]
pub struct Pool {
    blocks: BTreeMap<u64, Block>,
    free: BTreeMap<(Kind, u64), Vec<u64>>,
    quarantine: VecDeque<u64>,
    freed: BTreeMap<u64, Block>,
    allocations: u64,
}

impl Pool {
    /// Allocated blocks by address.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Block)> {
        self.blocks.iter().map(|(at, block)| (*at, block))
    }

    /// The block at exactly this address.
    #[must_use]
    pub fn get(&self, at: u64) -> Option<&Block> {
        self.blocks.get(&at)
    }

    /// The live or freed block whose slot covers an address: start, block, whether it is freed.
    #[must_use]
    pub fn covering(&self, address: u64) -> Option<(u64, &Block, bool)> {
        let find = |map: &'_ BTreeMap<u64, Block>| {
            let (at, block) = map.range(..=address.saturating_add(HEADER)).next_back()?;
            (address < at - HEADER + block.slot).then_some(*at)
        };
        match find(&self.blocks) {
            Some(at) => Some((at, self.blocks.get(&at)?, false)),
            None => {
                let at = find(&self.freed)?;
                Some((at, self.freed.get(&at)?, true))
            }
        }
    }

    /// Bytes and blocks in use by the drivers' own allocations.
    #[must_use]
    pub fn in_use(&self) -> (u64, u64) {
        let own = self.blocks.values().filter(|b| b.owner != 0);
        (own.clone().map(|b| b.size).sum(), own.count() as u64)
    }
}

/// A tag as text: four characters, lowest byte first.
#[must_use]
pub fn tag_text(tag: u32) -> String {
    tag.to_le_bytes()
        .iter()
        .map(|b| {
            if (0x20..0x7f).contains(b) {
                *b as char
            } else {
                '.'
            }
        })
        .collect()
}

/// Slot size for a request, header and red zone included.
fn slot_size(size: u64) -> u64 {
    let need = size.max(1).next_multiple_of(16) + 2 * HEADER;
    if need <= 512 {
        need.next_multiple_of(32)
    } else {
        need.next_power_of_two()
    }
}

impl Machine {
    /// Allocates pool for the kernel itself, or for `owner`. `None` where memory is used up or the
    /// decider lets it fail.
    pub fn pool_allocate_for(
        &mut self,
        kind: Kind,
        size: u64,
        tag: u32,
        owner: u64,
    ) -> Option<Gva> {
        if owner != 0 {
            match self.ex.fail_allocation {
                Some(0) => {
                    self.ex.fail_allocation = None;
                    self.trace
                        .event("allocation-fails", &[size, u64::from(tag)]);
                    return None;
                }
                Some(n) => self.ex.fail_allocation = Some(n - 1),
                None => {}
            }
            if self.decide(Choice::AllocationFails, 2) == 1 {
                return None;
            }
        }
        if size > 1 << 30 {
            return None;
        }
        let slot = slot_size(size);
        let (at, slot) = if size > LARGEST_SMALL {
            self.large_slot(kind, size)?
        } else {
            (self.small_slot(kind, slot)?, slot)
        };
        self.ex.pool.allocations += 1;
        let number = self.ex.pool.allocations;
        self.ex.pool.freed.remove(&at);
        self.ex.pool.blocks.insert(
            at,
            Block {
                size,
                slot,
                tag,
                kind,
                owner,
                number,
            },
        );
        self.memory
            .set_object(at, size, size.next_multiple_of(16), codes::POOL_RED_ZONE);
        let block = Gva::<u8>::new(at);
        let _ = self
            .memory
            .poke_bytes(None, block, &vec![FRESH; size as usize]);
        if size <= LARGEST_SMALL {
            // POOL_HEADER: sizes in units of 16, the pool type plus one, the tag.
            let header: [u8; 8] = {
                let mut bytes = [0u8; 8];
                bytes[2] = (slot / 16) as u8;
                bytes[3] = if kind == Kind::Paged { 2 } else { 1 };
                bytes[4..].copy_from_slice(&tag.to_le_bytes());
                bytes
            };
            let _ = self
                .memory
                .poke_bytes(None, Gva::<u8>::new(at - POOL_HEADER::SIZE), &header);
        }
        Some(block)
    }

    /// Allocates pool for the kernel itself.
    pub fn pool_allocate(&mut self, kind: Kind, size: u64, tag: u32) -> Option<Gva> {
        let at = self.pool_allocate_for(kind, size, tag, 0)?;
        let _ = self.memory.poke_bytes(None, at, &vec![0u8; size as usize]);
        Some(at)
    }

    fn pool_region(kind: Kind) -> (Region, PageFlags) {
        match kind {
            Kind::NonPaged => (Region::NonPagedPool, space::data()),
            Kind::NonPagedExecute => (Region::NonPagedPool, space::executable_data()),
            Kind::Paged => (Region::PagedPool, space::data()),
        }
    }

    /// Whole pages, the block at the start of one; header page before it only as red zone behind.
    fn large_slot(&mut self, kind: Kind, size: u64) -> Option<(u64, u64)> {
        let pages = (size + HEADER).div_ceil(PAGE);
        let (region, flags) = Self::pool_region(kind);
        let at = self.allocate_pages(region, pages, flags)?.raw();
        self.memory.poison(at, pages * PAGE, codes::POOL_RED_ZONE);
        Some((at, pages * PAGE + HEADER))
    }

    fn small_slot(&mut self, kind: Kind, slot: u64) -> Option<u64> {
        if self
            .ex
            .pool
            .free
            .get(&(kind, slot))
            .is_none_or(Vec::is_empty)
        {
            let (region, flags) = Self::pool_region(kind);
            let page = self.allocate_pages(region, 1, flags)?.raw();
            self.memory.poison(page, PAGE, codes::POOL_RED_ZONE);
            let list = self.ex.pool.free.entry((kind, slot)).or_default();
            let count = PAGE / slot;
            list.extend((0..count).rev().map(|i| page + i * slot + HEADER));
        }
        self.ex.pool.free.get_mut(&(kind, slot))?.pop()
    }

    /// Frees a block. False if there is no block at this address; `was_freed` tells whether there was one.
    pub fn pool_free(&mut self, at: Gva) -> bool {
        let Some(block) = self.ex.pool.blocks.remove(&at.raw()) else {
            return false;
        };
        let start = at.raw();
        self.locks_freed(start, block.size);
        let body = block.size.next_multiple_of(16);
        self.memory.poison(start, body, codes::POOL_FREED);
        self.ex.pool.freed.insert(start, block);
        self.ex.pool.quarantine.push_back(start);
        if self.ex.pool.quarantine.len() > QUARANTINE
            && let Some(oldest) = self.ex.pool.quarantine.pop_front()
        {
            self.recycle(oldest);
        }
        true
    }

    /// A block leaves the quarantine: its slot may be used again.
    fn recycle(&mut self, at: u64) {
        let Some(block) = self.ex.pool.freed.remove(&at) else {
            return;
        };
        if block.size > LARGEST_SMALL {
            self.memory.unpoison(at, block.slot - HEADER);
            let (region, _) = Self::pool_region(block.kind);
            self.free_pages(region, Gva::new(at));
        } else {
            self.ex
                .pool
                .free
                .entry((block.kind, block.slot))
                .or_default()
                .push(at);
        }
    }

    /// Whether a block that was freed lies at this address.
    #[must_use]
    pub fn pool_was_freed(&self, at: u64) -> bool {
        self.ex.pool.freed.contains_key(&at)
    }

    /// Reports the blocks that code of this image allocated and did not free.
    pub fn report_pool_leaks(&mut self, base: u64, size: u32) {
        let mut by_tag: BTreeMap<u32, (u64, u64, u64)> = BTreeMap::new();
        for block in self.ex.pool.blocks.values() {
            if block.owner >= base && block.owner - base < u64::from(size) {
                let entry = by_tag.entry(block.tag).or_insert((0, 0, block.owner));
                entry.0 += 1;
                entry.1 += block.size;
            }
        }
        for (tag, (count, bytes, owner)) in by_tag {
            let blocks = if count == 1 {
                "1 block"
            } else {
                &format!("{count} blocks")
            };
            let text = format!(
                "{blocks} of pool with tag '{}' ({bytes} bytes) not freed before unload",
                tag_text(tag)
            );
            self.report_at("pool/leak", Severity::Error, text, owner.wrapping_sub(1));
        }
    }

    /// What a forbidden access hit, in words, as a finding.
    pub(crate) fn shadow_finding(&mut self, hit: &ring3_memory::ShadowHit, routine: Option<&str>) {
        let verb = match hit.access {
            ring3_memory::Access::Read => "read",
            ring3_memory::Access::Write => "write",
            ring3_memory::Access::Execute => "execution",
        };
        let by = routine.map_or(String::new(), |r| format!(" by {r}"));
        let (rule, text) = match self.ex.pool.covering(hit.va) {
            Some((at, block, true)) => (
                "pool/use-after-free",
                format!(
                    "{verb} of {} bytes{by} at offset {:#x} of a freed pool block ({} bytes, tag '{}')",
                    hit.size,
                    hit.va.wrapping_sub(at),
                    block.size,
                    tag_text(block.tag)
                ),
            ),
            Some((at, block, false)) if hit.va >= at => (
                "pool/overrun",
                format!(
                    "{verb} of {} bytes{by} at offset {:#x} of a pool block of {} bytes, tag '{}'",
                    hit.size,
                    hit.va - at,
                    block.size,
                    tag_text(block.tag)
                ),
            ),
            Some((at, block, false)) => (
                "pool/underrun",
                format!(
                    "{verb} of {} bytes{by} {} bytes before a pool block of {} bytes, tag '{}'",
                    hit.size,
                    at - hit.va,
                    block.size,
                    tag_text(block.tag)
                ),
            ),
            None => (
                "memory/forbidden",
                format!(
                    "{verb} of {} bytes{by} at {:#x}, which nobody owns",
                    hit.size, hit.va
                ),
            ),
        };
        self.report(rule, Severity::Error, text);
    }

    /// Turns the forbidden accesses of host routines into findings.
    pub(crate) fn shadow_findings(&mut self, routine: Option<&str>) {
        for hit in self.memory.take_shadow_hits() {
            self.shadow_finding(&hit, routine);
        }
    }
}
