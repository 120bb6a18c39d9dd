//! Bugcheck callbacks: drivers are told of the end, and may leave data for the dump.
//!
//! Documentation: "Writing a Bug Check Callback Routine", "Writing a Bug Check Reason Callback Routine".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::machine::Stop;
use crate::machine::processor::PendingInterrupt;
use crate::mm::space::{Region, data};

/// Above every IRQL: delivered whatever the level is.
const AT_ONCE: u8 = u8::MAX;
/// `BufferEmpty`, `BufferInserted`, `BufferStarted` and `BufferFinished` of KBUGCHECK_BUFFER_DUMP_STATE.
const EMPTY: u8 = 0;
const INSERTED: u8 = 1;
const STARTED: u8 = 2;
const FINISHED: u8 = 3;
/// Offsets in KBUGCHECK_CALLBACK_RECORD.
const ROUTINE: u64 = 0x10;
const BUFFER: u64 = 0x18;
const LENGTH: u64 = 0x20;
const COMPONENT: u64 = 0x28;
const STATE: u64 = 0x38;
/// Offsets in KBUGCHECK_REASON_CALLBACK_RECORD.
const REASON_COMPONENT: u64 = 0x18;
const REASON: u64 = 0x28;
const REASON_STATE: u64 = 0x2c;
/// `KbCallbackSecondaryDumpData`.
const SECONDARY_DUMP_DATA: u32 = 2;
/// Bytes of KBUGCHECK_SECONDARY_DUMP_DATA, and its fields.
const DUMP_DATA_SIZE: u32 = 0x30;
const IN_BUFFER: u64 = 0x0;
const IN_BUFFER_LENGTH: u64 = 0x8;
const MAXIMUM_ALLOWED: u64 = 0xc;
const GUID: u64 = 0x10;
const OUT_BUFFER: u64 = 0x20;
const OUT_BUFFER_LENGTH: u64 = 0x28;
/// Bytes that a callback may leave.
const MOST_DATA: u64 = 0x4000;

/// What is registered, and what came of it.
#[derive(Clone, Hash, Debug, Default)]
pub struct Callbacks {
    records: Vec<u64>,
    reasons: Vec<u64>,
    /// The bugcheck that is going on.
    stop: Option<Stop>,
    /// What secondary-data callbacks left: the id, and the bytes.
    pub secondary_data: Vec<(u128, Vec<u8>)>,
}

fn state_of(cx: &Machine, record: u64, offset: u64) -> u8 {
    cx.memory
        .read(Gva::<u8>::new(record + offset))
        .unwrap_or(EMPTY)
}

fn set_state(cx: &mut Machine, record: u64, offset: u64, state: u8) {
    let _ = cx.memory.write(Gva::<u8>::new(record + offset), state);
}

impl Machine {
    /// Stops the machine: at once if no driver wants to be told, else after its callbacks.
    pub(crate) fn stop_with_callbacks(&mut self, stop: Stop) {
        let callbacks = &self.ke.bugcheck;
        let nobody = callbacks.records.is_empty() && callbacks.reasons.is_empty();
        if let Some(first) = self.ke.bugcheck.stop.take() {
            // A bugcheck in a callback ends it; the first one counts.
            self.stop = Some(first);
            return;
        }
        if nobody {
            self.stop = Some(stop);
            return;
        }
        self.ke.bugcheck.stop = Some(stop);
        let current = self.current;
        for (n, processor) in self.processors.iter_mut().enumerate() {
            // The other processors are frozen.
            processor.halted = n != current;
            processor.pending.clear();
            processor.spinning = None;
            if n != current {
                processor.cpu.rflags &= !0x200;
                processor.dpcs.clear();
            }
        }
        let processor = self.processor_mut();
        processor.cpu.rflags |= 0x200;
        processor.pending.push(PendingInterrupt {
            irql: AT_ONCE,
            work: run_callbacks(),
        });
    }
}

/// The buffer of a secondary-data callback: the structure, and room behind it.
fn prepare(cx: &mut Machine) -> u64 {
    let pages = 1 + MOST_DATA.div_ceil(crate::mm::space::PAGE);
    let Some(at) = cx.allocate_pages(Region::Objects, pages, data()) else {
        return 0;
    };
    let at = at.raw();
    let room = at + crate::mm::space::PAGE;
    let m = &mut cx.memory;
    let _ = m.write(Gva::<u64>::new(at + IN_BUFFER), room);
    let _ = m.write(Gva::<u32>::new(at + IN_BUFFER_LENGTH), MOST_DATA as u32);
    let _ = m.write(Gva::<u32>::new(at + MAXIMUM_ALLOWED), MOST_DATA as u32);
    at
}

fn keep(cx: &mut Machine, data: u64) {
    let m = &cx.memory;
    let out = m.read(Gva::<u64>::new(data + OUT_BUFFER)).unwrap_or(0);
    let length = m
        .read(Gva::<u32>::new(data + OUT_BUFFER_LENGTH))
        .unwrap_or(0);
    if out == 0 || length == 0 || u64::from(length) > MOST_DATA {
        return;
    }
    let id = m.read(Gva::<u128>::new(data + GUID)).unwrap_or(0);
    let mut bytes = vec![0; length as usize];
    if m.peek_bytes(None, Gva::<u8>::new(out), &mut bytes).is_ok() {
        cx.ke.bugcheck.secondary_data.push((id, bytes));
    }
}

/// Calls what is registered, latest first, at HIGH_LEVEL; then the machine stops.
#[resumable]
fn run_callbacks(cx: &mut Machine) -> Flow {
    while let Some(latest) = cx.ke.bugcheck.records.pop() {
        let record: u64 = latest;
        let at = |offset: u64| Gva::<u64>::new(record + offset);
        let routine = cx.memory.read(at(ROUTINE)).unwrap_or(0);
        let buffer = cx.memory.read(at(BUFFER)).unwrap_or(0);
        let length = cx.memory.read(at(LENGTH)).unwrap_or(0) & 0xffff_ffff;
        set_state(cx, record, STATE, STARTED);
        call!(routine, buffer, length);
        set_state(cx, record, STATE, FINISHED);
    }
    while let Some(latest) = cx.ke.bugcheck.reasons.pop() {
        let reason_record: u64 = latest;
        let routine = cx
            .memory
            .read(Gva::<u64>::new(reason_record + ROUTINE))
            .unwrap_or(0);
        let reason = cx
            .memory
            .read(Gva::<u32>::new(reason_record + REASON))
            .unwrap_or(0);
        if reason != SECONDARY_DUMP_DATA {
            // Dump I/O and added pages concern a dump file that is not written here.
            continue;
        }
        let data: u64 = prepare(cx);
        set_state(cx, reason_record, REASON_STATE, STARTED);
        call!(
            routine,
            SECONDARY_DUMP_DATA,
            reason_record,
            data,
            DUMP_DATA_SIZE
        );
        set_state(cx, reason_record, REASON_STATE, FINISHED);
        keep(cx, data);
    }
    cx.stop = cx.ke.bugcheck.stop.take();
    Flow::Return(0)
}

/// Routines that register bugcheck callbacks.
pub struct BugCheckCallbacks;

#[exports("ntoskrnl.exe")]
impl BugCheckCallbacks {
    /// Registers a callback for the next bugcheck; FALSE if the record is in use.
    #[page("wdm/nf-wdm-keregisterbugcheckcallback")]
    #[irql(any)]
    fn KeRegisterBugCheckCallback(
        cx: &mut Machine,
        CallbackRecord: Gva,
        CallbackRoutine: Gva<Code>,
        Buffer: Gva,
        Length: u32,
        Component: Gva<u8>,
    ) -> Result<bool, Fault> {
        let record = CallbackRecord.raw();
        let state: u8 = cx.memory.read(Gva::new(record + STATE))?;
        if state != EMPTY {
            return Ok(false);
        }
        let m = &mut cx.memory;
        m.write(Gva::<u64>::new(record + ROUTINE), CallbackRoutine.raw())?;
        m.write(Gva::<u64>::new(record + BUFFER), Buffer.raw())?;
        m.write(Gva::<u32>::new(record + LENGTH), Length)?;
        m.write(Gva::<u64>::new(record + COMPONENT), Component.raw())?;
        m.write(Gva::<u8>::new(record + STATE), INSERTED)?;
        cx.ke.bugcheck.records.push(record);
        Ok(true)
    }

    /// Takes a callback back; FALSE if it is not registered.
    #[page("wdm/nf-wdm-kederegisterbugcheckcallback")]
    #[irql(any)]
    fn KeDeregisterBugCheckCallback(cx: &mut Machine, CallbackRecord: Gva) -> Result<bool, Fault> {
        let record = CallbackRecord.raw();
        if state_of(cx, record, STATE) != INSERTED {
            return Ok(false);
        }
        set_state(cx, record, STATE, EMPTY);
        cx.ke.bugcheck.records.retain(|r| *r != record);
        Ok(true)
    }

    /// Registers a callback for a reason; FALSE if the record is in use.
    #[page("wdm/nf-wdm-keregisterbugcheckreasoncallback")]
    #[irql(any)]
    #[partial(
        "callbacks that add or remove pages, or follow the writing of the dump, are not called"
    )]
    fn KeRegisterBugCheckReasonCallback(
        cx: &mut Machine,
        CallbackRecord: Gva,
        CallbackRoutine: Gva<Code>,
        Reason: u32,
        Component: Gva<u8>,
    ) -> Result<bool, Fault> {
        let record = CallbackRecord.raw();
        let state: u8 = cx.memory.read(Gva::new(record + REASON_STATE))?;
        if state != EMPTY {
            return Ok(false);
        }
        let m = &mut cx.memory;
        m.write(Gva::<u64>::new(record + ROUTINE), CallbackRoutine.raw())?;
        m.write(Gva::<u64>::new(record + REASON_COMPONENT), Component.raw())?;
        m.write(Gva::<u32>::new(record + REASON), Reason)?;
        m.write(Gva::<u8>::new(record + REASON_STATE), INSERTED)?;
        cx.ke.bugcheck.reasons.push(record);
        Ok(true)
    }

    /// Takes a callback for a reason back; FALSE if it is not registered.
    #[page("wdm/nf-wdm-kederegisterbugcheckreasoncallback")]
    #[irql(any)]
    fn KeDeregisterBugCheckReasonCallback(
        cx: &mut Machine,
        CallbackRecord: Gva,
    ) -> Result<bool, Fault> {
        let record = CallbackRecord.raw();
        if state_of(cx, record, REASON_STATE) != INSERTED {
            return Ok(false);
        }
        set_state(cx, record, REASON_STATE, EMPTY);
        cx.ke.bugcheck.reasons.retain(|r| *r != record);
        Ok(true)
    }
}
