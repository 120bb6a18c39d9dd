//! Code that changes, by itself or from outside, and code behind mappings that change.

mod common;

use common::{CODE, DATA, Machine};
use iced_x86::code_asm::*;
use ring3_memory::{Gva, PageFlags};
use ring3_x64::{Engine, Exit, RAX, RBX};

/// The next instruction already is the new one.
#[test]
fn a_store_into_the_next_instruction_counts_at_once() {
    let mut machine = Machine::assemble(|a| {
        let mut target = a.create_label();
        a.lea(rdi, qword_ptr(target)).unwrap();
        a.mov(eax, 0).unwrap();
        a.mov(byte_ptr(rdi + 1), 42).unwrap();
        a.set_label(&mut target).unwrap();
        // b8 imm32: the store changes the immediate.
        a.mov(eax, 7).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!(machine.cpu.gpr[RAX], 42);
    assert_eq!(machine.cpu.icount, 5);
}

/// A loop that changes an instruction of itself in each round.
#[test]
fn a_loop_may_rewrite_itself() {
    let mut machine = Machine::assemble(|a| {
        let (mut again, mut target) = (a.create_label(), a.create_label());
        a.lea(rdi, qword_ptr(target)).unwrap();
        a.mov(ecx, 50).unwrap();
        a.xor(ebx, ebx).unwrap();
        a.set_label(&mut again).unwrap();
        a.mov(byte_ptr(rdi + 2), cl).unwrap();
        a.set_label(&mut target).unwrap();
        a.add(ebx, 1).unwrap();
        a.dec(ecx).unwrap();
        a.jnz(again).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!(machine.cpu.gpr[RBX], (1..=50).sum::<u64>());
    assert_eq!(machine.cpu.icount, 3 + 50 * 4 + 1);
}

#[test]
fn rep_stos_over_the_code_behind_it() {
    let mut machine = Machine::assemble(|a| {
        let mut target = a.create_label();
        a.lea(rdi, qword_ptr(target)).unwrap();
        a.mov(ecx, 16).unwrap();
        a.mov(al, 0x90).unwrap();
        a.rep().stosb().unwrap();
        a.set_label(&mut target).unwrap();
        for _ in 0..8 {
            a.ud2().unwrap();
        }
        a.hlt().unwrap();
    });
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!(machine.cpu.icount, 3 + 16 + 16 + 1);
}

#[test]
fn a_push_into_the_code_of_the_callee() {
    // The stack lies in the code page: the call overwrites what it calls.
    let mut machine = Machine::assemble(|a| {
        let mut f = a.create_label();
        a.lea(rsp, qword_ptr(f)).unwrap();
        a.add(rsp, 8).unwrap();
        a.call(f).unwrap();
        a.hlt().unwrap();
        a.set_label(&mut f).unwrap();
        for _ in 0..8 {
            a.nop().unwrap();
        }
        a.hlt().unwrap();
    });
    // Translate the callee first: it lies behind 7 + 4 + 5 + 1 bytes.
    let callee = CODE + 17;
    machine.cpu.rip = callee;
    assert_eq!(machine.run(), Exit::Halt);
    machine.cpu.rip = CODE;
    machine.cpu.gpr[RAX] = 0;
    // What runs now are the bytes of the return address, whose first are `adc [rax], al`.
    assert_eq!(
        machine.run(),
        Exit::Exception {
            vector: 14,
            error: 0,
            cr2: 0
        }
    );
    assert_eq!(machine.cpu.rip, callee);
    assert_eq!(machine.quad(callee), callee - 1);
}

#[test]
fn the_host_may_write_code_between_runs() {
    let mut machine = Machine::assemble(|a| {
        a.mov(eax, 1).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.run(), Exit::Halt);
    for value in 2..5u32 {
        machine
            .mem
            .write_bytes(Gva::<u8>::new(CODE + 1), &value.to_le_bytes())
            .unwrap();
        machine.cpu.rip = CODE;
        assert_eq!(machine.run(), Exit::Halt);
        assert_eq!(machine.cpu.gpr[RAX], u64::from(value));
    }
}

#[test]
fn a_restored_snapshot_brings_back_its_code() {
    let mut machine = Machine::assemble(|a| {
        a.mov(eax, 1).unwrap();
        a.hlt().unwrap();
    });
    machine.run();
    let snapshot = machine.mem.snapshot();
    machine
        .mem
        .write_bytes(Gva::<u8>::new(CODE + 1), &[9])
        .unwrap();
    machine.cpu.rip = CODE;
    machine.run();
    assert_eq!(machine.cpu.gpr[RAX], 9);
    machine.mem.restore(&snapshot);
    machine.cpu.rip = CODE;
    machine.run();
    assert_eq!(machine.cpu.gpr[RAX], 1);
}

/// Two functions in two frames, called in turn from one loop, while the guest swaps the mapping by its page table.
#[test]
fn a_page_table_entry_that_the_guest_changes() {
    let mut machine = Machine::assemble(|a| {
        a.mov(r12, DATA).unwrap();
        for _ in 0..3 {
            a.mov(r13, DATA + 0x8000).unwrap();
            a.call(r13).unwrap();
            a.mov(rcx, qword_ptr(r12)).unwrap();
            a.mov(qword_ptr(r12 + 8), rcx).unwrap();
            // The entry is written through its own mapping at DATA + 0x9000.
            a.mov(rdx, qword_ptr(r12 + 0x10)).unwrap();
            a.xchg(qword_ptr(r12 + 0x18), rdx).unwrap();
            a.mov(qword_ptr(r12 + 0x10), rdx).unwrap();
            a.mov(r14, qword_ptr(r12 + 0x20)).unwrap();
            a.mov(qword_ptr(r14), rdx).unwrap();
            a.invlpg(byte_ptr(r13)).unwrap();
        }
        a.hlt().unwrap();
    });
    let root = machine.cpu.cr3;
    let place = DATA + 0x8000;
    let first = machine.mem.translate(root, place).unwrap().pa;
    let second = machine.mem.translate(root, DATA + 0xa000).unwrap().pa;
    machine
        .mem
        .write_physical(first, &[0xff, 0xc3, 0xc3])
        .unwrap(); // inc ebx; ret
    machine
        .mem
        .write_physical(second, &[0x83, 0xc3, 100, 0xc3])
        .unwrap(); // add ebx, 100; ret
    let entry = machine.mem.pte_address(root, place).unwrap();
    let window = DATA + 0x9000;
    machine.mem.unmap(root, window);
    machine
        .mem
        .map(
            root,
            window,
            ring3_memory::Gpa::from_pfn(entry.pfn()),
            PageFlags::PRESENT | PageFlags::WRITE,
        )
        .unwrap();
    let flags = (PageFlags::PRESENT | PageFlags::WRITE).bits();
    machine.set_quad(DATA + 0x10, first.raw() | flags);
    machine.set_quad(DATA + 0x18, second.raw() | flags);
    machine.set_quad(DATA + 0x20, window + entry.raw() % 4096);
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!(machine.cpu.gpr[RBX], 1 + 100 + 1);
}

#[test]
fn unmapped_and_protected_code_does_not_run() {
    let mut machine = Machine::assemble(|a| {
        a.mov(rax, DATA).unwrap();
        a.jmp(rax).unwrap();
    });
    machine
        .mem
        .write_bytes(Gva::<u8>::new(DATA), &[0xf4])
        .unwrap();
    for _ in 0..2 {
        machine.cpu.rip = CODE;
        assert_eq!(machine.run(), Exit::Halt);
    }
    let root = machine.cpu.cr3;
    let flags = PageFlags::PRESENT | PageFlags::WRITE | PageFlags::NX;
    assert!(machine.mem.protect(root, DATA, flags));
    machine.cpu.rip = CODE;
    assert_eq!(
        machine.run(),
        Exit::Exception {
            vector: 14,
            error: 0x11,
            cr2: DATA
        }
    );
    assert_eq!(machine.cpu.rip, DATA);
    assert!(
        machine
            .mem
            .protect(root, DATA, PageFlags::PRESENT | PageFlags::WRITE)
    );
    machine.cpu.rip = CODE;
    assert_eq!(machine.run(), Exit::Halt);
    machine.mem.unmap(root, DATA);
    machine.cpu.rip = CODE;
    assert_eq!(
        machine.run(),
        Exit::Exception {
            vector: 14,
            error: 0x10,
            cr2: DATA
        }
    );
}

#[test]
fn the_same_address_in_two_address_spaces() {
    let mut machine = Machine::assemble(|a| {
        a.mov(rax, 0x40_0000u64).unwrap();
        a.call(rax).unwrap();
        a.mov(cr3, rsi).unwrap();
        a.call(rax).unwrap();
        a.hlt().unwrap();
    });
    machine.cpu.cr4 &= !ring3_x64::cr4::SMEP;
    let first = machine.cpu.cr3;
    let second = machine.mem.new_address_space(Some(first)).unwrap();
    for (space, value) in [(first, 1u8), (second, 10)] {
        let frame = machine.mem.alloc_frame().unwrap();
        machine
            .mem
            .map(
                space,
                0x40_0000,
                frame,
                PageFlags::PRESENT | PageFlags::WRITE,
            )
            .unwrap();
        machine
            .mem
            .write_physical(frame, &[0x83, 0xc3, value, 0xc3])
            .unwrap();
    }
    machine.cpu.gpr[ring3_x64::RSI] = second;
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!(machine.cpu.gpr[RBX], 11);
}

/// An instruction across two pages depends on both.
#[test]
fn an_instruction_across_pages() {
    let mut machine = Machine::new(&[]);
    let at = CODE + 0xffd;
    // mov eax, 0x44332211; hlt
    machine
        .mem
        .write_bytes(Gva::<u8>::new(at), &[0xb8, 0x11, 0x22, 0x33, 0x44, 0xf4])
        .unwrap();
    machine.cpu.rip = at;
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!(machine.cpu.gpr[RAX], 0x4433_2211);
    machine
        .mem
        .write_bytes(Gva::<u8>::new(CODE + 0x1000), &[0x77])
        .unwrap();
    machine.cpu.rip = at;
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!(machine.cpu.gpr[RAX], 0x4477_2211);
    let root = machine.cpu.cr3;
    machine.mem.unmap(root, CODE + 0x1000);
    machine.cpu.rip = at;
    assert_eq!(
        machine.run(),
        Exit::Exception {
            vector: 14,
            error: 0x10,
            cr2: CODE + 0x1000
        }
    );
    assert_eq!(machine.cpu.rip, at);
    machine.engine.flush();
    assert_eq!(
        machine.run(),
        Exit::Exception {
            vector: 14,
            error: 0x10,
            cr2: CODE + 0x1000
        }
    );
}
