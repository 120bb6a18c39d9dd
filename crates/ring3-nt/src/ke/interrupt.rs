//! Interrupts: what is connected to which vector, and how an interrupt is served.
//!
//! Documentation: "Introduction to Interrupt Service Routines", "Using Passive-Level Interrupt Service
//! Routines", "Using Interrupt Resource Descriptors". Devices do not exist by themselves: a test says that one
//! interrupts with [`Machine::raise_interrupt`], and which line a device has with
//! [`Machine::assign_interrupt`].

use std::collections::{BTreeMap, BTreeSet};

use ring3_macros::resumable;
use ring3_memory::Gva;

use super::spin_lock;
use crate::Machine;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, Key, Wall};
use crate::layout::KINTERRUPT;
use crate::locks::Kind;
use crate::machine::decide::Choice;
use crate::machine::finding::Severity;
use crate::machine::processor::PendingInterrupt;
use crate::machine::thread::ProcessId;
use crate::machine::wait::Wait;

/// `LevelSensitive` of KINTERRUPT_MODE.
pub const LEVEL_SENSITIVE: i32 = 0;

/// The interrupt of a device, as a bus driver would find it.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct InterruptLine {
    /// Its vector; of the first message for messages.
    pub vector: u32,
    /// Its level: 0 for one that is served at PASSIVE_LEVEL, else at least 3.
    pub irql: u8,
    /// Whether it stays asserted until it is served.
    pub level_sensitive: bool,
    /// How many messages, each with a vector of its own; 0 for a line.
    pub messages: u32,
}

/// A connected interrupt.
#[derive(Default, Clone, Hash, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its vector.
    pub vector: u32,
    /// Its level; 0 for passive-level interrupts.
    pub irql: u8,
    /// The level at which its routine runs, and KeSynchronizeExecution.
    pub synchronize_irql: u8,
    /// The driver's routine.
    pub routine: u64,
    /// Its context.
    pub context: u64,
    /// Which message it serves; `None` for a line.
    pub message: Option<u32>,
    /// The spin lock around the routine.
    pub lock: u64,
    /// The processors that take it.
    pub processors: u64,
    /// Whether it stays asserted until it is served.
    pub level_sensitive: bool,
    /// Whether others may connect to the vector.
    pub shared: bool,
    /// Who connected it: a return address.
    pub owner: u64,
}

/// All of them.
#[derive(Clone, Hash, Debug, Default)]
pub struct Interrupts {
    /// Connected ones, by interrupt object.
    pub connected: BTreeMap<u64, Connection>,
    /// The lines of devices, by physical device object.
    pub lines: BTreeMap<u64, InterruptLine>,
    /// Tables of connected messages, and their interrupt objects.
    pub tables: BTreeMap<u64, Vec<u64>>,
    /// Passive-level interrupt objects whose routine runs, or whose synchronisation is held.
    held: BTreeSet<u64>,
}

impl Interrupts {
    /// The objects that are connected to a vector, in the order of their addresses.
    fn on_vector(&self, vector: u32) -> Vec<u64> {
        self.connected
            .iter()
            .filter(|(_, c)| c.vector == vector)
            .map(|(object, _)| *object)
            .collect()
    }
}

/// What waits for a passive-level interrupt's synchronisation.
fn passive(object: u64) -> Key {
    Key::new("passive-interrupt", object)
}

impl Machine {
    /// Tells which interrupt a device has; drivers connect to it by its physical device object.
    pub fn assign_interrupt(&mut self, physical_device: u64, line: InterruptLine) {
        self.ke.interrupts.lines.insert(physical_device, line);
    }

    /// A device interrupts: the routines connected to the vector run as soon as a processor's level
    /// allows. False if nothing is connected to the vector; then nothing happens.
    pub fn raise_interrupt(&mut self, vector: u32) -> bool {
        let objects = self.ke.interrupts.on_vector(vector);
        let found = objects
            .first()
            .and_then(|o| self.ke.interrupts.connected.get(o));
        let Some(first) = found else {
            return false;
        };
        let irql = first.irql;
        let mut targets: Vec<usize> = (0..self.processors.len())
            .filter(|n| first.processors >> n & 1 != 0)
            .collect();
        if targets.is_empty() {
            targets.push(0);
        }
        self.trace.event("interrupt", &[u64::from(vector)]);
        if irql == 0 {
            let name = format!("passive interrupt {vector:#x}");
            let work = passive_thread(vector);
            return self.create_thread(ProcessId::SYSTEM, &name, work).is_some();
        }
        let choice = self.decide(Choice::Other("interrupt-processor"), targets.len() as u32);
        let target = targets.get(choice as usize).copied().unwrap_or(0);
        if let Some(processor) = self.processors.get_mut(target) {
            processor.pending.push(PendingInterrupt {
                irql,
                work: serve(vector),
            });
        }
        true
    }
}

/// A device interrupted and no routine said that it was its own.
fn unclaimed(cx: &mut Machine, vector: u32) {
    let text = format!("no service routine on vector {vector:#x} claimed the interrupt");
    cx.report("interrupt/unclaimed", Severity::Warning, text);
}

/// Arguments of a service routine: the interrupt and its context, and the message for messages.
fn third(connection: &Connection) -> u64 {
    u64::from(connection.message.unwrap_or(0))
}

/// Serves an interrupt: calls the connected routines, each under its lock at its synchronisation level.
/// One that claims a level-sensitive interrupt is the last.
#[resumable]
pub fn serve(cx: &mut Machine, vector: u32) -> Flow {
    let level: u8 = cx.irql();
    let mut objects: Vec<u64> = cx.ke.interrupts.on_vector(vector);
    objects.reverse();
    let mut claimed: bool = false;
    while let Some(next) = objects.pop() {
        let object: u64 = next;
        let Some(connection) = cx.ke.interrupts.connected.get(&object).cloned() else {
            continue;
        };
        let found: Connection = connection;
        cx.set_irql(found.synchronize_irql.max(level));
        host!(spin_lock::acquire(
            Kind::SpinLock,
            Gva::new(found.lock),
            spin_lock::UNCHANGED
        ));
        if cx.trace.set.interrupt {
            let name = cx.symbolize(found.routine);
            cx.trace_line(format!("interrupt {vector:#x}: {name}"));
        }
        let answer: bool = call!(found.routine, object, found.context, third(&found));
        let after = cx.irql();
        if after != found.synchronize_irql.max(level) {
            let name = cx.symbolize(found.routine);
            let text = format!("the interrupt service routine {name} returned at IRQL {after}");
            cx.report("irql/isr-changed", Severity::Error, text);
        }
        let _ = spin_lock::release(cx, Gva::new(found.lock));
        cx.set_irql(level);
        claimed |= answer;
        if answer && found.level_sensitive {
            break;
        }
    }
    if !claimed {
        unclaimed(cx, vector);
    }
    Flow::Return(0)
}

/// The thread that serves a passive-level interrupt.
#[resumable(
    fn wall(&self) -> Option<Wall> {
        Some(Wall::Bugcheck(0x7e))
    }
)]
fn passive_thread(cx: &mut Machine, vector: u32) -> Flow {
    let mut objects: Vec<u64> = cx.ke.interrupts.on_vector(vector);
    objects.reverse();
    let mut claimed: bool = false;
    while let Some(next) = objects.pop() {
        let object: u64 = next;
        host!(hold_passive(object));
        let Some(connection) = cx.ke.interrupts.connected.get(&object).cloned() else {
            release_passive(cx, object);
            continue;
        };
        let found: Connection = connection;
        let answer: bool = call!(found.routine, object, found.context, third(&found));
        release_passive(cx, object);
        claimed |= answer;
        if answer && found.level_sensitive {
            break;
        }
    }
    if !claimed {
        unclaimed(cx, vector);
    }
    Flow::ThreadEnd
}

/// Takes a passive-level interrupt's synchronisation.
#[resumable]
fn hold_passive(cx: &mut Machine, object: u64) -> u64 {
    while cx.ke.interrupts.held.contains(&object) {
        wait!(Wait::On(passive(object)));
    }
    cx.ke.interrupts.held.insert(object);
    0
}

fn release_passive(cx: &mut Machine, object: u64) {
    cx.ke.interrupts.held.remove(&object);
    cx.wake(passive(object));
}

/// Calls a routine synchronised with an interrupt's routine; gives its result.
#[resumable]
pub(super) fn synchronize(cx: &mut Machine, object: u64, routine: u64, context: u64) -> Flow {
    let Some(found) = cx.ke.interrupts.connected.get(&object).cloned() else {
        return Flow::NotModelled("KeSynchronizeExecution of what is not connected".into());
    };
    let connection: Connection = found;
    if connection.irql == 0 {
        host!(hold_passive(object));
        let result: u64 = call!(routine, context);
        release_passive(cx, object);
        return Flow::Return(result & 0xff);
    }
    let old: u8 = cx.irql();
    cx.set_irql(connection.synchronize_irql.max(old));
    host!(spin_lock::acquire(
        Kind::SpinLock,
        Gva::new(connection.lock),
        spin_lock::UNCHANGED
    ));
    let result: u64 = call!(routine, context);
    let _ = spin_lock::release(cx, Gva::new(connection.lock));
    cx.set_irql(old);
    Flow::Return(result & 0xff)
}

/// Takes an interrupt's lock and gives the former level.
#[resumable]
pub(super) fn acquire_lock(cx: &mut Machine, object: u64) -> Flow {
    let Some(found) = cx.ke.interrupts.connected.get(&object).cloned() else {
        return Flow::NotModelled("KeAcquireInterruptSpinLock of what is not connected".into());
    };
    let connection: Connection = found;
    let old: u8 = cx.irql();
    cx.set_irql(connection.synchronize_irql.max(old));
    host!(spin_lock::acquire(
        Kind::SpinLock,
        Gva::new(connection.lock),
        spin_lock::UNCHANGED
    ));
    Flow::Return(u64::from(old))
}

/// Frees an interrupt's lock and goes back to a level.
pub(super) fn release_lock(cx: &mut Machine, object: u64, level: u8) {
    if let Some(connection) = cx.ke.interrupts.connected.get(&object) {
        let lock = connection.lock;
        let _ = spin_lock::release(cx, Gva::new(lock));
        cx.set_irql(level);
    }
}

/// Whether another routine may be connected to a vector.
#[must_use]
pub(super) fn may_connect(cx: &Machine, connection: &Connection) -> bool {
    cx.ke
        .interrupts
        .connected
        .values()
        .filter(|c| c.vector == connection.vector)
        .all(|c| c.shared && connection.shared && c.level_sensitive == connection.level_sensitive)
}

/// Whether levels belong to a device interrupt, or to one at PASSIVE_LEVEL.
#[must_use]
pub(super) fn levels_fit(irql: u8, synchronize: u8) -> bool {
    irql == 0 && synchronize == 0 || irql > DISPATCH_LEVEL && synchronize >= irql
}

/// Waits until the routine of an interrupt does not run; then it is no longer connected.
#[resumable]
pub(super) fn disconnect(cx: &mut Machine, object: u64) -> u64 {
    if let Some(found) = cx.ke.interrupts.connected.get(&object).cloned() {
        let connection: Connection = found;
        if connection.irql == 0 {
            host!(hold_passive(object));
            release_passive(cx, object);
        } else {
            let old: u8 = cx.irql();
            cx.set_irql(connection.synchronize_irql.max(old));
            host!(spin_lock::acquire(
                Kind::SpinLock,
                Gva::new(connection.lock),
                spin_lock::UNCHANGED
            ));
            let _ = spin_lock::release(cx, Gva::new(connection.lock));
            cx.set_irql(old);
        }
        cx.ke.interrupts.connected.remove(&object);
        let _ = cx
            .memory
            .set(Gva::<KINTERRUPT>::new(object), KINTERRUPT::Connected, 0u8);
        cx.free_pages(crate::mm::space::Region::Objects, Gva::new(object));
    }
    0
}
