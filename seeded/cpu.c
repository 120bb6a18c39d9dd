/* Instructions that drivers must not use. */
#include "seeded.h"

// case halt: cpu/halt in Rest
#if CASE_halt
static NOINLINE VOID Rest(VOID)
{
    if (BUG) {
        __asm__ volatile("hlt");
    }
}
#define WORK Rest
#endif

// case halt_for_ever: cpu/halted-forever in Rest
#if CASE_halt_for_ever
static NOINLINE VOID Rest(VOID)
{
    if (BUG) {
        __asm__ volatile("cli; hlt");
    }
}
#define WORK Rest
#endif

#include "frame.h"
