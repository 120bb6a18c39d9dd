//! Exported variables of the kernel that drivers read.

use ring3_memory::Gva;

use crate::Machine;
use crate::export::variable::Variable;
use crate::layout::LIST_ENTRY;
use crate::machine::thread::ProcessId;

/// Debug flag in `NtBuildNumber`: a free build.
const FREE_BUILD: u32 = 0xf000_0000;

fn word(cx: &mut Machine, at: Gva, value: u64) {
    let _ = cx.memory.poke_bytes(None, at, &value.to_le_bytes());
}

fn byte(cx: &mut Machine, at: Gva, value: u8) {
    let _ = cx.memory.poke_bytes(None, at, &[value]);
}

/// The variables.
pub const VARIABLES: &[Variable] = &[
    Variable {
        module: "ntoskrnl.exe",
        name: "NtBuildNumber",
        size: 4,
        summary: "The build number, with 0xF0000000 for a free build.",
        init: |cx, at| {
            let value = cx.build.build | FREE_BUILD;
            let _ = cx.memory.poke_bytes(None, at, &value.to_le_bytes());
        },
    },
    Variable {
        module: "ntoskrnl.exe",
        name: "PsLoadedModuleList",
        size: 16,
        summary: "Head of the list of loaded images.",
        init: |cx, at| {
            let head = at.cast::<LIST_ENTRY>();
            let _ = crate::ke::list::initialize(&mut cx.memory, head);
            let bases: Vec<u64> = cx.modules.iter().map(|m| m.base).collect();
            for base in bases {
                crate::ps::loaded_modules::insert(cx, base);
            }
        },
    },
    Variable {
        module: "ntoskrnl.exe",
        name: "PsInitialSystemProcess",
        size: 8,
        summary: "The System process.",
        init: |cx, at| {
            let object = cx
                .processes
                .get(&ProcessId::SYSTEM)
                .map_or(0, |p| p.object.raw());
            word(cx, at, object);
        },
    },
    Variable {
        module: "ntoskrnl.exe",
        name: "MmHighestUserAddress",
        size: 8,
        summary: "The highest address of user space.",
        init: |cx, at| {
            let value = cx.build.highest_user_address;
            word(cx, at, value);
        },
    },
    Variable {
        module: "ntoskrnl.exe",
        name: "MmUserProbeAddress",
        size: 8,
        summary: "The first address that user buffers may not reach.",
        init: |cx, at| {
            let value = cx.build.user_probe_address;
            word(cx, at, value);
        },
    },
    Variable {
        module: "ntoskrnl.exe",
        name: "MmSystemRangeStart",
        size: 8,
        summary: "The lowest address of system space.",
        init: |cx, at| {
            let value = cx.build.system_range_start;
            word(cx, at, value);
        },
    },
    Variable {
        module: "ntoskrnl.exe",
        name: "KdDebuggerEnabled",
        size: 1,
        summary: "Whether a kernel debugger is enabled: no.",
        init: |cx, at| byte(cx, at, 0),
    },
    Variable {
        module: "ntoskrnl.exe",
        name: "KdDebuggerNotPresent",
        size: 1,
        summary: "Whether no kernel debugger is attached: none is.",
        init: |cx, at| byte(cx, at, 1),
    },
    Variable {
        module: "ntoskrnl.exe",
        name: "KeNumberProcessors",
        size: 4,
        summary: "The number of processors.",
        init: |cx, at| {
            let value = cx.processors.len() as u8;
            byte(cx, at, value);
        },
    },
    Variable {
        module: "ntoskrnl.exe",
        name: "InitSafeBootMode",
        size: 4,
        summary: "The safe mode: none.",
        init: |cx, at| byte(cx, at, 0),
    },
    Variable {
        module: "ntoskrnl.exe",
        name: "NtGlobalFlag",
        size: 4,
        summary: "Global debugging flags: none.",
        init: |cx, at| byte(cx, at, 0),
    },
    Variable {
        module: "ntoskrnl.exe",
        name: "Mm64BitPhysicalAddress",
        size: 16,
        summary: "A pointer to a BOOLEAN: physical addresses have 64 bits.",
        init: |cx, at| {
            // The BOOLEAN itself takes the second half of the slot's 16 bytes.
            byte(cx, at.byte_add(8), 1);
            word(cx, at, at.raw() + 8);
        },
    },
];
