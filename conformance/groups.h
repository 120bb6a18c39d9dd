/* The groups. Written by `cargo xtask conformance --rebuild`. */
#define CONFORMANCE_GROUPS \
    GROUP(apc_regions) \
    GROUP(apc_threads) \
    GROUP(cm_callbacks) \
    GROUP(cm_keys) \
    GROUP(cm_values) \
    GROUP(dbg_filter) \
    GROUP(dpc_queue) \
    GROUP(event) \
    GROUP(ke_mutex) \
    GROUP(ke_threads) \
    GROUP(ke_wait) \
    GROUP(lock_fast_mutex) \
    GROUP(lock_lists) \
    GROUP(lock_lookaside) \
    GROUP(lock_mutex) \
    GROUP(lock_push) \
    GROUP(lock_queued) \
    GROUP(lock_remove) \
    GROUP(lock_resource) \
    GROUP(lock_resource_waits) \
    GROUP(lock_rundown) \
    GROUP(lock_rw_spin) \
    GROUP(lock_spin) \
    GROUP(ob_directories) \
    GROUP(ob_handles) \
    GROUP(se_access) \
    GROUP(se_lists) \
    GROUP(timer_objects)
#define CONFORMANCE_USER_GROUPS \
    
