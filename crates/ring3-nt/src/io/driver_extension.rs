//! What belongs to a driver object beside its devices. Documentation: wdm.h, ntddk.h.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::ex::pool::Kind as Pool;
use crate::export::argument::Code;
use crate::layout::{DRIVER_EXTENSION, DRIVER_OBJECT, IO_CLIENT_EXTENSION};
use crate::ntstatus::{
    NTSTATUS, STATUS_INSUFFICIENT_RESOURCES, STATUS_OBJECT_NAME_COLLISION, STATUS_SUCCESS,
};

const TAG: u32 = u32::from_le_bytes(*b"Driv");

/// A routine to be called again once other drivers have been initialised.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Reinitialization {
    /// The driver.
    pub driver: u64,
    /// The routine.
    pub routine: u64,
    /// Its context.
    pub context: u64,
}

fn find(cx: &Machine, driver: Gva<DRIVER_OBJECT>, id: u64) -> Result<Option<Gva>, Fault> {
    let extension = cx.memory.get(driver, DRIVER_OBJECT::DriverExtension)?;
    let mut next = cx
        .memory
        .get(extension, DRIVER_EXTENSION::ClientDriverExtension)?;
    for _ in 0..4096 {
        if next.is_null() {
            break;
        }
        if cx
            .memory
            .get(next, IO_CLIENT_EXTENSION::ClientIdentificationAddress)?
            .raw()
            == id
        {
            return Ok(Some(next.cast::<u8>().byte_add(IO_CLIENT_EXTENSION::SIZE)));
        }
        next = cx.memory.get(next, IO_CLIENT_EXTENSION::NextExtension)?;
    }
    Ok(None)
}

/// Frees the extensions of a driver object that goes.
pub(super) fn free_all(cx: &mut Machine, driver: Gva<DRIVER_OBJECT>) -> Result<(), Fault> {
    let extension = cx.memory.get(driver, DRIVER_OBJECT::DriverExtension)?;
    let mut next = cx
        .memory
        .get(extension, DRIVER_EXTENSION::ClientDriverExtension)?;
    while !next.is_null() {
        let after = cx.memory.get(next, IO_CLIENT_EXTENSION::NextExtension)?;
        if !cx.pool_free(next.cast()) {
            break;
        }
        next = after;
    }
    Ok(())
}

/// Calls the reinitialisation routines of a driver that has just been started, as long as there are any.
#[resumable]
pub(super) fn reinitialize(cx: &mut Machine, driver: Gva<DRIVER_OBJECT>) -> Result<(), Fault> {
    while let Some(at) = cx
        .io
        .reinitializations
        .iter()
        .position(|r| r.driver == driver.raw())
    {
        let next = cx.io.reinitializations.remove(at);
        let extension = cx.memory.get(driver, DRIVER_OBJECT::DriverExtension)?;
        let count = cx
            .memory
            .get(extension, DRIVER_EXTENSION::Count)?
            .wrapping_add(1);
        cx.memory.set(extension, DRIVER_EXTENSION::Count, count)?;
        call!(next.routine, driver, next.context, count);
    }
    Ok(())
}

/// Routines on driver objects.
pub struct DriverExtensions;

#[exports("ntoskrnl.exe")]
impl DriverExtensions {
    /// Allocates memory that belongs to a driver object, under an id.
    #[page("wdm/nf-wdm-ioallocatedriverobjectextension")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoAllocateDriverObjectExtension(
        cx: &mut Machine,
        DriverObject: Gva<DRIVER_OBJECT>,
        ClientIdentificationAddress: Gva,
        DriverObjectExtensionSize: u32,
        DriverObjectExtension: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        cx.memory.write(DriverObjectExtension, 0)?;
        if find(cx, DriverObject, ClientIdentificationAddress.raw())?.is_some() {
            return Ok(STATUS_OBJECT_NAME_COLLISION);
        }
        let extension = cx
            .memory
            .get(DriverObject, DRIVER_OBJECT::DriverExtension)?;
        let first = cx
            .memory
            .get(extension, DRIVER_EXTENSION::ClientDriverExtension)?;
        let size = IO_CLIENT_EXTENSION::SIZE + u64::from(DriverObjectExtensionSize);
        let Some(block) = cx.pool_allocate(Pool::NonPaged, size, TAG) else {
            return Ok(STATUS_INSUFFICIENT_RESOURCES);
        };
        let client = block.cast::<IO_CLIENT_EXTENSION>();
        cx.memory
            .set(client, IO_CLIENT_EXTENSION::NextExtension, first)?;
        cx.memory.set(
            client,
            IO_CLIENT_EXTENSION::ClientIdentificationAddress,
            ClientIdentificationAddress,
        )?;
        cx.memory
            .set(extension, DRIVER_EXTENSION::ClientDriverExtension, client)?;
        cx.memory.write(
            DriverObjectExtension,
            block.byte_add(IO_CLIENT_EXTENSION::SIZE).raw(),
        )?;
        Ok(STATUS_SUCCESS)
    }

    /// The memory of a driver object under an id, or null.
    #[page("wdm/nf-wdm-iogetdriverobjectextension")]
    #[irql(..=DISPATCH_LEVEL)]
    fn IoGetDriverObjectExtension(
        cx: &mut Machine,
        DriverObject: Gva<DRIVER_OBJECT>,
        ClientIdentificationAddress: Gva,
    ) -> Result<Gva, Fault> {
        Ok(find(cx, DriverObject, ClientIdentificationAddress.raw())?.unwrap_or(Gva::NULL))
    }

    /// Asks for a call after this and the other drivers have been initialised.
    #[page("ntddk/nf-ntddk-ioregisterdriverreinitialization")]
    #[irql(PASSIVE_LEVEL)]
    #[alias("IoRegisterBootDriverReinitialization")]
    #[partial("the call comes right after DriverEntry; other drivers are not waited for")]
    fn IoRegisterDriverReinitialization(
        cx: &mut Machine,
        DriverObject: Gva<DRIVER_OBJECT>,
        DriverReinitializationRoutine: Gva<Code>,
        Context: Gva,
    ) {
        cx.io.reinitializations.push(Reinitialization {
            driver: DriverObject.raw(),
            routine: DriverReinitializationRoutine.raw(),
            context: Context.raw(),
        });
    }
}
