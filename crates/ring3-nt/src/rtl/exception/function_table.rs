//! Function tables in guest memory: what `RtlLookupFunctionEntry` finds.

use ring3_memory::Gva;
use ring3_pe::RuntimeFunction;
use ring3_symbols::unwind;

use crate::Machine;
use crate::layout::RUNTIME_FUNCTION;

/// Bytes of an entry.
const ENTRY: u64 = 12;

/// A function of an image, and where its entry lies in the mapped image.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Base of the image.
    pub image_base: u64,
    /// Its entry; none for a leaf function.
    pub function: Option<RuntimeFunction>,
    /// Where the entry lies; NULL for a leaf function.
    pub entry: Gva<RUNTIME_FUNCTION>,
}

/// The function that an address lies in; `None` outside all images.
#[must_use]
pub fn find(cx: &Machine, address: u64) -> Option<Found> {
    let module = cx.modules.at(address)?;
    let image_base = module.base;
    let rva = (address - image_base) as u32;
    let Some(function) = unwind::lookup(&module.functions, rva) else {
        return Some(Found {
            image_base,
            function: None,
            entry: Gva::NULL,
        });
    };
    let index = module
        .functions
        .partition_point(|f| f.begin < function.begin) as u64;
    let entry = entry_address(cx, image_base, index, function.begin).unwrap_or(Gva::NULL);
    Some(Found {
        image_base,
        function: Some(*function),
        entry,
    })
}

/// The address of the entry that starts at `begin`: the `index`th if the table in the image is sorted, as
/// the format demands.
fn entry_address(cx: &Machine, base: u64, index: u64, begin: u32) -> Option<Gva<RUNTIME_FUNCTION>> {
    let (table, size) = exception_directory(cx, base)?;
    let at = |i: u64| base.wrapping_add(u64::from(table)).wrapping_add(i * ENTRY);
    let starts = |i: u64| cx.memory.peek::<u32>(Gva::new(at(i))) == Some(begin);
    if starts(index) {
        return Some(Gva::new(at(index)));
    }
    (0..u64::from(size) / ENTRY)
        .find(|i| starts(*i))
        .map(|i| Gva::new(at(i)))
}

/// RVA and size of the exception directory, from the mapped headers.
fn exception_directory(cx: &Machine, base: u64) -> Option<(u32, u32)> {
    let word = |at: u64| cx.memory.peek::<u32>(Gva::new(base.wrapping_add(at)));
    // e_lfanew at 3Ch; behind the signature and the file header stands the optional header, whose
    // directories begin at 70h in PE32+; the exception directory is number 3.
    let directory = u64::from(word(0x3c)?) + 24 + 0x70 + 3 * 8;
    Some((word(directory)?, word(directory + 4)?)).filter(|(rva, size)| *rva != 0 && *size != 0)
}

/// An entry that a driver passes.
#[must_use]
pub fn read_entry(cx: &Machine, entry: Gva<RUNTIME_FUNCTION>) -> Option<RuntimeFunction> {
    let word = |at: u64| {
        cx.memory
            .peek::<u32>(Gva::new(entry.raw().wrapping_add(at)))
    };
    Some(RuntimeFunction {
        begin: word(0)?,
        end: word(4)?,
        unwind: word(8)?,
    })
}
