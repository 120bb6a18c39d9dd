//! Object type variables: `IoFileObjectType` and its like.

use ring3_memory::Gva;

use crate::Machine;
use crate::export::variable::Variable;

/// Each type variable points to a block of its own that stands for the OBJECT_TYPE.
fn init(cx: &mut Machine, at: Gva) {
    let Some(object) = cx.allocate_pages(crate::mm::space::Region::Objects, 1, crate::mm::space::data()) else {
        return;
    };
    let _ = cx.memory.poke_bytes(None, at, &object.raw().to_le_bytes());
}

macro_rules! types {
    ($($name:literal),* $(,)?) => {
        /// The variables.
        pub const VARIABLES: &[Variable] = &[$(
            Variable {
                module: "ntoskrnl.exe",
                name: $name,
                size: 8,
                summary: "A pointer to an object type.",
                init,
            },
        )*];
    };
}

types![
    "CmKeyObjectType",
    "ExEventObjectType",
    "ExSemaphoreObjectType",
    "IoDeviceObjectType",
    "IoDriverObjectType",
    "IoFileObjectType",
    "MmSectionObjectType",
    "PsProcessType",
    "PsThreadType",
    "SeTokenObjectType",
];
