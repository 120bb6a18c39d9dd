//! Registry routines. Documentation: wdm.h, "Zw" registry routines.
//!
//! Drivers call these from kernel mode, so that access is not checked, neither here nor on Windows.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::filter::start;
use super::operation::{self, Buffer, Operation};
use crate::Machine;
use crate::flow::Flow;
use crate::layout::{OBJECT_ATTRIBUTES, UNICODE_STRING};
use crate::ntstatus::NTSTATUS;

fn on_key(
    cx: &mut Machine,
    handle: u64,
    make: impl FnOnce(operation::Target) -> Operation,
) -> Result<Flow, Fault> {
    match operation::target(cx, handle) {
        Ok(target) => start(cx, make(target)),
        Err(status) => Ok(Flow::Return(u64::from(status.0))),
    }
}

fn on_name(
    cx: &mut Machine,
    attributes: Gva<OBJECT_ATTRIBUTES>,
    access: u32,
    handle: Gva<u64>,
    make: impl FnOnce(operation::Name) -> Operation,
) -> Result<Flow, Fault> {
    match operation::name(cx, attributes, access, handle)? {
        Ok(name) => start(cx, make(name)),
        Err(status) => Ok(Flow::Return(u64::from(status.0))),
    }
}

/// Registry routines.
pub struct Keys;

#[exports("ntoskrnl.exe")]
impl Keys {
    /// Opens a key.
    #[page("wdm/nf-wdm-zwopenkey")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn ZwOpenKey(
        cx: &mut Machine,
        KeyHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
    ) -> Result<Flow, Fault> {
        on_name(
            cx,
            ObjectAttributes,
            DesiredAccess,
            KeyHandle,
            Operation::Open,
        )
    }

    /// Opens a key, with options.
    #[page("wdm/nf-wdm-zwopenkeyex")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn ZwOpenKeyEx(
        cx: &mut Machine,
        KeyHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        OpenOptions: u32,
    ) -> Result<Flow, Fault> {
        on_name(
            cx,
            ObjectAttributes,
            DesiredAccess,
            KeyHandle,
            |mut name| {
                name.open_link |= OpenOptions & operation::OPEN_LINK != 0;
                Operation::Open(name)
            },
        )
    }

    /// Creates or opens a key.
    #[page("wdm/nf-wdm-zwcreatekey")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn ZwCreateKey(
        cx: &mut Machine,
        KeyHandle: Gva<u64>,
        DesiredAccess: u32,
        ObjectAttributes: Gva<OBJECT_ATTRIBUTES>,
        TitleIndex: u32,
        Class: Gva<UNICODE_STRING>,
        CreateOptions: u32,
        Disposition: Gva<u32>,
    ) -> Result<Flow, Fault> {
        let _ = TitleIndex;
        on_name(cx, ObjectAttributes, DesiredAccess, KeyHandle, |name| {
            Operation::Create(name, Class, CreateOptions, Disposition)
        })
    }

    /// Tells about a key.
    #[page("wdm/nf-wdm-zwquerykey")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    #[partial("information classes from KeyVirtualizationInformation on")]
    fn ZwQueryKey(
        cx: &mut Machine,
        KeyHandle: u64,
        KeyInformationClass: u32,
        KeyInformation: Gva,
        Length: u32,
        ResultLength: Gva<u32>,
    ) -> Result<Flow, Fault> {
        let buffer = Buffer {
            class: KeyInformationClass,
            at: KeyInformation,
            length: Length,
            needed: ResultLength,
        };
        on_key(cx, KeyHandle, |key| Operation::QueryKey(key, buffer))
    }

    /// Tells about the n-th key below one.
    #[page("wdm/nf-wdm-zwenumeratekey")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn ZwEnumerateKey(
        cx: &mut Machine,
        KeyHandle: u64,
        Index: u32,
        KeyInformationClass: u32,
        KeyInformation: Gva,
        Length: u32,
        ResultLength: Gva<u32>,
    ) -> Result<Flow, Fault> {
        let buffer = Buffer {
            class: KeyInformationClass,
            at: KeyInformation,
            length: Length,
            needed: ResultLength,
        };
        on_key(cx, KeyHandle, |key| {
            Operation::EnumerateKey(key, Index, buffer)
        })
    }

    /// Reads a value.
    #[page("wdm/nf-wdm-zwqueryvaluekey")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn ZwQueryValueKey(
        cx: &mut Machine,
        KeyHandle: u64,
        ValueName: Gva<UNICODE_STRING>,
        KeyValueInformationClass: u32,
        KeyValueInformation: Gva,
        Length: u32,
        ResultLength: Gva<u32>,
    ) -> Result<Flow, Fault> {
        let (class, at) = (KeyValueInformationClass, KeyValueInformation);
        let buffer = Buffer {
            class,
            at,
            length: Length,
            needed: ResultLength,
        };
        on_key(cx, KeyHandle, |key| {
            Operation::QueryValue(key, ValueName, buffer)
        })
    }

    /// Reads the n-th value of a key.
    #[page("wdm/nf-wdm-zwenumeratevaluekey")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn ZwEnumerateValueKey(
        cx: &mut Machine,
        KeyHandle: u64,
        Index: u32,
        KeyValueInformationClass: u32,
        KeyValueInformation: Gva,
        Length: u32,
        ResultLength: Gva<u32>,
    ) -> Result<Flow, Fault> {
        let (class, at) = (KeyValueInformationClass, KeyValueInformation);
        let buffer = Buffer {
            class,
            at,
            length: Length,
            needed: ResultLength,
        };
        on_key(cx, KeyHandle, |key| {
            Operation::EnumerateValue(key, Index, buffer)
        })
    }

    /// Writes a value.
    #[page("wdm/nf-wdm-zwsetvaluekey")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn ZwSetValueKey(
        cx: &mut Machine,
        KeyHandle: u64,
        ValueName: Gva<UNICODE_STRING>,
        TitleIndex: u32,
        Type: u32,
        Data: Gva,
        DataSize: u32,
    ) -> Result<Flow, Fault> {
        let _ = TitleIndex;
        on_key(cx, KeyHandle, |key| {
            Operation::SetValue(key, ValueName, Type, Data, DataSize)
        })
    }

    /// Deletes a value.
    #[page("wdm/nf-wdm-zwdeletevaluekey")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn ZwDeleteValueKey(
        cx: &mut Machine,
        KeyHandle: u64,
        ValueName: Gva<UNICODE_STRING>,
    ) -> Result<Flow, Fault> {
        on_key(cx, KeyHandle, |key| Operation::DeleteValue(key, ValueName))
    }

    /// Deletes a key; other handles to it are of no more use.
    #[page("wdm/nf-wdm-zwdeletekey")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn ZwDeleteKey(cx: &mut Machine, KeyHandle: u64) -> Result<Flow, Fault> {
        on_key(cx, KeyHandle, Operation::DeleteKey)
    }

    /// Writes a key to disk: there is none, all is kept.
    #[page("wdm/nf-wdm-zwflushkey")]
    #[irql(PASSIVE_LEVEL)]
    #[returns(NTSTATUS)]
    fn ZwFlushKey(cx: &mut Machine, KeyHandle: u64) -> Result<Flow, Fault> {
        on_key(cx, KeyHandle, Operation::Flush)
    }
}
