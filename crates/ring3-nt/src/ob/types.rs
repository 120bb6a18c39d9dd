//! Object types: real OBJECT_TYPE objects, and the exported variables that lead to them.
//! Documentation: wdm.h, "Object Management"; the layout is that of the kernel's symbols.

use ring3_memory::{Fault, Gva};

use super::{HEADER, Kind};
use crate::Machine;
use crate::export::variable::Variable;
use crate::layout::{
    GENERIC_MAPPING, LIST_ENTRY, OBJECT_HEADER, OBJECT_TYPE, OBJECT_TYPE_INITIALIZER,
    UNICODE_STRING,
};
use crate::mm::space::{Region, data};

/// What `OBJECT_HEADER.TypeIndex` is mixed with, besides a byte of the header's address. Windows draws its
/// cookie at each boot.
pub const HEADER_COOKIE: u8 = 0x5a;

/// Bytes kept for each type: header, body, name.
const SLOT: u64 = 0x180;
/// Where the name lies in a slot.
const TEXT: u64 = HEADER + OBJECT_TYPE::SIZE;

/// A type of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// Its name in `\ObjectTypes`.
    pub name: &'static str,
    /// The exported variable that leads to it; empty for none.
    pub variable: &'static str,
    /// Generic read, write, execute and all.
    pub mapping: [u32; 4],
}

const fn entry(name: &'static str, variable: &'static str, mapping: [u32; 4]) -> Type {
    Type {
        name,
        variable,
        mapping,
    }
}

/// The types. The index of a type is its place here plus 2: 0 and 1 are reserved, as in
/// `nt!ObTypeIndexTable`. The order is ours. Access masks are those of winnt.h.
pub const TYPES: &[Type] = &[
    entry("Type", "", [0x2_0000, 0x2_0000, 0x2_0000, 0xf_0001]),
    entry("Directory", "", [0x2_0003, 0x2_000c, 0x2_0003, 0xf_000f]),
    entry("SymbolicLink", "", [0x2_0001, 0x2_0000, 0x2_0001, 0xf_0001]),
    entry(
        "Token",
        "SeTokenObjectType",
        [0x2_001a, 0x2_01e0, 0x2_0005, 0xf_01ff],
    ),
    entry(
        "Process",
        "PsProcessType",
        [0x2_0410, 0x2_0bea, 0x12_1001, 0x1f_ffff],
    ),
    entry(
        "Thread",
        "PsThreadType",
        [0x2_0048, 0x2_0037, 0x12_0800, 0x1f_ffff],
    ),
    entry(
        "Job",
        "PsJobType",
        [0x2_0004, 0x2_000b, 0x12_0000, 0x1f_003f],
    ),
    entry(
        "Event",
        "ExEventObjectType",
        [0x2_0001, 0x2_0002, 0x12_0000, 0x1f_0003],
    ),
    entry("Mutant", "", [0x2_0001, 0x2_0000, 0x12_0000, 0x1f_0001]),
    entry("Callback", "", [0x2_0000, 0x2_0001, 0x12_0000, 0x1f_0001]),
    entry(
        "Semaphore",
        "ExSemaphoreObjectType",
        [0x2_0001, 0x2_0002, 0x12_0000, 0x1f_0003],
    ),
    entry(
        "Timer",
        "ExTimerObjectType",
        [0x2_0001, 0x2_0002, 0x12_0000, 0x1f_0003],
    ),
    entry(
        "Section",
        "MmSectionObjectType",
        [0x2_0005, 0x2_0002, 0x2_0008, 0xf_001f],
    ),
    entry(
        "Key",
        "CmKeyObjectType",
        [0x2_0019, 0x2_0006, 0x2_0019, 0xf_003f],
    ),
    entry(
        "Adapter",
        "IoAdapterObjectType",
        [0x12_0089, 0x12_0116, 0x12_00a0, 0x1f_01ff],
    ),
    entry(
        "Device",
        "IoDeviceObjectType",
        [0x12_0089, 0x12_0116, 0x12_00a0, 0x1f_01ff],
    ),
    entry(
        "Driver",
        "IoDriverObjectType",
        [0x12_0089, 0x12_0116, 0x12_00a0, 0x1f_01ff],
    ),
    entry(
        "IoCompletion",
        "IoCompletionObjectType",
        [0x2_0001, 0x2_0002, 0x12_0000, 0x1f_0003],
    ),
    entry(
        "File",
        "IoFileObjectType",
        [0x12_0089, 0x12_0116, 0x12_00a0, 0x1f_01ff],
    ),
];

impl Kind {
    /// The name of the type.
    #[must_use]
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Directory => "Directory",
            Self::SymbolicLink(_) => "SymbolicLink",
            Self::Driver => "Driver",
            Self::Device => "Device",
            Self::File => "File",
            Self::Thread => "Thread",
            Self::Process => "Process",
            Self::Event => "Event",
            Self::Section(_) => "Section",
            Self::Callback => "Callback",
            Self::Key(_) => "Key",
            Self::Token => "Token",
        }
    }
}

/// The index of a type; 0 for a name that is none.
#[must_use]
pub fn index_of(name: &str) -> u8 {
    TYPES
        .iter()
        .position(|t| t.name == name)
        .map_or(0, |at| at as u8 + 2)
}

/// `OBJECT_HEADER.TypeIndex` as it is stored for a header at this address.
#[must_use]
pub const fn stored_index(index: u8, header: u64) -> u8 {
    index ^ HEADER_COOKIE ^ (header >> 8) as u8
}

fn write_type(
    cx: &mut Machine,
    slot: Gva,
    list: Gva<LIST_ENTRY>,
    which: &Type,
    index: u8,
) -> Result<(), Fault> {
    let body = slot.byte_add(HEADER).cast::<OBJECT_TYPE>();
    let info = body.at(OBJECT_TYPE::TypeInfo);
    let text: Vec<u8> = which
        .name
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let m = &mut cx.memory;
    m.set(slot.cast(), OBJECT_HEADER::PointerCount, 2)?;
    m.set(
        slot.cast(),
        OBJECT_HEADER::TypeIndex,
        stored_index(index_of("Type"), slot.raw()),
    )?;
    crate::ke::list::initialize(m, list)?;
    m.write_bytes(slot.byte_add(TEXT), &text)?;
    let name = body.at(OBJECT_TYPE::Name);
    m.set(name, UNICODE_STRING::Length, text.len() as u16)?;
    m.set(name, UNICODE_STRING::MaximumLength, text.len() as u16 + 2)?;
    m.set(name, UNICODE_STRING::Buffer, slot.byte_add(TEXT).cast())?;
    m.set(body, OBJECT_TYPE::Index, index)?;
    m.set(
        info,
        OBJECT_TYPE_INITIALIZER::Length,
        OBJECT_TYPE_INITIALIZER::SIZE as u16,
    )?;
    // NonPagedPoolNx.
    m.set(info, OBJECT_TYPE_INITIALIZER::PoolType, 0x200)?;
    m.set(
        info,
        OBJECT_TYPE_INITIALIZER::ValidAccessMask,
        which.mapping[3],
    )?;
    let mapping = info.at(OBJECT_TYPE_INITIALIZER::GenericMapping);
    m.set(mapping, GENERIC_MAPPING::GenericRead, which.mapping[0])?;
    m.set(mapping, GENERIC_MAPPING::GenericWrite, which.mapping[1])?;
    m.set(mapping, GENERIC_MAPPING::GenericExecute, which.mapping[2])?;
    m.set(mapping, GENERIC_MAPPING::GenericAll, which.mapping[3])
}

/// Makes the type objects of a fresh machine.
pub fn initialize(cx: &mut Machine) {
    let pages = (SLOT * TYPES.len() as u64).div_ceil(crate::mm::space::PAGE);
    let Some(base) = cx.allocate_pages(Region::Objects, pages, data()) else {
        return;
    };
    for (n, which) in TYPES.iter().enumerate() {
        let slot = base.byte_add(SLOT * n as u64);
        let list = slot
            .byte_add(HEADER)
            .cast::<OBJECT_TYPE>()
            .at(OBJECT_TYPE::TypeList);
        if write_type(cx, slot, list, which, n as u8 + 2).is_ok() {
            cx.ob
                .types
                .insert(which.name.to_owned(), slot.raw() + HEADER);
        }
    }
}

impl Machine {
    /// The OBJECT_TYPE of a type by name; NULL for a name that is none.
    #[must_use]
    pub fn object_type(&self, name: &str) -> Gva<OBJECT_TYPE> {
        self.ob
            .types
            .get(name)
            .map_or(Gva::NULL, |at| Gva::new(*at))
    }

    /// The OBJECT_TYPE of an object; NULL for what is no object.
    #[must_use]
    pub fn type_of_object(&self, body: u64) -> Gva<OBJECT_TYPE> {
        self.ob
            .objects
            .get(&body)
            .map_or(Gva::NULL, |o| self.object_type(o.kind.type_name()))
    }
}

macro_rules! variables {
    ($($variable:literal),* $(,)?) => {
        /// The variables, each a pointer to its type.
        pub const VARIABLES: &[Variable] = &[$(
            Variable {
                module: "ntoskrnl.exe",
                name: $variable,
                size: 8,
                summary: "A pointer to an object type.",
                init: |cx, at| {
                    let name = TYPES.iter().find(|t| t.variable == $variable).map_or("", |t| t.name);
                    let object = cx.object_type(name).raw();
                    let _ = cx.memory.poke_bytes(None, at, &object.to_le_bytes());
                },
            },
        )*];
    };
}

variables![
    "CmKeyObjectType",
    "ExEventObjectType",
    "ExSemaphoreObjectType",
    "ExTimerObjectType",
    "IoAdapterObjectType",
    "IoCompletionObjectType",
    "IoDeviceObjectType",
    "IoDriverObjectType",
    "IoFileObjectType",
    "MmSectionObjectType",
    "PsJobType",
    "PsProcessType",
    "PsThreadType",
    "SeTokenObjectType",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_leads_to_a_type() {
        for variable in VARIABLES {
            assert!(
                TYPES.iter().any(|t| t.variable == variable.name),
                "{} has no type",
                variable.name
            );
        }
        let named = TYPES.iter().filter(|t| !t.variable.is_empty()).count();
        assert_eq!(named, VARIABLES.len());
    }

    #[test]
    fn types_are_where_their_variables_say() {
        let machine = Machine::boot(&crate::machine::boot::Config::default());
        let variable = machine
            .export_address("ntoskrnl.exe", "IoFileObjectType")
            .expect("exported");
        let body: u64 = machine.memory.peek(variable.cast::<u64>()).expect("mapped");
        assert_eq!(Gva::new(body), machine.object_type("File"));
        let index = machine
            .memory
            .peek(Gva::<OBJECT_TYPE>::new(body).at(OBJECT_TYPE::Index))
            .expect("mapped");
        assert_eq!(index, index_of("File"));
        let name = body + OBJECT_TYPE::Name.offset() as u64;
        assert_eq!(
            crate::export::show::unicode_text(&machine, name).as_deref(),
            Some("File")
        );
    }
}
