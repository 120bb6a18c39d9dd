//! From every instruction of a synthetic function, prologue and epilogue included, unwinding gives the same caller.

mod common;

use common::{BASE, BEGIN, RSP, Step, entry, run, same_caller};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use ring3_pe::build::{UnwindCode, UnwindInfo};
use ring3_symbols::unwind::virtual_unwind;

/// What a function saves and how.
#[derive(Clone, Debug)]
struct Shape {
    pushes: Vec<u8>,
    /// Bytes of the fixed allocation.
    alloc: u32,
    /// Frame register and its distance from rsp in units of 16.
    frame: Option<(u8, u8)>,
    saves: Vec<u8>,
    xmm: Vec<u8>,
    version: u8,
    tail_call: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let registers =
        prop::sample::subsequence(vec![3u8, 5, 6, 7, 12, 13, 14, 15], 0..=8).prop_shuffle();
    let alloc = prop_oneof![
        Just(0u32),
        (1u32..=16),
        (16u32..4_000),
        Just(0xffff),
        Just(0x1_0000),
        Just(0x2_0001)
    ];
    let xmm = prop::sample::subsequence((6u8..16).collect::<Vec<_>>(), 0..=4);
    (
        registers,
        0usize..9,
        alloc,
        prop::option::of((0usize..8, 0u8..16)),
        xmm,
        1u8..=2,
        any::<bool>(),
    )
        .prop_map(
            |(registers, split, alloc, frame, xmm, version, tail_call)| {
                let split = split.min(registers.len());
                let (pushes, saves) = registers.split_at(split);
                // Room for the saves, 16 bytes each.
                let room = (saves.len() + xmm.len()) as u32 * 16;
                let alloc = if alloc == 0 && room == 0 {
                    0
                } else {
                    (alloc * 8).max(room)
                };
                // A frame register must have been saved by a push first.
                let frame = frame.and_then(|(index, offset)| Some((*pushes.get(index)?, offset)));
                Shape {
                    pushes: pushes.to_vec(),
                    alloc,
                    frame,
                    saves: saves.to_vec(),
                    xmm,
                    version,
                    tail_call,
                }
            },
        )
}

/// The function's instructions and its unwind information.
fn make(shape: &Shape) -> (Vec<Step>, UnwindInfo) {
    let (mut steps, mut codes, mut at) = (Vec::new(), Vec::new(), 0u8);
    let mut prolog = |step: Step, code: &dyn Fn(u8) -> UnwindCode, steps: &mut Vec<Step>| {
        at += step.encode().len() as u8;
        steps.push(step);
        codes.push(code(at));
    };
    for register in &shape.pushes {
        prolog(
            Step::Push(*register),
            &|at| UnwindCode::PushNonvol {
                at,
                register: *register,
            },
            &mut steps,
        );
    }
    if shape.alloc > 0 {
        prolog(
            Step::Sub(shape.alloc),
            &|at| UnwindCode::Alloc {
                at,
                size: shape.alloc,
            },
            &mut steps,
        );
    }
    let distance = shape.frame.map_or(0, |(_, offset)| u32::from(offset) * 16);
    if let Some((register, _)) = shape.frame {
        prolog(
            Step::SetFrame(register, distance),
            &|at| UnwindCode::SetFpreg { at },
            &mut steps,
        );
    }
    for (index, register) in (0..).zip(&shape.saves) {
        let (register, offset) = (*register, index * 16);
        prolog(
            Step::Save(register, offset),
            &|at| UnwindCode::SaveNonvol {
                at,
                register,
                offset,
            },
            &mut steps,
        );
    }
    let above = shape.saves.len() as u32 * 16;
    for (index, register) in (0..).zip(&shape.xmm) {
        let (register, offset) = (*register, above + index * 16);
        prolog(
            Step::SaveXmm(register, offset),
            &|at| UnwindCode::SaveXmm128 {
                at,
                register,
                offset,
            },
            &mut steps,
        );
    }
    let prolog_size = at;

    steps.push(Step::Nop);
    let frame = shape.frame.map(|(register, _)| register);
    let kept = shape
        .pushes
        .iter()
        .chain(&shape.saves)
        .filter(|register| Some(**register) != frame);
    steps.extend(kept.map(|register| Step::Clobber(*register)));
    steps.extend(shape.xmm.iter().map(|register| Step::ClobberXmm(*register)));
    if frame.is_some() {
        // A body with a frame register may allocate more.
        steps.push(Step::Sub(0x40));
        steps.push(Step::Nop);
        steps.push(Step::Add(0x40));
        steps.push(Step::Nop);
    }
    steps.extend(
        (0..)
            .zip(&shape.saves)
            .map(|(index, register)| Step::Load(*register, index * 16)),
    );
    steps.extend(
        (0..)
            .zip(&shape.xmm)
            .map(|(index, register)| Step::LoadXmm(*register, above + index * 16)),
    );
    match shape.frame {
        Some((register, _)) => {
            steps.push(Step::Lea(register, shape.alloc as i32 - distance as i32))
        }
        None if shape.alloc > 0 => steps.push(Step::Add(shape.alloc)),
        None => {}
    }
    let pops = steps.len();
    steps.extend(
        shape
            .pushes
            .iter()
            .rev()
            .map(|register| Step::Pop(*register)),
    );
    steps.push(if shape.tail_call {
        Step::Jump(0x4000)
    } else {
        Step::Ret
    });
    if shape.version == 2 {
        // The epilogue starts with its pops and ends the function.
        let size: usize = steps[pops..].iter().map(|step| step.encode().len()).sum();
        codes.insert(
            0,
            UnwindCode::Epilog {
                offset: size as u8,
                info: 1,
            },
        );
        codes.insert(1, UnwindCode::Epilog { offset: 0, info: 0 });
    }
    let info = UnwindInfo {
        version: shape.version,
        prolog_size,
        frame: shape.frame,
        codes,
        ..UnwindInfo::default()
    };
    (steps, info)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

    #[test]
    fn every_instruction_gives_the_same_caller(shape in shape()) {
        let (steps, info) = make(&shape);
        let function = entry(&steps);
        let mut establisher = None;
        run(&steps, &info.encode(), |index, regs, memory, expected| {
            let place = format!("before {:?} ({index}) of {shape:?}", steps[index]);
            let mut got = *regs;
            let unwound = virtual_unwind(memory, BASE, Some(&function), &mut got).unwrap_or_else(|error| panic!("{error}, {place}"));
            same_caller(&got, expected, &place);
            assert!(!unwound.machine_frame && unwound.handler.is_none());
            let frame_is_set = steps[..index].iter().any(|step| matches!(step, Step::SetFrame(..)));
            if !frame_is_set {
                assert_eq!(unwound.establisher_frame, regs.gpr[RSP], "{place}");
            }
            // All of the body has one establisher frame.
            let offset = regs.rip - BASE - u64::from(BEGIN);
            let body = offset >= u64::from(info.prolog_size) && matches!(steps[index], Step::Clobber(_) | Step::Load(..));
            if body {
                assert_eq!(*establisher.get_or_insert(unwound.establisher_frame), unwound.establisher_frame, "{place}");
            }
        });
    }

    /// Damaged unwind information is an error or an answer, never a panic.
    #[test]
    fn damaged_information_never_panics(shape in shape(), bytes in prop::collection::vec((0usize..64, any::<u8>()), 1..6)) {
        let (steps, info) = make(&shape);
        let function = entry(&steps);
        let mut unwind = info.encode();
        unwind.resize(unwind.len().max(80), 0);
        for (at, value) in bytes {
            unwind[at] = value;
        }
        run(&steps, &unwind, |_, regs, memory, _| {
            let mut got = *regs;
            if virtual_unwind(memory, BASE, Some(&function), &mut got).is_err() {
                assert_eq!(got, *regs, "an error leaves the registers");
            }
        });
    }
}
