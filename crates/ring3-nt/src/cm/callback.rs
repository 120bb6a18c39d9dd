//! Registry callbacks: drivers that see operations before and after they are performed.
//!
//! Documentation: wdm.h, "Filtering Registry Calls", "CmRegisterCallbackEx", "EX_CALLBACK_FUNCTION".

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::io::device::read_string;
use crate::layout::UNICODE_STRING;
use crate::machine::modules::within;
use crate::ntstatus::{
    NTSTATUS, STATUS_FLT_INSTANCE_ALTITUDE_COLLISION, STATUS_INVALID_PARAMETER, STATUS_SUCCESS,
};

/// The altitude of CmRegisterCallback, which asks for none.
const OLD_ALTITUDE: &str = "0";

/// A registered callback.
#[derive(Clone, Hash, Debug, Default)]
pub struct Callback {
    /// What CmUnRegisterCallback takes.
    pub cookie: u64,
    /// The altitude, as given.
    pub altitude: String,
    /// The routine.
    pub routine: u64,
    /// Its first argument.
    pub context: u64,
    /// Who registered it: a return address.
    pub owner: u64,
}

/// Compares altitudes: decimal numbers of any length, with a fraction.
fn higher(a: &str, b: &str) -> std::cmp::Ordering {
    let split = |text: &str| {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole = whole.trim_start_matches('0').to_owned();
        (
            whole.len(),
            whole,
            fraction.trim_end_matches('0').to_owned(),
        )
    };
    split(a).cmp(&split(b))
}

fn register(
    cx: &mut Machine,
    altitude: String,
    routine: u64,
    context: u64,
    cookie_at: Gva<u64>,
) -> Result<NTSTATUS, Fault> {
    if altitude != OLD_ALTITUDE
        && cx
            .cm
            .callbacks
            .iter()
            .any(|c| higher(&c.altitude, &altitude).is_eq())
    {
        return Ok(STATUS_FLT_INSTANCE_ALTITUDE_COLLISION);
    }
    let (cookie, owner) = (cx.cm.next_cookie, cx.caller);
    cx.memory.write(cookie_at, cookie)?;
    cx.cm.next_cookie += 1;
    let at = cx
        .cm
        .callbacks
        .partition_point(|c| higher(&c.altitude, &altitude).is_ge());
    cx.cm.callbacks.insert(
        at,
        Callback {
            cookie,
            altitude,
            routine,
            context,
            owner,
        },
    );
    Ok(STATUS_SUCCESS)
}

/// A callback is gone: it gets the contexts back that it gave to key objects.
#[resumable]
fn gone(cx: &mut Machine, callback: Callback) -> NTSTATUS {
    loop {
        let cookie = callback.cookie;
        let next = cx.cm.contexts.keys().find(|(_, c)| *c == cookie);
        let Some(object) = next.map(|(object, _)| *object) else {
            break;
        };
        host!(super::filter::clean_up(callback.clone(), object));
    }
    STATUS_SUCCESS
}

/// Reports the callbacks that code of this image registered and did not take back.
pub fn report_left(cx: &mut Machine, base: u64, size: u32) {
    let inside = within(base, size);
    let left: Vec<Callback> = cx
        .cm
        .callbacks
        .iter()
        .filter(|c| inside(c.owner) || inside(c.routine))
        .cloned()
        .collect();
    for callback in left {
        let text = "a registry callback is still registered after unload: the next registry call runs code that is gone";
        cx.report_at(
            "registry/callback-left",
            crate::machine::finding::Severity::Error,
            text,
            callback.owner.wrapping_sub(1),
        );
    }
}

/// Routines on registry callbacks.
pub struct Callbacks;

#[exports("ntoskrnl.exe")]
impl Callbacks {
    /// Registers a callback at an altitude.
    #[page("wdm/nf-wdm-cmregistercallbackex")]
    #[irql(..=APC_LEVEL)]
    #[partial("transactions; loading, saving and the security of keys, which are not modelled")]
    fn CmRegisterCallbackEx(
        cx: &mut Machine,
        Function: Gva<Code>,
        Altitude: Gva<UNICODE_STRING>,
        Driver: Gva,
        Context: u64,
        Cookie: Gva<u64>,
        Reserved: Gva,
    ) -> Result<NTSTATUS, Fault> {
        let _ = (Driver, Reserved);
        let altitude = read_string(cx, Altitude)?;
        register(cx, altitude, Function.raw(), Context, Cookie)
    }

    /// Registers a callback without an altitude.
    #[page("wdm/nf-wdm-cmregistercallback")]
    #[irql(..=APC_LEVEL)]
    #[partial("transactions; loading, saving and the security of keys, which are not modelled")]
    fn CmRegisterCallback(
        cx: &mut Machine,
        Function: Gva<Code>,
        Context: u64,
        Cookie: Gva<u64>,
    ) -> Result<NTSTATUS, Fault> {
        register(cx, OLD_ALTITUDE.to_owned(), Function.raw(), Context, Cookie)
    }

    /// Takes a callback back.
    #[page("wdm/nf-wdm-cmunregistercallback")]
    #[irql(..=APC_LEVEL)]
    #[partial("does not wait for callbacks that run on other threads")]
    #[returns(NTSTATUS)]
    fn CmUnRegisterCallback(cx: &mut Machine, Cookie: u64) -> Flow {
        let Some(at) = cx.cm.callbacks.iter().position(|c| c.cookie == Cookie) else {
            return Flow::Return(u64::from(STATUS_INVALID_PARAMETER.0));
        };
        let callback = cx.cm.callbacks.remove(at);
        Flow::Become(gone(callback))
    }

    /// The version of registry filtering: 1.1.
    #[page("wdm/nf-wdm-cmgetcallbackversion")]
    #[irql(..=APC_LEVEL)]
    fn CmGetCallbackVersion(
        cx: &mut Machine,
        Major: Gva<u32>,
        Minor: Gva<u32>,
    ) -> Result<(), Fault> {
        for at in [Major, Minor] {
            if !at.is_null() {
                cx.memory.write(at, 1)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering;

    #[test]
    fn altitudes_are_decimal_numbers_of_any_length() {
        assert_eq!(higher("360000", "85000.5"), Ordering::Greater);
        assert_eq!(higher("85000.5", "85000.45"), Ordering::Greater);
        assert_eq!(higher("085000.50", "85000.5"), Ordering::Equal);
        assert_eq!(higher("0", "1"), Ordering::Less);
    }
}
