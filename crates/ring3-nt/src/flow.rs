//! How host code that calls the driver, or waits, says what happens next.
//!
//! No host stack holds guest progress: a routine that must call guest code, block its thread or
//! spin returns a [`Flow`] together with a small cloneable continuation ([`Kont`]) in which it goes
//! on. The machine keeps the continuations on the thread; see [`crate::machine`].

use std::any::Any;
use std::fmt::Debug;
use std::hash::Hash;

use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::hash::Fnv;
use crate::machine::context::ThreadContext;
use crate::machine::wait::Wait;
use crate::ntstatus::NTSTATUS;
use crate::rtl::exception::Dispatch;

/// A boxed continuation.
pub type Kont = Box<dyn Resume>;

/// What a host routine wants to happen next.
#[must_use = "a dropped Flow loses a call, a wait or a result"]
#[derive(Debug)]
pub enum Flow {
    /// Return this value to whoever called.
    Return(u64),
    /// Tail call of guest code with up to four arguments; no host frame stays.
    Jump(Gva, Args),
    /// Tail call of a host routine; no host frame stays.
    Become(Kont),
    /// Run guest code, then resume the continuation with its `rax`.
    Call(Gva, Args, Kont),
    /// Run a host routine that may itself suspend, then resume the second continuation.
    Host(Kont, Kont),
    /// Block this thread, then resume.
    Wait(Wait, Kont),
    /// Keep this processor busy until the condition holds, then resume.
    Spin(Until, Kont),
    /// Raise an exception at the call site.
    Raise(Exception),
    /// Raise or unwind with more to say than [`Flow::Raise`] has.
    Dispatch(Box<Dispatch>),
    /// A guest access of this routine faulted: an exception or a bugcheck, by address and IRQL.
    Fault(Fault),
    /// Load this context: the end of an interrupt, of exception dispatch or of an unwind.
    Restore(Box<ThreadContext>),
    /// Load this context, in which the thread waits again: the end of an APC that interrupted a wait.
    Rewait(Box<ThreadContext>, Wait),
    /// Stop the machine with this bugcheck.
    Bugcheck(u32, [u64; 4]),
    /// Something that is needed is not modelled; stops the machine and names it.
    NotModelled(String),
    /// The thread has ended.
    ThreadEnd,
}

/// What a spinning processor waits for.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub enum Until {
    /// The 8-byte word is zero: a `KSPIN_LOCK`.
    Zero(Gva<u64>),
    /// The low 32 bits of the word, masked, are zero: an `EX_SPIN_LOCK`.
    MaskedZero(Gva<u32>, u32),
    /// A point in virtual time, in 100 ns units since the machine started.
    Time(u64),
}

/// An exception that a host routine raises.
#[derive(Clone, Hash, Debug, PartialEq, Eq)]
pub struct Exception {
    /// `ExceptionCode`.
    pub code: NTSTATUS,
    /// `ExceptionFlags`.
    pub flags: u32,
    /// `ExceptionInformation`, at most 15 entries.
    pub parameters: Vec<u64>,
}

impl Exception {
    /// A continuable exception without parameters.
    #[must_use]
    pub fn new(code: NTSTATUS) -> Self {
        Self {
            code,
            flags: 0,
            parameters: Vec::new(),
        }
    }
}

/// Integer arguments of a guest call.
#[derive(Clone, Hash, Debug, PartialEq, Eq, Default)]
pub struct Args {
    values: [u64; Args::MAX],
    len: u8,
}

impl Args {
    /// As many as the stack area of a host frame holds: four registers and eight stack slots.
    pub const MAX: usize = 12;

    /// The arguments as a slice.
    #[must_use]
    pub fn as_slice(&self) -> &[u64] {
        &self.values[..usize::from(self.len).min(Self::MAX)]
    }
}

/// Makes call arguments; more than [`Args::MAX`] are cut, which no Windows callback needs.
#[must_use]
pub fn args(values: &[u64]) -> Args {
    let mut all = Args::default();
    let n = values.len().min(Args::MAX);
    all.values[..n].copy_from_slice(&values[..n]);
    all.len = n as u8;
    all
}

impl Flow {
    /// A guest call; what `call!` becomes.
    pub fn call(routine: impl ToArg, args: Args, then: Kont) -> Self {
        Self::Call(Gva::new(routine.to_arg()), args, then)
    }

    /// A guest tail call.
    pub fn jump(routine: impl ToArg, values: &[u64]) -> Self {
        Self::Jump(Gva::new(routine.to_arg()), args(values))
    }

    /// Returns `value` to the caller now and puts the rest of the routine aside under `key`.
    pub fn park(cx: &mut Machine, key: Key, value: impl ToArg, rest: Kont) -> Self {
        cx.parked.insert(key, rest);
        Self::Return(value.to_arg())
    }
}

/// Names a host condition or object: what a thread waits for, or holds.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The kind of thing, e.g. `"irp"`.
    pub class: &'static str,
    /// Its address or number.
    pub id: u64,
}

impl Key {
    /// A key of this class.
    #[must_use]
    pub const fn new(class: &'static str, id: u64) -> Self {
        Self { class, id }
    }
}

/// How an exception that reaches a host frame is stopped there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wall {
    /// Nobody above may handle it: the machine stops with this bugcheck.
    Bugcheck(u32),
    /// A service boundary: the exception code becomes the routine's result.
    Convert,
}

/// Where in its source a continuation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The host routine.
    pub routine: &'static str,
    /// The text of the suspension.
    pub text: &'static str,
    /// Its line.
    pub line: u32,
}

/// Plain data that can be cloned, hashed and printed behind a trait object. Implemented for every
/// type that is those things.
pub trait Saved: Any + Debug + Send + Sync {
    /// A boxed copy.
    fn clone_kont(&self) -> Kont;
    /// Feeds a hasher.
    fn hash_into(&self, hasher: &mut Fnv);
}

impl<T: Resume + Clone + Hash> Saved for T {
    fn clone_kont(&self) -> Kont {
        Box::new(self.clone())
    }
    fn hash_into(&self, mut hasher: &mut Fnv) {
        self.at().routine.hash(&mut hasher);
        self.hash(&mut hasher);
    }
}

/// A continuation: what a host routine does when the guest call or wait it asked for is over.
pub trait Resume: Saved {
    /// Where it stands, for stack listings.
    fn at(&self) -> At;
    /// Goes on; `rax` is the result of what it asked for.
    fn resume(self: Box<Self>, cx: &mut Machine, rax: u64) -> Flow;
    /// What it holds while suspended, for the wait-for graph.
    fn holds(&self) -> Vec<Key> {
        Vec::new()
    }
    /// Whether exceptions stop here.
    fn wall(&self) -> Option<Wall> {
        None
    }
    /// Called when an exception unwinds through the frame: puts host state right.
    fn on_unwind(&mut self, cx: &mut Machine) {
        let _ = cx;
    }
}

impl Clone for Kont {
    fn clone(&self) -> Self {
        (**self).clone_kont()
    }
}

impl Hash for Kont {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let mut inner = Fnv::default();
        (**self).hash_into(&mut inner);
        state.write_u64(std::hash::Hasher::finish(&inner));
    }
}

/// The continuation that hands on the result unchanged.
#[derive(Clone, Hash, Debug)]
pub struct Pass;

impl Resume for Pass {
    fn at(&self) -> At {
        At {
            routine: "return",
            text: "",
            line: 0,
        }
    }
    fn resume(self: Box<Self>, _cx: &mut Machine, rax: u64) -> Flow {
        Flow::Return(rax)
    }
}

/// A value that fits into an argument register.
pub trait ToArg {
    /// As the register holds it.
    fn to_arg(&self) -> u64;
}

/// A value made from `rax`.
pub trait FromRax {
    /// From the register.
    fn from_rax(rax: u64) -> Self;
}

/// A result of a host routine.
pub trait IntoFlow {
    /// As a flow.
    fn into_flow(self) -> Flow;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl ToArg for $t {
            #[allow(clippy::cast_lossless, clippy::cast_sign_loss)]
            fn to_arg(&self) -> u64 { *self as u64 }
        }
        impl FromRax for $t {
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
            fn from_rax(rax: u64) -> Self { rax as $t }
        }
        impl IntoFlow for $t {
            fn into_flow(self) -> Flow { Flow::Return(self.to_arg()) }
        }
    )*};
}
integers!(u8, u16, u32, u64, i8, i16, i32, i64, usize);

impl ToArg for bool {
    fn to_arg(&self) -> u64 {
        u64::from(*self)
    }
}
impl FromRax for bool {
    /// Windows' `BOOLEAN` is the low byte.
    fn from_rax(rax: u64) -> Self {
        rax & 0xff != 0
    }
}
impl IntoFlow for bool {
    fn into_flow(self) -> Flow {
        Flow::Return(u64::from(self))
    }
}
impl ToArg for NTSTATUS {
    fn to_arg(&self) -> u64 {
        u64::from(self.0)
    }
}
impl FromRax for NTSTATUS {
    fn from_rax(rax: u64) -> Self {
        NTSTATUS(rax as u32)
    }
}
impl IntoFlow for NTSTATUS {
    fn into_flow(self) -> Flow {
        Flow::Return(u64::from(self.0))
    }
}
impl<T: ?Sized> ToArg for Gva<T> {
    fn to_arg(&self) -> u64 {
        self.raw()
    }
}
impl<T> FromRax for Gva<T> {
    fn from_rax(rax: u64) -> Self {
        Gva::new(rax)
    }
}
impl<T> IntoFlow for Gva<T> {
    fn into_flow(self) -> Flow {
        Flow::Return(self.raw())
    }
}
impl FromRax for () {
    fn from_rax(_rax: u64) -> Self {}
}
impl IntoFlow for () {
    /// A routine without a result leaves a recognisable constant in `rax`.
    fn into_flow(self) -> Flow {
        Flow::Return(crate::machine::SCRUBBED)
    }
}
impl IntoFlow for Flow {
    fn into_flow(self) -> Flow {
        self
    }
}
impl IntoFlow for Fault {
    fn into_flow(self) -> Flow {
        Flow::Fault(self)
    }
}
impl IntoFlow for Exception {
    fn into_flow(self) -> Flow {
        Flow::Raise(self)
    }
}
impl<T: IntoFlow, E: IntoFlow> IntoFlow for Result<T, E> {
    fn into_flow(self) -> Flow {
        match self {
            Ok(value) => value.into_flow(),
            Err(error) => error.into_flow(),
        }
    }
}
