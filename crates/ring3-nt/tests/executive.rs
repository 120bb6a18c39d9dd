//! Executive routines, called by guest code: work items, resources, sequenced lists.

mod common;

use common::{boot, data, routine, thread};
use iced_x86::code_asm::{
    dword_ptr, ecx, edx, qword_ptr, r8, r9, r9d, rax, rbx, rcx, rdi, rdx, rsp,
};
use ring3_nt::Machine;
use ring3_nt::machine::run::RunEnd;
use ring3_nt::machine::thread::ThreadState;
use ring3_nt::memory::Gva;

fn word(cx: &Machine, at: Gva) -> u64 {
    cx.memory.peek::<u64>(at.cast()).expect("readable")
}

/// Runs until nothing is left to do, without findings.
fn finish(cx: &mut Machine) {
    assert_eq!(cx.run_until(|_| false), RunEnd::Idle, "{:?}", cx.stop);
    assert!(cx.stop.is_none(), "{:?}", cx.stop);
    assert!(cx.findings.is_empty(), "{:?}", cx.findings);
}

#[test]
fn a_work_item_runs_on_another_thread() {
    for (processors, seed) in [(1, 0), (4, 0), (4, 5)] {
        let mut cx = boot(processors, seed);
        let item = data(&mut cx);
        let log = item.byte_add(0x100);
        // The routine counts its calls and leaves its thread's number beside.
        let work = routine(&mut cx, |g| {
            g.asm.mov(rax, 1_u64).unwrap();
            g.asm.add(qword_ptr(rcx), rax).unwrap();
            g.asm.mov(qword_ptr(rsp + 0x20), rcx).unwrap();
            g.call("PsGetCurrentThreadId");
            g.asm.mov(rcx, qword_ptr(rsp + 0x20)).unwrap();
            g.asm.mov(qword_ptr(rcx + 8), rax).unwrap();
        });
        let start = routine(&mut cx, |g| {
            g.asm.mov(rdi, item.raw()).unwrap();
            g.asm.mov(rax, work.raw()).unwrap();
            g.asm.mov(qword_ptr(rdi + 0x10), rax).unwrap();
            g.asm.mov(rax, log.raw()).unwrap();
            g.asm.mov(qword_ptr(rdi + 0x18), rax).unwrap();
            g.asm.mov(rcx, rdi).unwrap();
            g.asm.mov(edx, 1).unwrap();
            g.call("ExQueueWorkItem");
        });
        let id = thread(&mut cx, start, 0);
        finish(&mut cx);
        assert_eq!(word(&cx, log), 1, "{processors} processors, seed {seed}");
        let by = word(&cx, log.byte_add(8));
        assert!(by != 0 && by != id.guest());
        // The item is the driver's again.
        assert_eq!(word(&cx, item), 0);
        assert_eq!(cx.ex.work.pending().count(), 0);
    }
}

#[test]
fn an_extended_work_item_gets_object_context_and_item() {
    let mut cx = boot(1, 0);
    let item = data(&mut cx);
    let (object, log) = (item.byte_add(0x200), item.byte_add(0x100));
    let work = routine(&mut cx, |g| {
        g.asm.mov(qword_ptr(rdx), rcx).unwrap();
        g.asm.mov(qword_ptr(rdx + 8), r8).unwrap();
    });
    let start = routine(&mut cx, |g| {
        g.asm.mov(rcx, object.raw()).unwrap();
        g.asm.mov(rdx, item.raw()).unwrap();
        g.call("IoInitializeWorkItem");
        g.asm.mov(rcx, item.raw()).unwrap();
        g.asm.mov(rdx, work.raw()).unwrap();
        g.asm.mov(r8, 1_u64).unwrap();
        g.asm.mov(r9, log.raw()).unwrap();
        g.call("IoQueueWorkItemEx");
    });
    thread(&mut cx, start, 0);
    finish(&mut cx);
    assert_eq!(
        (word(&cx, log), word(&cx, log.byte_add(8))),
        (object.raw(), item.raw())
    );
}

#[test]
fn a_queued_item_that_is_queued_again_is_found() {
    let mut cx = boot(1, 0);
    let item = data(&mut cx);
    let work = routine(&mut cx, |_| {});
    let start = routine(&mut cx, |g| {
        g.asm.mov(rdi, item.raw()).unwrap();
        g.asm.mov(rax, work.raw()).unwrap();
        g.asm.mov(qword_ptr(rdi + 0x10), rax).unwrap();
        for _ in 0..2 {
            g.asm.mov(rcx, rdi).unwrap();
            g.asm.mov(edx, 1).unwrap();
            g.call("ExQueueWorkItem");
        }
    });
    thread(&mut cx, start, 0);
    cx.run_until(|_| false);
    assert!(
        cx.findings
            .iter()
            .any(|f| f.rule == "work-item/queued-twice"),
        "{:?}",
        cx.findings
    );
}

/// Threads that add to a counter slowly: read, wait, write. `acquire` is the routine that keeps others out.
fn slow_adders(cx: &mut Machine, acquire: &str, threads: u64, rounds: u64) -> Gva {
    let resource = data(cx);
    let (counter, interval) = (resource.byte_add(0x100), resource.byte_add(0x140));
    // 1 ms, relative.
    cx.memory
        .poke_bytes(None, interval, &(-10_000_i64).to_le_bytes())
        .expect("mapped");
    let init = routine(cx, |g| {
        g.asm.mov(rcx, resource.raw()).unwrap();
        g.call("ExInitializeResourceLite");
    });
    thread(cx, init, 0);
    cx.run_until(|_| false);
    let body = routine(cx, |g| {
        let mut again = g.asm.create_label();
        g.asm.mov(rbx, rounds).unwrap();
        g.asm.set_label(&mut again).unwrap();
        g.asm.mov(rcx, resource.raw()).unwrap();
        g.call(acquire);
        g.asm.mov(rdi, counter.raw()).unwrap();
        g.asm.mov(rdi, qword_ptr(rdi)).unwrap();
        g.asm.xor(ecx, ecx).unwrap();
        g.asm.xor(edx, edx).unwrap();
        g.asm.mov(r8, interval.raw()).unwrap();
        g.call("KeDelayExecutionThread");
        g.asm.inc(rdi).unwrap();
        g.asm.mov(rax, counter.raw()).unwrap();
        g.asm.mov(qword_ptr(rax), rdi).unwrap();
        g.asm.mov(rcx, resource.raw()).unwrap();
        g.call("ExReleaseResourceAndLeaveCriticalRegion");
        g.asm.dec(rbx).unwrap();
        g.asm.jnz(again).unwrap();
    });
    for _ in 0..threads {
        thread(cx, body, 0);
    }
    counter
}

#[test]
fn a_resource_excludes() {
    for (processors, seed) in [(1, 0), (4, 0), (4, 9)] {
        let mut cx = boot(processors, seed);
        let counter = slow_adders(
            &mut cx,
            "ExEnterCriticalRegionAndAcquireResourceExclusive",
            3,
            4,
        );
        finish(&mut cx);
        assert_eq!(
            word(&cx, counter),
            12,
            "{processors} processors, seed {seed}"
        );
        assert!(
            cx.threads
                .values()
                .all(|t| !t.name.contains("body") || t.state == ThreadState::Terminated)
        );
    }
}

#[test]
fn a_shared_resource_lets_updates_get_lost() {
    let mut cx = boot(1, 0);
    let counter = slow_adders(
        &mut cx,
        "ExEnterCriticalRegionAndAcquireResourceShared",
        3,
        4,
    );
    finish(&mut cx);
    assert!(
        word(&cx, counter) < 12,
        "shared owners must run side by side"
    );
}

#[test]
fn a_resource_of_nobody_cannot_be_released() {
    let mut cx = boot(1, 0);
    let resource = data(&mut cx);
    let body = routine(&mut cx, |g| {
        g.asm.mov(rcx, resource.raw()).unwrap();
        g.call("ExInitializeResourceLite");
        g.asm.mov(rcx, resource.raw()).unwrap();
        g.call("ExReleaseResourceLite");
    });
    thread(&mut cx, body, 0);
    cx.run_until(|_| false);
    assert!(
        cx.findings
            .iter()
            .any(|f| f.rule == "lock/resource-not-owned"),
        "{:?}",
        cx.findings
    );
    assert!(
        format!("{:?}", cx.stop).contains("227"),
        "RESOURCE_NOT_OWNED: {:?}",
        cx.stop
    );
}

#[test]
fn a_sequenced_list_is_last_in_first_out() {
    let mut cx = boot(1, 0);
    let head = data(&mut cx);
    let log = head.byte_add(0x200);
    let entry = |n: u64| head.byte_add(0x40 * n).raw();
    let body = routine(&mut cx, |g| {
        g.asm.mov(rcx, head.raw()).unwrap();
        g.call("InitializeSListHead");
        for n in 1..=3 {
            g.asm.mov(rcx, head.raw()).unwrap();
            g.asm.mov(rdx, entry(n)).unwrap();
            g.call("ExpInterlockedPushEntrySList");
        }
        g.asm.mov(rcx, head.raw()).unwrap();
        g.call("ExQueryDepthSList");
        g.asm.mov(rdi, log.raw()).unwrap();
        g.asm.mov(r9d, 0xffff).unwrap();
        g.asm.and(rax, r9).unwrap();
        g.asm.mov(qword_ptr(rdi), rax).unwrap();
        for n in 1..=4 {
            g.asm.mov(rcx, head.raw()).unwrap();
            g.call("ExpInterlockedPopEntrySList");
            g.asm.mov(qword_ptr(rdi + 8 * n), rax).unwrap();
        }
        g.asm.mov(dword_ptr(rdi + 0x40), 1).unwrap();
    });
    thread(&mut cx, body, 0);
    finish(&mut cx);
    let seen: Vec<u64> = (0..5).map(|n| word(&cx, log.byte_add(8 * n))).collect();
    assert_eq!(seen, [3, entry(3), entry(2), entry(1), 0]);
}
