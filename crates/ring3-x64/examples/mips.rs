//! How fast guest code runs: a checksum loop, a linked list, and calls of the host.

use std::time::Instant;

use iced_x86::code_asm::*;
use ring3_memory::{Gva, Memory, PageFlags};
use ring3_x64::{Cpu, Engine, Exit, Instrument, Interpreter, RSP};

const CODE: u64 = 0xffff_8000_0010_0000;
const DATA: u64 = 0xffff_8000_0100_0000;
const DATA_SIZE: u64 = 1 << 20;
const STACK: u64 = 0xffff_8000_0310_0000;

fn machine(program: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> (Cpu, Memory) {
    let mut mem = Memory::new(16 << 20);
    let root = mem.new_address_space(None).expect("enough frames");
    let flags = PageFlags::PRESENT | PageFlags::WRITE;
    for (base, size) in [
        (CODE, 0x10000),
        (DATA, DATA_SIZE),
        (STACK - 0x10000, 0x10000),
    ] {
        for va in (base..base + size).step_by(4096) {
            let frame = mem.alloc_frame().expect("enough frames");
            mem.map(root, va, frame, flags).expect("free");
        }
    }
    let mut assembler = CodeAssembler::new(64).expect("64 is a bitness");
    program(&mut assembler).expect("encodable");
    let code = assembler.assemble(CODE).expect("encodable");
    let mut cpu = Cpu {
        cr3: root,
        rip: CODE,
        ..Cpu::default()
    };
    cpu.gpr[RSP] = STACK - 0x100;
    mem.set_context(cpu.context());
    mem.write_bytes(Gva::<u8>::new(CODE), &code)
        .expect("mapped");
    (cpu, mem)
}

fn measure(name: &str, instrument: Instrument, (mut cpu, mut mem): (Cpu, Memory)) {
    let mut engine = Interpreter::new();
    engine.instrument(instrument);
    let start = Instant::now();
    let mut calls = 0u64;
    let exit = loop {
        match engine.run(&mut cpu, &mut mem, u64::MAX) {
            Exit::HostCall => {
                calls += 1;
                let next = cpu.rip + 3;
                cpu.retire(next);
            }
            exit => break exit,
        }
    };
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{name:12} {:6.0} million instructions per second, {} instructions, {:.1} ns per host call, ended with {exit}",
        cpu.icount as f64 / seconds / 1e6,
        cpu.icount,
        if calls == 0 {
            0.0
        } else {
            seconds * 1e9 / calls as f64
        },
    );
}

/// CRC32 by table over a buffer.
fn checksum(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut build, mut bits, mut even, mut round, mut byte) = (
        a.create_label(),
        a.create_label(),
        a.create_label(),
        a.create_label(),
        a.create_label(),
    );
    a.mov(rsi, DATA)?;
    a.xor(ecx, ecx)?;
    a.set_label(&mut build)?;
    a.mov(eax, ecx)?;
    a.mov(edx, 8)?;
    a.set_label(&mut bits)?;
    a.mov(ebx, eax)?;
    a.shr(eax, 1)?;
    a.test(bl, 1)?;
    a.je(even)?;
    a.xor(eax, 0xedb8_8320u32 as i32)?;
    a.set_label(&mut even)?;
    a.dec(edx)?;
    a.jne(bits)?;
    a.mov(dword_ptr(rsi + rcx * 4), eax)?;
    a.inc(ecx)?;
    a.cmp(ecx, 256)?;
    a.jb(build)?;
    a.mov(r8, 3000u64)?;
    a.set_label(&mut round)?;
    a.lea(rdi, qword_ptr(rsi + 0x1000))?;
    a.lea(r9, qword_ptr(rdi + 4096))?;
    a.mov(eax, -1)?;
    a.set_label(&mut byte)?;
    a.movzx(edx, byte_ptr(rdi))?;
    a.xor(dl, al)?;
    a.shr(eax, 8)?;
    a.movzx(edx, dl)?;
    a.xor(eax, dword_ptr(rsi + rdx * 4))?;
    a.inc(rdi)?;
    a.cmp(rdi, r9)?;
    a.jne(byte)?;
    a.add(dword_ptr(rsi + 0x1000), eax)?;
    a.dec(r8)?;
    a.jne(round)?;
    a.hlt()
}

/// Entries of a doubly linked list that move between two lists, by way of small functions.
fn lists(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut init, mut again, mut remove, mut insert, mut odd) = (
        a.create_label(),
        a.create_label(),
        a.create_label(),
        a.create_label(),
        a.create_label(),
    );
    let mut start = a.create_label();
    a.jmp(start)?;
    // remove head of list rcx -> rax
    a.set_label(&mut remove)?;
    a.mov(rax, qword_ptr(rcx))?;
    a.mov(rdx, qword_ptr(rax))?;
    a.mov(qword_ptr(rcx), rdx)?;
    a.mov(qword_ptr(rdx + 8), rcx)?;
    a.ret()?;
    // insert rdx at the tail of list rcx
    a.set_label(&mut insert)?;
    a.push(rbx)?;
    a.mov(rbx, qword_ptr(rcx + 8))?;
    a.mov(qword_ptr(rdx), rcx)?;
    a.mov(qword_ptr(rdx + 8), rbx)?;
    a.mov(qword_ptr(rbx), rdx)?;
    a.mov(qword_ptr(rcx + 8), rdx)?;
    a.pop(rbx)?;
    a.ret()?;
    a.set_label(&mut start)?;
    a.mov(rsi, DATA)?;
    for list in [0, 16] {
        a.lea(rax, qword_ptr(rsi + list))?;
        a.mov(qword_ptr(rax), rax)?;
        a.mov(qword_ptr(rax + 8), rax)?;
    }
    a.mov(rdi, DATA + 0x1000)?;
    a.mov(r12, 2000u64)?;
    a.set_label(&mut init)?;
    a.mov(rcx, rsi)?;
    a.mov(rdx, rdi)?;
    a.call(insert)?;
    a.add(rdi, 0xc0)?;
    a.dec(r12)?;
    a.jne(init)?;
    a.mov(r12, 3_000_000u64)?;
    a.xor(r13, r13)?;
    a.set_label(&mut again)?;
    a.mov(rcx, rsi)?;
    a.call(remove)?;
    a.inc(dword_ptr(rax + 0x20))?;
    a.mov(rdx, rax)?;
    a.lea(rcx, qword_ptr(rsi))?;
    a.test(dword_ptr(rax + 0x20), 1)?;
    a.jne(odd)?;
    a.add(r13, qword_ptr(rax + 0x20))?;
    a.set_label(&mut odd)?;
    a.call(insert)?;
    a.dec(r12)?;
    a.jne(again)?;
    a.hlt()
}

/// A loop of 40 instructions with one host call through a table.
fn calls(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut stub, mut again, mut start) = (a.create_label(), a.create_label(), a.create_label());
    a.jmp(start)?;
    a.set_label(&mut stub)?;
    a.db(&[0x0f, 0x01, 0xc1])?;
    a.ret()?;
    a.set_label(&mut start)?;
    a.mov(rsi, DATA)?;
    a.lea(rax, qword_ptr(stub))?;
    a.mov(qword_ptr(rsi), rax)?;
    a.mov(r12, 1_000_000u64)?;
    a.set_label(&mut again)?;
    for field in 0..8 {
        a.mov(rax, qword_ptr(rsi + 0x10 + field * 8))?;
        a.add(rax, r12)?;
        a.mov(qword_ptr(rsi + 0x100 + field * 8), rax)?;
        a.lea(rcx, qword_ptr(rax + field))?;
    }
    a.mov(rdx, rsi)?;
    a.call(qword_ptr(rsi))?;
    a.test(rax, rax)?;
    a.dec(r12)?;
    a.jne(again)?;
    a.hlt()
}

fn main() {
    for (name, instrument) in [
        ("plain", Instrument::default()),
        (
            "coverage",
            Instrument {
                coverage: true,
                access_log: false,
            },
        ),
        (
            "access log",
            Instrument {
                coverage: false,
                access_log: true,
            },
        ),
    ] {
        println!("{name}:");
        measure("  checksum", instrument, machine(checksum));
        measure("  lists", instrument, machine(lists));
        measure("  calls", instrument, machine(calls));
    }
}
