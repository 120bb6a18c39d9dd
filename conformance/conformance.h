/*
 * The conformance driver: assertions over kernel routines, each with the page it is written from.
 *
 * A group is one file NAME.c that defines `VOID Conform_NAME(VOID)`, called once in the system
 * process at PASSIVE_LEVEL while the driver starts. A file user_NAME.c defines
 * `VOID Conform_user_NAME(PDEVICE_OBJECT Device, PIRP Irp)` instead, called in the thread of an
 * application that sends one of the control codes below; it looks at the request and leaves its
 * completion to the driver. The list of the files, groups.h, is written by
 * `cargo xtask conformance --rebuild`.
 */
#pragma once
#include <ntifs.h>

/* The requests that the user_ groups see: input is the bytes 0..63, output has room for 64. */
#define CONFORMANCE_BUFFERED CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)
#define CONFORMANCE_IN_DIRECT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_IN_DIRECT, FILE_ANY_ACCESS)
#define CONFORMANCE_OUT_DIRECT CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_OUT_DIRECT, FILE_ANY_ACCESS)
#define CONFORMANCE_NEITHER CTL_CODE(FILE_DEVICE_UNKNOWN, 0x803, METHOD_NEITHER, FILE_ANY_ACCESS)
#define CONFORMANCE_DEVICE L"\\Device\\Ring3Conformance"
#define CONFORMANCE_TAG 'fnoC'

/* The driver and its device, which a user-mode program opens as \\.\Ring3Conformance. */
extern PDRIVER_OBJECT ConformanceDriver;
extern PDEVICE_OBJECT ConformanceDevice;

/* Counts one assertion, and prints it if it does not hold; returns whether it holds. */
BOOLEAN ConformanceCheck(BOOLEAN Holds, PCSTR File, ULONG Line, PCSTR Page, PCSTR Text);

/*
 * One assertion: PAGE is the path of the document page that states it, as in
 * "wdm/nf-wdm-kesetevent" (reference) or "kernel/using-spin-locks" (guide).
 */
#define CHECK(PAGE, CONDITION) \
    ConformanceCheck((BOOLEAN)((CONDITION) != 0), __FILE_NAME__, __LINE__, PAGE, #CONDITION)
/* Two values that must be equal, both shown if they are not. */
BOOLEAN ConformanceEqual(ULONG64 Is, ULONG64 Must, PCSTR File, ULONG Line, PCSTR Page, PCSTR Text);
#define CHECK_EQUAL(PAGE, IS, MUST) \
    ConformanceEqual((ULONG64)(IS), (ULONG64)(MUST), __FILE_NAME__, __LINE__, PAGE, #IS " == " #MUST)
/* A statement that must raise this exception. */
#define CHECK_RAISES(PAGE, STATEMENT, CODE)                      \
    do {                                                         \
        NTSTATUS raised_ = STATUS_SUCCESS;                       \
        __try {                                                  \
            STATEMENT;                                           \
        } __except (EXCEPTION_EXECUTE_HANDLER) {                 \
            raised_ = GetExceptionCode();                        \
        }                                                        \
        CHECK_EQUAL(PAGE, (ULONG)raised_, (ULONG)(CODE));        \
    } while (0)

/* Runs ROUTINE in a system thread of its own and waits until that has ended. */
VOID ConformanceInThread(PKSTART_ROUTINE Routine, PVOID Context);
/* Starts a system thread; the caller waits on the referenced object and dereferences it. */
PKTHREAD ConformanceThread(PKSTART_ROUTINE Routine, PVOID Context);
/* Lets other threads run for this many milliseconds. */
VOID ConformanceSleep(ULONG Milliseconds);
