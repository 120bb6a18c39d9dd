//! The DPC watchdog: how long DPCs, and DISPATCH_LEVEL, may last in virtual time.
//!
//! Sources: the page of bugcheck 0x133, KDPC_WATCHDOG_INFORMATION. The limits have no source; they are assumed: 0x500
//! ticks (20 s) for one DPC, 0x1E00 ticks (120 s) at DISPATCH_LEVEL in all.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::bugcheck_codes::DPC_WATCHDOG_VIOLATION;
use crate::export::irql::DISPATCH_LEVEL;
use crate::ntstatus::{NTSTATUS, STATUS_SUCCESS, STATUS_UNSUCCESSFUL};

/// Clock ticks that one DPC may take.
const DPC_LIMIT: u64 = 0x500;
/// Clock ticks that a processor may stay at DISPATCH_LEVEL or above.
const DISPATCH_LIMIT: u64 = 0x1e00;

impl Machine {
    /// Counts clock ticks for every processor; a limit that is passed stops the machine.
    pub(crate) fn watch_dpcs(&mut self, ticks: u64) {
        let mut late = None;
        for (n, processor) in self.processors.iter_mut().enumerate() {
            if processor.irql() < DISPATCH_LEVEL {
                processor.ticks_at_dispatch = 0;
                continue;
            }
            processor.ticks_at_dispatch += ticks;
            if processor.dpc_active {
                processor.ticks_in_dpc += ticks;
                if processor.ticks_in_dpc > DPC_LIMIT {
                    late.get_or_insert((n, [0, processor.ticks_in_dpc, DPC_LIMIT, 0]));
                }
            }
            if processor.ticks_at_dispatch > DISPATCH_LIMIT {
                late.get_or_insert((n, [1, DISPATCH_LIMIT, 0, 0]));
            }
        }
        if let Some((n, parameters)) = late {
            self.current = n;
            self.bugcheck(DPC_WATCHDOG_VIOLATION, parameters);
        }
    }
}

/// Routines on the watchdog.
pub struct Watchdog;

#[exports("ntoskrnl.exe")]
impl Watchdog {
    /// Gives how much time the running DPC has left.
    #[page("wdm/nf-wdm-kequerydpcwatchdoginformation")]
    #[irql(DISPATCH_LEVEL)]
    #[assumed("the limits: 0x500 ticks for one DPC, 0x1E00 at DISPATCH_LEVEL")]
    fn KeQueryDpcWatchdogInformation(
        cx: &mut Machine,
        WatchdogInformation: Gva<u32>,
    ) -> Result<NTSTATUS, Fault> {
        let processor = cx.processor();
        if !processor.dpc_active {
            return Ok(STATUS_UNSUCCESSFUL);
        }
        // KDPC_WATCHDOG_INFORMATION: DpcTimeLimit, DpcTimeCount, DpcWatchdogLimit, DpcWatchdogCount, Reserved.
        let values = [
            DPC_LIMIT,
            DPC_LIMIT.saturating_sub(processor.ticks_in_dpc),
            DISPATCH_LIMIT,
            DISPATCH_LIMIT.saturating_sub(processor.ticks_at_dispatch),
            0,
        ];
        for (i, value) in values.into_iter().enumerate() {
            cx.memory
                .write(WatchdogInformation.add(i as u64), value as u32)?;
        }
        Ok(STATUS_SUCCESS)
    }
}
