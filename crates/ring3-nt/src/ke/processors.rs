//! Processors, groups and nodes by number. Documentation: wdm.h, ntddk.h, "Supporting Systems That Have More
//! Than 64 Processors". There is one group and one node.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::level::active_mask;
use crate::Machine;
use crate::layout::{GROUP_AFFINITY, PROCESSOR_NUMBER};
use crate::ntstatus::{NTSTATUS, STATUS_INVALID_PARAMETER, STATUS_SUCCESS};

/// `INVALID_PROCESSOR_INDEX`.
const INVALID_PROCESSOR_INDEX: u32 = u32::MAX;
/// `PROCESSOR_NUMBER.Reserved`.
const RESERVED: u64 = 3;

/// The system-wide index of a processor; `None` for an invalid number.
///
/// # Errors
/// A fault if the number cannot be read.
pub(super) fn index_of(
    cx: &Machine,
    number: Gva<PROCESSOR_NUMBER>,
) -> Result<Option<usize>, Fault> {
    let group = cx.memory.get(number, PROCESSOR_NUMBER::Group)?;
    let in_group = usize::from(cx.memory.get(number, PROCESSOR_NUMBER::Number)?);
    let reserved: u8 = cx.memory.read(number.cast::<u8>().byte_add(RESERVED))?;
    let valid = group == 0 && reserved == 0 && in_group < cx.processors.len();
    Ok(valid.then_some(in_group))
}

/// Routines on processors.
pub struct Processors;

#[exports("ntoskrnl.exe")]
impl Processors {
    /// The group and number of the processor with a system-wide index.
    #[page("wdm/nf-wdm-kegetprocessornumberfromindex")]
    #[irql(any)]
    fn KeGetProcessorNumberFromIndex(
        cx: &mut Machine,
        ProcIndex: u32,
        ProcNumber: Gva<PROCESSOR_NUMBER>,
    ) -> Result<NTSTATUS, Fault> {
        if ProcIndex as usize >= cx.processors.len() {
            return Ok(STATUS_INVALID_PARAMETER);
        }
        // Group 0, number, reserved 0.
        cx.memory.write(ProcNumber.cast::<u32>(), ProcIndex << 16)?;
        Ok(STATUS_SUCCESS)
    }

    /// The system-wide index of a processor.
    #[page("wdm/nf-wdm-kegetprocessorindexfromnumber")]
    #[irql(any)]
    fn KeGetProcessorIndexFromNumber(
        cx: &mut Machine,
        ProcNumber: Gva<PROCESSOR_NUMBER>,
    ) -> Result<u32, Fault> {
        Ok(index_of(cx, ProcNumber)?.map_or(INVALID_PROCESSOR_INDEX, |n| n as u32))
    }

    /// The greatest number of processors that the system could have.
    #[page("wdm/nf-wdm-kequerymaximumprocessorcount")]
    #[irql(any)]
    fn KeQueryMaximumProcessorCount(cx: &mut Machine) -> u32 {
        cx.processors.len() as u32
    }

    /// The number of groups with active processors.
    #[page("wdm/nf-wdm-kequeryactivegroupcount")]
    #[irql(any)]
    fn KeQueryActiveGroupCount(cx: &mut Machine) -> u16 {
        let _ = &cx;
        1
    }

    /// The greatest number of groups.
    #[page("wdm/nf-wdm-kequerymaximumgroupcount")]
    #[irql(any)]
    fn KeQueryMaximumGroupCount(cx: &mut Machine) -> u16 {
        let _ = &cx;
        1
    }

    /// The active processors of a group.
    #[page("wdm/nf-wdm-kequerygroupaffinity")]
    #[irql(any)]
    fn KeQueryGroupAffinity(cx: &mut Machine, GroupNumber: u16) -> u64 {
        if GroupNumber == 0 { active_mask(cx) } else { 0 }
    }

    /// The highest node number.
    #[page("wdm/nf-wdm-kequeryhighestnodenumber")]
    #[irql(any)]
    fn KeQueryHighestNodeNumber(cx: &mut Machine) -> u16 {
        let _ = &cx;
        0
    }

    /// The node of the current processor.
    #[page("wdm/nf-wdm-kegetcurrentnodenumber")]
    #[irql(any)]
    fn KeGetCurrentNodeNumber(cx: &mut Machine) -> u16 {
        let _ = &cx;
        0
    }

    /// The active processors of a node, and how many it has.
    #[page("wdm/nf-wdm-kequerynodeactiveaffinity")]
    #[irql(any)]
    fn KeQueryNodeActiveAffinity(
        cx: &mut Machine,
        NodeNumber: u16,
        Affinity: Gva<GROUP_AFFINITY>,
        Count: Gva<u16>,
    ) -> Result<(), Fault> {
        let here = NodeNumber == 0;
        if !Affinity.is_null() {
            let mask = if here { active_mask(cx) } else { 0 };
            cx.memory.fill(Affinity, GROUP_AFFINITY::SIZE, 0)?;
            cx.memory.set(Affinity, GROUP_AFFINITY::Mask, mask)?;
        }
        if !Count.is_null() {
            let count = if here { cx.processors.len() as u16 } else { 0 };
            cx.memory.write(Count, count)?;
        }
        Ok(())
    }
}
