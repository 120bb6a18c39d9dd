//! Events. Documentation: "Event Objects" (kernel), wdm.h.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::dispatcher::{self, kind};
use crate::Machine;
use crate::layout::{DISPATCHER_HEADER, KEVENT, LIST_ENTRY};

/// Writes a fresh dispatcher header.
pub fn initialize_header(
    cx: &mut Machine,
    object: Gva<DISPATCHER_HEADER>,
    kind: u8,
    size: u64,
    state: i32,
) -> Result<(), Fault> {
    let list: Gva<LIST_ENTRY> = object.at(DISPATCHER_HEADER::WaitListHead);
    crate::ke::list::initialize(&mut cx.memory, list)?;
    // Type, signalling, size in 4-byte units and inserted are one word.
    cx.memory.write(
        object.cast::<u32>(),
        u32::from(kind) | ((size / 4) as u32) << 16,
    )?;
    cx.memory.set(object, DISPATCHER_HEADER::SignalState, state)
}

/// Routines on event objects.
pub struct Events;

#[exports("ntoskrnl.exe")]
impl Events {
    /// Initialises an event object.
    #[page("wdm/nf-wdm-keinitializeevent")]
    #[irql(any)]
    fn KeInitializeEvent(
        cx: &mut Machine,
        Event: Gva<KEVENT>,
        Type: u32,
        State: bool,
    ) -> Result<(), Fault> {
        let kind = if Type == 0 {
            kind::EVENT_NOTIFICATION
        } else {
            kind::EVENT_SYNCHRONIZATION
        };
        initialize_header(cx, Event.cast(), kind, KEVENT::SIZE, i32::from(State))
    }

    /// Sets an event to the signalled state.
    #[page("wdm/nf-wdm-kesetevent")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeSetEvent(
        cx: &mut Machine,
        Event: Gva<KEVENT>,
        Increment: i32,
        Wait: bool,
    ) -> Result<i32, Fault> {
        cx.memory
            .get(Event.cast(), DISPATCHER_HEADER::SignalState)?;
        super::waiting::keep_for_wait(cx, Wait);
        Ok(dispatcher::signal_boosted(cx, Event.cast(), 1, Increment))
    }

    /// Releases who waits for an event now, and leaves it not signalled.
    #[page("ntddk/nf-ntddk-kepulseevent")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KePulseEvent(
        cx: &mut Machine,
        Event: Gva<KEVENT>,
        Increment: i32,
        Wait: bool,
    ) -> Result<i32, Fault> {
        let header = Event.cast();
        let before = cx.memory.get(header, DISPATCHER_HEADER::SignalState)?;
        super::waiting::keep_for_wait(cx, Wait);
        dispatcher::signal_boosted(cx, header, 1, Increment);
        cx.memory.set(header, DISPATCHER_HEADER::SignalState, 0)?;
        Ok(before)
    }

    /// Sets an event to the not-signalled state.
    #[page("wdm/nf-wdm-keclearevent")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeClearEvent(cx: &mut Machine, Event: Gva<KEVENT>) -> Result<(), Fault> {
        cx.memory
            .set(Event.cast(), DISPATCHER_HEADER::SignalState, 0)
    }

    /// Sets an event to the not-signalled state and gives its previous state.
    #[page("wdm/nf-wdm-keresetevent")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeResetEvent(cx: &mut Machine, Event: Gva<KEVENT>) -> Result<i32, Fault> {
        let before = cx
            .memory
            .get(Event.cast(), DISPATCHER_HEADER::SignalState)?;
        cx.memory
            .set(Event.cast(), DISPATCHER_HEADER::SignalState, 0)?;
        Ok(before)
    }

    /// Gives the current state of an event.
    #[page("wdm/nf-wdm-kereadstateevent")]
    #[irql(..=DISPATCH_LEVEL)]
    fn KeReadStateEvent(cx: &mut Machine, Event: Gva<KEVENT>) -> Result<i32, Fault> {
        cx.memory.get(Event.cast(), DISPATCHER_HEADER::SignalState)
    }
}
