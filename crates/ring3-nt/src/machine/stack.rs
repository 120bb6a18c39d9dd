//! Stacks with names.

use ring3_memory::Gva;
use ring3_pe::RuntimeFunction;
use ring3_symbols::unwind::{self, CodeMemory, Registers};

use super::Machine;
use super::context::ThreadContext;
use super::finding::{Place, stem};
use super::thread::{ThreadId, ThreadState};

/// Frames listed at most.
const MAX_FRAMES: usize = 64;

impl CodeMemory for Machine {
    fn read(&self, va: u64, buf: &mut [u8]) -> bool {
        self.memory
            .peek_bytes(None, Gva::<u8>::new(va), buf)
            .is_ok()
    }

    fn function_at(&self, image_base: u64, va: u64) -> Option<RuntimeFunction> {
        let module = self.modules.at(image_base)?;
        let rva = u32::try_from(va.checked_sub(image_base)?).ok()?;
        unwind::lookup(&module.functions, rva).copied()
    }
}

impl Machine {
    /// Where an address is.
    #[must_use]
    pub fn place(&self, address: u64) -> Place {
        self.place_of(address, address)
    }

    /// Where a return address is: it belongs to the call before it, which may be the last instruction of
    /// its function.
    #[must_use]
    pub fn return_place(&self, address: u64) -> Place {
        self.place_of(address, address.wrapping_sub(1))
    }

    /// Names `address`, with the function and line of `within`.
    fn place_of(&self, address: u64, within: u64) -> Place {
        let loaded = self.modules.at(within);
        let Some(module) = loaded.or_else(|| self.modules.unloaded_at(within)) else {
            return Place {
                address,
                ..Place::default()
            };
        };
        let symbols = module.symbols.as_ref();
        let at = (within - module.base) as u32;
        let rva = address.wrapping_sub(module.base);
        let symbol = self.stubs.name_of(within, address).or_else(|| {
            let symbol = symbols?.function_at(at)?;
            Some(match rva.wrapping_sub(u64::from(symbol.rva)) {
                0 => symbol.name,
                offset => format!("{}+{offset:#x}", symbol.name),
            })
        });
        let source = symbols
            .and_then(|s| s.line_at(at))
            .map(|l| format!("{}:{}", l.file, l.line));
        // As debuggers write it.
        let unloaded = if loaded.is_some() { "" } else { "Unloaded_" };
        Place {
            address,
            module: format!("{unloaded}{}", module.name),
            rva,
            symbol,
            source,
        }
    }

    /// `module!symbol+offset`, for traces.
    #[must_use]
    pub fn symbolize(&self, address: u64) -> String {
        let place = self.place(address);
        match (&place.symbol, place.module.as_str()) {
            (_, "") => format!("{address:#x}"),
            (Some(symbol), module) => format!("{}!{symbol}", stem(module)),
            (None, module) => format!("{}+{:#x}", stem(module), place.rva),
        }
    }

    /// The stack of the running thread.
    #[must_use]
    pub fn stack_trace(&self) -> Vec<Place> {
        let context = ThreadContext::save(&self.processor().cpu);
        self.walk(&context, self.processor().current)
    }

    /// The stack of any thread.
    #[must_use]
    pub fn stack_of(&self, id: ThreadId) -> Vec<Place> {
        match self.threads.get(&id) {
            Some(thread) => match thread.state {
                ThreadState::Running(n) => match self.processors.get(n) {
                    Some(p) => self.walk(&ThreadContext::save(&p.cpu), id),
                    None => Vec::new(),
                },
                _ => self.walk(&thread.context, id),
            },
            None => Vec::new(),
        }
    }

    /// The stack from a context on.
    #[must_use]
    pub fn walk(&self, context: &ThreadContext, thread: ThreadId) -> Vec<Place> {
        let mut registers = Registers {
            gpr: context.gpr,
            rip: context.rip,
            xmm: context.xmm,
        };
        let (limit, base) = self
            .threads
            .get(&thread)
            .map_or((0, u64::MAX), |t| (t.stack_limit, t.stack_base));
        let mut places = Vec::new();
        // A return address belongs to the call before it; an interrupted address to itself.
        let mut exact = true;
        while places.len() < MAX_FRAMES && registers.rip != 0 {
            let pc = if exact {
                registers.rip
            } else {
                registers.rip.wrapping_sub(1)
            };
            let place = self.place_of(registers.rip, pc);
            if self.modules.at(pc).is_none() {
                places.push(place);
                // A jump to nowhere from a call: the return address is on top of the stack.
                if places.len() > 1
                    || unwind::virtual_unwind(self, 0, None, &mut registers).is_err()
                {
                    break;
                }
                exact = false;
                continue;
            }
            let Some(module) = self.modules.at(pc) else {
                break;
            };
            let rva = (pc - module.base) as u32;
            let function = unwind::lookup(&module.functions, rva);
            places.push(place);
            let before = registers.gpr[ring3_x64::RSP];
            let Ok(step) = unwind::virtual_unwind(self, module.base, function, &mut registers)
            else {
                break;
            };
            exact = step.machine_frame;
            let rsp = registers.gpr[ring3_x64::RSP];
            if rsp <= before && !step.machine_frame || rsp < limit || rsp > base {
                break;
            }
        }
        places
    }
}
