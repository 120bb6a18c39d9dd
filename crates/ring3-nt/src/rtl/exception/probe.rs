//! Probing of addresses that came from user mode. Documentation: wdm.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::raise::status;
use crate::Machine;
use crate::flow::{Exception, Flow};
use crate::mm::space::PAGE;
use crate::ntstatus::{NTSTATUS, STATUS_ACCESS_VIOLATION, STATUS_DATATYPE_MISALIGNMENT};

/// What is wrong with a range, without a look at memory. `limit` is `MmUserProbeAddress`.
fn refused(address: u64, length: u64, alignment: u32, limit: u64) -> Option<NTSTATUS> {
    if address & u64::from(alignment).wrapping_sub(1) != 0 {
        return Some(STATUS_DATATYPE_MISALIGNMENT);
    }
    match address.checked_add(length) {
        Some(end) if end <= limit => None,
        _ => Some(STATUS_ACCESS_VIOLATION),
    }
}

/// Reads a byte of each page of a range and writes it back.
fn touch(cx: &mut Machine, address: u64, length: u64) -> Result<(), Fault> {
    let mut at = address;
    let end = address.wrapping_add(length);
    while at < end {
        let byte = cx.memory.read(Gva::<u8>::new(at))?;
        cx.memory.write(Gva::<u8>::new(at), byte)?;
        at = (at & !(PAGE - 1)) + PAGE;
    }
    Ok(())
}

/// Routines that check addresses from user mode.
pub struct Probing;

#[exports("ntoskrnl.exe")]
impl Probing {
    /// Raises an exception unless a range lies in user space and is aligned.
    #[page("wdm/nf-wdm-probeforread")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ProbeForRead(
        cx: &mut Machine,
        Address: Gva,
        Length: u64,
        Alignment: u32,
    ) -> Result<(), Exception> {
        if Length == 0 {
            return Ok(());
        }
        match refused(
            Address.raw(),
            Length,
            Alignment,
            cx.build.user_probe_address,
        ) {
            Some(code) => Err(status(code)),
            None => Ok(()),
        }
    }

    /// Raises an exception unless a range lies in user space, is aligned and can be written now.
    #[page("wdm/nf-wdm-probeforwrite")]
    #[irql(..=APC_LEVEL)]
    #[returns(())]
    fn ProbeForWrite(
        cx: &mut Machine,
        Address: Gva,
        Length: u64,
        Alignment: u32,
    ) -> Result<Flow, Fault> {
        if Length == 0 {
            return Ok(Flow::Return(crate::machine::SCRUBBED));
        }
        if let Some(code) = refused(
            Address.raw(),
            Length,
            Alignment,
            cx.build.user_probe_address,
        ) {
            return Ok(Flow::Raise(status(code)));
        }
        touch(cx, Address.raw(), Length)?;
        Ok(Flow::Return(crate::machine::SCRUBBED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 0x7fff_ffff_0000;

    #[test]
    fn ranges_are_refused_by_what_is_wrong_first() {
        assert_eq!(refused(0x1_0000, 8, 4, LIMIT), None);
        assert_eq!(
            refused(0x1_0002, 8, 4, LIMIT),
            Some(STATUS_DATATYPE_MISALIGNMENT)
        );
        assert_eq!(refused(0x1_0001, 8, 1, LIMIT), None);
        assert_eq!(refused(LIMIT - 8, 8, 1, LIMIT), None);
        assert_eq!(
            refused(LIMIT - 7, 8, 1, LIMIT),
            Some(STATUS_ACCESS_VIOLATION)
        );
        assert_eq!(
            refused(0x1_0000, u64::MAX, 1, LIMIT),
            Some(STATUS_ACCESS_VIOLATION)
        );
        assert_eq!(
            refused(0xffff_8000_0000_1000, 8, 1, LIMIT),
            Some(STATUS_ACCESS_VIOLATION)
        );
        assert_eq!(
            refused(0xffff_8000_0000_1001, 8, 2, LIMIT),
            Some(STATUS_DATATYPE_MISALIGNMENT)
        );
    }
}
