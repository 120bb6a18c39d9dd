//! IRQL, processors, regions, time. Documentation: wdm.h, ntddk.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::irql::APC_LEVEL;
use crate::flow::Flow;
use crate::layout::{KTHREAD, LARGE_INTEGER};
use crate::machine::time::{QPC_FREQUENCY, TICK};

/// Changes one of the counters that hold off APCs: negative while inside a region.
///
/// # Errors
/// A fault if the thread object cannot be used.
pub fn region(cx: &mut Machine, special: bool, by: i16) -> Result<(), Fault> {
    let thread = cx.thread().object.cast::<KTHREAD>();
    let field = if special {
        KTHREAD::SpecialApcDisable
    } else {
        KTHREAD::KernelApcDisable
    };
    let value: i16 = cx.memory.get(thread, field)?;
    cx.memory.set(thread, field, value.wrapping_add(by))
}

fn disabled(cx: &mut Machine, special: bool) -> Result<bool, Fault> {
    let thread = cx.thread().object.cast::<KTHREAD>();
    let field = if special {
        KTHREAD::SpecialApcDisable
    } else {
        KTHREAD::KernelApcDisable
    };
    let value: i16 = cx.memory.get(thread, field)?;
    Ok(value != 0)
}

/// Routines on the current processor and thread.
pub struct Levels;

#[exports("ntoskrnl.exe")]
impl Levels {
    /// The current IRQL.
    #[page("wdm/nf-wdm-kegetcurrentirql")]
    #[irql(any)]
    #[hal]
    fn KeGetCurrentIrql(cx: &mut Machine) -> u8 {
        cx.irql()
    }

    /// Raises the IRQL; gives the old one.
    #[page("wdm/nf-wdm-kfraiseirql")]
    #[irql(any)]
    #[hal]
    #[returns(u8)]
    fn KfRaiseIrql(cx: &mut Machine, NewIrql: u8) -> Flow {
        let old = cx.irql();
        if NewIrql < old {
            // IRQL_NOT_GREATER_OR_EQUAL.
            return Flow::Bugcheck(0x09, [0, u64::from(old), u64::from(NewIrql), 0]);
        }
        cx.set_irql(NewIrql);
        Flow::Return(u64::from(old))
    }

    /// Lowers the IRQL.
    #[page("wdm/nf-wdm-kelowerirql")]
    #[irql(any)]
    #[hal]
    #[returns(())]
    fn KeLowerIrql(cx: &mut Machine, NewIrql: u8) -> Flow {
        let old = cx.irql();
        if NewIrql > old {
            // IRQL_NOT_LESS_OR_EQUAL.
            return Flow::Bugcheck(0x0a, [u64::from(NewIrql), u64::from(old), 0, cx.caller]);
        }
        cx.set_irql(NewIrql);
        Flow::Return(crate::machine::SCRUBBED)
    }

    /// Raises the IRQL to DISPATCH_LEVEL; gives the old one.
    #[page("wdm/nf-wdm-keraiseirqltodpclevel")]
    #[irql(..=DISPATCH_LEVEL)]
    #[hal]
    fn KeRaiseIrqlToDpcLevel(cx: &mut Machine) -> u8 {
        let old = cx.irql();
        cx.set_irql(crate::export::irql::DISPATCH_LEVEL);
        old
    }

    /// Holds off normal kernel APCs.
    #[page("ntddk/nf-ntddk-keentercriticalregion")]
    #[irql(..=APC_LEVEL)]
    fn KeEnterCriticalRegion(cx: &mut Machine) -> Result<(), Fault> {
        region(cx, false, -1)
    }

    /// Ends KeEnterCriticalRegion.
    #[page("ntddk/nf-ntddk-keleavecriticalregion")]
    #[irql(..=APC_LEVEL)]
    fn KeLeaveCriticalRegion(cx: &mut Machine) -> Result<(), Fault> {
        region(cx, false, 1)
    }

    /// Holds off all APCs.
    #[page("wdm/nf-wdm-keenterguardedregion")]
    #[irql(..=APC_LEVEL)]
    fn KeEnterGuardedRegion(cx: &mut Machine) -> Result<(), Fault> {
        region(cx, true, -1)
    }

    /// Ends KeEnterGuardedRegion.
    #[page("wdm/nf-wdm-keleaveguardedregion")]
    #[irql(..=APC_LEVEL)]
    fn KeLeaveGuardedRegion(cx: &mut Machine) -> Result<(), Fault> {
        region(cx, true, 1)
    }

    /// TRUE if normal kernel APCs are held off.
    #[page("wdm/nf-wdm-keareapcsdisabled")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeAreApcsDisabled(cx: &mut Machine) -> Result<bool, Fault> {
        Ok(disabled(cx, false)? || disabled(cx, true)?)
    }

    /// TRUE if all APCs are held off.
    #[page("wdm/nf-wdm-keareallapcsdisabled")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeAreAllApcsDisabled(cx: &mut Machine) -> Result<bool, Fault> {
        Ok(cx.irql() >= APC_LEVEL || disabled(cx, true)?)
    }

    /// The number of the current processor.
    #[page("ntddk/nf-ntddk-kegetcurrentprocessornumberex")]
    #[irql(any)]
    fn KeGetCurrentProcessorNumberEx(cx: &mut Machine, ProcNumber: Gva<u32>) -> Result<u32, Fault> {
        let number = cx.current as u32;
        if !ProcNumber.is_null() {
            // PROCESSOR_NUMBER: group 0, number, reserved.
            cx.memory.write(ProcNumber, number << 16)?;
        }
        Ok(number)
    }

    /// A mask of the active processors.
    #[page("ntddk/nf-ntddk-kequeryactiveprocessors")]
    #[irql(any)]
    fn KeQueryActiveProcessors(cx: &mut Machine) -> u64 {
        active_mask(cx)
    }

    /// The number of active processors, and their mask.
    #[page("ntddk/nf-ntddk-kequeryactiveprocessorcount")]
    #[irql(any)]
    fn KeQueryActiveProcessorCount(
        cx: &mut Machine,
        ActiveProcessors: Gva<u64>,
    ) -> Result<u32, Fault> {
        if !ActiveProcessors.is_null() {
            let mask = active_mask(cx);
            cx.memory.write(ActiveProcessors, mask)?;
        }
        Ok(cx.processors.len() as u32)
    }

    /// The number of active processors of a group.
    #[page("ntddk/nf-ntddk-kequeryactiveprocessorcountex")]
    #[irql(any)]
    fn KeQueryActiveProcessorCountEx(cx: &mut Machine, GroupNumber: u16) -> u32 {
        // ALL_PROCESSOR_GROUPS is 0xffff.
        if GroupNumber == 0 || GroupNumber == 0xffff {
            cx.processors.len() as u32
        } else {
            0
        }
    }

    /// The greatest number of processors that the system could have.
    #[page("ntddk/nf-ntddk-kequerymaximumprocessorcountex")]
    #[irql(any)]
    fn KeQueryMaximumProcessorCountEx(cx: &mut Machine, GroupNumber: u16) -> u32 {
        if GroupNumber == 0 || GroupNumber == 0xffff {
            cx.processors.len() as u32
        } else {
            0
        }
    }

    /// The performance counter, and its frequency.
    #[page("wdm/nf-wdm-kequeryperformancecounter")]
    #[irql(any)]
    #[hal]
    fn KeQueryPerformanceCounter(
        cx: &mut Machine,
        PerformanceFrequency: Gva<LARGE_INTEGER>,
    ) -> Result<u64, Fault> {
        if !PerformanceFrequency.is_null() {
            cx.memory
                .write(PerformanceFrequency.cast(), QPC_FREQUENCY)?;
        }
        // The counter runs at 10 MHz, the unit of the clock.
        Ok(cx.clock.now())
    }

    /// The time since boot, exact, with the counter it was read from.
    #[page("wdm/nf-wdm-kequeryinterrupttimeprecise")]
    #[irql(any)]
    fn KeQueryInterruptTimePrecise(cx: &mut Machine, QpcTimeStamp: Gva<u64>) -> Result<u64, Fault> {
        let now = cx.clock.now();
        cx.memory.write(QpcTimeStamp, now)?;
        Ok(now)
    }

    /// The time since boot without the time asleep.
    #[page("wdm/nf-wdm-kequeryunbiasedinterrupttime")]
    #[irql(any)]
    fn KeQueryUnbiasedInterruptTime(cx: &mut Machine) -> u64 {
        cx.clock.now() / TICK * TICK
    }

    /// The system time, exact.
    #[page("wdm/nf-wdm-kequerysystemtimeprecise")]
    #[irql(any)]
    fn KeQuerySystemTimePrecise(
        cx: &mut Machine,
        CurrentTime: Gva<LARGE_INTEGER>,
    ) -> Result<(), Fault> {
        let now = cx.clock.system();
        cx.memory.write(CurrentTime.cast(), now)
    }

    /// The length of a clock tick in 100 ns units.
    #[page("wdm/nf-wdm-kequerytimeincrement")]
    #[irql(any)]
    fn KeQueryTimeIncrement(cx: &mut Machine) -> u32 {
        let _ = &cx;
        TICK as u32
    }

    /// Stops the system.
    #[page("wdm/nf-wdm-kebugcheckex")]
    #[irql(any)]
    #[returns(())]
    fn KeBugCheckEx(
        cx: &mut Machine,
        BugCheckCode: u32,
        BugCheckParameter1: u64,
        BugCheckParameter2: u64,
        BugCheckParameter3: u64,
        BugCheckParameter4: u64,
    ) -> Flow {
        let _ = &cx;
        let parameters = [
            BugCheckParameter1,
            BugCheckParameter2,
            BugCheckParameter3,
            BugCheckParameter4,
        ];
        Flow::Bugcheck(BugCheckCode, parameters)
    }

    /// Stops the system, without parameters.
    #[page("ntddk/nf-ntddk-kebugcheck")]
    #[irql(any)]
    #[returns(())]
    fn KeBugCheck(cx: &mut Machine, BugCheckCode: u32) -> Flow {
        let _ = &cx;
        Flow::Bugcheck(BugCheckCode, [0; 4])
    }
}

/// A bit for each active processor.
pub(super) fn active_mask(cx: &Machine) -> u64 {
    match cx.processors.len() {
        64.. => u64::MAX,
        n => (1 << n) - 1,
    }
}
