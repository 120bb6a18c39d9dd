/* Stack protection: the cookie, and the check that guarded functions make on return.
 *
 * The image's load configuration points to __security_cookie; the loader replaces the
 * default value below when it maps the driver. A damaged cookie ends in a fast fail,
 * which the kernel turns into bugcheck 0x139 (KERNEL_SECURITY_CHECK_FAILURE) with
 * FAST_FAIL_STACK_COOKIE_CHECK_FAILURE as its first parameter. */
#include <ntdef.h>

#define FAST_FAIL_STACK_COOKIE_CHECK_FAILURE 2

/* The default value that loaders recognise as "not initialised". */
ULONG_PTR __security_cookie = 0x00002B992DDFA232ULL;

__attribute__((no_stack_protector)) void __security_check_cookie(ULONG_PTR Cookie)
{
    if (Cookie != __security_cookie) {
        RtlFailFast(FAST_FAIL_STACK_COOKIE_CHECK_FAILURE);
    }
}

/* Referenced by the compiler where floating point occurs. */
int _fltused = 0x9875;
