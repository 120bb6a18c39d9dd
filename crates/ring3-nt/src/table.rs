//! The list of files that declare exports: one line per file.

use std::sync::{Arc, OnceLock};

use crate::Machine;
use crate::export::table::{ExportTable, Group};
use crate::export::variable::Variable;

/// Files with exported routines.
const GROUPS: &[Group] = &[
    crate::cm::callback::Callbacks::EXPORTS,
    crate::cm::keys::Keys::EXPORTS,
    crate::dbg::debugger::KernelDebugger::EXPORTS,
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
    crate::ex::rundown_cache_aware::CacheAwareRundowns::EXPORTS,
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
    crate::ke::alert::Apcs::EXPORTS,
    crate::ke::bugcheck_callback::BugCheckCallbacks::EXPORTS,
    crate::ke::call_dpc::ProcessorCalls::EXPORTS,
    crate::ke::dpc_exports::DpcsAndTimers::EXPORTS,
    crate::ke::event::Events::EXPORTS,
    crate::ke::ex_timer::ExTimers::EXPORTS,
    crate::ke::interrupt_exports::InterruptRoutines::EXPORTS,
    crate::ke::kernel_stack::KernelStacks::EXPORTS,
    crate::ke::level::Levels::EXPORTS,
    crate::ke::queued_spin_lock::QueuedSpinLocks::EXPORTS,
    crate::ke::mutex::Mutexes::EXPORTS,
    crate::ke::priority::Priorities::EXPORTS,
    crate::ke::processors::Processors::EXPORTS,
    crate::ke::semaphore::Semaphores::EXPORTS,
    crate::ke::spin_lock::SpinLocks::EXPORTS,
    crate::ke::system_spin_lock::SystemSpinLocks::EXPORTS,
    crate::ke::waiting::Waiting::EXPORTS,
    crate::mm::contiguous::ContiguousMemory::EXPORTS,
    crate::mm::copy::Copying::EXPORTS,
    crate::mm::mapping::ReservedMappings::EXPORTS,
    crate::ke::watchdog::Watchdog::EXPORTS,
    crate::mm::mdl::Mdls::EXPORTS,
    crate::mm::mdl_change::MdlChanges::EXPORTS,
    crate::mm::mdl_pages::PageMdls::EXPORTS,
    crate::mm::physical::PhysicalMemory::EXPORTS,
    crate::mm::section::Sections::EXPORTS,
    crate::mm::secure::SecuredMemory::EXPORTS,
    crate::mm::system_view::SystemViews::EXPORTS,
    crate::mm::virtual_memory::VirtualMemory::EXPORTS,
    crate::ob::callbacks::HandleCallbacks::EXPORTS,
    crate::ob::directories::Directories::EXPORTS,
    crate::ob::duplicate::Duplicates::EXPORTS,
    crate::ob::exports::Objects::EXPORTS,
    crate::ob::information::ObjectQueries::EXPORTS,
    crate::ob::query::ObjectNames::EXPORTS,
    crate::ps::attach::Attaching::EXPORTS,
    crate::ps::handles::ProcessHandles::EXPORTS,
    crate::ps::notify_exports::NotifyRoutines::EXPORTS,
    crate::ps::processes::Processes::EXPORTS,
    crate::ps::system_routine::SystemRoutines::EXPORTS,
    crate::ps::thread_queries::ThreadQueries::EXPORTS,
    crate::ps::threads::Threads::EXPORTS,
    crate::rtl::ansi_string::AnsiStrings::EXPORTS,
    crate::rtl::avl_table::AvlTables::EXPORTS,
    crate::rtl::bitmap::Bitmaps::EXPORTS,
    crate::rtl::compression::Compression::EXPORTS,
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
    crate::rtl::heap::HeapRoutines::EXPORTS,
    crate::rtl::image::Images::EXPORTS,
    crate::rtl::internet_address::InternetAddresses::EXPORTS,
    crate::rtl::memory::MemoryRoutines::EXPORTS,
    crate::rtl::numbers::Numbers::EXPORTS,
    crate::rtl::oem_string::OemStrings::EXPORTS,
    crate::rtl::query_registry::RegistryQueries::EXPORTS,
    crate::rtl::random::RandomNumbers::EXPORTS,
    crate::rtl::registry::RegistryHelpers::EXPORTS,
    crate::rtl::run_once::OnceOnly::EXPORTS,
    crate::rtl::short_name::ShortNames::EXPORTS,
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
    crate::dbg::filter::initialize(cx);
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
