# IMAGE_LOAD_CONFIG_DIRECTORY64 and the two pointers of control flow guard.
# In C this cannot be written: __guard_flags is a 32-bit absolute symbol of the linker.
# Layout: "PE Format", section "The Load Configuration Structure".

    .section .rdata,"dr"
    .globl _load_config_used
    .balign 8
_load_config_used:
    .long 0x118                             # 00 Size
    .zero 0x54                              # 04 .. 57
    .quad __security_cookie                 # 58 SecurityCookie
    .zero 0x10                              # 60 SEHandlerTable, SEHandlerCount (32-bit only)
    .quad __guard_check_icall_fptr          # 70 GuardCFCheckFunctionPointer
    .quad __guard_dispatch_icall_fptr       # 78 GuardCFDispatchFunctionPointer
    .quad __guard_fids_table                # 80 GuardCFFunctionTable
    .quad __guard_fids_count                # 88 GuardCFFunctionCount
    .long __guard_flags                     # 90 GuardFlags
    .zero 0x118 - 0x94

# The kernel may point these elsewhere; as they are, every call is allowed.
    .section .00cfg,"dr"
    .globl __guard_check_icall_fptr
    .globl __guard_dispatch_icall_fptr
    .balign 8
__guard_check_icall_fptr:
    .quad _guard_check_icall_nop
__guard_dispatch_icall_fptr:
    .quad _guard_dispatch_icall_nop

    .text
    .globl _guard_check_icall_nop
    .def _guard_check_icall_nop; .scl 2; .type 32; .endef
_guard_check_icall_nop:
    ret

    .globl _guard_dispatch_icall_nop
    .def _guard_dispatch_icall_nop; .scl 2; .type 32; .endef
_guard_dispatch_icall_nop:
    jmp *%rax
