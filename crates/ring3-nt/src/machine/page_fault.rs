//! Accesses that paging refuses: an exception, or which bugcheck.
//!
//! Sources: the pages of bugchecks 0x0A, 0x50, 0x7F, 0xBE, 0xCE, 0xD1 and 0xFC.

use ring3_memory::{Access, Gpa, PageFlags, Privilege, Translation};
use ring3_x64::RSP;

use super::Machine;
use super::finding::{Severity, stem};
use crate::bugcheck_codes::{
    ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY, ATTEMPTED_WRITE_TO_READONLY_MEMORY,
    DRIVER_IRQL_NOT_LESS_OR_EQUAL, DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS,
    IRQL_NOT_LESS_OR_EQUAL, PAGE_FAULT_IN_NONPAGED_AREA, UNEXPECTED_KERNEL_MODE_TRAP,
};
use crate::export::irql::DISPATCH_LEVEL;
use crate::flow::{Exception, Flow};
use crate::mm::space::PAGE;
use crate::ntstatus::STATUS_ACCESS_VIOLATION;

/// The first address that is not a user-mode one.
const USER_END: u64 = 0x0000_8000_0000_0000;
/// The trap number of a double fault.
const EXCEPTION_DOUBLE_FAULT: u64 = 8;
/// Bytes that the processor needs below rsp for an exception with error code.
const MACHINE_FRAME: u64 = 0x30;

/// Type of page fault of bugcheck 0x50: the page table entry is free.
const FREED_PTE: u64 = 0;
/// Type of page fault of bugcheck 0x50: there is no page table.
const NOT_PRESENT_PAGE_TABLE: u64 = 2;

/// Kind of access in exceptions and most bugchecks.
const fn kind(access: Access) -> u64 {
    match access {
        Access::Read => 0,
        Access::Write => 1,
        Access::Execute => 8,
    }
}

/// Kind of access in bugcheck 0x50: bits of the error code.
const fn error_bits(access: Access) -> u64 {
    match access {
        Access::Read => 0,
        Access::Write => 2,
        Access::Execute => 0x10,
    }
}

/// The exception of a bad address in user space.
fn access_violation(va: u64, access: Access) -> Flow {
    let parameters = vec![kind(access), va];
    Flow::Raise(Exception {
        parameters,
        ..Exception::new(STATUS_ACCESS_VIOLATION)
    })
}

impl Machine {
    /// What an access of kernel code to a page that is not there, or not allowed, means.
    pub(crate) fn page_fault(&mut self, va: u64, access: Access, rip: u64) -> Flow {
        if let Some(flow) = self.stack_overflow(va) {
            return flow;
        }
        let cr3 = self.memory.context().cr3;
        if let Some(page) = self.memory.translate(cr3, va)
            && let Some(flow) = self.protection_fault(va, access, &page)
        {
            return flow;
        }
        if let Some(name) = self.stubs.absent_variable(va) {
            return Flow::NotModelled(format!("variable {name}"));
        }
        if let Some(flow) = self.unloaded(va, access, rip) {
            return flow;
        }
        let level = self.irql();
        if level >= DISPATCH_LEVEL {
            let driver = self.modules.at(rip).is_some_and(|m| !m.modelled);
            let code = if driver {
                DRIVER_IRQL_NOT_LESS_OR_EQUAL
            } else {
                IRQL_NOT_LESS_OR_EQUAL
            };
            return Flow::Bugcheck(code, [va, u64::from(level), kind(access), rip]);
        }
        if va < USER_END {
            return access_violation(va, access);
        }
        self.name_section(va, access);
        let why = if self.memory.pte_address(cr3, va).is_some() {
            FREED_PTE
        } else {
            NOT_PRESENT_PAGE_TABLE
        };
        Flow::Bugcheck(
            PAGE_FAULT_IN_NONPAGED_AREA,
            [va, error_bits(access), rip, why],
        )
    }

    /// A page that is there but does not allow this.
    fn protection_fault(&mut self, va: u64, access: Access, page: &Translation) -> Option<Flow> {
        let entry = self.page_table_entry(va);
        match access {
            Access::Execute => {
                let text = if page.flags.contains(PageFlags::USER) {
                    format!("kernel-mode execution of user memory at {va:#x}")
                } else {
                    format!("execution of memory that is not executable at {va:#x}")
                };
                self.report("memory/execute-data", Severity::Error, text);
                Some(Flow::Bugcheck(
                    ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY,
                    [va, entry, 0, 0],
                ))
            }
            Access::Write if !page.flags.contains(PageFlags::WRITE) && va >= USER_END => {
                let owner = self.modules.at(va).map(|m| {
                    let section = m.section_at(va).unwrap_or("headers");
                    format!(" in {} of {}", section, stem(&m.name))
                });
                let text = format!(
                    "write to read-only memory at {va:#x}{}",
                    owner.unwrap_or_default()
                );
                self.report("memory/write-read-only", Severity::Error, text);
                Some(Flow::Bugcheck(
                    ATTEMPTED_WRITE_TO_READONLY_MEMORY,
                    [va, entry, 0, 0],
                ))
            }
            // A user page, or an access with the rights of user mode.
            _ if self.irql() < DISPATCH_LEVEL => Some(access_violation(va, access)),
            _ => None,
        }
    }

    /// The contents of a page table entry.
    fn page_table_entry(&self, va: u64) -> u64 {
        let mut bytes = [0; 8];
        let at: Option<Gpa> = self.memory.pte_address(self.memory.context().cr3, va);
        match at.map(|at| self.memory.read_physical(at, &mut bytes)) {
            Some(Ok(())) => u64::from_le_bytes(bytes),
            _ => 0,
        }
    }

    /// The processor must be able to push onto the stack to report a fault; and the page below a kernel
    /// stack is never mapped.
    fn stack_overflow(&mut self, va: u64) -> Option<Flow> {
        let rsp = self.processor().cpu.gpr[RSP];
        let limit = self.thread().stack_limit;
        let guard = va < limit && va >= limit.wrapping_sub(PAGE);
        let below = (rsp & !15).wrapping_sub(MACHINE_FRAME);
        let usable = self
            .memory
            .check(below, MACHINE_FRAME, Access::Write, Privilege::Supervisor)
            .is_ok();
        if usable && !guard {
            return None;
        }
        let size = self.thread().stack_base.wrapping_sub(limit);
        let text = if guard || rsp < limit && rsp >= limit.wrapping_sub(PAGE) {
            format!("kernel stack overflow: all {size:#x} bytes are used, rsp is {rsp:#x}")
        } else {
            format!("the stack pointer {rsp:#x} is not usable: no exception can be reported")
        };
        self.report("stack/overflow", Severity::Error, text);
        Some(Flow::Bugcheck(
            UNEXPECTED_KERNEL_MODE_TRAP,
            [EXCEPTION_DOUBLE_FAULT, rsp, 0, 0],
        ))
    }

    /// An address in an image that has been unloaded.
    fn unloaded(&mut self, va: u64, access: Access, rip: u64) -> Option<Flow> {
        if self.modules.at(va).is_some() {
            return None;
        }
        let module = self.modules.unloaded_at(va)?;
        let (name, rva) = (module.name.clone(), va - module.base);
        let symbol = module
            .symbols
            .as_ref()
            .and_then(|s| s.function_at(rva as u32))
            .map(|s| format!(" ({})", s.name));
        let what = if access == Access::Execute {
            "code"
        } else {
            "memory"
        };
        let text = format!(
            "{what} of {name}+{rva:#x}{} is used after {name} was unloaded",
            symbol.unwrap_or_default()
        );
        self.report("driver/used-after-unload", Severity::Error, text);
        let code = DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS;
        Some(Flow::Bugcheck(
            code,
            [
                va,
                error_bits(access) >> u64::from(access == Access::Write),
                rip,
                0,
            ],
        ))
    }

    /// An address in an image whose page is gone: the INIT code of a driver that is initialized.
    fn name_section(&mut self, va: u64, access: Access) {
        let Some(module) = self.modules.at(va).cloned() else {
            return;
        };
        if !module.init_discarded {
            return;
        }
        let section = module
            .section_at(va)
            .unwrap_or("an unnamed section")
            .to_owned();
        let what = if access == Access::Execute {
            "code"
        } else {
            "data"
        };
        let symbol = module
            .symbols
            .as_ref()
            .and_then(|s| s.function_at((va - module.base) as u32));
        let named = symbol.map(|s| format!(", {}", s.name)).unwrap_or_default();
        let text = format!(
            "{what} of {}, section {section}{named}, is used after the section was discarded at the end of DriverEntry",
            module.name
        );
        self.report("driver/init-section-used", Severity::Error, text);
    }
}
