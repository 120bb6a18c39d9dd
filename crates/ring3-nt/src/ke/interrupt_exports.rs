//! Connecting interrupts. Documentation: wdm.h, "Using the Fully Specified Version of IoConnectInterruptEx",
//! "Using the Line-Based Version ...", "Using the Message-Signaled Version ...".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::interrupt::{self, Connection, InterruptLine, LEVEL_SENSITIVE};
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::layout::{
    IO_CONNECT_INTERRUPT_PARAMETERS, IO_DISCONNECT_INTERRUPT_PARAMETERS, IO_INTERRUPT_MESSAGE_INFO,
    IO_INTERRUPT_MESSAGE_INFO_ENTRY, KINTERRUPT,
};
use crate::mm::space::{Region, data};
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_INVALID_PARAMETER, STATUS_NOT_FOUND,
    STATUS_SUCCESS,
};

const CONNECT_FULLY_SPECIFIED: u32 = 1;
const CONNECT_LINE_BASED: u32 = 2;
const CONNECT_MESSAGE_BASED: u32 = 3;
const CONNECT_FULLY_SPECIFIED_GROUP: u32 = 4;
const CONNECT_MESSAGE_BASED_PASSIVE: u32 = 5;
/// `InterruptObj` of the KOBJECTS enumeration.
const INTERRUPT_OBJECT: i16 = 0x16;

/// Connects: makes the interrupt object and fills it in.
fn connect(
    cx: &mut Machine,
    mut connection: Connection,
    own_lock: bool,
) -> Result<Result<Gva<KINTERRUPT>, NTSTATUS>, Fault> {
    if !interrupt::levels_fit(connection.irql, connection.synchronize_irql)
        || connection.routine == 0
        || !interrupt::may_connect(cx, &connection)
    {
        return Ok(Err(STATUS_INVALID_PARAMETER));
    }
    if cx.decide(crate::machine::decide::Choice::AllocationFails, 2) == 1 {
        return Ok(Err(STATUS_INSUFFICIENT_RESOURCES));
    }
    let Some(at) = cx.allocate_pages(Region::Objects, 1, data()) else {
        return Ok(Err(STATUS_INSUFFICIENT_RESOURCES));
    };
    let object = at.cast::<KINTERRUPT>();
    if own_lock {
        connection.lock = object.at(KINTERRUPT::SpinLock).raw();
    }
    let m = &mut cx.memory;
    m.set(object, KINTERRUPT::Type, INTERRUPT_OBJECT)?;
    m.set(object, KINTERRUPT::Size, KINTERRUPT::SIZE as i16)?;
    let routine = Gva::new(connection.routine);
    if connection.message.is_some() {
        m.set(object, KINTERRUPT::MessageServiceRoutine, routine)?;
    } else {
        m.set(object, KINTERRUPT::ServiceRoutine, routine)?;
    }
    let message = connection.message.unwrap_or(0);
    m.set(object, KINTERRUPT::MessageIndex, message)?;
    let context = Gva::new(connection.context);
    m.set(object, KINTERRUPT::ServiceContext, context)?;
    m.set(object, KINTERRUPT::ActualLock, Gva::new(connection.lock))?;
    m.set(object, KINTERRUPT::Vector, connection.vector)?;
    m.set(object, KINTERRUPT::Irql, connection.irql)?;
    m.set(
        object,
        KINTERRUPT::SynchronizeIrql,
        connection.synchronize_irql,
    )?;
    m.set(object, KINTERRUPT::Connected, 1u8)?;
    m.set(object, KINTERRUPT::ShareVector, u8::from(connection.shared))?;
    cx.ke.interrupts.connected.insert(object.raw(), connection);
    Ok(Ok(object))
}

/// The parameters that all versions share.
fn common(
    cx: &Machine,
    parameters: Gva<IO_CONNECT_INTERRUPT_PARAMETERS>,
) -> Result<Connection, Fault> {
    type P = IO_CONNECT_INTERRUPT_PARAMETERS;
    let m = &cx.memory;
    Ok(Connection {
        vector: 0,
        irql: 0,
        synchronize_irql: m.get(parameters, P::SynchronizeIrql)?,
        routine: m.get(parameters, P::ServiceRoutine)?.raw(),
        context: m.get(parameters, P::ServiceContext)?.raw(),
        message: None,
        lock: m.get(parameters, P::SpinLock)?.raw(),
        processors: super::level::active_mask(cx),
        level_sensitive: true,
        shared: true,
        owner: cx.caller,
    })
}

fn of_line(connection: &mut Connection, line: &InterruptLine) {
    connection.vector = line.vector;
    connection.irql = line.irql;
    connection.level_sensitive = line.level_sensitive;
    connection.synchronize_irql = connection.synchronize_irql.max(line.irql);
}

fn fully_specified(
    cx: &mut Machine,
    parameters: Gva<IO_CONNECT_INTERRUPT_PARAMETERS>,
) -> Result<NTSTATUS, Fault> {
    type P = IO_CONNECT_INTERRUPT_PARAMETERS;
    let mut connection = common(cx, parameters)?;
    let m = &cx.memory;
    connection.vector = m.get(parameters, P::Vector)?;
    connection.irql = m.get(parameters, P::Irql)?;
    connection.shared = m.get(parameters, P::ShareVector)? != 0;
    connection.level_sensitive = m.get(parameters, P::InterruptMode)? == LEVEL_SENSITIVE;
    connection.processors = m.get(parameters, P::ProcessorEnableMask)?;
    let result = m.get(parameters, P::InterruptObject)?;
    finish(cx, connection, result)
}

/// Connects and leaves the interrupt object where the caller wants it.
fn finish(cx: &mut Machine, connection: Connection, result: Gva<u64>) -> Result<NTSTATUS, Fault> {
    cx.memory.read(result)?;
    let own_lock = connection.lock == 0;
    match connect(cx, connection, own_lock)? {
        Ok(object) => {
            cx.memory.write(result, object.raw())?;
            Ok(STATUS_SUCCESS)
        }
        Err(status) => Ok(status),
    }
}

/// Connects to all messages of a device, or to its line with the fall-back routine.
fn message_based(
    cx: &mut Machine,
    parameters: Gva<IO_CONNECT_INTERRUPT_PARAMETERS>,
    line: &InterruptLine,
) -> Result<NTSTATUS, Fault> {
    type P = IO_CONNECT_INTERRUPT_PARAMETERS;
    let mut base = common(cx, parameters)?;
    let result = cx.memory.get(parameters, P::InterruptObject)?;
    of_line(&mut base, line);
    if line.messages == 0 {
        let routine = cx.memory.get(parameters, P::FallBackServiceRoutine)?;
        if routine.is_null() {
            return Ok(STATUS_NOT_FOUND);
        }
        // The version tells the driver what it is connected to.
        cx.memory.set(parameters, P::Version, CONNECT_LINE_BASED)?;
        base.routine = routine.raw();
        return finish(cx, base, result);
    }
    cx.memory.read(result)?;
    type Info = IO_INTERRUPT_MESSAGE_INFO;
    type Entry = IO_INTERRUPT_MESSAGE_INFO_ENTRY;
    let Some(at) = cx.allocate_pages(Region::Objects, 1, data()) else {
        return Ok(STATUS_INSUFFICIENT_RESOURCES);
    };
    let table = at.cast::<Info>();
    // One lock for all messages, so that their routines exclude each other.
    let own_lock = base.lock == 0;
    let mut objects = Vec::new();
    for number in 0..line.messages.min(64) {
        let mut connection = base.clone();
        connection.vector = line.vector + number;
        connection.message = Some(number);
        connection.level_sensitive = false;
        let object = match connect(cx, connection, own_lock && objects.is_empty())? {
            Ok(object) => object,
            Err(status) => return Ok(status),
        };
        if own_lock && objects.is_empty() {
            base.lock = object.at(KINTERRUPT::SpinLock).raw();
        }
        objects.push(object.raw());
        let entry = table
            .at(Info::MessageInfo)
            .byte_add(Entry::SIZE * u64::from(number));
        let m = &mut cx.memory;
        m.set(entry, Entry::TargetProcessorSet, base.processors)?;
        m.set(entry, Entry::InterruptObject, object)?;
        m.set(entry, Entry::Vector, line.vector + number)?;
        m.set(entry, Entry::Irql, line.irql)?;
        // Latched.
        m.set(entry, Entry::Mode, 1i32)?;
    }
    cx.memory.set(table, Info::UnifiedIrql, line.irql)?;
    cx.memory
        .set(table, Info::MessageCount, objects.len() as u32)?;
    cx.memory.write(result, table.raw())?;
    cx.ke.interrupts.tables.insert(table.raw(), objects);
    Ok(STATUS_SUCCESS)
}

/// Disconnects an interrupt object, or all of a message table.
#[resumable]
fn disconnect_all(cx: &mut Machine, context: u64) -> u64 {
    let mut objects: Vec<u64> = match cx.ke.interrupts.tables.remove(&context) {
        Some(objects) => {
            cx.free_pages(Region::Objects, Gva::new(context));
            objects
        }
        None => vec![context],
    };
    while let Some(object) = objects.pop() {
        host!(interrupt::disconnect(object));
    }
    crate::machine::SCRUBBED
}

/// Routines that connect interrupts, and that synchronise with them.
pub struct InterruptRoutines;

#[exports("ntoskrnl.exe")]
impl InterruptRoutines {
    /// Connects an interrupt service routine to a vector.
    #[page("wdm/nf-wdm-ioconnectinterrupt")]
    #[irql(PASSIVE_LEVEL)]
    fn IoConnectInterrupt(
        cx: &mut Machine,
        InterruptObject: Gva<u64>,
        ServiceRoutine: Gva<Code>,
        ServiceContext: Gva,
        SpinLock: Gva<u64>,
        Vector: u32,
        Irql: u8,
        SynchronizeIrql: u8,
        InterruptMode: i32,
        ShareVector: bool,
        ProcessorEnableMask: u64,
        FloatingSave: bool,
    ) -> Result<NTSTATUS, Fault> {
        let _ = FloatingSave;
        let connection = Connection {
            vector: Vector,
            irql: Irql,
            synchronize_irql: SynchronizeIrql,
            routine: ServiceRoutine.raw(),
            context: ServiceContext.raw(),
            message: None,
            lock: SpinLock.raw(),
            processors: ProcessorEnableMask,
            level_sensitive: InterruptMode == LEVEL_SENSITIVE,
            shared: ShareVector,
            owner: cx.caller,
        };
        finish(cx, connection, InterruptObject)
    }

    /// Connects an interrupt by vector, or by what the device has.
    #[page("wdm/nf-wdm-ioconnectinterruptex")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn IoConnectInterruptEx(
        cx: &mut Machine,
        Parameters: Gva<IO_CONNECT_INTERRUPT_PARAMETERS>,
    ) -> Result<Flow, Fault> {
        type P = IO_CONNECT_INTERRUPT_PARAMETERS;
        let version = cx.memory.get(Parameters, P::Version)?;
        let device = cx.memory.get(Parameters, P::PhysicalDeviceObject)?;
        let line = cx.ke.interrupts.lines.get(&device.raw()).cloned();
        let status = match (version, line) {
            (CONNECT_FULLY_SPECIFIED | CONNECT_FULLY_SPECIFIED_GROUP, _) => {
                fully_specified(cx, Parameters)?
            }
            (CONNECT_LINE_BASED, Some(line)) if line.messages == 0 => {
                let mut connection = common(cx, Parameters)?;
                of_line(&mut connection, &line);
                let result = cx.memory.get(Parameters, P::InterruptObject)?;
                finish(cx, connection, result)?
            }
            (CONNECT_MESSAGE_BASED | CONNECT_MESSAGE_BASED_PASSIVE, Some(line)) => {
                message_based(cx, Parameters, &line)?
            }
            // The device has no such interrupt resource.
            (CONNECT_LINE_BASED..=CONNECT_MESSAGE_BASED_PASSIVE, _) => STATUS_NOT_FOUND,
            _ => STATUS_INVALID_PARAMETER,
        };
        Ok(Flow::Return(u64::from(status.0)))
    }

    /// Disconnects what IoConnectInterrupt connected.
    #[page("wdm/nf-wdm-iodisconnectinterrupt")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(())]
    fn IoDisconnectInterrupt(cx: &mut Machine, InterruptObject: Gva<KINTERRUPT>) -> Flow {
        let _ = &cx;
        Flow::Become(disconnect_all(InterruptObject.raw()))
    }

    /// Disconnects what IoConnectInterruptEx connected.
    #[page("wdm/nf-wdm-iodisconnectinterruptex")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(())]
    fn IoDisconnectInterruptEx(
        cx: &mut Machine,
        Parameters: Gva<IO_DISCONNECT_INTERRUPT_PARAMETERS>,
    ) -> Result<Flow, Fault> {
        let context = cx.memory.get(
            Parameters,
            IO_DISCONNECT_INTERRUPT_PARAMETERS::ConnectionContext,
        )?;
        Ok(Flow::Become(disconnect_all(context.raw())))
    }

    /// Calls a routine that excludes an interrupt's service routine; gives its result.
    #[page("wdm/nf-wdm-kesynchronizeexecution")]
    #[irql(any)]
    #[returns(bool)]
    fn KeSynchronizeExecution(
        cx: &mut Machine,
        Interrupt: Gva<KINTERRUPT>,
        SynchronizeRoutine: Gva<Code>,
        SynchronizeContext: Gva,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(interrupt::synchronize(
            Interrupt.raw(),
            SynchronizeRoutine.raw(),
            SynchronizeContext.raw(),
        ))
    }

    /// Takes an interrupt's spin lock at its level; gives the old level.
    #[page("wdm/nf-wdm-keacquireinterruptspinlock")]
    #[irql(any)]
    #[returns(u8)]
    fn KeAcquireInterruptSpinLock(cx: &mut Machine, Interrupt: Gva<KINTERRUPT>) -> Flow {
        let _ = &cx;
        Flow::Become(interrupt::acquire_lock(Interrupt.raw()))
    }

    /// Ends KeAcquireInterruptSpinLock.
    #[page("wdm/nf-wdm-kereleaseinterruptspinlock")]
    #[irql(DIRQL..=HIGH_LEVEL)]
    fn KeReleaseInterruptSpinLock(cx: &mut Machine, Interrupt: Gva<KINTERRUPT>, OldIrql: u8) {
        interrupt::release_lock(cx, Interrupt.raw(), OldIrql);
    }
}
