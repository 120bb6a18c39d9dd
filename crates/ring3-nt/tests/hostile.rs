//! Drivers that misbehave end in a finding or a bugcheck with a place, within a budget.

mod common;

use common::{BUDGET, boot, data, routine, thread};
use iced_x86::code_asm::{byte_ptr, cr8, qword_ptr, rax, rcx, rsp};
use ring3_nt::Machine;
use ring3_nt::machine::Stop;
use ring3_nt::machine::run::RunEnd;
use ring3_nt::memory::Gva;

fn bugcheck(machine: &Machine) -> (u32, [u64; 4]) {
    match &machine.stop {
        Some(Stop::Bugcheck(b)) => (b.code, b.parameters),
        other => panic!("no bugcheck but {other:?}; findings {:?}", machine.findings),
    }
}

fn run(machine: &mut Machine, start: Gva) -> RunEnd {
    thread(machine, start, 0);
    let end = machine.run_until(|_| false);
    assert!(machine.instructions() <= BUDGET + 1000);
    end
}

#[test]
fn jump_to_zero() {
    let mut machine = boot(1, 0);
    let start = routine(&mut machine, |g| {
        g.asm.xor(rax, rax).unwrap();
        g.asm.call(rax).unwrap();
    });
    run(&mut machine, start);
    let (code, parameters) = bugcheck(&machine);
    // An access violation (execution of address 0) that nobody handles. Code outside images has no unwind
    // data, so the search loses its way before it comes to the start of the system thread (0x7E).
    assert_eq!(code, 0x1e);
    assert_eq!(parameters[0], 0xffff_ffff_c000_0005);
    assert_eq!(parameters[1], 0);
}

#[test]
fn endless_loop_uses_up_the_budget() {
    let mut machine = boot(1, 0);
    let start = routine(&mut machine, |g| {
        let mut again = g.asm.create_label();
        g.asm.set_label(&mut again).unwrap();
        g.asm.jmp(again).unwrap();
    });
    assert_eq!(run(&mut machine, start), RunEnd::Budget);
    assert!(!machine.stack_trace().is_empty());
}

#[test]
fn stack_overrun_is_a_double_fault() {
    let mut machine = boot(1, 0);
    let start = routine(&mut machine, |g| {
        let mut again = g.asm.create_label();
        g.asm.set_label(&mut again).unwrap();
        g.asm.push(rax).unwrap();
        g.asm.jmp(again).unwrap();
    });
    run(&mut machine, start);
    let (code, parameters) = bugcheck(&machine);
    assert_eq!((code, parameters[0]), (0x7f, 8));
    assert!(machine.findings.iter().any(|f| f.rule == "stack/overflow"));
}

#[test]
fn smashed_kernel_structures_do_not_hurt_the_host() {
    // The current thread, its process and the processor control region, overwritten with garbage.
    for what in [0x188u64, 0x18, 0x20] {
        let mut machine = boot(1, 0);
        let event = data(&mut machine);
        let start = routine(&mut machine, |g| {
            g.asm.db(&[0x65, 0x48, 0x8b, 0x04, 0x25]).unwrap();
            g.asm.dd(&[what as u32]).unwrap();
            let mut again = g.asm.create_label();
            g.asm.mov(rcx, 0x400u64).unwrap();
            g.asm.set_label(&mut again).unwrap();
            g.asm.mov(byte_ptr(rax + rcx), 0xa5).unwrap();
            g.asm.dec(rcx).unwrap();
            g.asm.jnz(again).unwrap();
            g.asm.mov(rcx, event.raw()).unwrap();
            g.call("KeSetEvent");
            g.call("PsGetCurrentProcessId");
            g.call("KeEnterCriticalRegion");
        });
        run(&mut machine, start);
    }
}

#[test]
fn cli_hlt_halts_with_a_finding() {
    let mut machine = boot(1, 0);
    let start = routine(&mut machine, |g| {
        g.asm.cli().unwrap();
        g.asm.hlt().unwrap();
    });
    assert_eq!(run(&mut machine, start), RunEnd::Idle);
    assert!(
        machine
            .findings
            .iter()
            .any(|f| f.rule == "cpu/halted-forever")
    );
}

#[test]
fn touching_unmapped_kernel_memory() {
    let mut machine = boot(1, 0);
    let start = routine(&mut machine, |g| {
        g.asm.mov(rax, 0xffff_f80f_1234_5000u64).unwrap();
        g.asm.mov(qword_ptr(rax), rax).unwrap();
    });
    run(&mut machine, start);
    let (code, parameters) = bugcheck(&machine);
    assert_eq!(code, 0x50);
    assert_eq!(parameters[0], 0xffff_f80f_1234_5000);
    assert_eq!(parameters[1], 2);
}

#[test]
fn touching_unmapped_memory_at_dispatch_level() {
    let mut machine = boot(1, 0);
    let start = routine(&mut machine, |g| {
        g.asm.mov(rax, 2u64).unwrap();
        g.asm.mov(cr8, rax).unwrap();
        g.asm.mov(rax, qword_ptr(0x1000)).unwrap();
        g.asm.add(rsp, 0).unwrap();
    });
    run(&mut machine, start);
    let (code, parameters) = bugcheck(&machine);
    // The code lies in no driver image, so it is 0xA and not 0xD1.
    assert_eq!(code, 0xa);
    assert_eq!(parameters[..3], [0x1000, 2, 0]);
}

#[test]
fn waiting_at_dispatch_level() {
    let mut machine = boot(1, 0);
    let event = data(&mut machine);
    let start = routine(&mut machine, |g| {
        g.asm.mov(rax, 2u64).unwrap();
        g.asm.mov(cr8, rax).unwrap();
        g.asm.mov(rcx, event.raw()).unwrap();
        g.asm.xor(rax, rax).unwrap();
        g.asm.mov(qword_ptr(rsp + 0x20), rax).unwrap();
        g.call("KeWaitForSingleObject");
    });
    run(&mut machine, start);
    assert_eq!(bugcheck(&machine).0, 0xb8);
    assert!(machine.findings.iter().any(|f| f.rule == "irql/wait"));
}

#[test]
fn a_routine_that_is_not_modelled_is_named() {
    let mut machine = boot(1, 0);
    let missing = machine
        .build
        .modules()
        .first()
        .expect("ntoskrnl.exe")
        .functions()
        .iter()
        .find(|name| !machine.stubs.is_modelled("ntoskrnl.exe", name))
        .copied()
        .expect("not everything is modelled");
    let start = routine(&mut machine, |g| {
        g.asm.mov(rcx, 0x1234u64).unwrap();
        g.call(missing);
    });
    run(&mut machine, start);
    match &machine.stop {
        Some(Stop::NotModelled {
            what, arguments, ..
        }) => {
            assert_eq!(what, &format!("nt!{missing}"));
            assert_eq!(arguments.first(), Some(&0x1234));
        }
        other => panic!("{other:?}"),
    }
}
