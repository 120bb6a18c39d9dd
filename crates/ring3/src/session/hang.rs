//! What stands still when nothing goes on: threads, processors and locks.

use std::fmt::Write;

use ring3_nt::Machine;
use ring3_nt::flow::Until;
use ring3_nt::ke::dispatcher::kind;
use ring3_nt::layout::DISPATCHER_HEADER;
use ring3_nt::machine::finding::Place;
use ring3_nt::machine::thread::{Thread, ThreadState};
use ring3_nt::machine::wait::Wait;
use ring3_nt::memory::Gva;

/// Stack frames listed per thread.
const FRAMES: usize = 6;
/// Threads listed with their stacks.
const THREADS: usize = 12;

/// Describes a machine in which `what` never comes to an end. `idle` tells that nothing can run;
/// otherwise only timers go on.
pub(super) fn report(machine: &Machine, what: &str, idle: bool) -> String {
    let mut out = format!("{what} never comes to an end");
    out.push_str(if idle {
        ": nothing can run, no timer is due"
    } else {
        ": only timers go on"
    });
    let mut left_out = 0;
    let mut listed = 0;
    for thread in machine.threads.values() {
        let stack = machine.stack_of(thread.id);
        if !matters(machine, thread, &stack) {
            continue;
        }
        if listed == THREADS {
            left_out += 1;
            continue;
        }
        listed += 1;
        let _ = write!(out, "\n  thread {} {}", thread.name, doing(machine, thread));
        for place in stack.iter().take(FRAMES) {
            let _ = write!(out, "\n      {place}");
        }
        if stack.len() > FRAMES {
            let _ = write!(out, "\n      ... {} more", stack.len() - FRAMES);
        }
    }
    if left_out > 0 {
        let _ = write!(out, "\n  and {left_out} more threads");
    }
    for processor in &machine.processors {
        if let Some(until) = &processor.spinning {
            let name = &machine.thread_by(processor.current).name;
            let _ = write!(
                out,
                "\n  processor {} spins in thread {name} at IRQL {}, {}",
                processor.number,
                processor.irql(),
                spins_for(until)
            );
        }
    }
    for line in machine.describe_locks() {
        let _ = write!(out, "\n  {line}");
    }
    out
}

/// Threads with driver code on their stacks, and those that can run.
fn matters(machine: &Machine, thread: &Thread, stack: &[Place]) -> bool {
    if machine.processors.iter().any(|p| p.idle == thread.id) {
        return false;
    }
    let of_driver = |p: &Place| {
        machine
            .modules
            .by_name(&p.module)
            .is_some_and(|m| !m.modelled)
    };
    match thread.state {
        ThreadState::Terminated => false,
        ThreadState::Ready | ThreadState::Running(_) => true,
        ThreadState::Waiting(..) => {
            stack.iter().any(of_driver) || thread.user && thread.frames.len() > 1
        }
    }
}

/// What a thread does, in words.
fn doing(machine: &Machine, thread: &Thread) -> String {
    match &thread.state {
        ThreadState::Ready => "could run".to_owned(),
        ThreadState::Running(processor) => {
            let irql = machine
                .processors
                .get(*processor)
                .map_or(0, ring3_nt::machine::processor::Processor::irql);
            format!("runs on processor {processor} at IRQL {irql}")
        }
        ThreadState::Terminated => "is over".to_owned(),
        ThreadState::Waiting(..) if machine.is_thread_suspended(thread.id) => {
            "is suspended".to_owned()
        }
        ThreadState::Waiting(wait, _) => format!("waits for {}", waits_for(machine, wait)),
    }
}

fn waits_for(machine: &Machine, wait: &Wait) -> String {
    match wait {
        Wait::Objects { objects, all, .. } => {
            let names: Vec<String> = objects.iter().map(|o| object(machine, o.raw())).collect();
            let joint = if *all { " and " } else { " or " };
            names.join(joint)
        }
        Wait::On(key) => format!("{} {:#x}", key.class, key.id),
        Wait::Until(due) => format!(
            "the time {} ms after the start",
            due / super::wait::MILLISECOND
        ),
    }
}

/// What a busy processor waits for, in words.
fn spins_for(until: &Until) -> String {
    match until {
        Until::Zero(word) => format!("until the word at {:#x} is 0", word.raw()),
        Until::MaskedZero(word, mask) => {
            format!("until {mask:#x} is clear in the word at {:#x}", word.raw())
        }
        Until::Time(due) => format!(
            "until {} ms after the start",
            due / super::wait::MILLISECOND
        ),
    }
}

/// A dispatcher object by its kind.
fn object(machine: &Machine, at: u64) -> String {
    let header = Gva::<DISPATCHER_HEADER>::new(at);
    let kind = match machine
        .memory
        .get(header, DISPATCHER_HEADER::Type)
        .map(|t| t & 0x7f)
    {
        Ok(kind::EVENT_NOTIFICATION) => "notification event",
        Ok(kind::EVENT_SYNCHRONIZATION) => "synchronization event",
        Ok(kind::MUTANT) => "mutex",
        Ok(kind::PROCESS) => "process",
        Ok(kind::QUEUE) => "queue",
        Ok(kind::SEMAPHORE) => "semaphore",
        Ok(kind::THREAD) => return thread_name(machine, at),
        Ok(kind::GATE) => "gate",
        Ok(kind::TIMER_NOTIFICATION) => "notification timer",
        Ok(kind::TIMER_SYNCHRONIZATION) => "synchronization timer",
        _ => "object",
    };
    format!("{kind} {}", machine.symbolize(at))
}

fn thread_name(machine: &Machine, at: u64) -> String {
    match machine.thread_of_object(at) {
        Some(thread) => format!("the end of thread {}", thread.name),
        None => format!("a thread at {at:#x}"),
    }
}
