//! Virtual time: one clock over all processors.

/// Virtual picoseconds per guest instruction: 4,000 million instructions a second.
pub const PS_PER_INSTRUCTION: u64 = 250;
/// Virtual picoseconds that a routine of the kernel takes.
pub const PS_PER_CALL: u64 = 50_000;
/// One unit of Windows time in picoseconds.
pub const PS_PER_UNIT: u64 = 100_000;
/// The clock interrupt of Windows 10 in 100 ns units: 15.625 ms.
pub const TICK: u64 = 156_250;
/// The quantum of a thread in instructions: two clock ticks would be 125 million; a driver test has
/// no such loops, so equals are rotated sooner. By assumption.
pub const QUANTUM: u64 = 200_000;
/// 2024-01-01 00:00:00 UTC in 100 ns units since 1601: the time at which every machine boots.
pub const BOOT_SYSTEM_TIME: u64 = 133_485_408_000_000_000;
/// Time since boot when the machine is handed over, in 100 ns units: 10 s, so that no counter is 0.
pub const BOOT_UPTIME: u64 = 100_000_000;
/// `KeQueryPerformanceCounter` frequency: 10 MHz as on Windows 10.
pub const QPC_FREQUENCY: u64 = 10_000_000;

/// The clock of a machine.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Clock {
    picoseconds: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            picoseconds: BOOT_UPTIME * PS_PER_UNIT,
        }
    }
}

impl Clock {
    /// Time since boot in 100 ns units: `KeQueryInterruptTime`.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.picoseconds / PS_PER_UNIT
    }

    /// Time since 1601 in 100 ns units: `KeQuerySystemTime`.
    #[must_use]
    pub fn system(&self) -> u64 {
        BOOT_SYSTEM_TIME + self.now()
    }

    /// Clock interrupts since boot.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.now() / TICK
    }

    /// Nanoseconds of virtual time since the machine was handed over.
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        self.picoseconds.saturating_sub(BOOT_UPTIME * PS_PER_UNIT) / 1000
    }

    /// Lets time pass.
    pub fn advance_ps(&mut self, picoseconds: u64) {
        self.picoseconds = self.picoseconds.saturating_add(picoseconds);
    }

    /// Jumps to a point in time, never back.
    pub fn jump_to(&mut self, units: u64) {
        self.picoseconds = self.picoseconds.max(units.saturating_mul(PS_PER_UNIT));
    }

    /// Picoseconds until a point in time.
    #[must_use]
    pub fn ps_until(&self, units: u64) -> u64 {
        units
            .saturating_mul(PS_PER_UNIT)
            .saturating_sub(self.picoseconds)
    }
}
