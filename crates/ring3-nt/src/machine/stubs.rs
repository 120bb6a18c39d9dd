//! The guest's images of the kernel's own modules, whose exports are stubs.
//!
//! A stub is 16 bytes: `vmcall; sub rsp,68h; nop; vmcall; add rsp,68h; ret`. A call of the export runs
//! into the first `vmcall`, which the engine hands to the host. Host routines call guest code with the
//! second one as return address, so that the unwind data (one allocation of 68h bytes) holds there.
//! No instruction of a stub but the two `vmcall` is ever executed.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use ring3_memory::Gva;
use ring3_pe::RuntimeFunction;
use ring3_pe::build::{ImageBuilder, SectionFlags, UnwindCode, UnwindInfo};

use super::Machine;
use super::modules::Module;
use super::thread::HOST_FRAME;
use crate::build::{ModuleExports, WIN10_2004};
use crate::export::table::ExportTable;
use crate::mm::space::{PAGE, Region};
use crate::rtl::exception::area::PAD;

/// Bytes per stub.
pub const STUB: u64 = 16;
/// The bytes of a stub.
const CODE: [u8; STUB as usize] = [
    0x0f, 0x01, 0xc1, // vmcall
    0x48, 0x83, 0xec, 0x68, // sub rsp, 68h
    0x90, // nop
    0x0f, 0x01, 0xc1, // vmcall: where callees return to
    0x48, 0x83, 0xc4, 0x68, // add rsp, 68h
    0xc3, // ret
];
/// Where the prologue of a stub ends.
const PROLOGUE: u8 = 7;

/// What a stub stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A declared export, by number.
    Export(u32),
    /// Exported by the build, not modelled.
    NotModelled(Arc<str>),
    /// A place of the kernel's own.
    Special(&'static str),
}

/// Exports that are real guest code, because their contract does not fit a call into the host.
const GUEST_CODE: &[(&str, &[u8])] = &[(
    // rax = bytes; touches each page below the caller's stack pointer; changes r10 and r11 only.
    "__chkstk",
    &[
        0x49, 0x89, 0xc3, // mov r11, rax
        0x4c, 0x8d, 0x54, 0x24, 0x08, // lea r10, [rsp+8]
        0x49, 0x81, 0xfb, 0x00, 0x10, 0x00, 0x00, // L: cmp r11, 1000h
        0x72, 0x14, // jb done
        0x49, 0x81, 0xea, 0x00, 0x10, 0x00, 0x00, // sub r10, 1000h
        0x41, 0xf6, 0x02, 0x00, // test byte [r10], 0
        0x49, 0x81, 0xeb, 0x00, 0x10, 0x00, 0x00, // sub r11, 1000h
        0xeb, 0xe3, // jmp L
        0xc3, // done: ret
    ],
)];

/// Places of the kernel's own in ntoskrnl.exe.
const SPECIALS: [&str; 10] = [
    "KiCallHost",
    "KiIdleLoop",
    "KiDpcInterrupt",
    "KiExceptionDispatch",
    "PspSystemThreadStartup",
    "KiSystemServiceUser",
    crate::io::private::INVALID_DEVICE_REQUEST,
    crate::io::private::CSQ_CANCEL_ROUTINE,
    crate::io::private::ROOT_BUS_DISPATCH,
    crate::ke::apc::SCHEDULER_APC,
];

/// One of the kernel's own images.
#[derive(Debug)]
struct SystemModule {
    name: &'static str,
    base: u64,
    image: Vec<u8>,
    functions: Arc<[RuntimeFunction]>,
    /// Address ranges with their access rights (write, execute); absent ranges are not mapped.
    sections: Vec<(u64, u64, bool, bool)>,
    text: u64,
    targets: Vec<Target>,
    names: Vec<String>,
    addresses: BTreeMap<String, u64>,
    /// Exported variables that are not modelled: not mapped.
    absent: BTreeMap<u64, (u32, String)>,
}

/// All of them.
#[derive(Debug)]
pub struct Stubs {
    modules: Vec<SystemModule>,
    /// The stub in whose name host routines without an export run.
    pub host_call: u64,
    /// Where idle processors stand.
    pub idle: u64,
    /// The interrupt entry: its unwind data leads through a trap frame.
    pub interrupt: u64,
    /// The exception entry, likewise.
    pub exception: u64,
    /// The outermost frame of system threads.
    pub thread_start: u64,
    /// The outermost frame of user threads' kernel side.
    pub user_service: u64,
    /// What the dispatch slots of a fresh driver object hold.
    pub invalid_device_request: u64,
}

impl Stubs {
    /// The images are equal in all machines, so they are built once.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static STUBS: OnceLock<Arc<Stubs>> = OnceLock::new();
        Arc::clone(STUBS.get_or_init(|| Arc::new(Self::build(&crate::table::exports()))))
    }

    fn build(table: &ExportTable) -> Self {
        let mut base = 0xffff_f800_1000_0000;
        let mut modules: Vec<SystemModule> = Vec::new();
        for module in WIN10_2004.modules() {
            let built = SystemModule::build(module, table, base, &modules);
            base = (base + built.image.len() as u64).next_multiple_of(0x1_0000) + 0x1_0000;
            modules.push(built);
        }
        let special = |name: &str| {
            modules
                .first()
                .and_then(|m| m.addresses.get(name))
                .copied()
                .unwrap_or(0)
        };
        Self {
            host_call: special(SPECIALS[0]),
            idle: special(SPECIALS[1]),
            interrupt: special(SPECIALS[2]),
            exception: special(SPECIALS[3]),
            thread_start: special(SPECIALS[4]),
            user_service: special(SPECIALS[5]),
            invalid_device_request: special(SPECIALS[6]),
            modules,
        }
    }

    fn module_at(&self, address: u64) -> Option<&SystemModule> {
        self.modules
            .iter()
            .find(|m| address >= m.base && address - m.base < m.image.len() as u64)
    }

    /// The stub that an address lies in, and what it stands for.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<(u64, Target)> {
        let module = self.module_at(address)?;
        let index = address.checked_sub(module.text)? / STUB;
        let target = module.targets.get(index as usize)?;
        Some((module.text + index * STUB, target.clone()))
    }

    /// The name of the stub that `within` lies in, with the offset of `address` in it.
    #[must_use]
    pub fn name_of(&self, within: u64, address: u64) -> Option<String> {
        let module = self.module_at(within)?;
        let index = within.checked_sub(module.text)? / STUB;
        let name = module.names.get(index as usize)?;
        Some(match address.wrapping_sub(module.text + index * STUB) {
            0 => name.clone(),
            n => format!("{name}+{n:#x}"),
        })
    }

    /// The address of an export, a variable or one of the kernel's own places.
    #[must_use]
    pub fn address_of(&self, module: &str, name: &str) -> Option<u64> {
        self.modules
            .iter()
            .find(|m| m.name.eq_ignore_ascii_case(module))?
            .addresses
            .get(name)
            .copied()
    }

    /// Whether this is one of the kernel's own modules.
    #[must_use]
    pub fn has_module(&self, module: &str) -> bool {
        self.modules
            .iter()
            .any(|m| m.name.eq_ignore_ascii_case(module))
    }

    /// The exported variable at an address that is not modelled.
    #[must_use]
    pub fn absent_variable(&self, address: u64) -> Option<&str> {
        let module = self.module_at(address)?;
        let (start, (size, name)) = module.absent.range(..=address).next_back()?;
        (address - start < u64::from(*size)).then_some(name.as_str())
    }

    /// Whether an export of the build is modelled: a routine with a declaration, or a variable.
    #[must_use]
    pub fn is_modelled(&self, module: &str, name: &str) -> bool {
        let Some(address) = self.address_of(module, name) else {
            return false;
        };
        match self.find(address) {
            Some((_, Target::NotModelled(_))) => false,
            Some(_) => true,
            None => self.absent_variable(address).is_none(),
        }
    }

    /// Puts the images into a fresh machine and on its module list.
    pub(crate) fn load(&self, cx: &mut Machine) {
        for module in &self.modules {
            cx.mm.regions.reserve(
                Region::SystemImages,
                (module.image.len() as u64).div_ceil(PAGE),
            );
            for (start, end, write, execute) in &module.sections {
                cx.map_image_range(module.base, &module.image, *start, *end, *write, *execute);
            }
            cx.modules.add(Module {
                name: module.name.to_owned(),
                base: module.base,
                size: module.image.len() as u32,
                entry: 0,
                functions: Arc::clone(&module.functions),
                symbols: None,
                image: None,
                modelled: true,
                entry_in_list: Gva::NULL,
                init_discarded: false,
            });
        }
    }
}

impl SystemModule {
    fn build(
        module: &'static ModuleExports,
        table: &ExportTable,
        base: u64,
        before: &[Self],
    ) -> Self {
        let file = module.file();
        let kernel = file.eq_ignore_ascii_case("ntoskrnl.exe");
        let mut builder = ImageBuilder::new(file);
        builder.dll(!kernel);

        // Exported variables come first: a driver may look for the kernel's image below the address
        // of NtBuildNumber, within the first MiBs.
        let mut variables: BTreeMap<String, (u32, bool)> = module
            .data()
            .iter()
            .map(|(name, size)| ((*name).to_owned(), (*size, false)))
            .collect();
        for variable in table
            .variables()
            .filter(|v| v.module.eq_ignore_ascii_case(file))
        {
            variables.insert(variable.name.to_owned(), (variable.size, true));
        }
        let mut data = Vec::new();
        let mut places: BTreeMap<String, u32> = BTreeMap::new();
        for (name, (size, _)) in variables.iter().filter(|(_, (_, modelled))| *modelled) {
            places.insert(name.clone(), data.len() as u32);
            data.resize((data.len() + *size as usize).next_multiple_of(16), 0u8);
        }
        // Variables that the kernel has symbols of but does not export.
        let mut private: BTreeMap<String, u32> = BTreeMap::new();
        for name in crate::dbg::filter::symbols().filter(|_| kernel) {
            private.insert(name, data.len() as u32);
            data.resize(data.len() + 4, 0u8);
        }
        let mut missing: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        let mut missing_size = 0u32;
        for (name, (size, _)) in variables.iter().filter(|(_, (_, modelled))| !*modelled) {
            missing.insert(name.clone(), (missing_size, *size));
            missing_size = (missing_size + size).next_multiple_of(16);
        }

        // Routines: what the build exports and what is declared, without the variables.
        let mut functions: BTreeMap<&str, Option<u32>> = module
            .functions()
            .iter()
            .map(|name| (*name, None))
            .collect();
        for (_, name, number) in table.names().filter(|(m, ..)| m.eq_ignore_ascii_case(file)) {
            functions.insert(name, Some(number as u32));
        }
        functions.retain(|name, _| !variables.contains_key(*name));
        let mut forwards: BTreeMap<String, u64> = BTreeMap::new();
        if let Some(nt) = before.first() {
            // HAL.dll of this build forwards what ntoskrnl.exe exports under the same name.
            functions.retain(|name, number| {
                let target = nt
                    .addresses
                    .get(*name)
                    .filter(|_| number.is_none() && module.forwards_to_nt());
                if let Some(address) = target {
                    forwards.insert((*name).to_owned(), *address);
                }
                target.is_none()
            });
        }
        let mut targets = Vec::new();
        let mut names = Vec::new();
        if kernel {
            for name in SPECIALS {
                targets.push(Target::Special(name));
                names.push(name.to_owned());
            }
        }
        for (name, number) in &functions {
            if kernel && GUEST_CODE.iter().any(|(n, _)| n == name) {
                continue;
            }
            targets.push(match number {
                Some(number) => Target::Export(*number),
                None => {
                    Target::NotModelled(format!("{}!{name}", super::finding::stem(file)).into())
                }
            });
            names.push((*name).to_owned());
        }

        if !data.is_empty() {
            builder.section(".data", SectionFlags::DATA, data);
        }
        let data_rva = 0x1000;
        let mut code = CODE.repeat(targets.len());
        let raw_start = code.len();
        let mut raw = Vec::new();
        if kernel {
            for (name, bytes) in GUEST_CODE {
                raw.push((*name, code.len() as u32));
                code.extend_from_slice(bytes);
                code.resize(code.len().next_multiple_of(16), 0xcc);
            }
        }
        if code.is_empty() {
            // A module of forwarders only still has a section.
            code.resize(STUB as usize, 0xcc);
        }
        let text_rva = builder.section(".text", SectionFlags::CODE, code);
        let missing_rva = (missing_size > 0).then(|| {
            builder.section_with_size("ABSENT", SectionFlags::READ_ONLY, Vec::new(), missing_size)
        });

        let mut addresses = BTreeMap::new();
        let plain = UnwindInfo {
            prolog_size: PROLOGUE,
            codes: vec![UnwindCode::Alloc {
                at: PROLOGUE,
                size: HOST_FRAME as u32,
            }],
            ..UnwindInfo::default()
        };
        // Through a trap frame: the machine frame lies at +168h of the KTRAP_FRAME.
        let through_trap = UnwindInfo {
            prolog_size: PROLOGUE,
            codes: vec![
                UnwindCode::PushMachframe {
                    at: 0,
                    error_code: false,
                },
                UnwindCode::Alloc {
                    at: PROLOGUE,
                    size: HOST_FRAME as u32 + PAD as u32 + 0x168,
                },
            ],
            ..UnwindInfo::default()
        };
        for (i, name) in names.iter().enumerate() {
            let rva = text_rva + (i as u32) * STUB as u32;
            let special = kernel && i < SPECIALS.len();
            let trap = special && (i == 2 || i == 3);
            builder.function(
                rva,
                rva + STUB as u32,
                if trap { &through_trap } else { &plain },
            );
            if !special {
                builder.export(name.clone(), rva);
            }
            addresses.insert(name.clone(), base + u64::from(rva));
        }
        debug_assert_eq!(raw_start as u64, targets.len() as u64 * STUB);
        for (name, offset) in raw {
            builder.export(name, text_rva + offset);
            addresses.insert(name.to_owned(), base + u64::from(text_rva + offset));
        }
        for (name, offset) in &places {
            builder.export(name.clone(), data_rva + offset);
            addresses.insert(name.clone(), base + u64::from(data_rva + offset));
        }
        for (name, offset) in private {
            addresses.insert(name, base + u64::from(data_rva + offset));
        }
        let mut absent = BTreeMap::new();
        for (name, (offset, size)) in missing {
            let rva = missing_rva.unwrap_or(0) + offset;
            builder.export(name.clone(), rva);
            addresses.insert(name.clone(), base + u64::from(rva));
            absent.insert(base + u64::from(rva), (size, name));
        }
        for (name, address) in forwards {
            builder.export_forward(name.clone(), format!("ntoskrnl.{name}"));
            addresses.insert(name, address);
        }

        let built = builder
            .build(base)
            .unwrap_or_else(|error| panic!("the image of {file} cannot be built: {error}"));
        let parsed = ring3_pe::Image::parse_with(
            built.file,
            ring3_pe::Options {
                any_subsystem: true,
            },
        )
        .unwrap_or_else(|error| panic!("the image of {file} cannot be read: {error}"));
        let mut sections = vec![(0, PAGE, false, false)];
        for section in &parsed.sections {
            if section.name == "ABSENT" {
                continue;
            }
            let start = u64::from(section.rva);
            let end = start + u64::from(section.virtual_size.max(1));
            sections.push((
                start,
                end.next_multiple_of(PAGE),
                section.writable(),
                section.executable(),
            ));
        }
        Self {
            name: file,
            base,
            image: built.mapped,
            functions: Arc::clone(&parsed.functions),
            sections,
            text: base + u64::from(text_rva),
            targets,
            names,
            addresses,
            absent,
        }
    }
}
