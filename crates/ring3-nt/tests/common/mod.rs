//! Guest code for tests of the machine, assembled on the spot.
#![allow(dead_code)]

use iced_x86::code_asm::{CodeAssembler, qword_ptr, r8, r9, r10, rax, rcx, rdx, rsp};
use ring3_nt::Machine;
use ring3_nt::machine::boot::Config;
use ring3_nt::machine::run::RunEnd;
use ring3_nt::machine::thread::ThreadId;
use ring3_nt::memory::Gva;
use ring3_nt::mm::space::{self, Region};
use ring3_nt::ps::threads::create_system_thread;

/// Instructions after which a test gives up.
pub const BUDGET: u64 = 5_000_000;

/// A machine; `RING3_CLONE_EVERY` makes it clone itself all the time.
pub fn boot(processors: usize, seed: u64) -> Machine {
    let mut machine = Machine::boot(&Config {
        processors,
        seed,
        budget: BUDGET,
        ..Config::default()
    });
    let every = std::env::var("RING3_CLONE_EVERY")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0);
    machine.clone_every(every);
    machine
}

/// A page of data.
pub fn data(cx: &mut Machine) -> Gva {
    cx.allocate_pages(Region::Objects, 1, space::data())
        .expect("a page")
}

/// Code that is being written.
pub struct Guest<'a> {
    pub asm: CodeAssembler,
    cx: &'a mut Machine,
}

impl Guest<'_> {
    /// Calls an export of the kernel.
    pub fn call(&mut self, name: &str) {
        let target = self
            .cx
            .export_address("ntoskrnl.exe", name)
            .unwrap_or_else(|| panic!("{name} is no export"));
        self.asm.mov(r10, target.raw()).expect("mov");
        self.asm.call(r10).expect("call");
    }
}

/// Assembles a routine with a prologue of 28h bytes; the closure writes what is between.
pub fn routine(cx: &mut Machine, write: impl FnOnce(&mut Guest<'_>)) -> Gva {
    let at = cx
        .allocate_pages(Region::Objects, 1, space::executable_data())
        .expect("a page");
    let mut guest = Guest {
        asm: CodeAssembler::new(64).expect("64 bit"),
        cx,
    };
    guest.asm.sub(rsp, 0x28).expect("sub");
    write(&mut guest);
    guest.asm.add(rsp, 0x28).expect("add");
    guest.asm.ret().expect("ret");
    let bytes = guest.asm.assemble(at.raw()).expect("code");
    cx.memory.poke_bytes(None, at, &bytes).expect("mapped");
    at
}

/// A system thread that runs a routine.
pub fn thread(cx: &mut Machine, start: Gva, context: u64) -> ThreadId {
    create_system_thread(cx, start.cast(), context).expect("a thread")
}

/// UTF-16 with a terminator.
pub fn text(value: &str) -> Vec<u8> {
    value
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// Writes bytes.
pub fn poke(cx: &mut Machine, at: Gva, bytes: &[u8]) {
    cx.memory.poke_bytes(None, at, bytes).expect("mapped");
}

/// Reads eight bytes.
pub fn word(cx: &Machine, at: Gva) -> u64 {
    cx.memory.peek(at.cast::<u64>()).expect("mapped")
}

/// A UNICODE_STRING at `at` with its text right behind it.
pub fn string(cx: &mut Machine, at: Gva, value: &str) {
    let bytes = text(value);
    let lengths = [(bytes.len() - 2) as u16, bytes.len() as u16];
    poke(
        cx,
        at,
        &[lengths[0].to_le_bytes(), lengths[1].to_le_bytes()].concat(),
    );
    poke(cx, at.byte_add(8), &(at.raw() + 16).to_le_bytes());
    poke(cx, at.byte_add(16), &bytes);
}

/// Calls a routine of the kernel from a thread of its own; gives what it returns.
pub fn call(cx: &mut Machine, name: &str, arguments: &[u64]) -> u64 {
    let result = data(cx);
    let start = routine(cx, |g| {
        let a = &mut g.asm;
        a.sub(rsp, 0x60).unwrap();
        for (i, value) in arguments.iter().enumerate() {
            a.mov(rax, *value).unwrap();
            match i {
                0 => a.mov(rcx, rax).unwrap(),
                1 => a.mov(rdx, rax).unwrap(),
                2 => a.mov(r8, rax).unwrap(),
                3 => a.mov(r9, rax).unwrap(),
                _ => a.mov(qword_ptr(rsp + 8 * i as i32), rax).unwrap(),
            }
        }
        g.call(name);
        let a = &mut g.asm;
        a.mov(r10, result.raw()).unwrap();
        a.mov(qword_ptr(r10), rax).unwrap();
        a.add(rsp, 0x60).unwrap();
    });
    thread(cx, start, 0);
    assert_eq!(
        cx.run_until(|_| false),
        RunEnd::Idle,
        "{name}: {:?}",
        cx.stop
    );
    word(cx, result)
}
