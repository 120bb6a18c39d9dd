//! The list of files that declare exports: one line per file.

use std::sync::{Arc, OnceLock};

use crate::Machine;
use crate::export::table::{ExportTable, Group};
use crate::export::variable::Variable;

/// Files with exported routines.
const GROUPS: &[Group] = &[
    crate::cm::callback::Callbacks::EXPORTS,
    crate::cm::keys::Keys::EXPORTS,
    crate::cm::notify::Notifications::EXPORTS,
    crate::cm::object_context::KeyObjects::EXPORTS,
    crate::dbg::print::DebugPrint::EXPORTS,
    crate::ex::callback::CallbackObjects::EXPORTS,
    crate::ex::fast_mutex::FastMutexes::EXPORTS,
    crate::ex::interlocked::Interlocked::EXPORTS,
    crate::ex::lookaside::LookasideLists::EXPORTS,
    crate::ex::pool_exports::PoolRoutines::EXPORTS,
    crate::ex::push_lock::PushLocks::EXPORTS,
    crate::ex::reader_writer_spin_lock::ReaderWriterSpinLocks::EXPORTS,
    crate::ex::resource_exports::Resources::EXPORTS,
    crate::ex::rundown::Rundowns::EXPORTS,
    crate::ex::slist::SequencedLists::EXPORTS,
    crate::ex::uuid::Uuids::EXPORTS,
    crate::ex::work_queue::WorkQueues::EXPORTS,
    crate::io::attach::DeviceStacks::EXPORTS,
    crate::io::build::Building::EXPORTS,
    crate::io::cancel::Cancelling::EXPORTS,
    crate::io::csq::CancelSafeQueues::EXPORTS,
    crate::io::device::Devices::EXPORTS,
    crate::io::driver_extension::DriverExtensions::EXPORTS,
    crate::io::interface::DeviceInterfaces::EXPORTS,
    crate::io::irp::Irps::EXPORTS,
    crate::io::named_event::NamedEvents::EXPORTS,
    crate::io::power::Power::EXPORTS,
    crate::io::queue::DeviceQueues::EXPORTS,
    crate::io::remove_lock::RemoveLocks::EXPORTS,
    crate::io::requestor::Requestors::EXPORTS,
    crate::io::share::Sharing::EXPORTS,
    crate::io::work_item::WorkItems::EXPORTS,
    crate::io::zw_file::KernelFiles::EXPORTS,
    crate::ke::dpc_exports::DpcsAndTimers::EXPORTS,
    crate::ke::event::Events::EXPORTS,
    crate::ke::level::Levels::EXPORTS,
    crate::ke::semaphore::Semaphores::EXPORTS,
    crate::ke::spin_lock::SpinLocks::EXPORTS,
    crate::ke::waiting::Waiting::EXPORTS,
    crate::mm::mdl::Mdls::EXPORTS,
    crate::mm::physical::PhysicalMemory::EXPORTS,
    crate::mm::section::Sections::EXPORTS,
    crate::ob::directories::Directories::EXPORTS,
    crate::ob::duplicate::Duplicates::EXPORTS,
    crate::ob::exports::Objects::EXPORTS,
    crate::ob::information::ObjectQueries::EXPORTS,
    crate::ob::query::ObjectNames::EXPORTS,
    crate::ps::system_routine::SystemRoutines::EXPORTS,
    crate::ps::threads::Threads::EXPORTS,
    crate::rtl::ansi_string::AnsiStrings::EXPORTS,
    crate::rtl::avl_table::AvlTables::EXPORTS,
    crate::rtl::bitmap::Bitmaps::EXPORTS,
    crate::rtl::convert::Conversions::EXPORTS,
    crate::rtl::crt::characters::Characters::EXPORTS,
    crate::rtl::crt::compare::Comparing::EXPORTS,
    crate::rtl::crt::copy::Copying::EXPORTS,
    crate::rtl::crt::numbers::Numbers::EXPORTS,
    crate::rtl::crt::print::Printing::EXPORTS,
    crate::rtl::crt::search::Searching::EXPORTS,
    crate::rtl::crt::secure::Secure::EXPORTS,
    crate::rtl::crt::sort::Sorting::EXPORTS,
    crate::rtl::exception::c_specific_handler::CHandler::EXPORTS,
    crate::rtl::exception::probe::Probing::EXPORTS,
    crate::rtl::exception::raise::Raising::EXPORTS,
    crate::rtl::exception::stack_trace::StackTraces::EXPORTS,
    crate::rtl::exception::unwind_exports::Unwinding::EXPORTS,
    crate::rtl::generic_table::GenericTables::EXPORTS,
    crate::rtl::memory::MemoryRoutines::EXPORTS,
    crate::rtl::numbers::Numbers::EXPORTS,
    crate::rtl::query_registry::RegistryQueries::EXPORTS,
    crate::rtl::random::RandomNumbers::EXPORTS,
    crate::rtl::registry::RegistryHelpers::EXPORTS,
    crate::rtl::run_once::OnceOnly::EXPORTS,
    crate::rtl::splay::SplayTrees::EXPORTS,
    crate::rtl::system::SmallRoutines::EXPORTS,
    crate::rtl::time::Times::EXPORTS,
    crate::rtl::unicode_case::UnicodeCase::EXPORTS,
    crate::rtl::unicode_string::UnicodeStrings::EXPORTS,
    crate::se::access_exports::AccessChecks::EXPORTS,
    crate::se::acl::AccessControlLists::EXPORTS,
    crate::se::acl_more::MoreLists::EXPORTS,
    crate::se::descriptor::Descriptors::EXPORTS,
    crate::se::descriptor_parts::DescriptorParts::EXPORTS,
    crate::se::impersonation::Impersonations::EXPORTS,
    crate::se::object_security::ObjectSecurity::EXPORTS,
    crate::se::sid::Sids::EXPORTS,
    crate::se::token_exports::Tokens::EXPORTS,
];

/// Files with exported variables.
const VARIABLES: &[&[Variable]] = &[
    crate::ob::types::VARIABLES,
    crate::ps::variables::VARIABLES,
    crate::se::exports_variable::VARIABLES,
];

/// All declared exports of the kernel.
#[must_use]
pub fn exports() -> Arc<ExportTable> {
    static TABLE: OnceLock<Arc<ExportTable>> = OnceLock::new();
    Arc::clone(TABLE.get_or_init(|| Arc::new(ExportTable::new(GROUPS, VARIABLES))))
}

/// Gives every part of the kernel its start state in a fresh machine.
pub fn initialize(cx: &mut Machine) {
    crate::ob::types::initialize(cx);
    crate::ob::directories::initialize(cx);
    crate::mm::section::initialize(cx);
    let variables: Vec<&'static Variable> = cx.exports.variables().collect();
    for variable in variables {
        if let Some(at) = cx.export_address(variable.module, variable.name) {
            (variable.init)(cx, at);
        }
    }
}
