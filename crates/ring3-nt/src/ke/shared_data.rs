//! KUSER_SHARED_DATA: the clock that everybody may read.

use ring3_memory::{Field, Gva};

use crate::Machine;
use crate::layout::KUSER_SHARED_DATA;

/// Where the kernel sees it, on every x64 Windows.
pub const ADDRESS: u64 = 0xffff_f780_0000_0000;

/// A KSYSTEM_TIME is read as low part and two equal high parts.
fn write_time(
    cx: &mut Machine,
    field: Field<KUSER_SHARED_DATA, crate::layout::KSYSTEM_TIME>,
    value: u64,
) {
    let at = Gva::<KUSER_SHARED_DATA>::new(ADDRESS)
        .at(field)
        .cast::<u32>();
    let high = (value >> 32) as u32;
    let _ = cx.memory.write(at.add(2), high);
    let _ = cx.memory.write(at, value as u32);
    let _ = cx.memory.write(at.add(1), high);
}

/// Writes the current time.
pub fn update(cx: &mut Machine) {
    let (interrupt, system, ticks) = (cx.clock.now(), cx.clock.system(), cx.clock.ticks());
    write_time(cx, KUSER_SHARED_DATA::InterruptTime, interrupt);
    write_time(cx, KUSER_SHARED_DATA::SystemTime, system);
    write_time(cx, KUSER_SHARED_DATA::TickCount, ticks);
}

/// Fills the page of a fresh machine: version, processor features, system root.
pub fn initialize(cx: &mut Machine) {
    let base = Gva::<KUSER_SHARED_DATA>::new(ADDRESS);
    let build = cx.build;
    let mut root = [0u16; 260];
    for (slot, unit) in root.iter_mut().zip("C:\\Windows".encode_utf16()) {
        *slot = unit;
    }
    let m = &mut cx.memory;
    let _ = m.set(base, KUSER_SHARED_DATA::NtSystemRoot, root);
    let _ = m.set(base, KUSER_SHARED_DATA::NtMajorVersion, build.major);
    let _ = m.set(base, KUSER_SHARED_DATA::NtMinorVersion, build.minor);
    let _ = m.set(base, KUSER_SHARED_DATA::NtBuildNumber, build.build);
    let _ = m.set(base, KUSER_SHARED_DATA::NtProductType, 1i32);
    let _ = m.set(base, KUSER_SHARED_DATA::ProductTypeIsValid, 1u8);
    let _ = m.set(base, KUSER_SHARED_DATA::TickCountMultiplier, 0x0fa0_0000u32);
    let _ = m.set(
        base,
        KUSER_SHARED_DATA::QpcFrequency,
        crate::machine::time::QPC_FREQUENCY as i64,
    );
    // PF_*_AVAILABLE of winnt.h that hold for this processor: MMX 3 is absent with x87; COMPARE_EXCHANGE
    // DOUBLE 2, XMMI 6, RDTSC 8, PAE 9, XMMI64 10, NX 12, SSE3 13, COMPARE_EXCHANGE128 14, RDRAND 28,
    // RDTSCP 32, SSSE3 36, SSE4_1 37, SSE4_2 38.
    let features = base.at(KUSER_SHARED_DATA::ProcessorFeatures).cast::<u8>();
    for feature in [2, 6, 8, 9, 10, 12, 13, 14, 28, 32, 36, 37, 38] {
        let _ = m.write(features.byte_add(feature), 1u8);
    }
}
