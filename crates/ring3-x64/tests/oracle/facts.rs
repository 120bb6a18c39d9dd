//! The interpreter against iced's tables of what each instruction reads and writes: a handler that touches an operand it
//! should not is found without any processor to compare with.

use iced_x86::{InstructionInfoFactory, OpAccess, OpKind, Register};

use super::case::{self, Case, Executor, Outcome, State, rflags_bits};
use super::generate;
use super::machine::Machine;
use super::select;

const CASES: u64 = 8;
const STATUS: u64 = 0x8d5;

/// A general or vector register by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Gpr(usize),
    Xmm(usize),
}

fn place(register: Register) -> Option<Place> {
    if register.is_xmm() {
        Some(Place::Xmm(register.number()))
    } else if register.is_gpr() {
        Some(Place::Gpr(register.full_register().number()))
    } else {
        None
    }
}

const PLACES: usize = 32;

fn nth(i: usize) -> Place {
    if i < 16 {
        Place::Gpr(i)
    } else {
        Place::Xmm(i - 16)
    }
}

fn get(state: &State, place: Place) -> u128 {
    match place {
        Place::Gpr(i) => state.gpr[i].into(),
        Place::Xmm(i) => state.xmm[i],
    }
}

fn writes(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

/// What iced says about one case.
struct Facts {
    written: Vec<Place>,
    mentioned: Vec<Place>,
    flags_read: u64,
    flags_written: u64,
    flags_undefined: u64,
    /// Ranges of addresses.
    memory_written: Vec<(u64, u64)>,
    /// The tables don't tell the range (bit offsets, repeats).
    memory_anywhere: bool,
}

fn facts(factory: &mut InstructionInfoFactory, case: &Case) -> Facts {
    let instruction = &case.instruction;
    let info = factory.info(instruction);
    let value = |register: Register, _: usize, _: usize| {
        if register == Register::GS {
            return Some(case::GS_BASE);
        }
        if register.is_segment_register() {
            return Some(0);
        }
        let full = case
            .state
            .gpr
            .get(register.full_register().number())
            .copied()?;
        Some(match register.size() {
            8 => full,
            size => full & ((1 << (8 * size)) - 1),
        })
    };
    let bit_offset = matches!(instruction.op1_kind(), OpKind::Register)
        && matches!(
            instruction.mnemonic(),
            iced_x86::Mnemonic::Bts | iced_x86::Mnemonic::Btr | iced_x86::Mnemonic::Btc
        );
    // iced lists no flags for a rotate through carry by the whole width, the manual has OF undefined then.
    let rotate = matches!(
        instruction.mnemonic(),
        iced_x86::Mnemonic::Rcl | iced_x86::Mnemonic::Rcr
    );
    let undefined = if rotate && case::shift_count(case).0 > 1 {
        0x800
    } else {
        0
    };
    let repeated = instruction.has_rep_prefix() || instruction.has_repne_prefix();
    let leave_or_enter = matches!(
        instruction.mnemonic(),
        iced_x86::Mnemonic::Enter | iced_x86::Mnemonic::Maskmovdqu
    );
    Facts {
        written: info
            .used_registers()
            .iter()
            .filter(|r| writes(r.access()))
            .filter_map(|r| place(r.register()))
            .collect(),
        mentioned: info
            .used_registers()
            .iter()
            .filter_map(|r| place(r.register()))
            .collect(),
        flags_read: rflags_bits(instruction.rflags_read()),
        flags_written: rflags_bits(instruction.rflags_modified()) | undefined,
        flags_undefined: rflags_bits(instruction.rflags_undefined()) | undefined,
        memory_written: info
            .used_memory()
            .iter()
            .filter(|m| writes(m.access()))
            .filter_map(|m| {
                let start = m.virtual_address(0, value)?;
                Some((start, start.wrapping_add(m.memory_size().size() as u64)))
            })
            .collect(),
        memory_anywhere: bit_offset || repeated || leave_or_enter,
    }
}

/// What is wrong with how the engine ran `case`.
fn violations(facts: &Facts, case: &Case, outcome: &Outcome) -> Vec<String> {
    let Outcome::Done {
        state,
        vector,
        scratch,
        ..
    } = outcome
    else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for place in (0..PLACES).map(nth) {
        let allowed = vector.is_none() && facts.written.contains(&place);
        if !allowed && get(state, place) != get(&case.state, place) {
            wrong.push(format!("{place:?} changed"));
        }
    }
    let changed = (state.rflags ^ case.state.rflags) & STATUS;
    let allowed = if vector.is_some() {
        0
    } else {
        facts.flags_written
    };
    if changed & !allowed != 0 {
        wrong.push(format!("flags {changed:#x} changed, only {allowed:#x} may"));
    }
    let outside = scratch
        .iter()
        .zip(&case.scratch)
        .enumerate()
        .find(|(i, (new, old))| {
            let address = case::SCRATCH + *i as u64;
            new != old
                && !facts
                    .memory_written
                    .iter()
                    .any(|&(start, end)| (start..end).contains(&address))
        });
    if let Some((at, _)) = outside.filter(|_| !facts.memory_anywhere) {
        wrong.push(format!(
            "memory at {at:#x} changed, only {:x?} may",
            facts.memory_written
        ));
    }
    wrong
}

/// The same case with everything else than what the instruction reads or writes different.
fn poisoned(facts: &Facts, case: &Case) -> Case {
    let mut other = case.clone();
    for place in (0..PLACES)
        .map(nth)
        .filter(|place| !facts.mentioned.contains(place))
    {
        match place {
            Place::Gpr(i) => other.state.gpr[i] ^= 0x5a5a_5a5a_5a5a_5a5a,
            Place::Xmm(i) => other.state.xmm[i] ^= 0x5a5a_5a5a_5a5a_5a5a_a5a5_a5a5_a5a5_a5a5,
        }
    }
    other.state.rflags ^= STATUS & !facts.flags_read;
    other
}

/// Whether two runs that differ only in what the instruction must not see agree in everything else.
fn agree(facts: &Facts, first: (&Case, &Outcome), second: (&Case, &Outcome)) -> Result<(), String> {
    let (
        Outcome::Done {
            state: a,
            rip: ar,
            vector: av,
            scratch: am,
        },
        Outcome::Done {
            state: b,
            rip: br,
            vector: bv,
            scratch: bm,
        },
    ) = (first.1, second.1)
    else {
        return Ok(());
    };
    if ar != br || av != bv || am != bm {
        return Err(String::from(
            "control flow or memory depends on something the instruction does not read",
        ));
    }
    if let Some(place) = facts
        .mentioned
        .iter()
        .find(|&&place| get(a, place) != get(b, place))
    {
        return Err(format!(
            "{place:?} depends on something the instruction does not read"
        ));
    }
    // Each flag is either computed, then it is equal, or kept.
    let kept = !(a.rflags ^ first.0.state.rflags) & !(b.rflags ^ second.0.state.rflags);
    let odd = (a.rflags ^ b.rflags) & !kept & STATUS & !facts.flags_undefined;
    if odd != 0 {
        Err(format!(
            "flags {odd:#x} depend on something the instruction does not read"
        ))
    } else {
        Ok(())
    }
}

/// Handlers touch what iced says and nothing else.
#[test]
fn handlers_touch_only_what_the_instruction_does() {
    let mut factory = InstructionInfoFactory::new();
    let mut machine = Machine::new();
    let (mut checked, mut wrong) = (0, Vec::new());
    for code in select::candidates() {
        for index in 0..CASES {
            let Some(case) = generate::make(code, index) else {
                continue;
            };
            let outcome = machine.run(&case);
            if matches!(outcome, Outcome::NotModelled(_)) {
                break;
            }
            checked += 1;
            let facts = facts(&mut factory, &case);
            let mut texts = violations(&facts, &case, &outcome);
            let other = poisoned(&facts, &case);
            let second = machine.run(&other);
            texts.extend(agree(&facts, (&case, &outcome), (&other, &second)).err());
            if !texts.is_empty() {
                wrong.push(format!(
                    "{code:?} case {index} `{}`: {}",
                    case.instruction,
                    texts.join("; ")
                ));
                break;
            }
        }
    }
    eprintln!("facts: {checked} cases");
    assert!(
        checked > 0 && wrong.is_empty(),
        "{} codes: {:#?}",
        wrong.len(),
        &wrong[..wrong.len().min(40)]
    );
}
