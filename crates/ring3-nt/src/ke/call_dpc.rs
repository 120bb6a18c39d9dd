//! Routines that run on all processors at once. Documentation: "KeIpiGenericCall" in wdm.h; the others are
//! exported and in use, though no page documents them.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::dpc;
use crate::Machine;
use crate::export::argument::Code;
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Flow, Key, Kont, Until};
use crate::layout::KDPC;
use crate::machine::processor::PendingInterrupt;
use crate::mm::space::{PAGE, Region, data};

/// `IPI_LEVEL`.
const IPI_LEVEL: u8 = 14;
/// Who waits for the end of another thread's call.
const BUSY: Key = Key::new("call-dpc", 0);
/// Bytes before the DPC objects of the area that all processors share.
const DPCS: u64 = 0x40;

/// State of these calls.
#[derive(Clone, Hash, Debug, Default)]
pub struct Calls {
    /// Counters, barrier words and DPCs in guest memory.
    area: u64,
    /// Whether a DPC call is going on.
    busy: bool,
    /// Which of the two barrier words is counted down.
    phase: bool,
}

/// The area: a count of processors that are not done (+0), two words of the barrier (+8, +16), and for
/// interrupts a lock (+24), arrivals (+32) and ends (+40); then a DPC for each processor.
fn area(cx: &mut Machine) -> Option<u64> {
    if cx.ke.calls.area == 0 {
        let bytes = DPCS + KDPC::SIZE * cx.processors.len() as u64;
        let pages = bytes.div_ceil(PAGE);
        cx.ke.calls.area = cx.allocate_pages(Region::Objects, pages, data())?.raw();
    }
    Some(cx.ke.calls.area)
}

fn word(area: u64, offset: u64) -> Gva<u64> {
    Gva::new(area + offset)
}

fn count_down(cx: &mut Machine, word: Gva<u64>) -> Result<u64, Fault> {
    let left = cx.memory.read(word)?.saturating_sub(1);
    cx.memory.write(word, left)?;
    Ok(left)
}

/// Queues the DPC of every other processor and gives the current one's.
fn queue_others(cx: &mut Machine, area: u64, routine: u64, context: u64) -> u64 {
    let count = cx.processors.len() as u64;
    let _ = cx.memory.write(word(area, 0), count);
    let _ = cx.memory.write(word(area, 8), count);
    let _ = cx.memory.write(word(area, 16), count);
    cx.ke.calls.phase = false;
    for n in 0..count {
        let object = Gva::<KDPC>::new(area + DPCS + KDPC::SIZE * n);
        let _ = dpc::initialize(
            cx,
            object,
            dpc::DPC_OBJECT,
            Gva::new(routine),
            Gva::new(context),
        );
        let _ = cx
            .memory
            .set(object, KDPC::Number, dpc::TARGETED + n as u16);
        if n != cx.current as u64 {
            dpc::insert(cx, object, area, area + 8);
        }
    }
    area + DPCS + KDPC::SIZE * cx.current as u64
}

/// The life of a KeGenericCallDpc.
#[resumable]
fn generic_call(cx: &mut Machine, routine: u64, context: u64) -> Flow {
    while cx.ke.calls.busy {
        wait!(crate::machine::wait::Wait::On(BUSY));
    }
    let Some(found) = area(cx) else {
        return Flow::NotModelled("KeGenericCallDpc without memory".into());
    };
    let shared: u64 = found;
    cx.ke.calls.busy = true;
    let old: u8 = cx.irql();
    cx.set_irql(DISPATCH_LEVEL);
    let own: u64 = queue_others(cx, shared, routine, context);
    call!(routine, own, context, shared, shared + 8);
    while cx.memory.read(word(shared, 0)).unwrap_or(0) != 0 {
        spin!(Until::Zero(word(shared, 0)));
    }
    cx.ke.calls.busy = false;
    cx.set_irql(old);
    cx.wake(BUSY);
    Flow::Return(0)
}

/// A processor at the barrier of a DPC call: TRUE for the last one that arrives.
#[resumable]
fn synchronize(cx: &mut Machine, barrier: u64) -> Result<u64, Fault> {
    let own: u64 = barrier + 8 * u64::from(cx.ke.calls.phase);
    if count_down(cx, Gva::new(own))? == 0 {
        let other = barrier + 8 * u64::from(!cx.ke.calls.phase);
        let count = cx.processors.len() as u64;
        cx.memory.write(Gva::<u64>::new(other), count)?;
        cx.ke.calls.phase = !cx.ke.calls.phase;
        return Ok(1);
    }
    while cx.memory.read(Gva::<u64>::new(own))? != 0 {
        spin!(Until::Zero(Gva::new(own)));
    }
    Ok(0)
}

/// What an interrupted processor does in a KeIpiGenericCall: arrive, wait for all, call, leave.
#[resumable]
fn broadcast_target(cx: &mut Machine, routine: u64, context: u64, area: u64) -> u64 {
    let _ = count_down(cx, word(area, 32));
    while cx.memory.read(word(area, 32)).unwrap_or(0) != 0 {
        spin!(Until::Zero(word(area, 32)));
    }
    call!(routine, context);
    let _ = count_down(cx, word(area, 40));
    0
}

/// The life of a KeIpiGenericCall.
#[resumable]
fn broadcast(cx: &mut Machine, routine: u64, context: u64) -> Flow {
    let Some(found) = area(cx) else {
        return Flow::NotModelled("KeIpiGenericCall without memory".into());
    };
    let shared: u64 = found;
    while cx.memory.read(word(shared, 24)).unwrap_or(0) != 0 {
        spin!(Until::Zero(word(shared, 24)));
    }
    let others = cx.processors.len() as u64 - 1;
    let _ = cx.memory.write(word(shared, 24), 1);
    let _ = cx.memory.write(word(shared, 32), others);
    let _ = cx.memory.write(word(shared, 40), others);
    let old: u8 = cx.irql();
    cx.set_irql(IPI_LEVEL.max(old));
    let current = cx.current;
    for (n, processor) in cx.processors.iter_mut().enumerate() {
        if n != current {
            let work: Kont = broadcast_target(routine, context, shared);
            processor.pending.push(PendingInterrupt {
                irql: IPI_LEVEL,
                work,
            });
        }
    }
    while cx.memory.read(word(shared, 32)).unwrap_or(0) != 0 {
        spin!(Until::Zero(word(shared, 32)));
    }
    let result: u64 = call!(routine, context);
    while cx.memory.read(word(shared, 40)).unwrap_or(0) != 0 {
        spin!(Until::Zero(word(shared, 40)));
    }
    let _ = cx.memory.write(word(shared, 24), 0);
    cx.set_irql(old);
    Flow::Return(result)
}

/// Routines that call on all processors.
pub struct ProcessorCalls;

#[exports("ntoskrnl.exe")]
impl ProcessorCalls {
    /// Calls a DPC routine on all processors and waits until all are done.
    #[page("wdm/nc-wdm-kdeferred_routine")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn KeGenericCallDpc(cx: &mut Machine, Routine: Gva<Code>, Context: Gva) -> Flow {
        let _ = &cx;
        Flow::Become(generic_call(Routine.raw(), Context.raw()))
    }

    /// Tells that the routine of KeGenericCallDpc is done on this processor.
    #[page("wdm/nc-wdm-kdeferred_routine")]
    #[irql(DISPATCH_LEVEL)]
    fn KeSignalCallDpcDone(cx: &mut Machine, SystemArgument1: Gva<u64>) -> Result<(), Fault> {
        count_down(cx, SystemArgument1)?;
        Ok(())
    }

    /// Waits until all processors are here; nonzero on one of them.
    #[page("wdm/nc-wdm-kdeferred_routine")]
    #[irql(DISPATCH_LEVEL)]
    #[returns(u32)]
    fn KeSignalCallDpcSynchronize(cx: &mut Machine, SystemArgument2: Gva<u64>) -> Flow {
        let _ = &cx;
        Flow::Become(synchronize(SystemArgument2.raw()))
    }

    /// Calls a routine on all processors at the same time at IPI_LEVEL; gives the caller's result.
    #[page("wdm/nf-wdm-keipigenericcall")]
    #[irql(..=IPI_LEVEL)]
    #[returns(u64)]
    fn KeIpiGenericCall(cx: &mut Machine, BroadcastFunction: Gva<Code>, Context: u64) -> Flow {
        let _ = &cx;
        Flow::Become(broadcast(BroadcastFunction.raw(), Context))
    }
}
