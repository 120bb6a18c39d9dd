//! Guest code for tests of the machine, assembled on the spot.
#![allow(dead_code)]

use iced_x86::code_asm::{CodeAssembler, r10, rsp};
use ring3_nt::Machine;
use ring3_nt::machine::boot::Config;
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
