//! System instructions and the exits they end with.

mod common;

use common::{CODE, DATA, Machine, STACK};
use iced_x86::code_asm::*;
use ring3_memory::{Gva, PageFlags};
use ring3_x64::{Engine, Exit, R11, RAX, RBX, RCX, RDX, RSP, rflags};

#[test]
fn host_calls_stop_at_the_instruction() {
    let mut machine = Machine::assemble(|a| {
        a.mov(ecx, 5).unwrap();
        a.vmcall().unwrap();
        a.inc(ecx).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.run(), Exit::HostCall);
    assert_eq!((machine.cpu.rip, machine.cpu.icount), (CODE + 5, 1));
    let next = machine.cpu.rip + 3;
    machine.cpu.retire(next);
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!((machine.cpu.gpr[RCX], machine.cpu.icount), (6, 4));
}

#[test]
fn nothing_runs_without_a_budget() {
    let mut machine = Machine::assemble(|a| a.nop().unwrap());
    assert_eq!(machine.steps(0), Exit::Limit);
    machine.cpu.icount = 10;
    assert_eq!(
        machine.engine.run(&mut machine.cpu, &mut machine.mem, 5),
        Exit::Limit
    );
    assert_eq!((machine.cpu.icount, machine.cpu.rip), (10, CODE));
}

#[test]
fn cr8_is_inline_and_lowering_it_ends_the_run() {
    let mut machine = Machine::assemble(|a| {
        a.mov(eax, 2).unwrap();
        a.mov(cr8, rax).unwrap();
        a.mov(rbx, cr8).unwrap();
        a.mov(cr8, rax).unwrap();
        a.xor(eax, eax).unwrap();
        a.mov(cr8, rax).unwrap();
        a.hlt().unwrap();
    });
    assert_eq!(machine.run(), Exit::IrqlLowered { from: 2, to: 0 });
    assert_eq!(
        (machine.cpu.gpr[RBX], machine.cpu.cr8, machine.cpu.icount),
        (2, 0, 6)
    );
    assert_eq!(machine.run(), Exit::Halt);
    machine.cpu.gpr[RAX] = 16;
    machine.cpu.rip = CODE + 5;
    assert_eq!(
        machine.run(),
        Exit::Exception {
            vector: 13,
            error: 0,
            cr2: 0
        }
    );
}

#[test]
fn model_specific_registers() {
    let mut machine = Machine::assemble(|a| {
        a.mov(ecx, 0xc000_0082u32).unwrap();
        a.mov(eax, 0x1000).unwrap();
        a.mov(edx, 0xffff_8000u32).unwrap();
        a.wrmsr().unwrap();
        a.mov(edx, 0x8000_0000u32).unwrap();
        a.wrmsr().unwrap();
    });
    assert_eq!(
        machine.run(),
        Exit::Exception {
            vector: 13,
            error: 0,
            cr2: 0
        }
    );
    assert_eq!(machine.cpu.lstar, 0xffff_8000_0000_1000);
    let mut machine = Machine::assemble(|a| {
        a.mov(ecx, 0x1234).unwrap();
        a.rdmsr().unwrap();
        a.wrmsr().unwrap();
        a.hlt().unwrap();
    });
    let exit = machine.run();
    assert_eq!(
        exit,
        Exit::ReadMsr {
            msr: 0x1234,
            next: CODE + 7
        }
    );
    assert!(exit.complete(&mut machine.cpu, 0x1_0000_0002));
    assert_eq!((machine.cpu.gpr[RAX], machine.cpu.gpr[RDX]), (2, 1));
    let exit = machine.run();
    assert_eq!(
        exit,
        Exit::WriteMsr {
            msr: 0x1234,
            value: 0x1_0000_0002,
            next: CODE + 9
        }
    );
    assert!(exit.complete(&mut machine.cpu, 0));
    assert_eq!(machine.run(), Exit::Halt);
}

#[test]
fn ports_and_random_numbers_are_completed_by_the_host() {
    let mut machine = Machine::assemble(|a| {
        a.mov(rax, -1i64).unwrap();
        a.mov(edx, 0x3f8).unwrap();
        a.in_(al, dx).unwrap();
        a.out(0x80, eax).unwrap();
        a.rdrand(r9w).unwrap();
        a.hlt().unwrap();
    });
    let exit = machine.run();
    assert!(matches!(
        exit,
        Exit::PortIn {
            port: 0x3f8,
            size: 1,
            ..
        }
    ));
    assert!(exit.complete(&mut machine.cpu, 0x42));
    let exit = machine.run();
    assert!(
        matches!(
            exit,
            Exit::PortOut {
                port: 0x80,
                size: 4,
                value: 0xffff_ff42,
                ..
            }
        ),
        "{exit:?}"
    );
    assert!(exit.complete(&mut machine.cpu, 0));
    let exit = machine.run();
    assert!(
        matches!(
            exit,
            Exit::Random {
                register: 9,
                size: 2,
                ..
            }
        ),
        "{exit:?}"
    );
    assert!(exit.complete(&mut machine.cpu, 0x12345));
    assert_eq!(machine.cpu.gpr[9], 0x2345);
    assert_eq!(machine.cpu.rflags & rflags::STATUS, rflags::CF);
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!(machine.cpu.icount, 6);
    assert!(!Exit::Halt.complete(&mut machine.cpu, 0));
}

#[test]
fn software_interrupts_name_the_way_on() {
    for (bytes, vector) in [
        (&[0xcc][..], 3),
        (&[0xcd, 0x29], 0x29),
        (&[0xcd, 0x2c], 0x2c),
    ] {
        let mut machine = Machine::new(bytes);
        let next = CODE + bytes.len() as u64;
        assert_eq!(machine.run(), Exit::SoftwareInterrupt { vector, next });
        assert_eq!((machine.cpu.rip, machine.cpu.icount), (CODE, 0));
    }
}

#[test]
fn single_step_traps_behind_the_instruction_after_popf() {
    let mut machine = Machine::assemble(|a| {
        a.pushfq().unwrap();
        a.or(dword_ptr(rsp), 0x100).unwrap();
        a.popfq().unwrap();
        a.inc(eax).unwrap();
        a.inc(eax).unwrap();
        a.hlt().unwrap();
    });
    let trap = Exit::Exception {
        vector: 1,
        error: 0,
        cr2: 0,
    };
    assert_eq!(machine.run(), trap);
    assert_eq!((machine.cpu.gpr[RAX], machine.cpu.icount), (1, 4));
    assert_ne!(machine.cpu.dr[6] & 1 << 14, 0);
    assert_eq!(machine.run(), trap);
    assert_eq!((machine.cpu.gpr[RAX], machine.cpu.icount), (2, 5));
    machine.cpu.rflags &= !rflags::TF;
    assert_eq!(machine.run(), Exit::Halt);
}

#[test]
fn time_is_the_number_of_instructions() {
    let mut machine = Machine::assemble(|a| {
        a.nop().unwrap();
        a.rdtsc().unwrap();
        a.mov(ebx, eax).unwrap();
        a.rdtsc().unwrap();
        a.hlt().unwrap();
    });
    machine.cpu.tsc_base = 1000;
    machine.cpu.tsc_per_instruction = 10;
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!((machine.cpu.gpr[RBX], machine.cpu.gpr[RAX]), (1010, 1030));
    assert_eq!(machine.cpu.tsc(), 1050);
}

/// To user mode by IRETQ, back by SYSCALL, there again by SYSRETQ.
#[test]
fn privilege_changes() {
    let user = 0x40_0000u64;
    let mut machine = Machine::assemble(|a| {
        a.mov(rax, STACK - 0x40).unwrap();
        a.push(0x2b).unwrap();
        a.push(rax).unwrap();
        a.push(0x202).unwrap();
        a.push(0x33).unwrap();
        a.push(0x40_0000).unwrap();
        a.iretq().unwrap();
        // The system call's target.
        a.mov(rbx, cr0).unwrap();
        a.inc(r15).unwrap();
        a.sysretq().unwrap();
    });
    let root = machine.cpu.cr3;
    let frame = machine.mem.alloc_frame().unwrap();
    machine
        .mem
        .map(root, user, frame, PageFlags::PRESENT | PageFlags::USER)
        .unwrap();
    // syscall; syscall; hlt
    machine
        .mem
        .write_physical(frame, &[0x0f, 0x05, 0x0f, 0x05, 0xf4])
        .unwrap();
    let code = machine.mem.read_vec(Gva::<u8>::new(CODE), 64).unwrap();
    let iret = code
        .windows(2)
        .position(|pair| pair == [0x48, 0xcf])
        .unwrap() as u64;
    machine.cpu.lstar = CODE + iret + 2;
    machine.cpu.star = 0x0023_0010 << 32;
    machine.cpu.sfmask = 0x300;
    machine.cpu.rflags |= rflags::IF;
    assert_eq!(
        machine.run(),
        Exit::Exception {
            vector: 13,
            error: 0,
            cr2: 0
        }
    );
    assert_eq!((machine.cpu.cs, machine.cpu.ss), (0x33, 0x2b));
    assert_eq!(machine.cpu.rip, user + 4);
    assert_eq!(machine.cpu.gpr[RCX], user + 4);
    assert_eq!(machine.cpu.gpr[R11] & 0x202, 0x202);
    assert_eq!(machine.cpu.gpr[15], 2);
    assert_eq!(machine.cpu.gpr[RBX], machine.cpu.cr0);
    assert_eq!(machine.cpu.gpr[RSP], STACK - 0x40);
    assert_ne!(machine.cpu.rflags & rflags::IF, 0);
}

#[test]
fn a_system_call_without_a_target_is_for_the_host() {
    let mut machine = Machine::assemble(|a| a.syscall().unwrap());
    assert_eq!(machine.run(), Exit::Syscall { next: CODE + 2 });
    assert_eq!(machine.cpu.icount, 0);
}

#[test]
fn what_is_not_modelled_says_so() {
    for (bytes, name) in [
        (&[0xd9, 0xe8][..], "fld1"),
        (&[0x0f, 0xef, 0xc0], "pxor"),
        (&[0xc5, 0xf8, 0x77], "vzeroupper"),
        (&[0x48, 0xcb], "ret"),
    ] {
        let mut machine = Machine::new(bytes);
        match machine.run() {
            Exit::NotModelled {
                rip,
                bytes: found,
                len,
                text,
            } => {
                assert_eq!((rip, &found[..usize::from(len)]), (CODE, bytes));
                assert!(text.contains(name), "{text}");
            }
            exit => panic!("{exit}"),
        }
        assert_eq!(machine.cpu.icount, 0);
    }
}

#[test]
fn sse_obeys_the_control_registers() {
    let mut machine = Machine::assemble(|a| {
        a.movups(xmm0, xmm1).unwrap();
        a.clts().unwrap();
        a.hlt().unwrap();
    });
    machine.cpu.cr0 |= ring3_x64::cr0::TS;
    assert_eq!(
        machine.run(),
        Exit::Exception {
            vector: 7,
            error: 0,
            cr2: 0
        }
    );
    machine.cpu.rip = CODE + 3;
    assert_eq!(machine.run(), Exit::Halt);
    machine.cpu.rip = CODE;
    assert_eq!(machine.run(), Exit::Halt);
    machine.cpu.cr4 &= !ring3_x64::cr4::OSFXSR;
    machine.cpu.rip = CODE;
    assert_eq!(
        machine.run(),
        Exit::Exception {
            vector: 6,
            error: 0,
            cr2: 0
        }
    );
}

#[test]
fn descriptor_tables_and_gs() {
    let mut machine = Machine::assemble(|a| {
        a.mov(rbx, DATA).unwrap();
        a.mov(word_ptr(rbx), 0x57).unwrap();
        a.mov(qword_ptr(rbx + 2), 0x1234_5678).unwrap();
        a.lgdt(ptr(rbx)).unwrap();
        a.sgdt(ptr(rbx + 32)).unwrap();
        a.lidt(ptr(rbx)).unwrap();
        a.mov(eax, 0x40).unwrap();
        a.ltr(ax).unwrap();
        a.str(ecx).unwrap();
        a.swapgs().unwrap();
        a.mov(edx, dword_ptr(0x10).gs()).unwrap();
        a.hlt().unwrap();
    });
    machine.cpu.kernel_gs_base = DATA + 0x100;
    machine.set_quad(DATA + 0x110, 77);
    assert_eq!(machine.run(), Exit::Halt, "{:#x}", machine.cpu.rip);
    assert_eq!(machine.cpu.gdtr, (0x1234_5678, 0x57));
    assert_eq!(machine.cpu.idtr, machine.cpu.gdtr);
    assert_eq!(machine.quad(DATA + 34), 0x1234_5678);
    assert_eq!((machine.cpu.gpr[RCX], machine.cpu.gpr[RDX]), (0x40, 77));
    assert_eq!(
        (machine.cpu.gs_base, machine.cpu.kernel_gs_base),
        (DATA + 0x100, 0)
    );
}

/// Addresses of 32 bits, and a base with an index and a segment.
#[test]
fn unusual_addresses() {
    let mut machine = Machine::assemble(|a| {
        a.mov(rbx, 0xffff_ffff_0000_1000u64).unwrap();
        a.lea(rcx, dword_ptr(ebx + ebx * 2 + 4)).unwrap();
        a.mov(esi, 8).unwrap();
        a.mov(edi, 16).unwrap();
        a.mov(rax, qword_ptr(rsi + rdi * 4 + 1).gs()).unwrap();
        a.hlt().unwrap();
    });
    machine.cpu.gs_base = DATA;
    machine.set_quad(DATA + 8 + 64 + 1, 99);
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!((machine.cpu.gpr[RCX], machine.cpu.gpr[RAX]), (0x3004, 99));
}

#[test]
fn x87_control_words_move() {
    let mut machine = Machine::assemble(|a| {
        a.mov(rbx, DATA).unwrap();
        a.fninit().unwrap();
        a.mov(word_ptr(rbx), 0x27f).unwrap();
        a.fldcw(word_ptr(rbx)).unwrap();
        a.fnstcw(word_ptr(rbx + 2)).unwrap();
        a.mov(eax, -1).unwrap();
        a.fnstsw(ax).unwrap();
        a.fnclex().unwrap();
        a.wait().unwrap();
        a.hlt().unwrap();
    });
    machine.cpu.x87.fsw = 0x3800;
    assert_eq!(machine.steps(1), Exit::Limit);
    machine.cpu.x87.fcw = 0;
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!(machine.quad(DATA), 0x027f_027f);
    assert_eq!(machine.cpu.gpr[RAX], 0xffff_0000);
}
