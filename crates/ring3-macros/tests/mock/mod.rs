//! A toy of the crate that the macros write for: a machine that runs flows, one at a time.

#![allow(dead_code, missing_docs)]

use std::collections::BTreeMap;

use flow::{Flow, Kont};

/// Guest code.
pub type Guest = fn(&mut Machine, &[u64]) -> u64;

/// What the machine is: all state of a run.
#[derive(Clone, Default)]
pub struct Machine {
    pub frames: Vec<Kont>,
    pub log: Vec<String>,
    pub values: Vec<u64>,
    pub parked: BTreeMap<u64, Kont>,
    pub next: Option<Flow>,
    pub outcome: Option<String>,
    pub guest: BTreeMap<u64, Guest>,
}

impl Machine {
    pub fn start(kont: Kont, values: &[u64]) -> Machine {
        Machine {
            next: Some(Flow::Become(kont)),
            values: values.to_vec(),
            ..Machine::default()
        }
    }

    /// The next prepared value; 0 when they are used up.
    pub fn value(&mut self) -> u64 {
        if self.values.is_empty() {
            0
        } else {
            self.values.remove(0)
        }
    }

    pub fn say(&mut self, text: impl Into<String>) {
        self.log.push(text.into());
    }

    pub fn step(&mut self) -> bool {
        let Some(flow) = self.next.take() else {
            return false;
        };
        self.next = match flow {
            Flow::Return(value) => match self.frames.pop() {
                Some(kont) => Some(kont.resume(self, value)),
                None => {
                    self.outcome = Some(format!("return {value:#x}"));
                    None
                }
            },
            Flow::Become(kont) => Some(kont.resume(self, 0)),
            Flow::Call(address, args, kont) => {
                self.say(format!("call {address:#x} {args:x?}"));
                self.frames.push(kont);
                let value = match self.guest.get(&address) {
                    Some(function) => function(self, &args),
                    None => self.value(),
                };
                Some(Flow::Return(value))
            }
            Flow::Host(callee, kont) => {
                self.frames.push(kont);
                Some(Flow::Become(callee))
            }
            Flow::Wait(what, kont) => {
                self.say(format!("wait {what}"));
                self.frames.push(kont);
                Some(Flow::Return(self.value()))
            }
            Flow::Spin(what, kont) => {
                self.say(format!("spin {what:#x}"));
                self.frames.push(kont);
                Some(Flow::Return(self.value()))
            }
            Flow::Raise(code) => {
                self.outcome = Some(format!("raise {code:#x}"));
                None
            }
            Flow::Bugcheck(code, parameters) => {
                self.outcome = Some(format!("bugcheck {code:#x} {parameters:x?}"));
                None
            }
        };
        true
    }

    /// Runs to the end; at every step a clone is run to the end too and has to come out equal.
    pub fn run(&mut self) -> String {
        let mut twins = Vec::new();
        loop {
            twins.push(self.clone());
            if !self.step() {
                break;
            }
        }
        for mut twin in twins {
            while twin.step() {}
            assert_eq!(twin.outcome, self.outcome);
            assert_eq!(twin.log, self.log);
            assert_eq!(twin.values, self.values);
        }
        self.outcome.clone().unwrap_or_default()
    }

    /// Runs until so many frames wait at once, and says where they stand.
    pub fn run_until_called(&mut self, address: u64) -> Vec<String> {
        while !matches!(&self.next, Some(Flow::Call(a, ..)) if *a == address) {
            assert!(self.step(), "never called");
        }
        let top = match &self.next {
            Some(Flow::Call(_, _, kont)) => vec![kont],
            _ => vec![],
        };
        self.frames
            .iter()
            .chain(top)
            .map(|kont| {
                let at = kont.at();
                format!("{} [{} :{}] {:?}", at.routine, at.text, at.line, kont)
            })
            .collect()
    }
}

pub mod flow {
    use std::fmt::Debug;
    use std::hash::{DefaultHasher, Hash, Hasher};

    use super::Machine;

    pub type Kont = Box<dyn Resume>;

    #[must_use]
    #[derive(Clone, Debug)]
    pub enum Flow {
        Return(u64),
        Become(Kont),
        Call(u64, Vec<u64>, Kont),
        Host(Kont, Kont),
        Wait(String, Kont),
        Spin(u64, Kont),
        Raise(u32),
        Bugcheck(u32, [u64; 4]),
    }

    impl Flow {
        pub fn call(address: impl Into<u64>, args: Vec<u64>, kont: Kont) -> Flow {
            Flow::Call(address.into(), args, kont)
        }
        pub fn park(cx: &mut Machine, key: u64, value: u64, kont: Kont) -> Flow {
            cx.parked.insert(key, kont);
            Flow::Return(value)
        }
    }

    pub fn args(words: &[u64]) -> Vec<u64> {
        words.to_vec()
    }

    #[derive(Debug, PartialEq)]
    pub struct At {
        pub routine: &'static str,
        pub text: &'static str,
        pub line: u32,
    }

    pub trait Saved: Debug + Send + Sync {
        fn copy(&self) -> Kont;
        fn digest(&self) -> u64;
    }
    impl<T: Resume + Clone + Hash + Debug + Send + Sync + 'static> Saved for T {
        fn copy(&self) -> Kont {
            Box::new(self.clone())
        }
        fn digest(&self) -> u64 {
            let mut hasher = DefaultHasher::new();
            self.hash(&mut hasher);
            hasher.finish()
        }
    }
    impl Hash for Kont {
        fn hash<H: Hasher>(&self, state: &mut H) {
            state.write_u64((**self).digest());
        }
    }
    impl Clone for Kont {
        fn clone(&self) -> Kont {
            (**self).copy()
        }
    }

    pub trait Resume: Saved {
        fn at(&self) -> At;
        fn resume(self: Box<Self>, cx: &mut Machine, rax: u64) -> Flow;
        fn holds(&self) -> Vec<String> {
            vec![]
        }
        fn wall(&self) -> Option<u32> {
            None
        }
        fn on_unwind(&mut self, _cx: &mut Machine) {}
    }

    pub trait FromRax {
        fn from_rax(rax: u64) -> Self;
    }
    pub trait ToArg {
        fn to_arg(&self) -> u64;
    }
    pub trait IntoFlow {
        fn into_flow(self) -> Flow;
    }
    macro_rules! numbers {
        ($($t:ty)*) => { $(
            impl FromRax for $t { fn from_rax(rax: u64) -> Self { rax as $t } }
            impl ToArg for $t { fn to_arg(&self) -> u64 { *self as u64 } }
            impl IntoFlow for $t { fn into_flow(self) -> Flow { Flow::Return(self as u64) } }
        )* };
    }
    numbers!(u8 u16 u32 u64 i32 i64 usize);
    impl FromRax for bool {
        fn from_rax(rax: u64) -> Self {
            rax & 0xff != 0
        }
    }
    impl IntoFlow for () {
        fn into_flow(self) -> Flow {
            Flow::Return(0)
        }
    }
    impl IntoFlow for Flow {
        fn into_flow(self) -> Flow {
            self
        }
    }
    impl IntoFlow for bool {
        fn into_flow(self) -> Flow {
            Flow::Return(self.into())
        }
    }
    impl IntoFlow for super::Fault {
        fn into_flow(self) -> Flow {
            Flow::Raise(self.0)
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
}

/// What goes wrong with a pointer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault(pub u32);

pub mod export {
    use super::flow::Flow;
    use super::{Fault, Machine};

    pub mod irql {
        pub const PASSIVE_LEVEL: u8 = 0;
        pub const APC_LEVEL: u8 = 1;
        pub const DISPATCH_LEVEL: u8 = 2;
        pub const DIRQL: u8 = 12;
        pub const HIGH_LEVEL: u8 = 15;
    }

    #[derive(Debug, PartialEq)]
    pub struct IrqlRange {
        pub min: u8,
        pub max: u8,
    }
    #[derive(Debug, PartialEq)]
    pub enum Fidelity {
        Full,
        Partial(&'static str),
        Assumed(&'static str),
    }
    pub struct Arg {
        pub name: &'static str,
        pub ty: &'static str,
        pub show: fn(&Machine, &Call, usize) -> String,
    }
    pub struct RetDecl {
        pub ty: &'static str,
        pub show: fn(u64) -> String,
    }
    pub struct Call(pub Vec<u64>);
    pub struct Export {
        pub module: &'static str,
        pub name: &'static str,
        pub aliases: &'static [&'static str],
        pub hal: bool,
        pub summary: &'static str,
        pub page: &'static str,
        pub irql: IrqlRange,
        pub fidelity: Fidelity,
        pub args: &'static [Arg],
        pub ret: RetDecl,
        pub call: fn(&mut Machine, &Call) -> Flow,
    }
    pub trait GuestArg: Sized {
        fn take(cx: &Machine, call: &Call, index: usize) -> Result<Self, Fault>;
        fn show(cx: &Machine, call: &Call, index: usize) -> String;
    }
    pub trait GuestRet {
        fn show(raw: u64) -> String;
    }
}
