//! The memory against the simplest model that could be right: a map of bytes and a map of pages. Random mapping
//! changes, accesses of every kind, clones, snapshots and restores, on few pages that conflict in the TLB.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ring3_memory::{
    Access, Context, Fault, Gpa, Gva, Memory, PAGE_SIZE, PageFlags, Privilege, Snapshot,
};

const BASE: u64 = 0xffff_8000_0020_0000;
const DATA: u64 = 0x20_0000;
const FRAMES: u64 = 5;
const CR3: u64 = 0x1000;

/// Two runs of adjacent pages with the same TLB indices.
fn page_address(number: u64) -> u64 {
    BASE + (number % 4) * 0x1000 + (number / 4) * 0x10_0000
}
const PAGES: u64 = 8;

#[derive(Clone, Debug, PartialEq)]
struct Model {
    bytes: BTreeMap<u64, u8>,
    pages: BTreeMap<u64, (u64, PageFlags)>,
}

impl Model {
    fn check(&self, va: u64, len: u64, access: Access, privilege: Privilege) -> Result<(), Fault> {
        for offset in 0..len {
            let va = va + offset;
            if offset > 0 && !va.is_multiple_of(0x1000) {
                continue;
            }
            let Some((_, flags)) = self.pages.get(&(va & !0xfff)) else {
                return Err(Fault::Page {
                    va,
                    access,
                    privilege,
                    present: false,
                });
            };
            let user = privilege == Privilege::User && !flags.contains(PageFlags::USER);
            let write = access == Access::Write && !flags.contains(PageFlags::WRITE);
            if user || write {
                return Err(Fault::Page {
                    va,
                    access,
                    privilege,
                    present: true,
                });
            }
        }
        Ok(())
    }

    fn physical(&self, va: u64) -> Option<u64> {
        self.pages
            .get(&(va & !0xfff))
            .map(|(pa, _)| pa + va % 0x1000)
    }

    fn get(&self, va: u64, len: u64) -> Vec<u8> {
        (va..va + len)
            .map(|va| {
                self.bytes
                    .get(&self.physical(va).unwrap())
                    .copied()
                    .unwrap_or(0)
            })
            .collect()
    }

    fn put(&mut self, va: u64, bytes: &[u8]) {
        for (va, byte) in (va..).zip(bytes) {
            let pa = self.physical(va).unwrap();
            self.bytes.insert(pa, *byte);
        }
    }
}

/// A memory with all page tables made, so that only leaf entries change later.
fn fresh() -> Memory {
    let mut memory = Memory::new(4 << 20);
    let cr3 = memory.new_address_space(None).unwrap();
    assert_eq!(cr3, CR3);
    for page in 0..PAGES {
        let flags = PageFlags::PRESENT | PageFlags::USER;
        memory
            .map(cr3, page_address(page), Gpa(DATA), flags)
            .unwrap();
        memory.unmap(cr3, page_address(page)).unwrap();
    }
    memory.reserve_frames(DATA..DATA + FRAMES * 0x1000);
    memory.set_context(Context {
        cr3,
        wp: true,
        nxe: true,
        smep: true,
        smap: false,
    });
    memory
}

/// The same content by another way.
fn rebuild(model: &Model) -> Memory {
    let mut memory = fresh();
    for (pa, byte) in &model.bytes {
        memory.write_physical(Gpa(*pa), &[*byte]).unwrap();
    }
    for (va, (pa, flags)) in &model.pages {
        memory.map(CR3, *va, Gpa(*pa), *flags).unwrap();
    }
    memory
}

#[derive(Clone, Debug)]
enum Step {
    Map {
        page: u64,
        frame: u64,
        flags: PageFlags,
    },
    Unmap(u64),
    Protect {
        page: u64,
        flags: PageFlags,
    },
    Load {
        va: u64,
        size: u32,
        privilege: Privilege,
    },
    Store {
        va: u64,
        size: u32,
        value: u128,
        privilege: Privilege,
    },
    HostRead {
        va: u64,
        len: u64,
        privilege: Privilege,
    },
    HostWrite {
        va: u64,
        len: u64,
        value: u8,
        privilege: Privilege,
    },
    Fill {
        va: u64,
        len: u64,
        value: u8,
    },
    Copy {
        dst: u64,
        src: u64,
        len: u64,
    },
    Poke {
        va: u64,
        len: u64,
        value: u8,
    },
    WritePhysical {
        pa: u64,
        len: u64,
        value: u8,
    },
    Clone,
    Switch(usize),
    Snapshot,
    Restore(usize),
    Hash,
}

fn flags() -> impl Strategy<Value = PageFlags> {
    // Accessed and dirty are set from the start, so that no access changes an entry.
    let always = PageFlags::PRESENT | PageFlags::ACCESSED | PageFlags::DIRTY;
    prop_oneof![
        4 => Just(always | PageFlags::WRITE | PageFlags::USER),
        2 => Just(always | PageFlags::WRITE),
        1 => Just(always | PageFlags::USER),
    ]
}

fn address() -> impl Strategy<Value = u64> {
    // Near page ends more often than not.
    (0..PAGES, prop_oneof![0u64..24, 4072u64..4096, 0u64..4096])
        .prop_map(|(page, at)| page_address(page) + at)
}

fn privilege() -> impl Strategy<Value = Privilege> {
    prop_oneof![3 => Just(Privilege::Supervisor), 1 => Just(Privilege::User)]
}

fn size() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1), Just(2), Just(4), Just(8), Just(16)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..PAGES, 0..FRAMES, flags()).prop_map(|(page, frame, flags)| Step::Map { page, frame, flags }),
        1 => (0..PAGES).prop_map(Step::Unmap),
        1 => (0..PAGES, flags()).prop_map(|(page, flags)| Step::Protect { page, flags }),
        8 => (address(), size(), privilege()).prop_map(|(va, size, privilege)| Step::Load { va, size, privilege }),
        12 => (address(), size(), any::<u128>(), privilege())
            .prop_map(|(va, size, value, privilege)| Step::Store { va, size, value, privilege }),
        3 => (address(), 0u64..9000, privilege())
            .prop_map(|(va, len, privilege)| Step::HostRead { va, len, privilege }),
        4 => (address(), 0u64..9000, any::<u8>(), privilege())
            .prop_map(|(va, len, value, privilege)| Step::HostWrite { va, len, value, privilege }),
        1 => (address(), 0u64..5000, any::<u8>()).prop_map(|(va, len, value)| Step::Fill { va, len, value }),
        2 => (address(), address(), 0u64..5000).prop_map(|(dst, src, len)| Step::Copy { dst, src, len }),
        1 => (address(), 0u64..5000, any::<u8>()).prop_map(|(va, len, value)| Step::Poke { va, len, value }),
        1 => (DATA..DATA + FRAMES * 0x1000 - 5000, 0u64..5000, any::<u8>())
            .prop_map(|(pa, len, value)| Step::WritePhysical { pa, len, value }),
        2 => Just(Step::Clone),
        3 => (0usize..8).prop_map(Step::Switch),
        2 => Just(Step::Snapshot),
        3 => (0usize..8).prop_map(Step::Restore),
        2 => Just(Step::Hash),
    ]
}

/// Bytes that differ from place to place.
fn pattern(value: u8, len: u64) -> Vec<u8> {
    (0..len)
        .map(|at| value.wrapping_add((at % 251) as u8))
        .collect()
}

struct Machines {
    all: Vec<(Memory, Model)>,
    now: usize,
    snapshots: Vec<(Snapshot, Model)>,
}

impl Machines {
    fn step(&mut self, step: &Step) {
        let (memory, model) = &mut self.all[self.now];
        match *step {
            Step::Map { page, frame, flags } => {
                let (va, pa) = (page_address(page), DATA + frame * 0x1000);
                let done = memory.map(CR3, va, Gpa(pa), flags);
                assert_eq!(done.is_ok(), !model.pages.contains_key(&va));
                model.pages.entry(va).or_insert((pa, flags));
            }
            Step::Unmap(page) => {
                let held = model.pages.remove(&page_address(page));
                assert_eq!(
                    memory.unmap(CR3, page_address(page)),
                    held.map(|(pa, _)| Gpa(pa))
                );
            }
            Step::Protect { page, flags } => {
                let entry = model.pages.get_mut(&page_address(page));
                assert_eq!(
                    memory.protect(CR3, page_address(page), flags),
                    entry.is_some()
                );
                if let Some(entry) = entry {
                    entry.1 = flags;
                }
            }
            Step::Load {
                va,
                size,
                privilege,
            } => {
                let got = match size {
                    1 => memory.load::<u8>(va, privilege).map(u128::from),
                    2 => memory.load::<u16>(va, privilege).map(u128::from),
                    4 => memory.load::<u32>(va, privilege).map(u128::from),
                    8 => memory.load::<u64>(va, privilege).map(u128::from),
                    _ => memory.load::<u128>(va, privilege),
                };
                let want = model
                    .check(va, u64::from(size), Access::Read, privilege)
                    .map(|()| {
                        let mut bytes = model.get(va, u64::from(size));
                        bytes.resize(16, 0);
                        u128::from_le_bytes(bytes.try_into().unwrap())
                    });
                assert_eq!(got, want);
            }
            Step::Store {
                va,
                size,
                value,
                privilege,
            } => {
                let got = match size {
                    1 => memory.store(va, value as u8, privilege),
                    2 => memory.store(va, value as u16, privilege),
                    4 => memory.store(va, value as u32, privilege),
                    8 => memory.store(va, value as u64, privilege),
                    _ => memory.store(va, value, privilege),
                };
                assert_eq!(
                    got,
                    model.check(va, u64::from(size), Access::Write, privilege)
                );
                if got.is_ok() {
                    model.put(va, &value.to_le_bytes()[..size as usize]);
                }
            }
            Step::HostRead { va, len, privilege } => {
                let mut bytes = vec![0xee; len as usize];
                let got = memory.read_bytes_as(privilege, Gva::<u8>::new(va), &mut bytes);
                let want = model.check(va, len, Access::Read, privilege);
                assert_eq!(got, want);
                assert_eq!(memory.check(va, len, Access::Read, privilege), want);
                if got.is_ok() {
                    assert!(bytes == model.get(va, len));
                }
            }
            Step::HostWrite {
                va,
                len,
                value,
                privilege,
            } => {
                let bytes = pattern(value, len);
                let got = memory.write_bytes_as(privilege, Gva::<u8>::new(va), &bytes);
                assert_eq!(got, model.check(va, len, Access::Write, privilege));
                if got.is_ok() {
                    model.put(va, &bytes);
                }
            }
            Step::Fill { va, len, value } => {
                let got = memory.fill(Gva::<u8>::new(va), len, value);
                assert_eq!(
                    got,
                    model.check(va, len, Access::Write, Privilege::Supervisor)
                );
                if got.is_ok() {
                    model.put(va, &vec![value; len as usize]);
                }
            }
            Step::Copy { dst, src, len } => {
                let want = model
                    .check(src, len, Access::Read, Privilege::Supervisor)
                    .and_then(|()| model.check(dst, len, Access::Write, Privilege::Supervisor));
                // Two virtual ranges may share frames at other offsets, where a copy has no defined result.
                let apart = |model: &Model| {
                    let frames = |va: u64| -> Vec<u64> {
                        (va..va + len)
                            .filter_map(|va| model.physical(va))
                            .map(|pa| pa >> 12)
                            .collect()
                    };
                    let (to, from) = (frames(dst), frames(src));
                    model.pages.len() == frames_mapped(model)
                        || to.iter().all(|frame| !from.contains(frame))
                };
                if want.is_ok() && !apart(model) {
                    return;
                }
                assert_eq!(
                    memory.copy(Gva::<u8>::new(dst), Gva::<u8>::new(src), len),
                    want
                );
                if want.is_ok() {
                    let bytes = model.get(src, len);
                    model.put(dst, &bytes);
                }
            }
            Step::Poke { va, len, value } => {
                let bytes = pattern(value, len);
                let mapped = (va..va + len).all(|va| model.physical(va).is_some());
                assert_eq!(
                    memory.poke_bytes(None, Gva::<u8>::new(va), &bytes).is_ok(),
                    mapped
                );
                if mapped {
                    model.put(va, &bytes);
                    let mut back = vec![0; len as usize];
                    memory
                        .peek_bytes(Some(CR3), Gva::<u8>::new(va), &mut back)
                        .unwrap();
                    assert!(back == model.get(va, len));
                }
            }
            Step::WritePhysical { pa, len, value } => {
                let bytes = pattern(value, len);
                memory.write_physical(Gpa(pa), &bytes).unwrap();
                model.bytes.extend((pa..).zip(bytes));
            }
            Step::Clone => {
                let copy = (memory.clone(), model.clone());
                if self.all.len() < 4 {
                    self.all.push(copy);
                } else {
                    let next = (self.now + 1) % self.all.len();
                    self.all[next] = copy;
                }
            }
            Step::Switch(to) => self.now = to % self.all.len(),
            Step::Snapshot => {
                let snapshot = (memory.snapshot(), model.clone());
                assert!(memory.dirty_pages().is_empty());
                if self.snapshots.len() == 4 {
                    self.snapshots.remove(0);
                }
                self.snapshots.push(snapshot);
            }
            Step::Restore(which) => {
                let Some(count) = self.snapshots.len().checked_sub(1) else {
                    return;
                };
                let (snapshot, then) = &self.snapshots[which.min(count)];
                memory.restore(snapshot);
                model.clone_from(then);
                assert!(memory.dirty_pages().is_empty());
            }
            Step::Hash => assert_eq!(memory.hash(), rebuild(model).hash()),
        }
    }

    fn check_all(&mut self) {
        for (memory, model) in &mut self.all {
            let mut bytes = vec![0; FRAMES as usize * PAGE_SIZE];
            memory.read_physical(Gpa(DATA), &mut bytes).unwrap();
            let want: Vec<u8> = (DATA..DATA + FRAMES * 0x1000)
                .map(|pa| model.bytes.get(&pa).copied().unwrap_or(0))
                .collect();
            assert!(bytes == want, "the bytes of RAM are not the model's");
            let hash = memory.hash();
            assert_eq!(hash, memory.clone().hash());
            assert_eq!(hash, rebuild(model).hash());
        }
    }
}

/// How many different frames are mapped.
fn frames_mapped(model: &Model) -> usize {
    let mut frames: Vec<_> = model.pages.values().map(|(pa, _)| *pa).collect();
    frames.sort_unstable();
    frames.dedup();
    frames.len()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..ProptestConfig::default()
    })]

    #[test]
    fn behaves_as_the_model(steps in prop::collection::vec(step(), 1..150)) {
        let model = Model { bytes: BTreeMap::new(), pages: BTreeMap::new() };
        let mut machines = Machines { all: vec![(fresh(), model)], now: 0, snapshots: Vec::new() };
        for page in 0..4 {
            let flags = PageFlags::PRESENT | PageFlags::WRITE | PageFlags::USER | PageFlags::ACCESSED | PageFlags::DIRTY;
            machines.step(&Step::Map { page, frame: page, flags });
        }
        for step in &steps {
            machines.step(step);
        }
        machines.check_all();
    }
}
