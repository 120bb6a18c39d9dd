//! The debug print filter: one mask for each component, in memory of the kernel.
//!
//! Documentation: "Reading and Filtering Debugging Messages". The masks are variables of the kernel
//! that it does not export (`Kd_DEFAULT_Mask`, ...); a debugger changes them in place.

use ring3_memory::Gva;

use super::components::{self, ALL, COMPONENTS};
use crate::Machine;

/// Where the registry has the masks that hold from boot on.
const KEY: &str =
    r"\Registry\Machine\System\CurrentControlSet\Control\Session Manager\Debug Print Filter";
/// The mask for all components lets errors through.
const ALL_AT_FIRST: u32 = 1;
/// `DPFLTR_MASK`: set in a level that is meant as a bit field.
pub const DPFLTR_MASK: u32 = 0x8000_0000;

/// The name of a component's mask.
fn symbol(name: &str) -> String {
    format!("Kd_{name}_Mask")
}

/// All masks, four bytes each; they lie one after the other in this order.
pub fn symbols() -> impl Iterator<Item = String> {
    COMPONENTS.iter().chain([&ALL]).map(|name| symbol(name))
}

/// Below 32 a level names a bit, from 32 on it is the bit field itself.
#[must_use]
pub const fn bits(level: u32) -> u32 {
    if level < 32 { 1 << level } else { level }
}

/// The smallest change of a mask that lets a level through.
#[must_use]
pub const fn least_mask(level: u32) -> u32 {
    let bits = bits(level);
    let chosen = if bits == DPFLTR_MASK {
        bits
    } else {
        bits & !DPFLTR_MASK
    };
    chosen & chosen.wrapping_neg()
}

/// Where the mask of a component lies.
#[must_use]
pub fn address(cx: &Machine, name: &str) -> Option<Gva<u32>> {
    let index = COMPONENTS
        .iter()
        .chain([&ALL])
        .position(|known| known.eq_ignore_ascii_case(name))?;
    let first = cx.dbg.masks.raw();
    (first != 0).then(|| Gva::new(first + 4 * index as u64))
}

/// A mask as it stands in memory.
#[must_use]
pub fn mask(cx: &Machine, name: &str) -> u32 {
    address(cx, name)
        .and_then(|at| cx.memory.peek(at))
        .unwrap_or(0)
}

/// Changes a mask, as a debugger does. False if there is no such component.
pub fn set_mask(cx: &mut Machine, name: &str, value: u32) -> bool {
    let Some(at) = address(cx, name) else {
        return false;
    };
    cx.memory
        .poke_bytes(None, at.cast::<u8>(), &value.to_le_bytes())
        .is_ok()
}

/// Whether a message goes to the debugger.
#[must_use]
pub fn lets_through(cx: &Machine, component: u32, level: u32) -> bool {
    bits(level) & (mask(cx, components::name(component)) | mask(cx, ALL)) != 0
}

/// The masks of a fresh machine.
pub fn initialize(cx: &mut Machine) {
    let first = COMPONENTS.first().map(|name| symbol(name));
    cx.dbg.masks = first
        .and_then(|name| cx.export_address("ntoskrnl.exe", &name))
        .unwrap_or(Gva::NULL)
        .cast();
    set_mask(cx, ALL, ALL_AT_FIRST);
}

/// Takes the masks from the registry, once: what stands there when the first driver starts counts as
/// the state at boot.
pub fn read_registry(cx: &mut Machine) {
    if std::mem::replace(&mut cx.dbg.registry_read, true) {
        return;
    }
    for name in COMPONENTS.iter().chain([&ALL]) {
        let value = cx.cm.value(KEY, name);
        let number = value
            .filter(|value| value.kind == crate::cm::tree::REG_DWORD)
            .and_then(|value| value.data.first_chunk::<4>())
            .map(|bytes| u32::from_le_bytes(*bytes));
        if let Some(number) = number {
            set_mask(cx, name, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{bits, least_mask};

    #[test]
    fn levels_and_bit_fields() {
        assert_eq!(bits(0), 1);
        assert_eq!(bits(31), 0x8000_0000);
        assert_eq!(bits(32), 32);
        assert_eq!(bits(0x8000_0010), 0x8000_0010);
        assert_eq!(least_mask(3), 8);
        assert_eq!(least_mask(0x8000_0010), 0x10);
        assert_eq!(least_mask(0x70), 0x10);
        assert_eq!(least_mask(31), 0x8000_0000);
    }
}
