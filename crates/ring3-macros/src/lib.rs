//! The attribute macros of the kernel: resumable routines and export declarations.
//!
//! [`macro@resumable`] turns a linear function that calls guest code or waits into a small struct that
//! remembers where it stands, so that a machine can be cloned in the middle of it. [`macro@exports`] turns
//! the functions of an `impl` block into declarations of routines that a driver can import.
//!
//! The code that both write refers to the crate `ring3_nt` by absolute paths.

#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod exports;
mod resumable;
mod text;

/// Makes a routine that can be suspended, cloned and resumed out of a linear function.
///
/// `fn name(cx: &mut Machine, a: T, ..) -> R { .. }` becomes
/// - `struct Name { pc, a, .., typed locals }`, which is `Clone + Hash + Debug`,
/// - `impl ::ring3_nt::flow::Resume for Name`,
/// - `fn name(a: T, ..) -> ::ring3_nt::flow::Kont`, the constructor, without `cx`.
///
/// # Suspensions
///
/// `call!(address, args..)` runs guest code, `host!(kont)` a host routine that may suspend itself,
/// `wait!(what)` blocks the thread, `spin!(what)` the processor, `park!(key, value)` returns `value` to the
/// caller and puts the rest aside. A suspension stands as a statement, as `x = call!(..);`, as
/// `let x: T = call!(..);` or as the tail of a block, inside `if`, `match`, `loop`, `while`, `let .. else`
/// and nested or labelled blocks. `raise!(exception)` and `bugcheck!(code, p1..p4)` end the routine, from any
/// place where `return` may stand.
///
/// # What survives
///
/// Parameters and locals *declared with a type* are saved; they must be `Clone + Hash + Debug`, locals
/// `Default` too. A typed local is saved if a later statement of its block suspends. An untyped `let` and
/// the variables of a pattern live until the next suspension. A saved local or a parameter that is moved
/// away has to be cloned, or replaced (`std::mem::take`), before the next suspension in its scope. Locals
/// out of scope at a suspension are reset, so that equal states are equal.
///
/// # Results
///
/// `return e` and the tail go through `IntoFlow` as the declared type; the error of `e?` goes through
/// `IntoFlow` as its own type.
///
/// # Arguments
///
/// Optional items of the implementation: `fn holds(&self) -> ..`, `fn wall(&self) -> ..`,
/// `fn on_unwind(&mut self, cx: &mut Machine)`; and `struct Other;` gives the struct another name.
#[proc_macro_attribute]
pub fn resumable(attribute: TokenStream, item: TokenStream) -> TokenStream {
    resumable::expand(attribute.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Declares the routines of an `impl` block as exports of a kernel module: `#[exports("ntoskrnl.exe")]`.
///
/// The block is emitted as it stands, with a constant `EXPORTS: &'static [::ring3_nt::export::Export]` added:
/// one entry for each function whose first parameter is `cx: &mut Machine`. The wrapper in the entry decodes
/// each argument by its type (`GuestArg`) and turns the result into a `Flow` (`IntoFlow`).
///
/// Attributes of a function, all removed from the output:
/// - `#[irql(..=DISPATCH_LEVEL)]`, `#[irql(PASSIVE_LEVEL)]`, `#[irql(APC_LEVEL..=DISPATCH_LEVEL)]`,
///   `#[irql(any)]`: where it may be called; required;
/// - `#[page("wdm/nf-wdm-kesetevent")]`: the documentation page;
/// - `#[partial("..")]`, `#[assumed("..")]`: what is not modelled, what is modelled without a source;
/// - `#[alias("A", "B")]`: other exported names; `#[hal]`: HAL.dll exports it too;
/// - `#[returns(NTSTATUS)]`: what the driver sees of a function that returns `Flow`;
/// - `#[internal]`: not an export.
#[proc_macro_attribute]
pub fn exports(attribute: TokenStream, item: TokenStream) -> TokenStream {
    exports::expand(attribute.into(), item.into())
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
