//! Faults are precise: nothing of the instruction is visible, and everything before it is.

mod common;

use common::{CODE, DATA, Machine, SIZE, STACK};
use iced_x86::code_asm::*;
use ring3_memory::{Gva, PageFlags};
use ring3_x64::{Exit, RCX, RDI, RSI};

/// The first byte behind the data.
const END: u64 = DATA + SIZE;

/// Runs a program whose last instruction faults and checks that only the ones before it happened.
fn precise(
    before: u64,
    setup: impl FnOnce(&mut Machine),
    program: impl FnOnce(&mut CodeAssembler),
) -> Exit {
    let mut machine = Machine::assemble(program);
    setup(&mut machine);
    let mut stepped = machine.clone();
    if before > 0 {
        assert_eq!(stepped.steps(before), Exit::Limit);
    }
    let (state, memory) = (stepped.cpu.clone(), contents(&stepped));
    let exit = machine.run();
    assert_eq!(machine.cpu, state);
    assert_eq!(contents(&machine), memory);
    assert_eq!(stepped.run(), exit);
    assert_eq!(stepped.cpu, state);
    assert_eq!(contents(&stepped), memory);
    exit
}

/// What the guest can see of data and stack (page tables get accessed bits even from an access that faults).
fn contents(machine: &Machine) -> Vec<u8> {
    let data = machine.mem.read_vec(Gva::<u8>::new(DATA), SIZE).unwrap();
    let stack = machine
        .mem
        .read_vec(Gva::<u8>::new(STACK - SIZE), SIZE)
        .unwrap();
    [data, stack].concat()
}

fn page_fault(error: u32, va: u64) -> Exit {
    Exit::Exception {
        vector: 14,
        error,
        cr2: va,
    }
}

const GP: Exit = Exit::Exception {
    vector: 13,
    error: 0,
    cr2: 0,
};
const SS: Exit = Exit::Exception {
    vector: 12,
    error: 0,
    cr2: 0,
};

#[test]
fn reads_and_writes_of_nothing() {
    let exit = precise(
        2,
        |_| {},
        |a| {
            a.mov(rbx, END).unwrap();
            a.inc(eax).unwrap();
            a.add(rcx, qword_ptr(rbx)).unwrap();
        },
    );
    assert_eq!(exit, page_fault(0, END));
    let exit = precise(
        3,
        |_| {},
        |a| {
            a.mov(rbx, END).unwrap();
            a.mov(rcx, 5u64).unwrap();
            a.cmp(rcx, 6).unwrap();
            a.add(qword_ptr(rbx - 4), rcx).unwrap();
        },
    );
    assert_eq!(exit, page_fault(0, END));
    let exit = precise(
        1,
        |_| {},
        |a| {
            a.mov(rbx, END).unwrap();
            a.mov(qword_ptr(rbx - 1), rcx).unwrap();
        },
    );
    assert_eq!(exit, page_fault(2, END));
}

#[test]
fn read_only_pages_leave_flags_and_registers_alone() {
    let protect = |machine: &mut Machine| {
        let root = machine.cpu.cr3;
        machine.set_quad(DATA, 5);
        assert!(machine.mem.protect(root, DATA, PageFlags::PRESENT));
    };
    for program in [
        (|a| a.add(dword_ptr(rbx), 1)) as fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
        |a| a.lock().xadd(dword_ptr(rbx), ecx),
        |a| a.xchg(dword_ptr(rbx), ecx),
        |a| a.cmpxchg(dword_ptr(rbx), ecx),
        |a| a.cmpxchg16b(xmmword_ptr(rbx)),
        |a| a.btc(dword_ptr(rbx), ecx),
        |a| a.shl(dword_ptr(rbx), 3),
        |a| a.rcl(dword_ptr(rbx), cl),
        |a| a.shld(dword_ptr(rbx), ecx, 3),
        |a| a.setz(byte_ptr(rbx)),
        |a| a.not(dword_ptr(rbx)),
        |a| a.neg(dword_ptr(rbx)),
        |a| a.movups(xmmword_ptr(rbx), xmm1),
        |a| a.pop(qword_ptr(rbx)),
        |a| a.stosd(),
        |a| a.movsb(),
        |a| a.fxsave64(byte_ptr(rbx)),
    ] {
        let exit = precise(5, protect, |a| {
            a.mov(rbx, DATA).unwrap();
            a.mov(rdi, rbx).unwrap();
            a.mov(rsi, rbx).unwrap();
            a.mov(ecx, 7).unwrap();
            a.sub(edx, 1).unwrap();
            program(a).unwrap();
        });
        assert_eq!(exit, page_fault(3, DATA));
    }
}

#[test]
fn stack_instructions_update_rsp_last() {
    let low = STACK - SIZE;
    for program in [
        (|a| a.push(rax)) as fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
        |a| a.pushfq(),
        |a| a.push(qword_ptr(rbx)),
        |a| a.call(rbx),
        |a| a.call(CODE),
        |a| a.enter(16, 0),
    ] {
        let exit = precise(
            2,
            |_| {},
            |a| {
                a.mov(rsp, low + 4).unwrap();
                a.mov(rbx, DATA).unwrap();
                program(a).unwrap();
            },
        );
        assert!(
            matches!(exit, Exit::Exception { vector: 14, error: 2, cr2: va } if va < low),
            "{exit}"
        );
    }
    for program in [
        (|a| a.pop(rax)) as fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
        |a| a.popfq(),
        |a| a.ret(),
        |a| a.iretq(),
        |a| a.leave(),
    ] {
        let exit = precise(
            2,
            |_| {},
            |a| {
                a.mov(rsp, STACK).unwrap();
                a.mov(rbp, rsp).unwrap();
                program(a).unwrap();
            },
        );
        assert_eq!(exit, page_fault(0, STACK));
    }
}

#[test]
fn addresses_that_are_not_canonical() {
    let program = |a: &mut CodeAssembler| {
        a.mov(rbx, 0x8000_0000_0000_0000u64).unwrap();
        a.mov(eax, dword_ptr(rbx)).unwrap();
    };
    assert_eq!(precise(1, |_| {}, program), GP);
    let program = |a: &mut CodeAssembler| {
        a.mov(rbp, 0x8000_0000_0000_0000u64).unwrap();
        a.mov(eax, dword_ptr(rbp)).unwrap();
    };
    assert_eq!(precise(1, |_| {}, program), SS);
    let program = |a: &mut CodeAssembler| {
        a.mov(rsp, 0x8000_0000_0000_0000u64).unwrap();
        a.push(rax).unwrap();
    };
    assert_eq!(precise(1, |_| {}, program), SS);
    let program = |a: &mut CodeAssembler| {
        a.mov(rbx, 0x8000_0000_0000_0000u64).unwrap();
        a.call(rbx).unwrap();
    };
    assert_eq!(precise(1, |_| {}, program), GP);
}

#[test]
fn division_and_alignment_and_invalid_opcodes() {
    let exit = precise(
        2,
        |_| {},
        |a| {
            a.mov(eax, 5).unwrap();
            a.xor(ecx, ecx).unwrap();
            a.div(ecx).unwrap();
        },
    );
    assert_eq!(
        exit,
        Exit::Exception {
            vector: 0,
            error: 0,
            cr2: 0
        }
    );
    let exit = precise(
        1,
        |_| {},
        |a| {
            a.mov(rbx, DATA + 8).unwrap();
            a.movaps(xmm0, xmmword_ptr(rbx)).unwrap();
        },
    );
    assert_eq!(exit, GP);
    for bytes in [&[0x0f, 0x0b][..], &[0x06], &[0xf0, 0x89, 0xc0]] {
        let exit = precise(
            1,
            |_| {},
            |a| {
                a.nop().unwrap();
                a.db(bytes).unwrap();
            },
        );
        assert_eq!(
            exit,
            Exit::Exception {
                vector: 6,
                error: 0,
                cr2: 0
            }
        );
    }
    let exit = precise(0, |_| {}, |a| a.db(&[0x66; 16]).unwrap());
    assert_eq!(exit, GP);
}

#[test]
fn rep_movs_stops_at_the_fault_and_goes_on() {
    let mut machine = Machine::assemble(|a| {
        a.mov(rsi, DATA).unwrap();
        a.mov(rdi, END - 100).unwrap();
        a.mov(ecx, 300).unwrap();
        a.rep().movsb().unwrap();
        a.hlt().unwrap();
    });
    let pattern: Vec<u8> = (0..=255).cycle().take(300).collect();
    machine
        .mem
        .write_bytes(Gva::<u8>::new(DATA), &pattern)
        .unwrap();
    assert_eq!(machine.run(), page_fault(2, END));
    assert_eq!(machine.cpu.gpr[RCX], 200);
    assert_eq!(machine.cpu.gpr[RSI], DATA + 100);
    assert_eq!(machine.cpu.gpr[RDI], END);
    assert_eq!(machine.cpu.icount, 3 + 100);
    let root = machine.cpu.cr3;
    common::map(
        &mut machine.mem,
        root,
        END,
        4096,
        PageFlags::PRESENT | PageFlags::WRITE,
    );
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!(machine.cpu.icount, 3 + 300 + 1);
    let mut copied = [0; 300];
    machine
        .mem
        .read_bytes(Gva::<u8>::new(END - 100), &mut copied)
        .unwrap();
    assert_eq!(&copied[..], &pattern[..]);
}

#[test]
fn shadow_hits_come_before_any_effect() {
    let mut machine = Machine::assemble(|a| {
        a.mov(rbx, DATA).unwrap();
        a.add(dword_ptr(rbx + 16), 1).unwrap();
        a.hlt().unwrap();
    });
    machine.mem.poison(DATA + 16, 8, 0xfa);
    let exit = machine.run();
    assert!(
        matches!(&exit, Exit::Shadow(hit) if hit.va == DATA + 16 && hit.code == 0xfa),
        "{exit:?}"
    );
    assert_eq!(machine.cpu.icount, 1);
    machine.mem.shadow_enabled(false);
    assert_eq!(machine.steps(1), Exit::Limit);
    machine.mem.shadow_enabled(true);
    assert_eq!(machine.run(), Exit::Halt);
    assert_eq!(machine.mem.peek_u64(DATA + 16), 1);
}

trait Peek {
    fn peek_u64(&self, va: u64) -> u64;
}

impl Peek for ring3_memory::Memory {
    fn peek_u64(&self, va: u64) -> u64 {
        let mut bytes = [0; 8];
        self.peek_bytes(None, Gva::<u8>::new(va), &mut bytes)
            .unwrap();
        u64::from_le_bytes(bytes)
    }
}

#[test]
fn user_mode_sees_only_user_pages() {
    let mut machine = Machine::assemble(|a| {
        a.mov(rbx, DATA).unwrap();
        a.mov(rax, qword_ptr(rbx)).unwrap();
    });
    machine.cpu.cs = 0x33;
    machine.cpu.ss = 0x2b;
    assert_eq!(machine.run(), page_fault(0x15, CODE));
    let root = machine.cpu.cr3;
    let user = PageFlags::PRESENT | PageFlags::USER;
    let code = machine.mem.translate(root, CODE).unwrap().pa;
    machine.mem.map(root, 0x1000, code, user).unwrap();
    machine.cpu.rip = 0x1000;
    assert_eq!(machine.run(), page_fault(5, DATA));
    for bytes in [
        &[0xf4][..],
        &[0xfa],
        &[0x0f, 0x20, 0xc0],
        &[0x0f, 0x32],
        &[0xe4, 0x10],
        &[0x0f, 0x01, 0xc1],
    ] {
        machine.mem.write_physical(code, bytes).unwrap();
        machine.cpu.rip = 0x1000;
        assert_eq!(machine.run(), GP, "{bytes:x?}");
    }
    // The kernel must not execute the same page.
    machine.cpu.cs = 0x10;
    machine.cpu.ss = 0x18;
    assert_eq!(machine.run(), page_fault(0x11, 0x1000));
}
