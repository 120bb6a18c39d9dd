//! Translation: from instruction bytes to the ops of a block.

mod builder;
mod general;
mod integer;
mod neighbours;
mod system;
mod table;
mod vector;

use iced_x86::{
    Decoder, DecoderError, DecoderOptions, Instruction, InstructionInfoFactory, OpAccess,
};
use ring3_memory::{Access, Fault, Memory, PAGE_SIZE, Privilege};

use crate::block::Parts;
use crate::exit::vector_number;
use crate::ops::{branch, system as handlers};
use builder::Builder;

/// Most instructions in a block.
pub(crate) const LONGEST: u16 = 64;

/// The longest instruction in bytes.
pub(crate) const MAX_LENGTH: usize = 15;

/// Bytes fetched at a time.
const WINDOW: usize = 128;

/// What translation depends on beside the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Options {
    pub coverage: bool,
    pub log: bool,
    /// The exception that SSE instructions raise now.
    pub no_sse: Option<u8>,
}

/// Whether a block goes on behind an instruction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Yes.
    More,
    /// No: its last op leaves the block.
    End,
    /// No, but its last op does not leave the block.
    Cut,
}

/// Translates at most `most` instructions at `rip`.
///
/// # Errors
/// The fault if not even the first one can be fetched.
pub(crate) fn translate(
    mem: &mut Memory,
    rip: u64,
    privilege: Privilege,
    most: u16,
    options: Options,
) -> Result<Parts, Fault> {
    let mut window = [0; WINDOW];
    let mut fetched = mem.fetch(rip, &mut window, privilege)?;
    let mut builder = Builder::new(rip, options);
    builder.parts.pfn = fetched.pfn;
    let mut start = rip;
    let mut at = rip;
    // A block stays in the page where it begins; its last instruction may reach into the next.
    let page_end = (rip | (PAGE_SIZE as u64 - 1)).wrapping_add(1);
    let most = most.clamp(1, LONGEST);
    loop {
        let mut offset = at.wrapping_sub(start) as usize;
        if offset + MAX_LENGTH > fetched.len && start != at {
            match mem.fetch(at, &mut window, privilege) {
                Ok(more) => (fetched, start, offset) = (more, at, 0),
                Err(_) => break,
            }
        }
        let bytes = window
            .get(offset..fetched.len.min(offset + MAX_LENGTH))
            .unwrap_or(&[]);
        let mut decoder = Decoder::with_ip(64, bytes, at, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let then = match decoder.last_error() {
            DecoderError::None => {
                let end = at.wrapping_add(instruction.len() as u64);
                if end.wrapping_sub(1) & !0xfff != rip & !0xfff {
                    builder.parts.next_pfn = fetched.next_pfn;
                }
                builder.begin(&instruction);
                table::lower(&mut builder, &instruction)
            }
            DecoderError::NoMoreBytes if bytes.len() < MAX_LENGTH => {
                // The rest lies in a page that can't be fetched.
                if builder.parts.count > 0 {
                    break;
                }
                let missing = at.wrapping_add(bytes.len() as u64);
                mem.probe(missing, 1, Access::Execute, privilege)?;
                builder.undefined(vector_number::INVALID_OPCODE)
            }
            // Too long.
            _ if decoder.position() >= MAX_LENGTH => {
                builder.undefined(vector_number::GENERAL_PROTECTION)
            }
            _ => builder.undefined(vector_number::INVALID_OPCODE),
        };
        if then == Then::End {
            return Ok(builder.finish());
        }
        at = at.wrapping_add(instruction.len() as u64);
        if then == Then::Cut
            || builder.parts.count >= most
            || at.wrapping_sub(rip) >= page_end.wrapping_sub(rip)
        {
            break;
        }
    }
    builder.cut(at);
    Ok(builder.finish())
}

/// Decodes the instruction at an address for a message or its size. Gives its bytes too.
pub(crate) fn inspect(
    mem: &mut Memory,
    rip: u64,
    privilege: Privilege,
) -> Option<(Instruction, [u8; MAX_LENGTH])> {
    let mut bytes = [0; MAX_LENGTH];
    let fetched = mem.fetch(rip, &mut bytes, privilege).ok()?;
    let mut decoder = Decoder::with_ip(64, bytes.get(..fetched.len)?, rip, DecoderOptions::NONE);
    let instruction = decoder.decode();
    (!instruction.is_invalid()).then_some((instruction, bytes))
}

/// Whether an instruction reads a memory operand and writes the same one.
pub(crate) fn reads_and_writes(instruction: &Instruction) -> bool {
    InstructionInfoFactory::new()
        .info(instruction)
        .used_memory()
        .iter()
        .any(|memory| {
            matches!(
                memory.access(),
                OpAccess::ReadWrite | OpAccess::ReadCondWrite
            )
        })
}

impl Builder {
    /// Bytes that raise an exception.
    fn undefined(&mut self, vector: u8) -> Then {
        self.begin(&Instruction::default());
        let mut op = self.op(handlers::raise);
        op.extra = vector;
        self.push(op);
        Then::End
    }

    /// Ends the block before the instruction at `next`.
    fn cut(&mut self, next: u64) {
        self.parts.targets[0] = next;
        let op = self.op(branch::jmp);
        self.push(op);
    }
}
