//! The one place that moves control between guest and host.
//!
//! Only [`Machine::apply`] and its helpers write rip, rsp and rax. A host frame owns the guest stack
//! from its return address down to `rsp - HOST_FRAME`: home space and stack arguments of the guest
//! routines it calls. That area is what the unwind data of every stub describes, so any unwinder
//! walks through host frames as through the driver's own.

use ring3_memory::{Fault, Gva};
use ring3_x64::{R8, R9, RAX, RCX, RDX, RSP};

use super::context::ThreadContext;
use super::stubs::Target;
use super::thread::{Frame, HOST_FRAME, ThreadState};
use super::{Machine, SCRUBBED, Stop};
use crate::export::Call;
use crate::flow::{Exception, Flow, Kont};

/// Where a host routine runs.
#[derive(Clone, Copy, Debug)]
pub struct Site {
    /// Where its return address lies.
    pub rsp: u64,
    /// The stub in whose name it runs.
    pub stub: u64,
    /// The export to trace on return.
    pub export: Option<u32>,
}

/// Offset of the return marker in a stub.
pub const MARKER: u64 = 8;

impl Machine {
    /// Carries out a flow at a site.
    pub(crate) fn apply(&mut self, flow: Flow, site: Site) {
        let mut flow = flow;
        let mut site = site;
        loop {
            self.host_steps += 1;
            match flow {
                Flow::Return(value) => {
                    self.trace_return(&site, value);
                    let Some(frame) = self.returns_to_host(site.rsp) else {
                        self.return_to_guest(site.rsp, value);
                        return;
                    };
                    site = Site {
                        rsp: frame.rsp,
                        stub: frame.stub,
                        export: frame.export,
                    };
                    flow = frame.kont.resume(self, value);
                }
                Flow::Jump(routine, args) => {
                    self.load_registers(args.as_slice());
                    let cpu = &mut self.processor_mut().cpu;
                    cpu.gpr[RSP] = site.rsp;
                    cpu.rip = routine.raw();
                    self.trace_return(&site, SCRUBBED);
                    return;
                }
                Flow::Become(kont) => flow = kont.resume(self, 0),
                Flow::Call(routine, args, then) => {
                    self.push_frame(then, &site);
                    let rsp = site.rsp.wrapping_sub(HOST_FRAME);
                    let mut written = Ok(());
                    for (i, value) in args.as_slice().iter().enumerate().skip(4) {
                        written =
                            written.and(self.memory.write(Gva::new(rsp + 8 * i as u64), *value));
                    }
                    written = written.and(self.memory.write(Gva::new(rsp - 8), site.stub + MARKER));
                    if let Err(fault) = written {
                        self.stack_fault(fault);
                        return;
                    }
                    self.load_registers(args.as_slice());
                    let cpu = &mut self.processor_mut().cpu;
                    cpu.gpr[RSP] = rsp - 8;
                    cpu.rip = routine.raw();
                    return;
                }
                Flow::Host(callee, then) => {
                    self.push_frame(then, &site);
                    let rsp = site.rsp.wrapping_sub(HOST_FRAME + 8);
                    if let Err(fault) = self.memory.write(Gva::new(rsp), site.stub + MARKER) {
                        self.stack_fault(fault);
                        return;
                    }
                    site = Site {
                        rsp,
                        stub: self.stubs.host_call,
                        export: None,
                    };
                    flow = callee.resume(self, 0);
                }
                Flow::Wait(wait, then) => {
                    self.push_frame(then, &site);
                    self.stand_at_marker(&site, 0);
                    self.block(wait);
                    return;
                }
                Flow::Spin(until, then) => {
                    self.push_frame(then, &site);
                    self.stand_at_marker(&site, 0);
                    self.processor_mut().spinning = Some(until);
                    return;
                }
                // Dispatch runs below the stack of the routine that raised.
                Flow::Raise(exception) => (flow, site) = self.raise_at(exception, &site),
                Flow::Dispatch(dispatch) => (flow, site) = self.dispatch_at(*dispatch, &site),
                Flow::Fault(fault) => flow = self.fault_flow(fault),
                Flow::Restore(context) => {
                    self.restore_context(&context);
                    return;
                }
                Flow::Rewait(context, wait) => {
                    self.restore_context(&context);
                    self.block(wait);
                    return;
                }
                Flow::Bugcheck(code, parameters) => {
                    self.stand_at_marker(&site, 0);
                    self.bugcheck(code, parameters);
                    return;
                }
                Flow::NotModelled(what) => {
                    self.stand_at_marker(&site, 0);
                    self.not_modelled(what, site.rsp);
                    return;
                }
                Flow::ThreadEnd => {
                    self.end_thread();
                    return;
                }
            }
        }
    }

    /// Puts a continuation on the current thread.
    fn push_frame(&mut self, kont: Kont, site: &Site) {
        let frame = Frame {
            kont,
            rsp: site.rsp,
            stub: site.stub,
            export: site.export,
        };
        self.thread_mut().frames.push(frame);
    }

    /// If the return address at `rsp` is the marker of the current thread's top host frame, takes it.
    fn returns_to_host(&mut self, rsp: u64) -> Option<Frame> {
        let top = self.thread().frames.last()?;
        if top.rsp.wrapping_sub(HOST_FRAME + 8) != rsp {
            return None;
        }
        let marker = top.stub + MARKER;
        if self.memory.read(Gva::<u64>::new(rsp)) != Ok(marker) {
            return None;
        }
        self.thread_mut().frames.pop()
    }

    /// `ret` with a result; volatile registers get a recognisable constant, so that a driver that
    /// relies on them fails always, and equal states are equal.
    fn return_to_guest(&mut self, rsp: u64, value: u64) {
        match self.memory.read(Gva::<u64>::new(rsp)) {
            Ok(caller) => {
                let cpu = &mut self.processor_mut().cpu;
                for register in [RCX, RDX, R8, R9, 10, 11] {
                    cpu.gpr[register] = SCRUBBED;
                }
                cpu.gpr[RAX] = value;
                cpu.gpr[RSP] = rsp.wrapping_add(8);
                cpu.rip = caller;
            }
            Err(fault) => self.stack_fault(fault),
        }
    }

    fn load_registers(&mut self, args: &[u64]) {
        let cpu = &mut self.processor_mut().cpu;
        for (register, slot) in [RCX, RDX, R8, R9].into_iter().zip(0..) {
            cpu.gpr[register] = args.get(slot).copied().unwrap_or(SCRUBBED);
        }
        for register in [RAX, 10, 11] {
            cpu.gpr[register] = SCRUBBED;
        }
    }

    /// Makes the processor stand where the host frame resumes, as if its callee had just returned:
    /// so stack walks of blocked threads start in their top host frame.
    fn stand_at_marker(&mut self, site: &Site, rax: u64) {
        let cpu = &mut self.processor_mut().cpu;
        cpu.rip = site.stub + MARKER;
        cpu.gpr[RSP] = site.rsp.wrapping_sub(HOST_FRAME);
        cpu.gpr[RAX] = rax;
    }

    /// The guest reached a `vmcall`.
    pub(crate) fn host_call(&mut self) {
        let cpu = &self.processor().cpu;
        let (rip, rsp, rax) = (cpu.rip, cpu.gpr[RSP], cpu.gpr[RAX]);
        let Some((stub, target)) = self.stubs.find(rip) else {
            // On real hardware outside a virtual machine `vmcall` is an invalid opcode.
            self.hardware_exception(6, 0, 0);
            return;
        };
        self.clock.advance_ps(super::time::PS_PER_CALL);
        if rip == stub {
            self.enter(target, stub, rsp);
        } else if rip == stub + MARKER {
            self.resume_top(stub, rsp, rax);
        } else {
            self.hardware_exception(6, 0, 0);
        }
    }

    /// A stub was called.
    fn enter(&mut self, target: Target, stub: u64, rsp: u64) {
        self.processor_mut().cpu.icount += 1;
        match target {
            Target::Export(number) => {
                let call = Call::of_current(self, number as usize);
                let site = Site {
                    rsp,
                    stub,
                    export: Some(number),
                };
                let Some(export) = self.exports.get(number as usize) else {
                    return;
                };
                self.count_call(number);
                self.check_irql(export, &call);
                self.trace_call(export, &call);
                self.caller = call.caller;
                let flow = (export.call)(self, &call);
                if matches!(flow, Flow::Return(_)) {
                    self.trace_flat(export, &call, &flow);
                    self.apply(
                        flow,
                        Site {
                            export: None,
                            ..site
                        },
                    );
                } else {
                    self.trace_open(export, &call);
                    self.apply(flow, site);
                }
                self.shadow_findings(Some(export.name));
                self.after_host_call();
            }
            Target::NotModelled(name) => {
                self.processor_mut().cpu.rip = stub;
                self.not_modelled_export(&name, rsp);
            }
            Target::Special(name) => match crate::io::private::call(self, name) {
                Some(flow) => {
                    self.apply(
                        flow,
                        Site {
                            rsp,
                            stub,
                            export: None,
                        },
                    );
                    self.after_host_call();
                }
                None => self.hardware_exception(6, 0, 0),
            },
        }
    }

    /// The guest returned to a host frame.
    fn resume_top(&mut self, stub: u64, rsp: u64, rax: u64) {
        let idle = stub == self.stubs.idle;
        let Some(frame) = self.thread_mut().frames.pop() else {
            if !idle {
                self.hardware_exception(6, 0, 0);
            }
            return;
        };
        if frame.stub != stub {
            self.thread_mut().frames.push(frame);
            self.hardware_exception(6, 0, 0);
            return;
        }
        let expected = frame.rsp.wrapping_sub(HOST_FRAME);
        if rsp != expected {
            self.report(
                "stack/unbalanced-return",
                super::finding::Severity::Error,
                format!(
                    "a routine of the driver returned with rsp {rsp:#x}, expected {expected:#x}"
                ),
            );
        }
        self.processor_mut().cpu.icount += 1;
        let site = Site {
            rsp: frame.rsp,
            stub: frame.stub,
            export: frame.export,
        };
        let at = frame.kont.at();
        let flow = frame.kont.resume(self, rax);
        self.apply(flow, site);
        self.shadow_findings(Some(at.routine));
        self.after_host_call();
    }

    /// Makes a saved context live, and drops host frames that lie below its stack pointer (an unwind
    /// left them behind).
    fn restore_context(&mut self, context: &ThreadContext) {
        let rsp = context.rsp();
        let crossed: Vec<Frame> = {
            let (low, high) = (self.thread().stack_limit, self.thread().stack_base);
            let frames = &mut self.thread_mut().frames;
            let keep = frames
                .iter()
                .take_while(|f| f.rsp > rsp || f.rsp < low || f.rsp > high)
                .count();
            frames.split_off(keep)
        };
        for mut frame in crossed.into_iter().rev() {
            frame.kont.on_unwind(self);
            self.unwound_frame(&frame);
        }
        let processor = self.processor_mut();
        context.load(&mut processor.cpu);
    }

    /// What a fault of a host routine's guest access means: an exception for user addresses and for
    /// kernel addresses below DISPATCH_LEVEL, else a bugcheck.
    pub(crate) fn fault_flow(&mut self, fault: Fault) -> Flow {
        let (va, access) = match fault {
            Fault::Page { va, access, .. } => (va, access),
            Fault::NonCanonical { .. } => {
                let parameters = vec![0, u64::MAX];
                return Flow::Raise(Exception {
                    code: crate::ntstatus::STATUS_ACCESS_VIOLATION,
                    flags: 0,
                    parameters,
                });
            }
            Fault::Shadow(hit) => {
                self.shadow_finding(&hit, None);
                return Flow::Return(0);
            }
            Fault::Device { pa, .. } => {
                return Flow::NotModelled(format!(
                    "access to physical address {:#x}, where no device is",
                    pa.0
                ));
            }
        };
        self.page_fault(va, access, self.processor().cpu.rip)
    }

    /// The guest stack itself cannot be used: a double fault on Windows.
    pub(crate) fn stack_fault(&mut self, fault: Fault) {
        let rsp = self.processor().cpu.gpr[RSP];
        let text = format!("the kernel stack cannot hold a frame at {rsp:#x}: {fault}");
        self.report("stack/overflow", super::finding::Severity::Error, text);
        // UNEXPECTED_KERNEL_MODE_TRAP, EXCEPTION_DOUBLE_FAULT.
        self.bugcheck(0x7f, [8, rsp, 0, 0]);
    }

    /// Blocks the current thread.
    fn block(&mut self, wait: super::wait::Wait) {
        self.wait_numbers += 1;
        let number = self.wait_numbers;
        let n = self.current;
        let context = ThreadContext::save(&self.processors[n].cpu);
        let thread = self.thread_mut();
        *thread.context = context;
        thread.state = ThreadState::Waiting(wait, number);
        if thread.apc_pending {
            let id = thread.id;
            crate::ke::apc::interrupt_wait(self, id);
        }
        self.switch_away();
    }

    fn not_modelled_export(&mut self, name: &str, rsp: u64) {
        let caller = self.memory.read(Gva::<u64>::new(rsp)).unwrap_or(0);
        let cpu = &self.processor().cpu;
        let args = [cpu.gpr[RCX], cpu.gpr[RDX], cpu.gpr[R8], cpu.gpr[R9]];
        let place = self.return_place(caller);
        self.stop = Some(Stop::NotModelled {
            what: name.to_owned(),
            caller: place,
            arguments: args.to_vec(),
            stack: self.stack_trace(),
        });
    }

    fn not_modelled(&mut self, what: String, rsp: u64) {
        let caller = self.memory.read(Gva::<u64>::new(rsp)).unwrap_or(0);
        let place = self.return_place(caller);
        self.stop = Some(Stop::NotModelled {
            what,
            caller: place,
            arguments: Vec::new(),
            stack: self.stack_trace(),
        });
    }
}
