//! Registers of simulated devices, as guest code touches them.
#![allow(missing_docs)]

mod common;

use common::{boot, call, data, routine, thread, word};
use iced_x86::code_asm::{al, byte_ptr, dword_ptr, dx, eax, ecx, qword_ptr, r8, r9, rax, rcx, rdx};
use ring3_nt::Machine;
use ring3_nt::devices::mover::{IDENTITY, Mover};
use ring3_nt::devices::uart::Uart;
use ring3_nt::machine::Stop;
use ring3_nt::machine::run::RunEnd;
use ring3_nt::memory::Gva;

fn run(cx: &mut Machine, start: Gva) {
    thread(cx, start, 0);
    assert_eq!(cx.run_until(|_| false), RunEnd::Idle, "{:?}", cx.stop);
}

/// The registers of a mover, mapped by MmMapIoSpace (MmNonCached 0).
fn mover(cx: &mut Machine) -> (usize, u64) {
    let device = cx.add_device(Box::<Mover>::default());
    let start = cx.devices.all()[device].starts[0];
    (device, call(cx, "MmMapIoSpace", &[start, 0x1000, 0]))
}

#[test]
fn a_mover_copies_and_asks_for_an_interrupt() {
    let cx = &mut boot(1, 0);
    let (device, registers) = mover(cx);
    let (source, target, seen) = (data(cx), data(cx), data(cx));
    cx.memory.poke_bytes(None, source, &[7; 64]).unwrap();
    let physical = [source, target].map(|at| cx.physical(at.raw()).expect("mapped").0);
    let start = routine(cx, |g| {
        let a = &mut g.asm;
        a.mov(rcx, registers).unwrap();
        a.mov(rdx, seen.raw()).unwrap();
        a.mov(eax, dword_ptr(rcx)).unwrap();
        a.mov(qword_ptr(rdx), rax).unwrap();
        // One address as a whole, the other in halves.
        a.mov(rax, physical[0]).unwrap();
        a.mov(qword_ptr(rcx + 0x10), rax).unwrap();
        a.mov(rax, physical[1]).unwrap();
        a.mov(dword_ptr(rcx + 0x18), eax).unwrap();
        a.shr(rax, 32).unwrap();
        a.mov(dword_ptr(rcx + 0x1c), eax).unwrap();
        a.mov(dword_ptr(rcx + 0x20), 64).unwrap();
        // Read, changed and written by one instruction.
        a.or(dword_ptr(rcx + 0x24), 1).unwrap();
        a.mov(dword_ptr(rcx + 4), 1).unwrap();
        a.mov(eax, dword_ptr(rcx + 8)).unwrap();
        a.mov(qword_ptr(rdx + 8), rax).unwrap();
    });
    run(cx, start);
    assert_eq!(word(cx, seen), u64::from(IDENTITY));
    assert_eq!(word(cx, seen.byte_add(8)), 1, "busy");
    assert_eq!(word(cx, target), 0x0707_0707_0707_0707);
    assert!(cx.devices.all()[device].line, "the interrupt is enabled");

    let start = routine(cx, |g| {
        let a = &mut g.asm;
        a.mov(rcx, registers).unwrap();
        a.mov(dword_ptr(rcx + 0x28), 1).unwrap();
    });
    run(cx, start);
    assert!(!cx.devices.all()[device].line, "it was acknowledged");
}

#[test]
fn every_instruction_works_on_registers() {
    let cx = &mut boot(1, 0);
    let (_, registers) = mover(cx);
    let seen = data(cx);
    let start = routine(cx, |g| {
        let a = &mut g.asm;
        a.mov(r8, registers).unwrap();
        a.mov(r9, seen.raw()).unwrap();
        a.mov(dword_ptr(r8 + 0x20), 0x1234).unwrap();
        a.mov(ecx, 5).unwrap();
        a.xchg(dword_ptr(r8 + 0x20), ecx).unwrap();
        a.mov(qword_ptr(r9), rcx).unwrap();
        a.movzx(eax, byte_ptr(r8 + 0x20)).unwrap();
        a.mov(qword_ptr(r9 + 8), rax).unwrap();
        // READ_REGISTER_BUFFER_ULONG is a `rep movsd`.
        a.lea(iced_x86::code_asm::rsi, qword_ptr(r8 + 0x20))
            .unwrap();
        a.lea(iced_x86::code_asm::rdi, qword_ptr(r9 + 16)).unwrap();
        a.mov(ecx, 2).unwrap();
        a.rep().movsd().unwrap();
    });
    run(cx, start);
    assert_eq!(word(cx, seen), 0x1234);
    assert_eq!(word(cx, seen.byte_add(8)), 5);
    assert_eq!(
        word(cx, seen.byte_add(16)),
        5,
        "length, and the enable register"
    );
}

#[test]
fn reading_a_register_into_memory_does_not_write_it() {
    let cx = &mut boot(1, 0);
    let (_, registers) = mover(cx);
    let seen = data(cx);
    let start = routine(cx, |g| {
        let a = &mut g.asm;
        a.mov(r8, registers).unwrap();
        a.mov(dword_ptr(r8 + 4), 1).unwrap();
    });
    run(cx, start);
    // The copy of nothing has ended; writing a 1 to the interrupt status would clear it.
    let start = routine(cx, |g| {
        let a = &mut g.asm;
        a.mov(rcx, registers + 0x28).unwrap();
        a.mov(rdx, seen.raw()).unwrap();
        a.mov(iced_x86::code_asm::rsi, rcx).unwrap();
        a.mov(iced_x86::code_asm::rdi, rdx).unwrap();
        a.movsd().unwrap();
        a.mov(eax, dword_ptr(rcx)).unwrap();
        a.mov(qword_ptr(rdx + 8), rax).unwrap();
    });
    run(cx, start);
    assert_eq!(word(cx, seen) as u32, 1);
    assert_eq!(word(cx, seen.byte_add(8)), 1, "still there");
}

#[test]
fn a_uart_sends_and_receives() {
    let cx = &mut boot(1, 0);
    let device = cx.add_device(Box::<Uart>::default());
    let port = cx.devices.all()[device].starts[0] as u32;
    let seen = data(cx);
    assert!(cx.device_receive(device, b"x"));
    let start = routine(cx, |g| {
        let a = &mut g.asm;
        for byte in *b"hi" {
            a.mov(iced_x86::code_asm::edx, port).unwrap();
            a.mov(eax, u32::from(byte)).unwrap();
            a.out(dx, al).unwrap();
        }
        a.mov(iced_x86::code_asm::edx, port + 5).unwrap();
        a.xor(eax, eax).unwrap();
        a.in_(al, dx).unwrap();
        a.mov(r9, seen.raw()).unwrap();
        a.mov(qword_ptr(r9), rax).unwrap();
        a.mov(iced_x86::code_asm::edx, port).unwrap();
        a.in_(al, dx).unwrap();
        a.mov(qword_ptr(r9 + 8), rax).unwrap();
        // Interrupt for received data; the pin is connected by OUT2.
        a.mov(iced_x86::code_asm::edx, port + 1).unwrap();
        a.mov(eax, 1).unwrap();
        a.out(dx, al).unwrap();
        a.mov(iced_x86::code_asm::edx, port + 4).unwrap();
        a.mov(eax, 8).unwrap();
        a.out(dx, al).unwrap();
    });
    run(cx, start);
    assert_eq!(cx.device_sent(device), b"hi");
    assert_eq!(word(cx, seen), 0x61, "transmitter empty, data there");
    assert_eq!(word(cx, seen.byte_add(8)), u64::from(b'x'));
    assert!(!cx.devices.all()[device].line);
    cx.device_receive(device, b"y");
    assert!(cx.devices.all()[device].line);
}

#[test]
fn addresses_of_nobody_are_named() {
    let cx = &mut boot(1, 0);
    let (_, registers) = mover(cx);
    let start = cx.devices.all()[0].starts[0] + 0x10_0000;
    let nobody = call(cx, "MmMapIoSpace", &[start, 0x1000, 0]);
    assert_ne!(nobody, registers);
    let start = routine(cx, |g| {
        g.asm.mov(rcx, nobody).unwrap();
        g.asm.mov(eax, dword_ptr(rcx)).unwrap();
    });
    thread(cx, start, 0);
    assert_eq!(cx.run_until(|_| false), RunEnd::Stopped);
    assert!(
        matches!(&cx.stop, Some(Stop::NotModelled { what, .. }) if what.contains("physical")),
        "{:?}",
        cx.stop
    );
}

#[test]
fn a_clone_goes_on_alike() {
    let cx = &mut boot(1, 0);
    let (_, registers) = mover(cx);
    let start = routine(cx, |g| {
        let a = &mut g.asm;
        a.mov(rcx, registers).unwrap();
        a.mov(dword_ptr(rcx + 0x20), 0x10000).unwrap();
        a.mov(dword_ptr(rcx + 4), 1).unwrap();
    });
    thread(cx, start, 0);
    cx.run_until(|m| m.devices.next_due().is_some());
    let mut copy = cx.clone();
    assert_eq!(copy.state_hash(), cx.state_hash());
    for machine in [&mut *cx, &mut copy] {
        assert_eq!(machine.run_until(|_| false), RunEnd::Idle);
    }
    assert_eq!(copy.state_hash(), cx.state_hash());
    assert_eq!(cx.devices.next_due(), None, "the copy has ended");
}
