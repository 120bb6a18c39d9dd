//! Who asks, on which stack; error log; shutdown notification. Documentation: wdm.h, ntifs.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::layout::{DEVICE_OBJECT, EPROCESS, ETHREAD, IO_ERROR_LOG_PACKET, IRP};
use crate::machine::finding::Severity;
use crate::machine::thread::ProcessId;
use crate::ntstatus::{NTSTATUS, STATUS_SUCCESS};

const TAG: u32 = u32::from_le_bytes(*b"IoEr");
/// `ERROR_LOG_MAXIMUM_SIZE`: the size field of the call has 8 bits.
const LARGEST_ENTRY: u8 = 240;

/// The process on whose behalf an IRP was sent.
fn requestor(cx: &Machine, irp: Gva<IRP>) -> Result<Option<ProcessId>, Fault> {
    if let Some(operation) = cx.io.operations.get(&irp) {
        return Ok(Some(operation.process));
    }
    let thread: Gva<ETHREAD> = cx.memory.get(irp, IRP::Tail_Overlay_Thread)?;
    Ok(cx.thread_of_object(thread.raw()).map(|t| t.process))
}

/// Routines on the requestor of an IRP and the current stack.
pub struct Requestors;

#[exports("ntoskrnl.exe")]
impl Requestors {
    /// The process that asked for an IRP, or null.
    #[page("ntifs/nf-ntifs-iogetrequestorprocess")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoGetRequestorProcess(cx: &mut Machine, Irp: Gva<IRP>) -> Result<Gva<EPROCESS>, Fault> {
        let process = requestor(cx, Irp)?;
        Ok(process
            .and_then(|id| cx.processes.get(&id))
            .map_or(Gva::NULL, |p| p.object))
    }

    /// The id of the process that asked for an IRP, or zero.
    #[page("ntifs/nf-ntifs-iogetrequestorprocessid")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoGetRequestorProcessId(cx: &mut Machine, Irp: Gva<IRP>) -> Result<u32, Fault> {
        Ok(requestor(cx, Irp)?.map_or(0, |id| id.guest() as u32))
    }

    /// Whether a 32-bit process asked for an IRP; without one, whether the current process is such.
    #[page("wdm/nf-wdm-iois32bitprocess")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoIs32bitProcess(cx: &mut Machine, Irp: Gva<IRP>) -> Result<bool, Fault> {
        let process = if Irp.is_null() {
            Some(cx.thread().process)
        } else {
            requestor(cx, Irp)?
        };
        Ok(process.is_some_and(|id| cx.is_wow64(id)))
    }

    /// The boundaries of the current thread's stack.
    #[page("wdm/nf-wdm-iogetstacklimits")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoGetStackLimits(
        cx: &mut Machine,
        LowLimit: Gva<u64>,
        HighLimit: Gva<u64>,
    ) -> Result<(), Fault> {
        let (low, high) = (cx.thread().stack_limit, cx.thread().stack_base);
        cx.memory.write(LowLimit, low)?;
        cx.memory.write(HighLimit, high)
    }

    /// The base of the current thread's stack.
    #[page("wdm/nf-wdm-iogetinitialstack")]
    #[irql(..=APC_LEVEL)]
    fn IoGetInitialStack(cx: &mut Machine) -> u64 {
        cx.thread().stack_base
    }

    /// What the current thread noted as its top-level IRP.
    #[page("ntifs/nf-ntifs-iogettoplevelirp")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoGetTopLevelIrp(cx: &mut Machine) -> Result<Gva<IRP>, Fault> {
        let thread = cx.thread().object;
        Ok(Gva::new(cx.memory.get(thread, ETHREAD::TopLevelIrp)?))
    }

    /// Notes a top-level IRP for the current thread.
    #[page("ntifs/nf-ntifs-iosettoplevelirp")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoSetTopLevelIrp(cx: &mut Machine, Irp: Gva<IRP>) -> Result<(), Fault> {
        let thread = cx.thread().object;
        cx.memory.set(thread, ETHREAD::TopLevelIrp, Irp.raw())
    }

    /// Asks for a shutdown request.
    #[page("wdm/nf-wdm-ioregistershutdownnotification")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("IoRegisterLastChanceShutdownNotification")]
    #[partial("the machine never shuts down, so no request comes")]
    fn IoRegisterShutdownNotification(
        cx: &mut Machine,
        DeviceObject: Gva<DEVICE_OBJECT>,
    ) -> NTSTATUS {
        cx.reference_object(DeviceObject.raw());
        cx.io.shutdown.push(DeviceObject);
        STATUS_SUCCESS
    }

    /// Takes the wish for a shutdown request back.
    #[page("wdm/nf-wdm-iounregistershutdownnotification")]
    #[irql(PASSIVE_LEVEL)]
    fn IoUnregisterShutdownNotification(cx: &mut Machine, DeviceObject: Gva<DEVICE_OBJECT>) {
        let before = cx.io.shutdown.len();
        cx.io.shutdown.retain(|d| *d != DeviceObject);
        for _ in cx.io.shutdown.len()..before {
            cx.dereference_object(DeviceObject.raw());
        }
    }

    /// Allocates an entry for the error log; null if it is too large.
    #[page("wdm/nf-wdm-ioallocateerrorlogentry")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoAllocateErrorLogEntry(
        cx: &mut Machine,
        IoObject: Gva,
        EntrySize: u8,
    ) -> Gva<IO_ERROR_LOG_PACKET> {
        let _ = IoObject;
        if EntrySize > LARGEST_ENTRY || u64::from(EntrySize) < IO_ERROR_LOG_PACKET::SIZE {
            return Gva::NULL;
        }
        cx.pool_allocate(Pool::NonPaged, u64::from(EntrySize), TAG)
            .unwrap_or(Gva::NULL)
            .cast()
    }

    /// Writes an entry to the error log and frees it.
    #[page("wdm/nf-wdm-iowriteerrorlogentry")]
    #[irql(..=DISPATCH_LEVEL)]
    #[partial("the entry appears as a note in the report, without its strings")]
    fn IoWriteErrorLogEntry(
        cx: &mut Machine,
        ElEntry: Gva<IO_ERROR_LOG_PACKET>,
    ) -> Result<(), Fault> {
        let code = cx.memory.get(ElEntry, IO_ERROR_LOG_PACKET::ErrorCode)?;
        let status = cx.memory.get(ElEntry, IO_ERROR_LOG_PACKET::FinalStatus)?;
        cx.trace
            .event("error-log", &[u64::from(code.0), u64::from(status.0)]);
        let text = format!(
            "error log entry with error code {:#010x}, final status {status}",
            code.0
        );
        cx.report("driver/error-log", Severity::Note, text);
        cx.pool_free(ElEntry.cast());
        Ok(())
    }

    /// Frees an entry that is not written after all.
    #[page("wdm/nf-wdm-iofreeerrorlogentry")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoFreeErrorLogEntry(cx: &mut Machine, ElEntry: Gva<IO_ERROR_LOG_PACKET>) {
        cx.pool_free(ElEntry.cast());
    }
}
