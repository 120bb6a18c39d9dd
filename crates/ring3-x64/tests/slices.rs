//! A run that is cut into pieces goes through the same states as one that is not.

mod common;

use common::{DATA, Machine};
use iced_x86::IcedError;
use iced_x86::code_asm::*;
use ring3_x64::{Engine, Exit, Instrument};

type Program = fn(&mut CodeAssembler) -> Result<(), IcedError>;

fn arithmetic(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.mov(rsi, DATA)?;
    a.mov(rax, 0x0123_4567_89ab_cdefu64)?;
    a.mov(rbx, 0xfedc_ba98_7654_3210u64)?;
    a.mov(ecx, 300)?;
    a.set_label(&mut again)?;
    a.add(rax, rbx)?;
    a.adc(bl, ah)?;
    a.sbb(edx, eax)?;
    a.rol(rax, 7)?;
    a.rcr(ebx, 3)?;
    a.shl(rdx, cl)?;
    a.sar(r8, 5)?;
    a.lea(r8, qword_ptr(rax + rbx * 4 + 0x77))?;
    a.imul_3(r9, r8, 0x1235)?;
    a.xor(r10, r9)?;
    a.xchg(r10, r11)?;
    a.bswap(r11)?;
    a.mov(qword_ptr(rsi + rcx * 8), r11)?;
    a.add(word_ptr(rsi + rcx * 8 + 3), dx)?;
    a.inc(byte_ptr(rsi + rcx * 8 + 7))?;
    a.neg(dword_ptr(rsi + rcx * 8))?;
    a.lock().xadd(qword_ptr(rsi), rax)?;
    a.bts(dword_ptr(rsi + 64), ecx)?;
    a.setc(dl)?;
    a.cmovs(rdx, r9)?;
    a.shld(rdx, rax, 13)?;
    a.popcnt(r12, rdx)?;
    a.bsf(r13, r11)?;
    a.movsx(r14, r12b)?;
    a.movzx(ebp, ah)?;
    a.push(rax)?;
    a.pushfq()?;
    a.pop(rdi)?;
    a.pop(rbp)?;
    a.add(qword_ptr(rsi + 16), rdi)?;
    a.dec(ecx)?;
    a.jnz(again)?;
    a.hlt()
}

fn divisions(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.mov(ecx, 200)?;
    a.mov(r8, 0x9e37_79b9_7f4a_7c15u64)?;
    a.set_label(&mut again)?;
    a.imul_2(r8, r8)?;
    a.inc(r8)?;
    a.mov(rax, r8)?;
    a.xor(edx, edx)?;
    a.lea(r9, qword_ptr(rcx + 17))?;
    a.div(r9)?;
    a.add(r10, rdx)?;
    a.mov(eax, r8d)?;
    a.cdq()?;
    a.idiv(r9d)?;
    a.add(r10, rax)?;
    a.mov(rax, r8)?;
    a.cqo()?;
    a.idiv(r9)?;
    a.xor(r10, rax)?;
    a.mul(r8)?;
    a.xor(r10, rdx)?;
    a.loop_(again)?;
    a.hlt()
}

fn strings(a: &mut CodeAssembler) -> Result<(), IcedError> {
    a.cld()?;
    a.mov(rdi, DATA + 3)?;
    a.mov(eax, 0x1122_3344)?;
    a.mov(ecx, 777)?;
    a.rep().stosd()?;
    a.mov(rsi, DATA + 1)?;
    a.mov(rdi, DATA + 0x1ff1)?;
    a.mov(ecx, 1023)?;
    a.rep().movsb()?;
    // Overlapping upwards by three.
    a.mov(rsi, DATA)?;
    a.mov(rdi, DATA + 3)?;
    a.mov(ecx, 100)?;
    a.rep().movsb()?;
    a.std()?;
    a.mov(rsi, DATA + 0x800)?;
    a.mov(rdi, DATA + 0x900)?;
    a.mov(ecx, 99)?;
    a.rep().movsq()?;
    a.cld()?;
    a.mov(rsi, DATA + 1)?;
    a.mov(rdi, DATA + 0x1ff1)?;
    a.mov(ecx, 5000)?;
    a.repe().cmpsb()?;
    a.mov(r8, rcx)?;
    a.mov(rdi, DATA)?;
    a.mov(ecx, 5000)?;
    a.mov(al, 0)?;
    a.repne().scasb()?;
    a.mov(r9, rcx)?;
    a.xor(ecx, ecx)?;
    a.rep().lodsq()?;
    a.mov(rsi, DATA + 0x100)?;
    a.lodsw()?;
    a.hlt()
}

fn calls(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let (mut f, mut g, mut start, mut again, mut done) = (
        a.create_label(),
        a.create_label(),
        a.create_label(),
        a.create_label(),
        a.create_label(),
    );
    a.jmp(start)?;
    a.set_label(&mut f)?;
    a.push(rbp)?;
    a.mov(rbp, rsp)?;
    a.sub(rsp, 0x40)?;
    a.mov(qword_ptr(rbp - 8), rcx)?;
    a.cmp(rcx, 1)?;
    a.jbe(done)?;
    a.dec(rcx)?;
    a.call(f)?;
    a.set_label(&mut done)?;
    a.add(rax, qword_ptr(rbp - 8))?;
    a.leave()?;
    a.ret()?;
    a.set_label(&mut g)?;
    a.enter(0x20, 0)?;
    a.imul_3(rax, rax, 3)?;
    a.leave()?;
    a.ret_1(0)?;
    a.set_label(&mut start)?;
    a.lea(rbx, qword_ptr(g))?;
    a.mov(rsi, DATA)?;
    a.mov(qword_ptr(rsi), rbx)?;
    a.mov(r12d, 40)?;
    a.set_label(&mut again)?;
    a.mov(ecx, r12d)?;
    a.call(f)?;
    a.call(rbx)?;
    a.call(qword_ptr(rsi))?;
    a.push(qword_ptr(rsi))?;
    a.pop(qword_ptr(rsi + 8))?;
    a.dec(r12d)?;
    a.jnz(again)?;
    a.hlt()
}

fn vectors(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.mov(rsi, DATA)?;
    a.mov(ecx, 64)?;
    a.pxor(xmm0, xmm0)?;
    a.set_label(&mut again)?;
    a.movd(xmm1, ecx)?;
    a.pshufd(xmm1, xmm1, 0)?;
    a.paddd(xmm0, xmm1)?;
    a.movups(xmmword_ptr(rsi + 3), xmm0)?;
    a.movdqu(xmm2, xmmword_ptr(rsi + 5))?;
    a.pxor(xmm2, xmm1)?;
    a.movaps(xmmword_ptr(rsi + 64), xmm2)?;
    a.por(xmm3, xmmword_ptr(rsi + 64))?;
    a.cvtsi2sd(xmm4, ecx)?;
    a.mulsd(xmm4, xmm4)?;
    a.addsd(xmm5, xmm4)?;
    a.ucomisd(xmm5, xmm4)?;
    a.setb(al)?;
    a.cvttsd2si(rdx, xmm5)?;
    a.movq(r8, xmm3)?;
    a.crc32(r9d, r8d)?;
    a.dec(ecx)?;
    a.jnz(again)?;
    a.fxsave64(byte_ptr(rsi + 0x200))?;
    a.pxor(xmm5, xmm5)?;
    a.fxrstor64(byte_ptr(rsi + 0x200))?;
    a.hlt()
}

fn segments(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut again = a.create_label();
    a.mov(ecx, 0xc000_0101u32)?;
    a.mov(rax, DATA)?;
    a.mov(rdx, rax)?;
    a.shr(rdx, 32)?;
    a.wrmsr()?;
    a.mov(esi, 50)?;
    a.set_label(&mut again)?;
    a.mov(rbx, qword_ptr(0x20).gs())?;
    a.add(rbx, rsi)?;
    a.mov(qword_ptr(0x20).gs(), rbx)?;
    a.mov(qword_ptr(rsi + rsi * 8 + 0x40).gs(), rbx)?;
    a.mov(rax, cr8)?;
    a.rdtsc()?;
    a.xor(r8, rax)?;
    a.cli()?;
    a.sti()?;
    a.mov(eax, 1)?;
    a.cpuid()?;
    a.add(r9, rax)?;
    a.dec(esi)?;
    a.jnz(again)?;
    a.hlt()
}

const PROGRAMS: [(&str, Program); 6] = [
    ("arithmetic", arithmetic),
    ("divisions", divisions),
    ("strings", strings),
    ("calls", calls),
    ("vectors", vectors),
    ("segments", segments),
];

/// A fixed sequence of numbers (xorshift).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn slices_change_nothing() {
    for (name, program) in PROGRAMS {
        let start = Machine::assemble(|a| program(a).expect("encodable"));
        let mut whole = start.clone();
        assert_eq!(whole.run(), Exit::Halt, "{name} at {:#x}", whole.cpu.rip);
        assert!(
            whole.cpu.icount > 500,
            "{name} is too short to say anything: {}",
            whole.cpu.icount
        );
        for seed in 1..=4 {
            let mut random = seed * 0x9e37_79b9;
            let mut sliced = start.clone();
            loop {
                let count = if seed == 1 {
                    1
                } else {
                    1 + next(&mut random) % 97
                };
                let before = sliced.cpu.icount;
                match sliced.steps(count) {
                    Exit::Limit => {
                        assert_eq!(sliced.cpu.icount, before + count, "{name}: exact count")
                    }
                    Exit::Halt => break,
                    exit => panic!("{name}: {exit}"),
                }
            }
            assert_eq!(sliced.cpu, whole.cpu, "{name}, seed {seed}");
            assert_eq!(sliced.mem.hash(), whole.mem.hash(), "{name}, seed {seed}");
        }
    }
}

#[test]
fn recording_changes_nothing_and_is_the_same_each_time() {
    for (name, program) in PROGRAMS {
        let start = Machine::assemble(|a| program(a).expect("encodable"));
        let mut plain = start.clone();
        plain.run();
        let record = || {
            let mut machine = start.clone();
            machine.engine.instrument(Instrument {
                coverage: true,
                access_log: true,
            });
            assert_eq!(machine.run(), Exit::Halt);
            assert_eq!(machine.cpu, plain.cpu, "{name}");
            (
                machine.engine.coverage().edges().to_vec(),
                machine.engine.take_access_log(),
            )
        };
        let (first, second) = (record(), record());
        assert_eq!(first, second, "{name}");
        assert!(!first.0.is_empty(), "{name} has edges");
        assert!(
            first
                .1
                .iter()
                .all(|access| access.icount < plain.cpu.icount)
        );
    }
}

#[test]
fn accesses_are_logged_with_place_and_time() {
    let mut machine = Machine::assemble(|a| {
        a.mov(rbx, DATA).unwrap();
        a.push(rbx).unwrap();
        a.add(dword_ptr(rbx + 8), 5).unwrap();
        a.mov(ecx, 2).unwrap();
        a.mov(rdi, rbx).unwrap();
        a.rep().stosw().unwrap();
        a.mov(rax, qword_ptr(0)).unwrap();
    });
    machine.engine.instrument(Instrument {
        coverage: false,
        access_log: true,
    });
    assert!(matches!(machine.run(), Exit::Exception { vector: 14, .. }));
    let stack = common::STACK - 0x108;
    let found: Vec<_> = machine
        .engine
        .take_access_log()
        .iter()
        .map(|record| {
            (
                record.va,
                record.size,
                record.access == ring3_memory::Access::Write,
                record.icount,
            )
        })
        .collect();
    let expected = [
        (stack, 8, true, 1),
        (DATA + 8, 4, false, 2),
        (DATA + 8, 4, true, 2),
        (DATA, 2, true, 5),
        (DATA + 2, 2, true, 6),
    ];
    assert_eq!(found, expected);
}
