//! The machine by itself: booting, guest threads, waits, locks, clones.

mod common;

use common::{boot, data, routine, thread};
use iced_x86::code_asm::{
    dword_ptr, ecx, edx, qword_ptr, r8, r8d, r9, rax, rbx, rcx, rdi, rdx, rsi, rsp,
};
use ring3_nt::Machine;
use ring3_nt::machine::run::RunEnd;
use ring3_nt::machine::thread::{ProcessId, ThreadState};
use ring3_nt::memory::Gva;

#[test]
fn boots_idle() {
    let mut machine = boot(1, 0);
    assert_eq!(machine.run_until(|_| false), RunEnd::Idle);
    assert!(machine.stop.is_none());
    assert!(machine.is_idle());
}

#[test]
fn guest_thread_calls_the_kernel_and_ends() {
    let mut machine = boot(1, 0);
    let start = routine(&mut machine, |g| {
        g.call("KeQueryActiveProcessors");
        g.call("PsGetCurrentThreadId");
    });
    let id = thread(&mut machine, start, 0);
    assert_eq!(
        machine.run_until(|_| false),
        RunEnd::Idle,
        "{:?}",
        machine.stop
    );
    assert_eq!(machine.thread_by(id).state, ThreadState::Terminated);
    assert_eq!(machine.calls.values().sum::<u64>(), 2);
    assert!(machine.findings.is_empty(), "{:?}", machine.findings);
    assert_eq!(machine.thread_by(id).process, ProcessId::SYSTEM);
}

#[test]
fn page_tables_have_virtual_addresses() {
    let machine = boot(1, 0);
    let cr3 = machine.memory.context().cr3;
    for physical in [cr3, cr3 + 0x18] {
        let va = machine
            .virtual_for_physical(physical)
            .expect("the top-level table is mapped");
        assert_eq!(machine.physical(va).map(|pa| pa.0), Some(physical));
    }
    // The last level, by way of the entry that maps a kernel page.
    let pte = machine
        .memory
        .pte_address(cr3, ring3_nt::ke::shared_data::ADDRESS)
        .expect("an entry")
        .0;
    let va = machine
        .virtual_for_physical(pte)
        .expect("the last level is mapped");
    let entry = machine.memory.peek::<u64>(Gva::new(va)).expect("readable");
    let frame = machine
        .physical(ring3_nt::ke::shared_data::ADDRESS)
        .expect("mapped")
        .0;
    assert_eq!(entry & 0x000f_ffff_ffff_f000, frame);
}

/// Two threads: one waits for an event, the other sets it.
fn ping_pong(machine: &mut Machine) -> Gva {
    let event = data(machine);
    let log = event.byte_add(0x100);
    let init = routine(machine, |g| {
        g.asm.mov(rcx, event.raw()).unwrap();
        g.asm.mov(edx, 1).unwrap();
        g.asm.xor(r8d, r8d).unwrap();
        g.call("KeInitializeEvent");
    });
    thread(machine, init, 0);
    machine.run_until(|_| false);
    let waiter = routine(machine, |g| {
        g.asm.mov(rcx, event.raw()).unwrap();
        g.asm.xor(edx, edx).unwrap();
        g.asm.xor(r8d, r8d).unwrap();
        g.asm.xor(r9, r9).unwrap();
        g.asm.mov(qword_ptr(rsp + 0x20), 0).unwrap();
        g.call("KeWaitForSingleObject");
        g.asm.mov(rcx, log.raw()).unwrap();
        g.asm.mov(qword_ptr(rcx), rax).unwrap();
        g.asm.mov(dword_ptr(rcx + 8), 1).unwrap();
    });
    let setter = routine(machine, |g| {
        g.asm.mov(rcx, event.raw()).unwrap();
        g.asm.xor(edx, edx).unwrap();
        g.asm.xor(r8d, r8d).unwrap();
        g.call("KeSetEvent");
    });
    thread(machine, waiter, 0);
    thread(machine, setter, 0);
    log
}

#[test]
fn a_wait_is_satisfied_by_its_event() {
    for (processors, seed) in [(1, 0), (1, 7), (4, 0), (4, 3)] {
        let mut machine = boot(processors, seed);
        let log = ping_pong(&mut machine);
        assert_eq!(machine.run_until(|_| false), RunEnd::Idle);
        assert_eq!(
            machine.memory.peek::<u64>(log.cast()),
            Some(0),
            "STATUS_SUCCESS"
        );
        assert_eq!(machine.memory.peek::<u32>(log.byte_add(8).cast()), Some(1));
        // A synchronization event is consumed by the wait.
        assert_eq!(
            machine
                .memory
                .peek::<i32>(log.byte_sub(0x100).byte_add(4).cast()),
            Some(0)
        );
    }
}

/// Threads that each add to a counter under a spin lock; `locked` false leaves the lock out.
fn adders(machine: &mut Machine, threads: u64, rounds: u64, locked: bool) -> Gva {
    let lock = data(machine);
    let counter = lock.byte_add(0x40);
    let body = routine(machine, |g| {
        let mut again = g.asm.create_label();
        g.asm.mov(rbx, rounds).unwrap();
        g.asm.mov(rdi, counter.raw()).unwrap();
        g.asm.set_label(&mut again).unwrap();
        if locked {
            g.asm.mov(rcx, lock.raw()).unwrap();
            g.call("KeAcquireSpinLockRaiseToDpc");
            g.asm.mov(rsi, rax).unwrap();
        }
        g.asm.mov(rax, qword_ptr(rdi)).unwrap();
        g.asm.inc(rax).unwrap();
        g.asm.mov(qword_ptr(rdi), rax).unwrap();
        if locked {
            g.asm.mov(rcx, lock.raw()).unwrap();
            g.asm.mov(rdx, rsi).unwrap();
            g.call("KeReleaseSpinLock");
        }
        g.asm.dec(rbx).unwrap();
        g.asm.jnz(again).unwrap();
        let _ = (ecx, r8);
    });
    for _ in 0..threads {
        thread(machine, body, 0);
    }
    counter
}

#[test]
fn spin_locks_exclude() {
    for seed in 0..20 {
        let mut machine = boot(4, seed);
        let counter = adders(&mut machine, 4, 50, true);
        assert_eq!(
            machine.run_until(|_| false),
            RunEnd::Idle,
            "{:?}",
            machine.stop
        );
        assert_eq!(
            machine.memory.peek::<u64>(counter.cast()),
            Some(200),
            "seed {seed}"
        );
        assert!(machine.findings.is_empty(), "{:?}", machine.findings);
    }
}

#[test]
fn without_the_lock_updates_are_lost_under_some_schedule() {
    let lost = (0..20)
        .filter(|seed| {
            let mut machine = boot(4, *seed);
            let counter = adders(&mut machine, 4, 50, false);
            machine.run_until(|_| false);
            machine.memory.peek::<u64>(counter.cast()) != Some(200)
        })
        .count();
    assert!(lost > 0, "the schedules never interleave the processors");
}

#[test]
fn a_clone_goes_on_exactly_as_the_original() {
    for (processors, seed) in [(1, 5), (4, 5)] {
        let mut machine = boot(processors, seed);
        ping_pong(&mut machine);
        adders(&mut machine, 3, 20, true);
        let mut steps = 0;
        let mut copies = Vec::new();
        loop {
            if steps % 7 == 0 {
                copies.push(machine.clone());
            }
            steps += 1;
            if !machine.step() {
                break;
            }
        }
        assert!(copies.len() > 3, "only {steps} steps");
        for mut copy in copies {
            while copy.step() {}
            assert_eq!(copy.state_hash(), machine.state_hash());
            assert_eq!(copy.trace.hash(), machine.trace.hash());
        }
    }
}

#[test]
fn a_snapshot_is_restored_exactly() {
    let mut machine = boot(2, 9);
    adders(&mut machine, 3, 40, true);
    for _ in 0..10 {
        machine.step();
    }
    let before = machine.state_hash();
    let snapshot = machine.snapshot();
    while machine.step() {}
    let end = machine.state_hash();
    assert_ne!(before, end);
    machine.restore(&snapshot);
    assert_eq!(machine.state_hash(), before);
    while machine.step() {}
    assert_eq!(machine.state_hash(), end);
}

#[test]
fn seeds_decide_the_schedule_and_nothing_else_does() {
    let run = |seed| {
        let mut machine = boot(4, seed);
        adders(&mut machine, 4, 30, true);
        while machine.step() {}
        machine.trace.hash()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
