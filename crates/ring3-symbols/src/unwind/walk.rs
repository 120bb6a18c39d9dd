//! One step of unwinding.

use ring3_pe::RuntimeFunction;

use super::epilog::{self, Release};
use super::info::{self, Code, HANDLERS, Info, Operation};
use super::{CodeMemory, Handler, Registers, UnwindError, Unwound};

/// Number of rsp.
const RSP: usize = 4;

/// Unwinds one frame as `RtlVirtualUnwind` does: on success `regs` are those of the caller, at the return address. `function`
/// is the entry of the function table for `regs.rip`; none for a leaf function, which has nothing on the stack but its return
/// address.
///
/// # Errors
/// [`UnwindError`] where unwind data or stack cannot be read or make no sense; `regs` are then unchanged.
pub fn virtual_unwind(
    mem: &dyn CodeMemory,
    image_base: u64,
    function: Option<&RuntimeFunction>,
    regs: &mut Registers,
) -> Result<Unwound, UnwindError> {
    let mut frame = Frame {
        mem,
        regs: *regs,
        machine_frame: false,
    };
    let unwound = match function {
        Some(function) => frame.unwind(image_base, function)?,
        None => {
            let establisher_frame = frame.regs.gpr[RSP];
            frame.regs.rip = frame.pop()?;
            Unwound {
                establisher_frame,
                handler: None,
                machine_frame: false,
            }
        }
    };
    *regs = frame.regs;
    Ok(unwound)
}

/// A frame being unwound.
struct Frame<'a> {
    mem: &'a dyn CodeMemory,
    regs: Registers,
    machine_frame: bool,
}

impl Frame<'_> {
    /// Unwinds a function that has unwind information.
    fn unwind(&mut self, base: u64, function: &RuntimeFunction) -> Result<Unwound, UnwindError> {
        let rip = self.regs.rip;
        let chain = info::chain(self.mem, base, function)?;
        let mut establisher_frame = 0;
        for (index, (part, info)) in chain.iter().enumerate() {
            let codes = info.codes()?;
            // All of the prologues of the functions chained to have run.
            let offset = if index == 0 {
                rip.wrapping_sub(base.wrapping_add(u64::from(part.begin)))
            } else {
                u64::MAX
            };
            let frame_base = self.frame_base(info, &codes, offset);
            if index == 0 {
                establisher_frame = frame_base;
                if offset >= u64::from(info.prolog_size)
                    && let Some(rest) = epilog::find(self.mem, base, &chain, &codes, rip)
                {
                    self.finish_epilog(info, &rest)?;
                    return Ok(Unwound {
                        establisher_frame,
                        handler: None,
                        machine_frame: false,
                    });
                }
            }
            for code in codes.iter().filter(|code| u64::from(code.at) <= offset) {
                self.undo(code, info, frame_base)?;
            }
        }
        if !self.machine_frame {
            self.regs.rip = self.pop()?;
        }
        let handler = match chain.last() {
            Some((primary, info)) => self.handler(
                info,
                rip.wrapping_sub(base.wrapping_add(u64::from(primary.begin))),
            ),
            None => Ok(None),
        }?;
        Ok(Unwound {
            establisher_frame,
            handler,
            machine_frame: self.machine_frame,
        })
    }

    /// The base of the frame's fixed allocation, as far as the prologue has come (`offset` bytes of the function).
    fn frame_base(&self, info: &Info, codes: &[Code], offset: u64) -> u64 {
        let set = codes.iter().any(|code| {
            matches!(code.operation, Operation::SetFpreg) && u64::from(code.at) <= offset
        });
        if info.frame_register != 0 && (set || offset >= u64::from(info.prolog_size)) {
            self.gpr(info.frame_register)
                .wrapping_sub(info.frame_offset)
        } else {
            self.regs.gpr[RSP]
        }
    }

    /// Undoes one step of a prologue.
    fn undo(&mut self, code: &Code, info: &Info, frame_base: u64) -> Result<(), UnwindError> {
        match code.operation {
            Operation::PushNonvol(register) => {
                let value = self.pop()?;
                self.set_gpr(register, value);
            }
            Operation::Alloc(size) => self.release(u64::from(size)),
            Operation::SetFpreg => {
                self.regs.gpr[RSP] = self
                    .gpr(info.frame_register)
                    .wrapping_sub(info.frame_offset);
            }
            Operation::SaveNonvol(register, offset) => {
                let value = self.stack_u64(frame_base.wrapping_add(u64::from(offset)))?;
                self.set_gpr(register, value);
            }
            Operation::SaveXmm128(register, offset) => {
                let va = frame_base.wrapping_add(u64::from(offset));
                let mut bytes = [0; 16];
                if !self.mem.read(va, &mut bytes) {
                    return Err(UnwindError::Stack { va });
                }
                if let Some(slot) = self.regs.xmm.get_mut(usize::from(register)) {
                    *slot = u128::from_le_bytes(bytes);
                }
            }
            Operation::PushMachframe { error_code } => {
                // rip, cs, rflags, rsp, ss from the bottom up, above the error code if there is one.
                let frame = self.regs.gpr[RSP].wrapping_add(u64::from(error_code) * 8);
                self.regs.rip = self.stack_u64(frame)?;
                self.regs.gpr[RSP] = self.stack_u64(frame.wrapping_add(24))?;
                self.machine_frame = true;
            }
            Operation::Epilog(_) => {}
        }
        Ok(())
    }

    /// Does the rest of an epilogue.
    fn finish_epilog(&mut self, info: &Info, rest: &epilog::Epilog) -> Result<(), UnwindError> {
        match rest.release {
            Some(Release::Add(constant)) => self.release(i64::from(constant) as u64),
            Some(Release::Lea(constant)) => {
                self.regs.gpr[RSP] = self
                    .gpr(info.frame_register)
                    .wrapping_add(i64::from(constant) as u64);
            }
            None => {}
        }
        for register in &rest.pops {
            let value = self.pop()?;
            self.set_gpr(*register, value);
        }
        self.regs.rip = self.pop()?;
        Ok(())
    }

    /// The language-specific handler of the primary function: it counts once its prologue, of which `offset` bytes are behind,
    /// is done.
    fn handler(&self, info: &Info, offset: u64) -> Result<Option<Handler>, UnwindError> {
        if info.flags & HANDLERS == 0 || offset < u64::from(info.prolog_size) {
            return Ok(None);
        }
        let mut routine = [0; 4];
        if !self.mem.read(info.tail, &mut routine) {
            return Err(UnwindError::Data { va: info.tail });
        }
        Ok(Some(Handler {
            flags: info.flags & HANDLERS,
            routine_rva: u32::from_le_bytes(routine),
            data_va: info.tail.wrapping_add(4),
        }))
    }

    /// Reads eight bytes of the stack.
    fn stack_u64(&self, va: u64) -> Result<u64, UnwindError> {
        let mut bytes = [0; 8];
        if !self.mem.read(va, &mut bytes) {
            return Err(UnwindError::Stack { va });
        }
        Ok(u64::from_le_bytes(bytes))
    }

    /// Pops eight bytes.
    fn pop(&mut self) -> Result<u64, UnwindError> {
        let value = self.stack_u64(self.regs.gpr[RSP])?;
        self.release(8);
        Ok(value)
    }

    /// Moves the stack pointer up.
    fn release(&mut self, bytes: u64) {
        self.regs.gpr[RSP] = self.regs.gpr[RSP].wrapping_add(bytes);
    }

    /// A general register by its number of four bits.
    fn gpr(&self, register: u8) -> u64 {
        self.regs.gpr[usize::from(register & 15)]
    }

    /// Sets a general register by its number of four bits.
    fn set_gpr(&mut self, register: u8, value: u64) {
        self.regs.gpr[usize::from(register & 15)] = value;
    }
}
