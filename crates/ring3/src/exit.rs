//! Exit codes. Where several hold, 2, 3, 4, 1 in that order.

/// Clean, or exactly what the scenario expects.
pub const CLEAN: u8 = 0;
/// Findings, a failed check, a hang, a failed DriverEntry.
pub const FINDINGS: u8 = 1;
/// Bad usage, or input that is not what it should be.
pub const USAGE: u8 = 2;
/// An unexpected bugcheck.
pub const BUGCHECK: u8 = 3;
/// Something that the driver needs is not modelled.
pub const UNMODELLED: u8 = 4;
