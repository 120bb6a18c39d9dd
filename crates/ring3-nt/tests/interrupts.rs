//! Interrupts, APCs at the end of a thread, the DPC watchdog and bugcheck callbacks, in guest code.

mod common;

use common::{boot, call, data, poke, routine, thread, word};
use iced_x86::code_asm::{cr8, dword_ptr, eax, ecx, edx, qword_ptr, r8, r9, rax, rcx, rdx};
use ring3_nt::Machine;
use ring3_nt::ke::interrupt::InterruptLine;
use ring3_nt::machine::Stop;
use ring3_nt::machine::run::RunEnd;
use ring3_nt::memory::Gva;

/// A vector, and the level that it belongs to.
const VECTOR: u32 = 0x51;
const DIRQL: u64 = 5;

/// A service routine: notes level, context and message beside each other, and claims the interrupt.
fn service_routine(cx: &mut Machine, log: Gva) -> Gva {
    routine(cx, |g| {
        g.asm.mov(rax, log.raw()).unwrap();
        g.asm.mov(qword_ptr(rax + 8), rdx).unwrap();
        g.asm.mov(qword_ptr(rax + 0x10), r8).unwrap();
        g.asm.mov(rdx, cr8).unwrap();
        g.asm.mov(qword_ptr(rax + 0x18), rdx).unwrap();
        g.asm.add(qword_ptr(rax), 1).unwrap();
        g.asm.mov(eax, 1).unwrap();
    })
}

fn connect(cx: &mut Machine, object: Gva, service: Gva, context: u64, irql: u64) -> u64 {
    let all = (1 << cx.processors.len()) - 1;
    // Level sensitive and shared.
    let arguments = [
        object.raw(),
        service.raw(),
        context,
        0,
        u64::from(VECTOR),
        irql,
        irql,
        0,
        1,
        all,
        0,
    ];
    call(cx, "IoConnectInterrupt", &arguments)
}

fn settle(cx: &mut Machine) {
    assert_eq!(cx.run_until(|_| false), RunEnd::Idle, "{:?}", cx.stop);
    assert!(cx.findings.is_empty(), "{:?}", cx.findings);
}

fn bugcheck(cx: &mut Machine) -> (u32, [u64; 4]) {
    assert_eq!(cx.run_until(|_| false), RunEnd::Stopped);
    match &cx.stop {
        Some(Stop::Bugcheck(b)) => (b.code, b.parameters),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_line_interrupts_at_its_level_until_it_is_disconnected() {
    for (processors, seed) in [(1, 0), (4, 3)] {
        let mut cx = boot(processors, seed);
        let log = data(&mut cx);
        let object = log.byte_add(0x100);
        let service = service_routine(&mut cx, log);
        assert!(!cx.raise_interrupt(VECTOR), "nothing is connected");
        assert_eq!(connect(&mut cx, object, service, 0x1234, DIRQL), 0);
        assert!(cx.raise_interrupt(VECTOR));
        settle(&mut cx);
        assert_eq!(word(&cx, log), 1);
        assert_eq!(word(&cx, log.byte_add(8)), 0x1234);
        assert_eq!(word(&cx, log.byte_add(0x18)), DIRQL);
        let connected = word(&cx, object);
        call(&mut cx, "IoDisconnectInterrupt", &[connected]);
        assert!(!cx.raise_interrupt(VECTOR), "nothing is connected any more");
    }
}

#[test]
fn levels_that_do_not_fit_are_refused() {
    let mut cx = boot(1, 0);
    let log = data(&mut cx);
    let service = service_routine(&mut cx, log);
    // STATUS_INVALID_PARAMETER: DISPATCH_LEVEL is no level of a device.
    let status = connect(&mut cx, log.byte_add(0x100), service, 0, 2);
    assert_eq!(status, 0xc000_000d);
}

#[test]
fn a_routine_of_the_driver_excludes_the_service_routine() {
    let mut cx = boot(1, 0);
    let log = data(&mut cx);
    let object = log.byte_add(0x100);
    let service = service_routine(&mut cx, log);
    assert_eq!(connect(&mut cx, object, service, 0, DIRQL), 0);
    let connected = word(&cx, object);
    // Returns the level at which it runs.
    let synchronized = routine(&mut cx, |g| g.asm.mov(rax, cr8).unwrap());
    let arguments = [connected, synchronized.raw(), 0];
    assert_eq!(call(&mut cx, "KeSynchronizeExecution", &arguments), DIRQL);
    let old = call(&mut cx, "KeAcquireInterruptSpinLock", &[connected]);
    assert_eq!(old & 0xff, 0);
}

#[test]
fn a_passive_interrupt_is_served_by_a_thread() {
    let mut cx = boot(2, 1);
    let log = data(&mut cx);
    let object = log.byte_add(0x100);
    let service = service_routine(&mut cx, log);
    assert_eq!(connect(&mut cx, object, service, 7, 0), 0);
    assert!(cx.raise_interrupt(VECTOR));
    settle(&mut cx);
    assert_eq!((word(&cx, log), word(&cx, log.byte_add(0x18))), (1, 0));
}

/// Parameters of IoConnectInterruptEx for a device.
fn parameters(cx: &mut Machine, at: Gva, version: u32, device: u64, service: Gva, result: Gva) {
    poke(cx, at, &version.to_le_bytes());
    for (offset, value) in [(8, device), (0x10, result.raw()), (0x18, service.raw())] {
        poke(cx, at.byte_add(offset), &u64::to_le_bytes(value));
    }
}

#[test]
fn each_message_tells_its_number() {
    const MESSAGE_BASED: u32 = 3;
    let mut cx = boot(2, 0);
    let log = data(&mut cx);
    let (at, result, device) = (
        log.byte_add(0x200),
        log.byte_add(0x100),
        0xffff_9000_1234_0000,
    );
    let service = service_routine(&mut cx, log);
    parameters(&mut cx, at, MESSAGE_BASED, device, service, result);
    // STATUS_NOT_FOUND: the device has no interrupt.
    assert_eq!(
        call(&mut cx, "IoConnectInterruptEx", &[at.raw()]),
        0xc000_0225
    );
    cx.assign_interrupt(
        device,
        InterruptLine {
            vector: 0x70,
            irql: 6,
            level_sensitive: false,
            messages: 3,
        },
    );
    assert_eq!(call(&mut cx, "IoConnectInterruptEx", &[at.raw()]), 0);
    let table = Gva::<u8>::new(word(&cx, result));
    let count: u32 = cx.memory.peek(table.byte_add(4).cast()).expect("a table");
    assert_eq!(count, 3);
    for (n, vector) in [(0, 0x70), (2, 0x72), (1, 0x71)] {
        assert!(cx.raise_interrupt(vector));
        settle(&mut cx);
        let message = word(&cx, log.byte_add(0x10)) & 0xffff_ffff;
        assert_eq!(message, n, "vector {vector:#x}");
        assert_eq!(word(&cx, log.byte_add(0x18)), 6);
    }
    assert!(!cx.raise_interrupt(0x73));
    // IoDisconnectInterruptEx takes version and table.
    poke(&mut cx, at.byte_add(8), &table.raw().to_le_bytes());
    call(&mut cx, "IoDisconnectInterruptEx", &[at.raw()]);
    assert!(!cx.raise_interrupt(0x70));
}

/// A thread that ends while it owns a KMUTEX, or inside of a region.
#[test]
fn a_thread_that_ends_with_something_left_stops_the_machine() {
    let mut cx = boot(1, 0);
    let mutex = data(&mut cx);
    let start = routine(&mut cx, |g| {
        g.asm.mov(rcx, mutex.raw()).unwrap();
        g.asm.mov(edx, 0).unwrap();
        g.call("KeInitializeMutex");
        g.asm.mov(rcx, mutex.raw()).unwrap();
        g.asm.mov(edx, 0).unwrap();
        g.asm.mov(r8, 0_u64).unwrap();
        g.asm.mov(r9, 0_u64).unwrap();
        g.call("KeWaitForSingleObject");
    });
    let id = thread(&mut cx, start, 0);
    let object = cx.threads[&id].object.raw();
    assert_eq!(
        bugcheck(&mut cx),
        (0x4000_008a, [object, mutex.raw(), 0, 0])
    );

    let mut cx = boot(1, 0);
    let start = routine(&mut cx, |g| g.call("KeEnterCriticalRegion"));
    thread(&mut cx, start, 0);
    assert_eq!(bugcheck(&mut cx), (0x20, [0, 0xffff, 0, 0]));
}

/// A routine that stalls for so many seconds.
fn stalls(cx: &mut Machine, seconds: usize) -> Gva {
    routine(cx, |g| {
        for _ in 0..seconds {
            g.asm.mov(ecx, 1_000_000).unwrap();
            g.call("KeStallExecutionProcessor");
        }
    })
}

#[test]
fn a_dpc_that_takes_too_long_is_stopped_by_the_watchdog() {
    let mut cx = boot(1, 0);
    let dpc = data(&mut cx);
    let stall = stalls(&mut cx, 25);
    call(&mut cx, "KeInitializeDpc", &[dpc.raw(), stall.raw(), 0]);
    let start = routine(&mut cx, |g| {
        g.asm.mov(rcx, dpc.raw()).unwrap();
        g.call("KeInsertQueueDpc");
    });
    thread(&mut cx, start, 0);
    let (code, parameters) = bugcheck(&mut cx);
    assert_eq!((code, parameters[0], parameters[2]), (0x133, 0, 0x500));
    assert!(parameters[1] > 0x500 && parameters[1] < 0x580);
}

#[test]
fn too_long_at_dispatch_level_is_found_too() {
    let mut cx = boot(1, 0);
    let stall = stalls(&mut cx, 130);
    let start = routine(&mut cx, |g| {
        g.asm.mov(rax, 2_u64).unwrap();
        g.asm.mov(cr8, rax).unwrap();
        g.asm.mov(rax, stall.raw()).unwrap();
        g.asm.call(rax).unwrap();
    });
    thread(&mut cx, start, 0);
    let (code, parameters) = bugcheck(&mut cx);
    assert_eq!((code, parameters[0], parameters[1]), (0x133, 1, 0x1e00));
}

#[test]
fn bugcheck_callbacks_run_and_leave_data() {
    let mut cx = boot(2, 2);
    let page = data(&mut cx);
    let (record, reason, buffer) = (page, page.byte_add(0x100), page.byte_add(0x200));
    // The callback writes to its buffer; the reason callback gives eight bytes of it.
    let callback = routine(&mut cx, |g| {
        g.asm.mov(rax, cr8).unwrap();
        g.asm.mov(qword_ptr(rcx), rax).unwrap();
    });
    let adds = routine(&mut cx, |g| {
        g.asm.mov(rax, buffer.raw()).unwrap();
        g.asm.mov(qword_ptr(r8 + 0x20), rax).unwrap();
        g.asm.mov(dword_ptr(r8 + 0x28), 8).unwrap();
        g.asm.mov(qword_ptr(r8 + 0x10), 0x77).unwrap();
    });
    let arguments = [record.raw(), callback.raw(), buffer.raw(), 8, 0];
    assert_eq!(
        call(&mut cx, "KeRegisterBugCheckCallback", &arguments) & 0xff,
        1
    );
    let arguments = [reason.raw(), adds.raw(), 2, 0];
    assert_eq!(
        call(&mut cx, "KeRegisterBugCheckReasonCallback", &arguments) & 0xff,
        1
    );
    let start = routine(&mut cx, |g| {
        g.asm.mov(ecx, 0x1234).unwrap();
        g.call("KeBugCheck");
    });
    thread(&mut cx, start, 0);
    assert_eq!(bugcheck(&mut cx), (0x1234, [0; 4]));
    assert_eq!(word(&cx, buffer), 15, "called at HIGH_LEVEL");
    assert_eq!(
        cx.ke.bugcheck.secondary_data,
        [(0x77, 15_u64.to_le_bytes().to_vec())]
    );
}

/// A thread is stopped between any two instructions, and goes on as if nothing had been.
#[test]
fn a_suspended_thread_goes_on_where_it_was() {
    for steps in 1..60 {
        let mut cx = boot(1, 9);
        let log = data(&mut cx);
        let start = routine(&mut cx, |g| {
            for _ in 0..40 {
                g.asm.mov(rax, log.raw()).unwrap();
                g.asm.add(qword_ptr(rax), 1).unwrap();
            }
        });
        let id = thread(&mut cx, start, 0);
        for _ in 0..steps {
            cx.step();
        }
        if cx.suspend_thread(id).is_err() {
            break;
        }
        cx.run_until(|_| false);
        if cx.is_thread_suspended(id) {
            let before = word(&cx, log);
            assert!(before <= 40);
            assert_eq!(cx.resume_thread(id), 1);
        }
        settle(&mut cx);
        assert_eq!(word(&cx, log), 40, "suspended after {steps} steps");
    }
}
