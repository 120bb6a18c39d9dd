//! The shadow, byte by byte: what guest accesses refuse and host accesses report.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ring3_memory::{Access, Context, Fault, Gpa, Gva, Memory, PageFlags, Privilege, codes};

const VA: u64 = 0xffff_a000_0000_0000;
const PA: u64 = 0x20_0000;
const SPAN: u64 = 0x2000;

fn machine() -> Memory {
    let mut memory = Memory::new(4 << 20);
    let cr3 = memory.new_address_space(None).unwrap();
    let flags = PageFlags::PRESENT | PageFlags::WRITE | PageFlags::ACCESSED | PageFlags::DIRTY;
    memory.map(cr3, VA, Gpa(PA + 0x1000), flags).unwrap();
    memory.map(cr3, VA + 0x1000, Gpa(PA), flags).unwrap();
    memory.set_context(Context {
        cr3,
        wp: true,
        nxe: true,
        smep: true,
        smap: true,
    });
    memory
}

fn load(memory: &mut Memory, va: u64, size: u64) -> Result<(), Fault> {
    let privilege = Privilege::Supervisor;
    match size {
        1 => memory.load::<u8>(va, privilege).map(drop),
        2 => memory.load::<u16>(va, privilege).map(drop),
        4 => memory.load::<u32>(va, privilege).map(drop),
        8 => memory.load::<u64>(va, privilege).map(drop),
        _ => memory.load::<u128>(va, privilege).map(drop),
    }
}

fn store(memory: &mut Memory, va: u64, size: u64) -> Result<(), Fault> {
    let privilege = Privilege::Supervisor;
    match size {
        1 => memory.store::<u8>(va, !0, privilege),
        2 => memory.store::<u16>(va, !0, privilege),
        4 => memory.store::<u32>(va, !0, privilege),
        8 => memory.store::<u64>(va, !0, privilege),
        _ => memory.store::<u128>(va, !0, privilege),
    }
}

/// Checks loads, stores and host accesses of every size at `va` against the per-byte model.
fn check_at(memory: &mut Memory, model: &[u8], va: u64) {
    for size in [1, 2, 4, 8, 16] {
        let first = (va - VA) as usize;
        if first + size as usize > model.len() {
            continue;
        }
        let bad = (first..first + size as usize).find(|at| model[*at] != 0);
        for access in [Access::Read, Access::Write] {
            let before = memory.hash();
            let got = match access {
                Access::Read => load(memory, va, size),
                _ => store(memory, va, size),
            };
            match (got, bad) {
                (Ok(()), None) => (),
                (Err(Fault::Shadow(hit)), Some(bad)) => {
                    assert_eq!(
                        (hit.va, hit.size, hit.access),
                        (VA + bad as u64, size as u32, access)
                    );
                    assert_eq!(hit.pa, Gpa((PA + bad as u64) ^ 0x1000));
                    assert_eq!(hit.code, model[bad]);
                    assert_eq!(memory.hash(), before, "a refused access has no effect");
                }
                (got, bad) => {
                    panic!("{access} of {size} at +{first:#x}: got {got:?}, first bad {bad:?}")
                }
            }
        }
        assert!(memory.take_shadow_hits().is_empty());
        let mut bytes = vec![0; size as usize];
        memory.read_bytes(Gva::<u8>::new(va), &mut bytes).unwrap();
        let hits = memory.take_shadow_hits();
        assert_eq!(
            hits.first().map(|hit| hit.va),
            bad.map(|bad| VA + bad as u64)
        );
        assert!(memory.take_shadow_hits().is_empty());
        memory.write(Gva::<u8>::new(va), 1u8).unwrap();
        assert_eq!(
            memory.take_shadow_hits().len(),
            usize::from(model[first] != 0)
        );
    }
}

/// Every length of an object's last group, every size, every offset around it, within a page and across.
#[test]
fn object_ends_are_exact() {
    for start in [0x100, 0xff0, 0xff8] {
        for len in 0..=24u64 {
            let mut memory = machine();
            let mut model = vec![0; SPAN as usize];
            memory.set_object(VA + start, len, 40, codes::POOL_RED_ZONE);
            model[(start + len) as usize..(start + 40) as usize].fill(codes::POOL_RED_ZONE);
            if (start + len) % 0x1000 > 0xff8 {
                // The group with the reason is in the next page, which needn't be the next frame.
                model[(start + len) as usize..(start + len).next_multiple_of(8) as usize]
                    .fill((len % 8) as u8);
            }
            for va in VA + start - 20..VA + start + 44 {
                // Marks only; stores of an earlier round don't matter.
                check_at(&mut memory, &model, va);
            }
        }
    }
}

/// An unaligned 16-byte access touches three groups; any of them may be the bad one.
#[test]
fn one_bad_group() {
    for start in [0x100, 0xff0, 0xff8, 0x1000] {
        let mut memory = machine();
        let mut model = vec![0; SPAN as usize];
        memory.poison(VA + start, 8, codes::UNALLOCATED);
        model[start as usize..start as usize + 8].fill(codes::UNALLOCATED);
        for va in VA + start - 20..VA + start + 12 {
            check_at(&mut memory, &model, va);
        }
    }
}

#[test]
fn checks_can_be_turned_off_and_the_shadow_is_state() {
    let mut memory = machine();
    memory.store(VA, 5u64, Privilege::Supervisor).unwrap();
    let clean = memory.snapshot();
    let hash = memory.hash();
    memory.poison(VA, 64, codes::POOL_FREED);
    assert_ne!(memory.hash(), hash);
    assert_eq!(memory.shadow_at(VA + 63), Some(codes::POOL_FREED));
    assert_eq!(
        memory.shadow_at_physical(Gpa(PA + 0x1000)),
        Some(codes::POOL_FREED)
    );
    assert!(load(&mut memory, VA, 8).is_err());
    let copy = memory.clone();
    memory.shadow_enabled(false);
    assert_eq!(memory.load::<u64>(VA, Privilege::Supervisor), Ok(5));
    assert_eq!(memory.read(Gva::<u64>::new(VA)), Ok(5));
    assert!(memory.take_shadow_hits().is_empty());
    memory.restore(&clean);
    assert!(memory.is_shadow_enabled());
    assert_eq!(memory.hash(), hash);
    assert!(load(&mut memory, VA, 8).is_ok());
    assert!(load(&mut copy.clone(), VA, 8).is_err());
    assert_eq!(copy.shadow_at(0x1000), None);
}

#[test]
fn probe_sees_the_shadow_of_both_pages() {
    let mut memory = machine();
    memory.poison(VA + 0x1000, 8, codes::STACK_GUARD);
    assert!(
        memory
            .probe(VA + 0xff8, 8, Access::Write, Privilege::Supervisor)
            .is_ok()
    );
    let hit = memory
        .probe(VA + 0xffc, 8, Access::Write, Privilege::Supervisor)
        .unwrap_err();
    assert_eq!(hit.va(), Some(VA + 0x1000));
}

#[derive(Clone, Debug)]
enum Mark {
    Poison {
        at: u64,
        len: u64,
        code: u8,
    },
    Unpoison {
        at: u64,
        len: u64,
    },
    Object {
        at: u64,
        len: u64,
        room: u64,
        code: u8,
    },
}

fn mark() -> impl Strategy<Value = Mark> {
    let at = || prop_oneof![0..SPAN / 8 - 40, 0xf00u64 / 8..0x1080 / 8].prop_map(|group| group * 8);
    prop_oneof![
        (at(), 0u64..30, 0x80u8..).prop_map(|(at, groups, code)| Mark::Poison {
            at,
            len: groups * 8,
            code
        }),
        (at(), 0u64..30).prop_map(|(at, groups)| Mark::Unpoison {
            at,
            len: groups * 8
        }),
        (at(), 0u64..30, 0u64..240, 0x80u8..).prop_map(|(at, groups, len, code)| {
            // The reason behind a partial group is that of the next one, so there is at least one more.
            let room = (len.div_ceil(8) + 1 + groups % 4) * 8;
            Mark::Object {
                at,
                len,
                room,
                code,
            }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0x5eed),
        ..ProptestConfig::default()
    })]

    /// Marks on whole groups and objects are exact; codes are compared where the model can know them.
    #[test]
    fn marks_are_exact(marks in prop::collection::vec(mark(), 1..12), places in prop::collection::vec(0..SPAN, 40)) {
        let mut memory = machine();
        let mut model = vec![false; SPAN as usize];
        for mark in &marks {
            match *mark {
                Mark::Poison { at, len, code } => {
                    memory.poison(VA + at, len, code);
                    model[at as usize..(at + len) as usize].fill(true);
                }
                Mark::Unpoison { at, len } => {
                    memory.unpoison(VA + at, len);
                    model[at as usize..(at + len) as usize].fill(false);
                }
                Mark::Object { at, len, room, code } => {
                    memory.set_object(VA + at, len, room, code);
                    model[at as usize..(at + len) as usize].fill(false);
                    model[(at + len) as usize..(at + room) as usize].fill(true);
                }
            }
        }
        for place in places {
            for size in [1, 2, 4, 8, 16] {
                if place + size <= SPAN {
                    let bad = (place..place + size).find(|at| model[*at as usize]);
                    let got = load(&mut memory, VA + place, size).err().and_then(|fault| fault.va());
                    prop_assert_eq!(got, bad.map(|bad| VA + bad));
                }
            }
        }
    }

    /// Marks on any bytes never touch a byte outside the range.
    #[test]
    fn ragged_marks_raise_no_false_alarm(ranges in prop::collection::vec((0..SPAN - 64, 0u64..64), 1..6)) {
        let mut memory = machine();
        let mut model = vec![false; SPAN as usize];
        for (at, len) in ranges {
            memory.poison(VA + at, len, codes::POOL_FREED);
            model[at as usize..(at + len) as usize].fill(true);
        }
        for (at, bad) in (0..SPAN).zip(&model) {
            if load(&mut memory, VA + at, 1).is_err() {
                prop_assert!(*bad, "byte {:#x} was never marked", at);
            }
        }
    }
}
