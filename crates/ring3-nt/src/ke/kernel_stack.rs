//! Kernel stacks: their limits, and calls on a larger one. Documentation: wdm.h, ntddk.h, ntifs.h, "Using the
//! Kernel Stack".

use ring3_macros::exports;
use ring3_memory::Gva;
use ring3_x64::{RAX, RCX, RSP};

use crate::Machine;
use crate::export::argument::Code;
use crate::flow::{At, Flow, Resume};
use crate::layout::KTHREAD;
use crate::machine::context::ThreadContext;
use crate::machine::thread::{Frame, HOST_FRAME};
use crate::mm::space::{PAGE, Region, data};
use crate::ntstatus::{NTSTATUS, STATUS_INVALID_PARAMETER_3, STATUS_NO_MEMORY, STATUS_SUCCESS};

/// `MAXIMUM_EXPANSION_SIZE`: the kernel's large stack (0x12000) less what the kernel needs for itself.
const MAXIMUM_EXPANSION_SIZE: u64 = 0x12000 - 0x2000;
/// Pages of an expansion stack.
const EXPANSION_PAGES: u64 = 0x12;
/// Left for the call itself and for what interrupts it.
const RESERVE: u64 = 0x1000;

/// The way back from an expansion stack: the former stack's bounds, and the place of the return address.
#[derive(Clone, Hash, Debug)]
struct Expanded {
    limit: u64,
    base: u64,
    rsp: u64,
    expansion: u64,
}

impl Resume for Expanded {
    fn at(&self) -> At {
        At {
            routine: "KeExpandKernelStackAndCalloutEx",
            text: "callout",
            line: 0,
        }
    }
    fn resume(self: Box<Self>, cx: &mut Machine, _rax: u64) -> Flow {
        set_bounds(cx, self.limit, self.base);
        cx.free_pages(Region::Stacks, Gva::new(self.expansion));
        let mut context = ThreadContext::save(&cx.processor().cpu);
        let caller = match cx.memory.read(Gva::<u64>::new(self.rsp)) {
            Ok(caller) => caller,
            Err(fault) => return Flow::Fault(fault),
        };
        context.rip = caller;
        context.gpr[RSP] = self.rsp + 8;
        context.gpr[RAX] = u64::from(STATUS_SUCCESS.0);
        Flow::Restore(Box::new(context))
    }
}

fn set_bounds(cx: &mut Machine, limit: u64, base: u64) {
    let thread = cx.thread_mut();
    thread.stack_limit = limit;
    thread.stack_base = base;
    let object = thread.object.cast::<KTHREAD>();
    let m = &mut cx.memory;
    let _ = m.set(object, KTHREAD::StackLimit, Gva::new(limit));
    let _ = m.set(object, KTHREAD::StackBase, Gva::new(base));
}

/// Bytes between the stack pointer and the end of the stack.
fn remaining(cx: &Machine) -> u64 {
    let rsp = cx.processor().cpu.gpr[RSP];
    rsp.saturating_sub(cx.thread().stack_limit)
}

/// Calls with at least so many bytes of stack.
fn expand(cx: &mut Machine, callout: Gva<Code>, parameter: Gva, size: u64) -> Flow {
    if size > MAXIMUM_EXPANSION_SIZE {
        return Flow::Return(u64::from(STATUS_INVALID_PARAMETER_3.0));
    }
    if remaining(cx) >= size + RESERVE {
        return Flow::Become(call_here(callout.raw(), parameter.raw()));
    }
    let Some(expansion) = cx.allocate_pages(Region::Stacks, EXPANSION_PAGES, data()) else {
        return Flow::Return(u64::from(STATUS_NO_MEMORY.0));
    };
    let (limit, base) = (cx.thread().stack_limit, cx.thread().stack_base);
    let mut context = ThreadContext::save(&cx.processor().cpu);
    let rsp = context.rsp();
    let top = expansion.raw() + EXPANSION_PAGES * PAGE;
    // As other threads begin: a return address of 0 on top, where unwinders stop.
    let frame = top - 0x28;
    let stub = cx.stubs.host_call;
    let marker = stub + crate::machine::apply::MARKER;
    let return_to = frame - HOST_FRAME - 8;
    if let Err(fault) = cx.memory.write(Gva::new(return_to), marker) {
        return Flow::Fault(fault);
    }
    set_bounds(cx, expansion.raw(), top);
    cx.thread_mut().frames.push(Frame {
        kont: Box::new(Expanded {
            limit,
            base,
            rsp,
            expansion: expansion.raw(),
        }),
        rsp: frame,
        stub,
        export: None,
    });
    context.rip = callout.raw();
    context.gpr[RSP] = return_to;
    context.gpr[RCX] = parameter.raw();
    Flow::Restore(Box::new(context))
}

/// Calls on the stack that there is.
#[ring3_macros::resumable]
fn call_here(cx: &mut Machine, callout: u64, parameter: u64) -> NTSTATUS {
    let _ = &cx;
    call!(callout, parameter);
    STATUS_SUCCESS
}

/// Routines on kernel stacks.
pub struct KernelStacks;

#[exports("ntoskrnl.exe")]
impl KernelStacks {
    /// Calls a routine with so many bytes of stack.
    #[page("ntddk/nf-ntddk-keexpandkernelstackandcallout")]
    #[irql(..=APC_LEVEL)]
    #[returns(NTSTATUS)]
    fn KeExpandKernelStackAndCallout(
        cx: &mut Machine,
        Callout: Gva<Code>,
        Parameter: Gva,
        Size: u64,
    ) -> Flow {
        expand(cx, Callout, Parameter.cast(), Size)
    }

    /// Calls a routine with so many bytes of stack, and may wait for them.
    #[page("ntddk/nf-ntddk-keexpandkernelstackandcalloutex")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(NTSTATUS)]
    fn KeExpandKernelStackAndCalloutEx(
        cx: &mut Machine,
        Callout: Gva<Code>,
        Parameter: Gva,
        Size: u64,
        Wait: bool,
        Context: Gva,
    ) -> Flow {
        let _ = (Wait, Context);
        expand(cx, Callout, Parameter.cast(), Size)
    }
}
