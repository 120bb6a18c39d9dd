//! The end of an IRP: data to whoever asked, status, event, and its memory.
//! Documentation: "IoCompleteRequest", "Completing IRPs", IoBuildDeviceIoControlRequest.

use ring3_memory::{Fault, Gva};

use super::{Operation, Transfer, irp};
use crate::Machine;
use crate::flow::Key;
use crate::ke::dispatcher;
use crate::layout::{FILE_OBJECT, IO_STATUS_BLOCK, IRP, MDL};
use crate::machine::finding::Severity;
use crate::ntstatus::NTSTATUS;

/// Ends an IRP that has reached the top of its stack. Gives the master IRP that is to be completed next,
/// if this was the last of its associated ones.
///
/// # Errors
/// A fault if one of the structures cannot be used.
pub fn finish(cx: &mut Machine, irp: Gva<IRP>) -> Result<Option<Gva<IRP>>, Fault> {
    let status = cx
        .memory
        .get(irp.at(IRP::IoStatus), IO_STATUS_BLOCK::Status)?;
    let information = cx
        .memory
        .get(irp.at(IRP::IoStatus), IO_STATUS_BLOCK::Information)?;
    cx.trace
        .event("irp-done", &[irp.raw(), u64::from(status.0), information]);
    if cx.trace.set.irp {
        cx.trace_line(format!(
            "IRP {:#x} completed: {status}, information {information}",
            irp.raw()
        ));
    }
    if let Some(operation) = cx.io.operations.get(&irp).cloned() {
        finish_operation(cx, irp, &operation, status, information)?;
        return Ok(None);
    }
    let flags = cx.memory.get(irp, IRP::Flags)?;
    if flags & irp::flag::ASSOCIATED_IRP != 0 {
        return finish_associated(cx, irp);
    }
    if cx.io.threaded.contains_key(&irp) {
        finish_threaded(cx, irp, flags, status, information)?;
        return Ok(None);
    }
    // IRPs of IoAllocateIrp and IoBuildAsynchronousFsdRequest belong to their driver: its completion
    // routine must stop completion and free them.
    let text = format!(
        "the IRP {:#x} of IoAllocateIrp or IoBuildAsynchronousFsdRequest was completed to the end; its completion routine \
         must return STATUS_MORE_PROCESSING_REQUIRED",
        irp.raw()
    );
    cx.report("irp/completed-to-nobody", Severity::Error, text);
    Ok(None)
}

/// The end of a request that the I/O manager itself has sent.
fn finish_operation(
    cx: &mut Machine,
    irp: Gva<IRP>,
    operation: &Operation,
    status: NTSTATUS,
    information: u64,
) -> Result<(), Fault> {
    let marked = cx.memory.get(irp, IRP::PendingReturned)? != 0;
    copy_back(cx, irp, operation, status, information)?;
    free_mdls(cx, irp)?;
    if operation.holds_file {
        let file = Gva::<FILE_OBJECT>::new(operation.file);
        dispatcher::signal(cx, file.at(FILE_OBJECT::Event).cast(), 1);
    }
    if let Some(found) = cx.io.operations.get_mut(&irp) {
        found.done = Some((status.0, information));
        found.marked = marked;
    }
    cx.wake(Key::new("irp-done", irp.raw()));
    cx.wake(Key::new("process-io", u64::from(operation.process.0)));
    if let Some(number) = operation.number {
        super::user::finish_async(cx, number, irp, status, information);
    } else if operation.detached {
        signal_status(cx, irp, status, information)?;
        cx.io.operations.remove(&irp);
        irp::free(cx, irp);
        if operation.holds_file {
            super::open::release_later(cx, operation.file, operation.process);
        }
    }
    Ok(())
}

/// The end of an IRP of IoBuildDeviceIoControlRequest or IoBuildSynchronousFsdRequest.
fn finish_threaded(
    cx: &mut Machine,
    irp: Gva<IRP>,
    flags: u32,
    status: NTSTATUS,
    information: u64,
) -> Result<(), Fault> {
    let system = cx.memory.get(irp, IRP::AssociatedIrp_SystemBuffer)?;
    if flags & irp::flag::BUFFERED_IO != 0 && !system.is_null() {
        if flags & irp::flag::INPUT_OPERATION != 0 && !status.is_error() {
            let user = cx.memory.get(irp, IRP::UserBuffer)?;
            let length = cx.ex.pool.get(system.raw()).map_or(0, |b| b.size);
            check_information(cx, information, length);
            let bytes = cx.memory.read_vec(system, information.min(length))?;
            cx.memory.write_bytes(user, &bytes)?;
        }
        if flags & irp::flag::DEALLOCATE_BUFFER != 0 {
            cx.pool_free(system);
        }
    }
    free_mdls(cx, irp)?;
    let pending = cx.memory.get(irp, IRP::PendingReturned)? != 0;
    // A request that fails at once is reported by the result of IoCallDriver alone.
    if !status.is_error() || pending {
        signal_status(cx, irp, status, information)?;
    }
    irp::free(cx, irp);
    Ok(())
}

/// An associated IRP is freed; the last one ends its master.
fn finish_associated(cx: &mut Machine, irp: Gva<IRP>) -> Result<Option<Gva<IRP>>, Fault> {
    let master = cx.memory.get(irp, IRP::AssociatedIrp_MasterIrp)?;
    let left: i32 = cx
        .memory
        .get(master, IRP::AssociatedIrp_IrpCount)?
        .wrapping_sub(1);
    cx.memory.set(master, IRP::AssociatedIrp_IrpCount, left)?;
    free_mdls(cx, irp)?;
    irp::free(cx, irp);
    Ok((left == 0).then_some(master))
}

/// Status block and event of the request.
fn signal_status(
    cx: &mut Machine,
    irp: Gva<IRP>,
    status: NTSTATUS,
    information: u64,
) -> Result<(), Fault> {
    let block = cx.memory.get(irp, IRP::UserIosb)?;
    if !block.is_null() {
        cx.memory
            .set(block, IO_STATUS_BLOCK::Information, information)?;
        cx.memory.set(block, IO_STATUS_BLOCK::Status, status)?;
    }
    let event = cx.memory.get(irp, IRP::UserEvent)?;
    if !event.is_null() {
        dispatcher::signal(cx, event.cast(), 1);
    }
    Ok(())
}

fn check_information(cx: &mut Machine, information: u64, length: u64) {
    if information > length {
        let text = format!(
            "IoStatus.Information is {information}, but the output buffer has {length} bytes"
        );
        cx.report("irp/information-too-large", Severity::Error, text);
    }
}

fn copy_back(
    cx: &mut Machine,
    irp: Gva<IRP>,
    operation: &Operation,
    status: NTSTATUS,
    information: u64,
) -> Result<(), Fault> {
    match operation.transfer {
        Transfer::Buffered {
            system,
            user,
            length,
            output,
        } => {
            // As NT, output is copied unless the request failed with an error.
            if output && !status.is_error() {
                check_information(cx, information, u64::from(length));
                let bytes = cx
                    .memory
                    .read_vec(Gva::<u8>::new(system), information.min(u64::from(length)))?;
                cx.user_write(operation.process, user, &bytes);
            }
            if system != 0 {
                cx.pool_free(Gva::new(system));
            }
        }
        Transfer::Direct { system } => {
            if system != 0 {
                cx.pool_free(Gva::new(system));
            }
        }
        Transfer::None => {}
    }
    if operation.transfer != Transfer::None {
        cx.memory
            .set(irp, IRP::AssociatedIrp_SystemBuffer, Gva::NULL)?;
    }
    Ok(())
}

/// Unlocks and frees the MDLs of an IRP.
///
/// # Errors
/// A fault if one cannot be used.
pub fn free_mdls(cx: &mut Machine, irp: Gva<IRP>) -> Result<(), Fault> {
    let mut mdl = cx.memory.get(irp, IRP::MdlAddress)?;
    while !mdl.is_null() {
        let next = cx.memory.get(mdl, MDL::Next)?;
        if cx.mm.locked_mdls.contains_key(&mdl.raw()) {
            crate::mm::mdl::unlock(cx, mdl)?;
        }
        crate::mm::mdl::free(cx, mdl)?;
        mdl = next;
    }
    cx.memory.set(irp, IRP::MdlAddress, Gva::NULL)
}
