//! Decoding of arguments and results: the Win64 calling convention, by type.
//!
//! The first four integer arguments are in rcx, rdx, r8 and r9; the others lie above the return
//! address and the 32 bytes of home space. Narrow integers have undefined upper bits.

use ring3_memory::{Fault, Guest, Gva, UserGva};
use ring3_x64::{R8, R9, RCX, RDX};

use super::show;
use crate::Machine;
use crate::flow::Flow;
use crate::ntstatus::NTSTATUS;

/// One call of an export by guest code: the registers at its first instruction.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    registers: [u64; 4],
    /// Where the return address lies.
    pub rsp: u64,
    /// The return address, i.e. the caller.
    pub caller: u64,
    /// Index into the table of exports.
    pub export: usize,
}

impl Call {
    /// From the live registers of the current processor.
    #[must_use]
    pub fn of_current(cx: &Machine, export: usize) -> Self {
        let cpu = &cx.processor().cpu;
        let rsp = cpu.gpr[4];
        Self {
            registers: [cpu.gpr[RCX], cpu.gpr[RDX], cpu.gpr[R8], cpu.gpr[R9]],
            rsp,
            caller: cx.memory.read(Gva::<u64>::new(rsp)).unwrap_or(0),
            export,
        }
    }

    /// The raw value of the argument with this index.
    ///
    /// # Errors
    /// A fault if it lies on the stack and the stack cannot be read.
    pub fn raw(&self, cx: &Machine, index: usize) -> Result<u64, Fault> {
        match self.registers.get(index) {
            Some(value) => Ok(*value),
            None => cx.memory.read(Gva::<u64>::new(self.slot(index))),
        }
    }

    /// The address of the home or stack slot of an argument.
    #[must_use]
    pub fn slot(&self, index: usize) -> u64 {
        self.rsp.wrapping_add(8 + 8 * index as u64)
    }
}

/// A parameter type.
pub trait GuestArg: Sized {
    /// Decodes argument `index`.
    ///
    /// # Errors
    /// A fault if the stack cannot be read.
    fn take(cx: &Machine, call: &Call, index: usize) -> Result<Self, Fault>;
    /// Prints argument `index`.
    fn show(cx: &Machine, call: &Call, index: usize) -> String;
}

/// A result type, for printing.
pub trait GuestRet {
    /// Prints `rax`; empty for no result.
    fn show(rax: u64) -> String;
}

/// What a guest pointer points to, for printing.
pub trait Pointee {
    /// Prints the pointer, or better what it points to.
    fn show(cx: &Machine, pointer: Gva<Self>) -> String {
        let _ = cx;
        show::pointer(pointer.raw())
    }
}

/// A byte of a NUL-terminated ANSI string.
#[allow(clippy::upper_case_acronyms)]
#[derive(Clone, Copy, Debug)]
pub enum CHAR {}
/// A unit of a NUL-terminated UTF-16 string.
#[allow(clippy::upper_case_acronyms)]
#[derive(Clone, Copy, Debug)]
pub enum WCHAR {}
/// Guest code.
#[derive(Clone, Copy, Debug)]
pub enum Code {}

impl Pointee for CHAR {
    fn show(cx: &Machine, pointer: Gva<Self>) -> String {
        show::ansi(cx, pointer.cast())
    }
}
impl Pointee for WCHAR {
    fn show(cx: &Machine, pointer: Gva<Self>) -> String {
        show::wide(cx, pointer.cast())
    }
}
impl Pointee for Code {
    fn show(cx: &Machine, pointer: Gva<Self>) -> String {
        if pointer.is_null() {
            "NULL".into()
        } else {
            cx.symbolize(pointer.raw())
        }
    }
}
macro_rules! plain_pointees {
    ($($t:ty),*) => {$( impl Pointee for $t {} )*};
}
plain_pointees!(u8, u16, u32, u64, u128, i8, i16, i32, i64, bool, NTSTATUS);
impl<T: ?Sized> Pointee for Gva<T> {}
impl<T: Guest, const N: usize> Pointee for [T; N] {}

macro_rules! integer_args {
    ($($t:ty => $show:expr),* $(,)?) => {$(
        impl GuestArg for $t {
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
            fn take(cx: &Machine, call: &Call, index: usize) -> Result<Self, Fault> {
                Ok(call.raw(cx, index)? as $t)
            }
            fn show(cx: &Machine, call: &Call, index: usize) -> String {
                match <$t as GuestArg>::take(cx, call, index) {
                    Ok(value) => $show(value),
                    Err(_) => "?".into(),
                }
            }
        }
        impl GuestRet for $t {
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
            fn show(rax: u64) -> String { $show(rax as $t) }
        }
    )*};
}
integer_args! {
    u8 => show::unsigned, u16 => show::unsigned, u32 => show::unsigned, u64 => show::unsigned,
    usize => show::size,
    i8 => show::signed, i16 => show::signed, i32 => show::signed, i64 => show::signed,
}

impl GuestArg for bool {
    fn take(cx: &Machine, call: &Call, index: usize) -> Result<Self, Fault> {
        Ok(call.raw(cx, index)? & 0xff != 0)
    }
    fn show(cx: &Machine, call: &Call, index: usize) -> String {
        Self::take(cx, call, index).map_or_else(|_| "?".into(), show::boolean)
    }
}
impl GuestRet for bool {
    fn show(rax: u64) -> String {
        show::boolean(rax & 0xff != 0)
    }
}
impl GuestArg for NTSTATUS {
    fn take(cx: &Machine, call: &Call, index: usize) -> Result<Self, Fault> {
        Ok(NTSTATUS(call.raw(cx, index)? as u32))
    }
    fn show(cx: &Machine, call: &Call, index: usize) -> String {
        Self::take(cx, call, index).map_or_else(|_| "?".into(), show::status)
    }
}
impl GuestRet for NTSTATUS {
    fn show(rax: u64) -> String {
        show::status(NTSTATUS(rax as u32))
    }
}
impl<T: Pointee + ?Sized> GuestArg for Gva<T> {
    fn take(cx: &Machine, call: &Call, index: usize) -> Result<Self, Fault> {
        Ok(Gva::new(call.raw(cx, index)?))
    }
    fn show(cx: &Machine, call: &Call, index: usize) -> String {
        Self::take(cx, call, index).map_or_else(|_| "?".into(), |p| T::show(cx, p))
    }
}
impl<T: Pointee + ?Sized> GuestRet for Gva<T> {
    fn show(rax: u64) -> String {
        show::pointer(rax)
    }
}
impl<T> GuestArg for UserGva<T> {
    fn take(cx: &Machine, call: &Call, index: usize) -> Result<Self, Fault> {
        Ok(UserGva::new(call.raw(cx, index)?))
    }
    fn show(cx: &Machine, call: &Call, index: usize) -> String {
        call.raw(cx, index)
            .map_or_else(|_| "?".into(), show::pointer)
    }
}
impl GuestRet for () {
    fn show(_rax: u64) -> String {
        String::new()
    }
}
impl GuestRet for Flow {
    fn show(rax: u64) -> String {
        show::pointer(rax)
    }
}

/// The variable arguments of a C function, from the index at which they start.
#[derive(Clone, Copy, Debug)]
pub struct VarArgs {
    registers: [u64; 4],
    base: u64,
    index: usize,
}

impl VarArgs {
    /// A `va_list` that the guest made: on x64 a pointer to 8-byte slots.
    #[must_use]
    pub const fn from_list(list: u64) -> Self {
        Self {
            registers: [0; 4],
            base: list.wrapping_sub(32),
            index: 4,
        }
    }

    /// The next argument.
    ///
    /// # Errors
    /// A fault if the stack cannot be read.
    pub fn next(&mut self, cx: &Machine) -> Result<u64, Fault> {
        let index = self.index;
        self.index += 1;
        match self.registers.get(index) {
            Some(value) => Ok(*value),
            None => cx
                .memory
                .read(Gva::<u64>::new(self.base.wrapping_add(8 * index as u64))),
        }
    }
}

impl GuestArg for VarArgs {
    fn take(_cx: &Machine, call: &Call, index: usize) -> Result<Self, Fault> {
        Ok(Self {
            registers: call.registers,
            base: call.slot(0),
            index,
        })
    }
    fn show(_cx: &Machine, _call: &Call, _index: usize) -> String {
        "...".into()
    }
}
