//! `#[resumable]` against a toy of the kernel crate.

extern crate self as ring3_nt;

mod mock;

pub use mock::{Fault, Machine, export, flow};

use ring3_macros::resumable;

const F: u64 = 0x1000;
const G: u64 = 0x2000;

#[resumable(
    fn holds(&self) -> Vec<String> { vec![format!("irp {:#x}", self.irp)] }
    fn on_unwind(&mut self, cx: &mut Machine) { cx.say(format!("half completed {:#x}", self.irp)) }
)]
/// Completes.
pub fn io_complete(cx: &mut Machine, irp: u64) -> u64 {
    while let Some(routine) = location(cx) {
        if routine == 0 {
            continue;
        }
        let status: u32 = call!(routine, irp, -1, 7u8);
        if status == 0x16 {
            return 0x16;
        }
    }
    cx.say("finished");
    irp
}

fn location(cx: &mut Machine) -> Option<u64> {
    match cx.value() {
        99 => None,
        routine => Some(routine),
    }
}

#[test]
fn a_loop_over_callbacks() {
    let mut m = Machine::start(io_complete(0x10), &[F, 1, 0, G, 2, 99]);
    assert_eq!(m.run(), "return 0x10");
    assert_eq!(
        m.log,
        [
            "call 0x1000 [10, ffffffffffffffff, 7]",
            "call 0x2000 [10, ffffffffffffffff, 7]",
            "finished"
        ]
    );
    let mut m = Machine::start(io_complete(0x10), &[F, 0x16, G]);
    assert_eq!(m.run(), "return 0x16");
    assert_eq!(m.log.len(), 1);
}

#[test]
fn methods_of_the_attribute_see_the_fields() {
    let mut kont = io_complete(0x10);
    assert_eq!(kont.holds(), ["irp 0x10"]);
    assert_eq!(kont.wall(), None);
    let mut m = Machine::default();
    kont.on_unwind(&mut m);
    assert_eq!(m.log, ["half completed 0x10"]);
}

const LINE: u32 = line!();

#[resumable]
fn outer_routine(cx: &mut Machine, q: u32) -> u32 {
    let first: u32 = host!(inner_routine(
        q + 1,
        2, // a comment
    ));
    let second: u32 = call!(F, first);
    second
}

#[resumable]
fn inner_routine(cx: &mut Machine, q: u32, n: u64) -> u32 {
    let lock: u64 = n;
    while cx.value() != 5 {
        spin!(lock);
    }
    wait!(format!("queue {q}"));
    let r: u32 = call!(G, q, n);
    r + 1
}

#[test]
fn the_stack_says_where_everybody_stands() {
    let mut m = Machine::start(outer_routine(4), &[4, 0, 5, 0, 8, 99]);
    let at = m.run_until_called(G);
    let (outer, inner) = (LINE + 4, LINE + 19);
    assert_eq!(
        at,
        [
            format!(
                "outer_routine [host!(inner_routine(q + 1, 2)) :{outer}] \
                 OuterRoutine {{ pc: 1, q: 4, first: 0 }}"
            ),
            format!(
                "inner_routine [call!(G, q, n) :{inner}] \
                 InnerRoutine {{ pc: 5, q: 5, n: 2, lock: 2 }}"
            ),
        ]
    );
    assert_eq!(m.run(), "return 0x63");
    assert_eq!(
        m.log,
        [
            "spin 0x2",
            "wait queue 5",
            "call 0x2000 [5, 2]",
            "call 0x1000 [9]"
        ]
    );
}
