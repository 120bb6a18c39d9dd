//! `#[exports]` against a toy of the kernel crate.

extern crate self as ring3_nt;

mod mock;

pub use mock::{Fault, Machine, export, flow};

use export::{Call, Fidelity, GuestArg, GuestRet, IrqlRange};
use flow::Flow;
use ring3_macros::exports;

/// A pointer, for the test.
#[derive(Clone, Copy)]
pub struct Gva<T>(u64, std::marker::PhantomData<T>);
/// A structure, for the test.
pub struct KEVENT;
/// The variable arguments, for the test.
pub struct VarArgs(usize);
/// A status, for the test.
pub struct NTSTATUS;

impl<T> GuestArg for Gva<T> {
    fn take(_: &Machine, call: &Call, index: usize) -> Result<Self, Fault> {
        match call.0.get(index) {
            Some(0) | None => Err(Fault(0xc000_0005)),
            Some(raw) => Ok(Gva(*raw, std::marker::PhantomData)),
        }
    }
    fn show(_: &Machine, call: &Call, index: usize) -> String {
        let raw = call.0[index];
        format!("{raw:#x}")
    }
}
impl GuestArg for i32 {
    fn take(_: &Machine, call: &Call, index: usize) -> Result<Self, Fault> {
        Ok(call.0.get(index).copied().unwrap_or_default() as i32)
    }
    fn show(_: &Machine, call: &Call, index: usize) -> String {
        let raw = call.0[index];
        format!("{}", raw as i32)
    }
}
impl GuestArg for bool {
    fn take(_: &Machine, call: &Call, index: usize) -> Result<Self, Fault> {
        Ok(call.0.get(index).is_some_and(|raw| raw & 0xff != 0))
    }
    fn show(_: &Machine, call: &Call, index: usize) -> String {
        let raw = call.0[index];
        if raw & 0xff == 0 { "FALSE" } else { "TRUE" }.into()
    }
}
impl GuestArg for VarArgs {
    fn take(_: &Machine, call: &Call, index: usize) -> Result<Self, Fault> {
        Ok(VarArgs(call.0.len().saturating_sub(index)))
    }
    fn show(_: &Machine, _: &Call, _: usize) -> String {
        "...".into()
    }
}
impl GuestRet for i32 {
    fn show(raw: u64) -> String {
        format!("{}", raw as i32)
    }
}
impl GuestRet for () {
    fn show(_: u64) -> String {
        String::new()
    }
}
impl GuestRet for Flow {
    fn show(raw: u64) -> String {
        format!("{raw:#x}")
    }
}
impl GuestRet for NTSTATUS {
    fn show(raw: u64) -> String {
        format!("{raw:08x}")
    }
}

/// The routines of events, for the test.
pub struct Events;

#[exports("ntoskrnl.exe")]
impl Events {
    /// Sets an event.
    ///
    /// And more.
    #[irql(..=DISPATCH_LEVEL)]
    #[page("wdm/nf-wdm-kesetevent")]
    #[alias("KeSetEventEx", "KiSetEvent")]
    #[hal]
    #[partial("the priority boost")]
    fn KeSetEvent(cx: &mut Machine, Event: Gva<KEVENT>, Increment: i32, _Wait: bool) -> i32 {
        cx.say(format!("event {:#x} {Increment}", Event.0));
        Self::count(Increment)
    }

    /// Clears an event.
    #[irql(any)]
    #[assumed("from the name")]
    #[inline]
    fn KeClearEvent(cx: &mut Machine, Event: Gva<KEVENT>) {
        cx.say(format!("clear {:#x}", Event.0));
    }

    /// Waits.
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn KeWaitForSingleObject(_cx: &mut Machine, Object: Gva<KEVENT>) -> Result<Flow, Fault> {
        if Object.0 == 1 {
            return Err(Fault(1));
        }
        Ok(Flow::Return(0x102))
    }

    /// Prints.
    #[irql(DISPATCH_LEVEL..=DIRQL)]
    fn DbgPrint(_cx: &mut Machine, _Format: Gva<u8>, rest: VarArgs) -> Result<i32, Fault> {
        Ok(rest.0 as i32)
    }

    /// Never returns.
    #[irql(APC_LEVEL..)]
    fn KeBugCheck(_cx: &mut Machine, code: i32) -> Flow {
        Flow::Bugcheck(code as u32, [0; 4])
    }

    /// Takes nothing.
    #[irql(any)]
    fn KeGetCurrentIrql(cx: &mut Machine) {
        cx.say("irql");
    }

    /// A helper for other handlers.
    #[internal]
    pub fn helper(cx: &mut Machine) {
        cx.say("helper");
    }

    fn count(by: i32) -> i32 {
        by + 1
    }
}

fn entry(name: &str) -> &'static export::Export {
    Events::EXPORTS
        .iter()
        .find(|e| e.name == name)
        .expect("declared")
}

fn called(name: &str, args: &[u64]) -> (String, Vec<String>) {
    let mut machine = Machine::default();
    let flow = (entry(name).call)(&mut machine, &Call(args.to_vec()));
    (format!("{flow:x?}"), machine.log)
}

#[test]
fn the_table_has_every_export_in_order_and_nothing_else() {
    let names: Vec<_> = Events::EXPORTS.iter().map(|e| e.name).collect();
    assert_eq!(
        names,
        [
            "KeSetEvent",
            "KeClearEvent",
            "KeWaitForSingleObject",
            "DbgPrint",
            "KeBugCheck",
            "KeGetCurrentIrql"
        ]
    );
    let mut machine = Machine::default();
    Events::helper(&mut machine);
    assert_eq!(machine.log, ["helper"]);
}

#[test]
fn a_declaration_says_everything() {
    let e = entry("KeSetEvent");
    assert_eq!(e.module, "ntoskrnl.exe");
    assert_eq!(e.aliases, ["KeSetEventEx", "KiSetEvent"]);
    assert!(e.hal);
    assert_eq!(e.summary, "Sets an event.");
    assert_eq!(e.page, "wdm/nf-wdm-kesetevent");
    assert_eq!(e.irql, IrqlRange { min: 0, max: 2 });
    assert_eq!(e.fidelity, Fidelity::Partial("the priority boost"));
    let (machine, call) = (Machine::default(), Call(vec![0x1000, 0x1_0000_0001, 1]));
    let args: Vec<_> = e
        .args
        .iter()
        .enumerate()
        .map(|(i, a)| (a.name, a.ty, (a.show)(&machine, &call, i)))
        .collect();
    assert_eq!(
        args,
        [
            ("Event", "Gva<KEVENT>", "0x1000".to_string()),
            ("Increment", "i32", "1".to_string()),
            ("Wait", "bool", "TRUE".to_string()),
        ]
    );
    assert_eq!(
        (e.ret.ty, (e.ret.show)(0xffff_ffff)),
        ("i32", "-1".to_string())
    );
}

#[test]
fn levels_fidelity_and_results_of_the_others() {
    let e = entry("KeClearEvent");
    assert_eq!(e.irql, IrqlRange { min: 0, max: 15 });
    assert_eq!(e.fidelity, Fidelity::Assumed("from the name"));
    assert_eq!((e.ret.ty, e.page, e.hal), ("()", "", false));
    let e = entry("KeWaitForSingleObject");
    assert_eq!(e.irql, IrqlRange { min: 0, max: 0 });
    assert_eq!(e.fidelity, Fidelity::Full);
    assert_eq!(
        (e.ret.ty, (e.ret.show)(0x102)),
        ("NTSTATUS", "00000102".to_string())
    );
    let e = entry("DbgPrint");
    assert_eq!(e.irql, IrqlRange { min: 2, max: 12 });
    assert_eq!(e.ret.ty, "i32");
    let e = entry("KeBugCheck");
    assert_eq!(e.irql, IrqlRange { min: 1, max: 15 });
    assert_eq!(e.ret.ty, "Flow");
}

#[test]
fn the_wrapper_decodes_calls_and_converts() {
    let (flow, log) = called("KeSetEvent", &[0x1000, 0xffff_ffff_0000_0007, 1]);
    assert_eq!(flow, "Return(8)");
    assert_eq!(log, ["event 0x1000 7"]);
    assert_eq!(called("KeSetEvent", &[0, 0, 0]).0, "Raise(c0000005)");
    assert_eq!(called("KeClearEvent", &[8]).0, "Return(0)");
    assert_eq!(called("KeWaitForSingleObject", &[8]).0, "Return(102)");
    assert_eq!(called("KeWaitForSingleObject", &[1]).0, "Raise(1)");
    assert_eq!(called("KeGetCurrentIrql", &[]).1, ["irql"]);
    assert_eq!(called("DbgPrint", &[1, 2, 3, 4]).0, "Return(3)");
    assert_eq!(
        called("KeBugCheck", &[0xd1]).0,
        "Bugcheck(d1, [0, 0, 0, 0])"
    );
}
