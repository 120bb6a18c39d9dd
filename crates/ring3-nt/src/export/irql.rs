//! Interrupt request levels.

/// An inclusive range of IRQLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqlRange {
    /// Lowest.
    pub min: u8,
    /// Highest.
    pub max: u8,
}

impl IrqlRange {
    /// Whether a level is inside.
    #[must_use]
    pub const fn contains(&self, level: u8) -> bool {
        self.min <= level && level <= self.max
    }
}

/// Threads run here.
pub const PASSIVE_LEVEL: u8 = 0;
/// Asynchronous procedure calls are held off.
pub const APC_LEVEL: u8 = 1;
/// Thread switches are held off; pageable memory must not be touched.
pub const DISPATCH_LEVEL: u8 = 2;
/// The lowest device interrupt level.
pub const DIRQL: u8 = 3;
/// The clock interrupt.
pub const CLOCK_LEVEL: u8 = 13;
/// Interprocessor interrupts.
pub const IPI_LEVEL: u8 = 14;
/// Everything is held off.
pub const HIGH_LEVEL: u8 = 15;

/// The field's name for a level.
#[must_use]
pub const fn name(level: u8) -> &'static str {
    match level {
        PASSIVE_LEVEL => "PASSIVE_LEVEL",
        APC_LEVEL => "APC_LEVEL",
        DISPATCH_LEVEL => "DISPATCH_LEVEL",
        3..=12 => "DIRQL",
        CLOCK_LEVEL => "CLOCK_LEVEL",
        IPI_LEVEL => "IPI_LEVEL",
        _ => "HIGH_LEVEL",
    }
}
