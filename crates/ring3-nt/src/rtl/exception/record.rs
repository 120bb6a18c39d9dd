//! EXCEPTION_RECORDs.

use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::flow::Exception;
use crate::layout::EXCEPTION_RECORD;

/// `EXCEPTION_MAXIMUM_PARAMETERS`.
const EXCEPTION_MAXIMUM_PARAMETERS: usize = 15;

/// Writes a record.
///
/// # Errors
/// A fault.
pub fn write(
    cx: &mut Machine,
    at: Gva<EXCEPTION_RECORD>,
    exception: &Exception,
    address: u64,
    chained: Gva<EXCEPTION_RECORD>,
) -> Result<(), Fault> {
    let mut information = [0u64; EXCEPTION_MAXIMUM_PARAMETERS];
    for (slot, value) in information.iter_mut().zip(&exception.parameters) {
        *slot = *value;
    }
    let count = exception.parameters.len().min(EXCEPTION_MAXIMUM_PARAMETERS) as u32;
    let m = &mut cx.memory;
    m.set(at, EXCEPTION_RECORD::ExceptionCode, exception.code)?;
    m.set(at, EXCEPTION_RECORD::ExceptionFlags, exception.flags)?;
    m.set(at, EXCEPTION_RECORD::ExceptionRecord, chained)?;
    m.set(at, EXCEPTION_RECORD::ExceptionAddress, Gva::new(address))?;
    m.set(at, EXCEPTION_RECORD::NumberParameters, count)?;
    m.set(at, EXCEPTION_RECORD::ExceptionInformation, information)
}

/// Reads a record that a driver made.
///
/// # Errors
/// A fault.
pub fn read(cx: &Machine, at: Gva<EXCEPTION_RECORD>) -> Result<Exception, Fault> {
    let count = cx.memory.get(at, EXCEPTION_RECORD::NumberParameters)? as usize;
    let information = cx.memory.get(at, EXCEPTION_RECORD::ExceptionInformation)?;
    Ok(Exception {
        code: cx.memory.get(at, EXCEPTION_RECORD::ExceptionCode)?,
        flags: cx.memory.get(at, EXCEPTION_RECORD::ExceptionFlags)?,
        parameters: information.iter().copied().take(count).collect(),
    })
}

/// Sets and clears flags of a record; the flags after that.
///
/// # Errors
/// A fault.
pub fn change_flags(
    cx: &mut Machine,
    at: Gva<EXCEPTION_RECORD>,
    set: u32,
    clear: u32,
) -> Result<u32, Fault> {
    let flags = cx.memory.get(at, EXCEPTION_RECORD::ExceptionFlags)? & !clear | set;
    cx.memory.set(at, EXCEPTION_RECORD::ExceptionFlags, flags)?;
    Ok(flags)
}
