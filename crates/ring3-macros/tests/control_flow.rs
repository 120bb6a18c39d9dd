//! Every form of control flow around suspensions, against a toy of the kernel crate.

extern crate self as ring3_nt;

mod mock;

pub use mock::{Fault, Machine, export, flow};

use flow::Flow;
use ring3_macros::resumable;

const F: u64 = 0x1000;

fn run(kont: flow::Kont, values: &[u64]) -> (String, Vec<String>) {
    let mut machine = Machine::start(kont, values);
    (machine.run(), machine.log)
}

/// Asks the guest about every cell: 1 = next cell, 2 = next row, 3 = stop, 4 = count it.
#[resumable]
fn grid(cx: &mut Machine, width: u32, height: u32) -> u64 {
    let mut y: u32 = 0;
    let mut hits: Vec<(u32, u32)> = Vec::new();
    'rows: loop {
        if y == height {
            break;
        }
        let mut x: u32 = 0;
        y += 1;
        while x < width {
            x += 1;
            let verdict: u8 = call!(F, x, y);
            if verdict == 1 {
                continue;
            }
            match verdict {
                2 => continue 'rows,
                3 => break 'rows,
                _ => hits.push((x, y)),
            }
            // A copied loop with jumps of its own and one to the outside.
            'copied: for i in 0..3 {
                loop {
                    if i < 2 {
                        continue 'copied;
                    }
                    if hits.len() > 2 {
                        break 'rows;
                    }
                    break;
                }
            }
        }
    }
    cx.say(format!("{hits:?}"));
    hits.len() as u64
}

#[test]
fn nested_loops_with_labels() {
    let (outcome, log) = run(grid(2, 3), &[1, 4, 2, 4, 3]);
    assert_eq!(outcome, "return 0x2");
    assert_eq!(
        log,
        [
            "call 0x1000 [1, 1]",
            "call 0x1000 [2, 1]",
            "call 0x1000 [1, 2]",
            "call 0x1000 [1, 3]",
            "call 0x1000 [2, 3]",
            "[(2, 1), (1, 3)]"
        ]
    );
    let (outcome, log) = run(grid(3, 3), &[4, 4, 4, 4, 4]);
    assert_eq!(outcome, "return 0x3");
    assert_eq!(log.len(), 4);
}

fn checked(cx: &mut Machine) -> Result<u64, Fault> {
    match cx.value() {
        0xbad => Err(Fault(0xc000_0005)),
        value => Ok(value),
    }
}

fn identity<T>(value: T) -> T {
    value
}

/// `?` wherever an expression may stand.
#[resumable]
fn questions(cx: &mut Machine) -> Result<u64, Fault> {
    if checked(cx)? == 1 && checked(cx)? == 2 {
        call!(F, checked(cx)?, identity(checked(cx)? + 1));
    }
    while checked(cx)? != 9 {
        wait!(format!("{}", checked(cx)?));
    }
    let sum: u64 = checked(cx)? + checked(cx)?;
    let pair = [checked(cx)?, vec![checked(cx)?, 1].len() as u64];
    let closure = |cx: &mut Machine| -> Result<u64, Fault> {
        let inner = checked(cx)?;
        Ok(inner)
    };
    let late = closure(cx)?;
    call!(F, sum, pair[0], pair[1], late);
    Ok(sum)
}

#[test]
fn the_error_of_a_question_mark_becomes_a_flow() {
    let values = [1, 2, 3, 4, 0, 5, 6, 0, 9, 10, 20, 7, 7, 8];
    let (outcome, log) = run(questions(), &values);
    assert_eq!(outcome, "return 0x1e");
    assert_eq!(
        log,
        ["call 0x1000 [3, 5]", "wait 6", "call 0x1000 [1e, 7, 2, 8]"]
    );
    // A bad pointer at each of the eleven places where one is read; 4 and 7 are results of suspensions.
    for place in (0..values.len()).filter(|i| ![4, 7].contains(i)) {
        let mut bad = values;
        bad[place] = 0xbad;
        assert_eq!(
            run(questions(), &bad).0,
            "raise 0xc0000005",
            "place {place}"
        );
    }
}

#[derive(Clone, Copy)]
enum Work {
    Call(u64, u32),
    Wait { what: u64 },
    Nothing,
    Fail(u32),
}

fn next_work(cx: &mut Machine) -> Option<Work> {
    Some(match cx.value() {
        0 => return None,
        1 => Work::Nothing,
        2 => Work::Wait { what: cx.value() },
        3 => Work::Fail(cx.value() as u32),
        n => Work::Call(n, 5),
    })
}

/// Arms with pattern variables, guards, and values that go to one place.
#[resumable]
fn arms(cx: &mut Machine, limit: u64) -> u64 {
    let mut total: u64 = 0;
    while let Some(work) = next_work(cx) {
        let step: u64 = match work {
            Work::Call(f, _) if f > limit => raise!(f as u32),
            Work::Call(f, arg) => call!(f, arg),
            Work::Wait { what } => {
                if what == 0 {
                    continue;
                }
                wait!(format!("{what}"))
            }
            Work::Fail(code) => bugcheck!(code, 1, limit, arg_of(code)),
            Work::Nothing => 100,
        };
        total += step;
    }
    total
}

fn arg_of(code: u32) -> u32 {
    code + 1
}

#[test]
fn arms_with_pattern_variables() {
    let (outcome, log) = run(arms(50), &[10, 7, 1, 2, 0, 2, 6, 8, 0]);
    assert_eq!(outcome, format!("return {:#x}", 7 + 100 + 8));
    assert_eq!(log, ["call 0xa [5]", "wait 6"]);
    assert_eq!(run(arms(50), &[51]).0, "raise 0x33");
    assert_eq!(run(arms(50), &[3, 0xd1]).0, "bugcheck 0xd1 [1, 32, d2, 0]");
}

/// Blocks, labelled blocks, loops with a value, `let .. else`, `if` as a value.
#[resumable]
fn forms(cx: &mut Machine, start: u64) -> u64 {
    const STEP: u64 = 10;
    let found: u64 = loop {
        let seen: u64 = call!(F, start + STEP);
        if seen == 1 {
            break call!(F, STEP);
        }
        if seen == 2 {
            break seen * 50;
        }
    };
    'block: {
        call!(F, found);
        if cx.value() == 1 {
            break 'block;
        }
        call!(F, 0xb10c);
    }
    let Some(size) = found.checked_sub(5) else {
        call!(F, 0xdead);
        return 1;
    };
    let kind: u64 = if size > 90 {
        let deep: u32 = call!(F, size);
        deep as u64
    } else if size > 50 {
        50
    } else {
        {
            spin!(size);
        }
        call!(F, 3)
    };
    cx.say(format!("{found} {kind} {}", start + STEP));
    if kind == 7 {
        return call!(F, 7);
    }
    kind
}

#[test]
fn blocks_loops_with_a_value_and_let_else() {
    let (outcome, log) = run(forms(1), &[0, 1, 60, 0, 1, 0]);
    assert_eq!(outcome, "return 0x32");
    assert_eq!(
        log,
        [
            "call 0x1000 [b]",
            "call 0x1000 [b]",
            "call 0x1000 [a]",
            "call 0x1000 [3c]",
            "60 50 11"
        ]
    );
    let (outcome, log) = run(forms(1), &[2, 0, 0, 0, 7, 0x77]);
    assert_eq!(outcome, "return 0x77");
    assert_eq!(
        log[2..],
        [
            "call 0x1000 [b10c]",
            "call 0x1000 [5f]",
            "100 7 11",
            "call 0x1000 [7]"
        ]
    );
    let (outcome, log) = run(forms(1), &[1, 4, 0, 1]);
    assert_eq!(outcome, "return 0x1");
    assert_eq!(log.last().map(String::as_str), Some("call 0x1000 [dead]"));
    let (outcome, log) = run(forms(1), &[1, 10, 0, 1, 0, 0x2a]);
    assert_eq!(outcome, "return 0x2a");
    assert_eq!(log[3..], ["spin 0x5", "call 0x1000 [3]", "10 42 11"]);
}

/// Ends without a value, in every way.
#[resumable]
fn quiet(cx: &mut Machine, n: u32) {
    if n == 0 {
        return;
    }
    match n {
        1 => call!(F, 1),
        2 => {
            host!(quiet(1));
        }
        _ => {}
    }
}

#[test]
fn a_routine_without_a_result() {
    assert_eq!(run(quiet(0), &[]), ("return 0x0".into(), vec![]));
    assert_eq!(run(quiet(2), &[9]).1, ["call 0x1000 [1]"]);
    assert_eq!(run(quiet(3), &[9]), ("return 0x0".into(), vec![]));
}

/// No suspension at all; not even a use of the machine.
#[resumable]
fn plain(_cx: &mut Machine, mut a: u64, b: u64) -> Flow {
    a += b;
    if a == 3 {
        return Flow::Raise(3);
    }
    Flow::Return(a)
}

#[test]
fn a_routine_without_a_suspension() {
    assert_eq!(run(plain(2, 2), &[]).0, "return 0x4");
    assert_eq!(run(plain(1, 2), &[]).0, "raise 0x3");
}

/// Returns early, and goes on when somebody takes it out.
#[resumable]
fn parks(cx: &mut Machine, key: u64) -> u64 {
    let st: u64 = call!(F, key);
    let mut late: u64 = 0;
    if st == 0x103 {
        late = park!(key, st);
    }
    cx.say(format!("completed {late}"));
    late
}

#[test]
fn a_parked_routine_goes_on_elsewhere() {
    let mut m = Machine::start(parks(8), &[0x103]);
    assert_eq!(m.run(), "return 0x103");
    let rest = m.parked.remove(&8).expect("parked");
    assert_eq!(rest.at().text, "park!(key, st)");
    m.frames.push(rest);
    m.next = Some(Flow::Return(4));
    assert_eq!(m.run(), "return 0x4");
    assert_eq!(m.log, ["call 0x1000 [8]", "completed 4"]);
}

/// Two scopes share a name and a type; a vector is moved out and back.
#[resumable]
fn scopes(cx: &mut Machine, mut work: Vec<u64>) -> u64 {
    let mut sum: u64 = 0;
    if cx.value() == 1 {
        let part: u64 = call!(F, 1);
        wait!("first".to_string());
        sum += part;
    } else {
        let part: u64 = 40;
        wait!("second".to_string());
        sum += part;
    }
    while let Some(next) = work.pop() {
        let part: u64 = call!(next);
        wait!("third".to_string());
        sum += part;
        let taken = std::mem::take(&mut work);
        work = taken;
    }
    wait!("last".to_string());
    sum
}

#[test]
fn scopes_may_share_a_name_and_leave_nothing_behind() {
    let (outcome, _) = run(scopes(vec![5, 6]), &[1, 2, 0, 3, 0, 4, 0]);
    assert_eq!(outcome, "return 0x9");
    // Both ways come to the same state: what is out of scope is not part of it.
    let standing = |values: &[u64]| {
        let mut m = Machine::start(scopes(vec![]), values);
        while !matches!(&m.next, Some(Flow::Wait(what, _)) if what == "last") {
            assert!(m.step());
        }
        match m.next {
            Some(Flow::Wait(_, kont)) => (kont.digest(), format!("{kont:?}")),
            _ => unreachable!(),
        }
    };
    let called = standing(&[1, 40, 0]);
    assert_eq!(called, standing(&[0]));
    assert!(called.1.contains("sum: 40, part: 0"), "{}", called.1);
}

#[resumable(struct Renamed;)]
fn irp(cx: &mut Machine, r#type: u8, rax: u64) -> u64 {
    let machine: u64 = call!(F, r#type, rax);
    wait!(String::new());
    machine + rax
}

#[test]
fn names_of_the_lowering_do_not_meet_those_of_the_body() {
    assert_eq!(run(irp(1, 2), &[3, 0]).0, "return 0x5");
    assert_eq!(
        format!("{:?}", irp(1, 2)),
        "Renamed { pc: 0, type: 1, rax: 2, machine: 0 }"
    );
    assert_eq!(irp(1, 2).at().text, "start");
}

/// Like the start of a device: a table of steps, undone from the last one that worked.
#[resumable]
fn start_with_undo(cx: &mut Machine, steps: Vec<(u64, u64)>) -> u64 {
    let mut done: usize = 0;
    let mut status: u32 = 0;
    while done < steps.len() {
        let up = steps[done].0;
        if up != 0 {
            status = call!(up, done);
        }
        if status != 0 {
            break;
        }
        done += 1;
    }
    if status == 0 {
        return 0;
    }
    while done > 0 {
        done -= 1;
        let down = steps[done].1;
        if down != 0 {
            call!(down, done);
        }
    }
    status as u64
}

#[test]
fn every_outcome_of_a_start_with_undo() {
    let steps = vec![(1, 11), (2, 12), (0, 13), (4, 0)];
    let ups = [0, 1, 3];
    for (failing, &step) in ups.iter().enumerate() {
        let mut values = vec![0; failing];
        values.push(0xbad);
        let (outcome, log) = run(start_with_undo(steps.clone()), &values);
        assert_eq!(outcome, "return 0xbad");
        let mut wanted: Vec<String> = ups[..=failing]
            .iter()
            .map(|s| format!("call {:#x} [{s:x}]", steps[*s].0))
            .collect();
        wanted.extend(
            (0..step)
                .rev()
                .filter(|s| steps[*s].1 != 0)
                .map(|s| format!("call {:#x} [{s:x}]", steps[s].1)),
        );
        assert_eq!(log, wanted);
    }
    assert_eq!(run(start_with_undo(steps), &[]).0, "return 0x0");
}

/// Chains of `let`, values that are not copied, and `?` inside macros.
#[resumable]
fn chains(cx: &mut Machine, name: String, then: flow::Kont) -> Result<u64, Fault> {
    let mut seen: Vec<String> = vec![name.clone(); checked(cx)? as usize];
    while let Some(next) = cx.values.first().copied()
        && let 1..=9 = next
        && next != 5
    {
        let text: String = format!("{name}{}", checked(cx)?);
        host!(then.clone());
        seen.push(text);
    }
    let unset: u64;
    if seen.len() > 2 {
        unset = call!(F, seen.len());
    } else {
        unset = 4;
    }
    wait!(seen.join(","));
    Ok(unset)
}

#[test]
fn owned_values_survive_suspensions() {
    let (outcome, log) = run(chains("n".into(), quiet(1)), &[1, 2, 0, 3, 0, 5]);
    assert_eq!(outcome, "return 0x5");
    assert_eq!(
        log,
        [
            "call 0x1000 [1]",
            "call 0x1000 [1]",
            "call 0x1000 [3]",
            "wait n,n2,n3"
        ]
    );
    assert_eq!(
        run(chains("n".into(), quiet(1)), &[0xbad]).0,
        "raise 0xc0000005"
    );
}
