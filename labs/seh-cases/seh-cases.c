/*
 * Eighteen cases of structured exception handling, each with one right answer.
 *
 * DriverEntry runs them all and prints one line per case. How the compiler must be told
 * to make them right, and what breaks without, is in README.md.
 */
#include <ntddk.h>

/* No page is mapped there in any process: a read or write raises STATUS_ACCESS_VIOLATION.
 * (A bad address in the kernel half is no exception, it is bugcheck 0x50.) */
#define BAD_ADDRESS 0x10

/* Volatile, so that the compiler knows neither the address nor the divisor. */
static int *volatile BadPointer = (int *)BAD_ADDRESS;
static volatile int Zero = 0;

/* Cases note the order of events in decimal digits: 123 means 1, then 2, then 3. */
static volatile ULONG Trail;
static void Mark(ULONG Digit) { Trail = Trail * 10 + Digit; }

/* 01: one load, no call inside the __try. */
static ULONG BareLoad(void)
{
    int *p = BadPointer;
    __try {
        return (ULONG)*p;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return 1;
    }
}

/* 02: one store. */
static ULONG BareStore(void)
{
    int *p = BadPointer;
    ULONG got = 0;
    __try {
        *p = 7;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        got = 1;
    }
    return got;
}

/* 03: the filter runs first, then the inner __finally, then the __except block. */
static LONG MarkingFilter(ULONG Digit, LONG Answer)
{
    Mark(Digit);
    return Answer;
}

static ULONG FinallyThenExcept(void)
{
    __try {
        __try {
            Mark(1);
            Mark((ULONG)*BadPointer);
        } __finally {
            Mark(AbnormalTermination() ? 3 : 9);
        }
    } __except (MarkingFilter(2, EXCEPTION_EXECUTE_HANDLER)) {
        Mark(4);
    }
    return Trail;
}

/* 04: the inner filter declines, the outer one accepts. */
static ULONG ContinueSearch(void)
{
    __try {
        __try {
            Mark((ULONG)*BadPointer);
        } __except (MarkingFilter(1, EXCEPTION_CONTINUE_SEARCH)) {
            Mark(9);
        }
    } __except (MarkingFilter(2, EXCEPTION_EXECUTE_HANDLER)) {
        Mark(3);
    }
    return Trail;
}

/* 05: __leave is a normal end of the __try. */
static ULONG Leave(void)
{
    __try {
        Mark(1);
        if (Zero == 0) {
            __leave;
        }
        Mark(9);
    } __finally {
        Mark(AbnormalTermination() ? 8 : 2);
    }
    return Trail;
}

/* 06: the __finally runs although the function is left in the middle. */
static ULONG ReturnInside(void)
{
    __try {
        Mark(1);
        if (Zero == 0) {
            return 5;
        }
        Mark(9);
    } __finally {
        Mark(2);
    }
    return 9;
}

static ULONG ReturnInsideTry(void)
{
    ULONG value = ReturnInside();
    return Trail * 10 + value;
}

/* 07: two frames lie between the fault and the handler; what the catching function kept in
 * registers must come back as it was. */
static DECLSPEC_NOINLINE int Third(int *p) { return *p + 1; }
static DECLSPEC_NOINLINE int Second(int *p) { return Third(p) * 2 + Zero; }
static DECLSPEC_NOINLINE int First(int *p) { return Second(p) * 3 + Zero; }

static ULONG ThreeFramesBelow(void)
{
    ULONG a = (ULONG)Zero + 100, b = (ULONG)Zero + 20, c = (ULONG)Zero + 3, got = 0;
    __try {
        got = (ULONG)First(BadPointer);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        got = a + b + c;
    }
    return got;
}

/* 08: each odd round faults and goes on with the next. */
static ULONG ContinueInLoop(void)
{
    ULONG caught = 0, finished = 0;
    for (int i = 0; i < 6; i++) {
        int good = i;
        int *p = (i & 1) ? BadPointer : &good;
        __try {
            Mark((ULONG)*p & 0);
        } __except (EXCEPTION_EXECUTE_HANDLER) {
            caught++;
            continue;
        }
        finished++;
    }
    return caught * 10 + finished;
}

/* 09: what was assigned before the fault is seen after it. */
static ULONG ChangedBeforeFault(void)
{
    ULONG value = 1;
    __try {
        value = 2;
        *BadPointer = 7;
        value = 3;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        value += 40;
    }
    return value;
}

/* 10: what the filter is told about the fault. */
static LONG CheckRecord(PEXCEPTION_POINTERS Pointers, NTSTATUS Code, ULONG *Got)
{
    PEXCEPTION_RECORD record = Pointers->ExceptionRecord;
    *Got = 0;
    if (Code == STATUS_ACCESS_VIOLATION && record->ExceptionCode == Code) *Got |= 1;
    if (record->ExceptionFlags == 0) *Got |= 2;
    if (record->NumberParameters == 2) *Got |= 4;
    if (record->ExceptionInformation[0] == 1) *Got |= 8; /* a write */
    if (record->ExceptionInformation[1] == BAD_ADDRESS) *Got |= 16;
    if ((ULONG_PTR)record->ExceptionAddress == Pointers->ContextRecord->Rip) *Got |= 32;
    return EXCEPTION_EXECUTE_HANDLER;
}

static ULONG ExceptionRecord(void)
{
    ULONG got = 0;
    __try {
        *BadPointer = 7;
    } __except (CheckRecord(GetExceptionInformation(), GetExceptionCode(), &got)) {
        if (GetExceptionCode() == STATUS_ACCESS_VIOLATION) got |= 64;
    }
    return got;
}

/* 11: the copy of a structure, which the compiler may do with vector registers. */
typedef struct _TEN { ULONG Number[10]; } TEN;

static ULONG StructCopy(void)
{
    TEN copy = { { 1 } };
    __try {
        copy = *(TEN *)BadPointer;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return 1;
    }
    return copy.Number[0] + 100;
}

/* 12: bytes one by one; the third lies behind a bad pointer. */
static ULONG ByteLoop(void)
{
    UCHAR good = 1;
    UCHAR *bytes[4] = { &good, &good, (UCHAR *)BadPointer, &good };
    ULONG count = 0;
    __try {
        for (int i = 0; i < 4; i++) {
            count += *(volatile UCHAR *)bytes[i];
        }
        count = 99;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return count;
    }
    return count;
}

/* 13: #DE becomes STATUS_INTEGER_DIVIDE_BY_ZERO. */
static ULONG DivideByZero(void)
{
    ULONG got = 0;
    __try {
        got = (ULONG)(1000 / Zero);
    } __except (GetExceptionCode() == STATUS_INTEGER_DIVIDE_BY_ZERO ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH) {
        got = 1;
    }
    return got;
}

/* 14: a function of this file that touches memory and does nothing else. */
static DECLSPEC_NOINLINE void OnlyTouches(int *p) { *p = 7; }

static ULONG MemoryOnlyCallee(void)
{
    ULONG got = 0;
    __try {
        OnlyTouches(BadPointer);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        got = 1;
    }
    return got;
}

/* 15: the filter repairs the register and lets the instruction run again. The load is written
 * in assembly so that it is known which register holds the address. */
int LoadThroughRcx(const int *p);
__asm__(".text\n"
        ".globl LoadThroughRcx\n"
        ".def LoadThroughRcx; .scl 2; .type 32; .endef\n"
        "LoadThroughRcx:\n"
        "    movl (%rcx), %eax\n"
        "    ret\n");

static const int Good = 42;

static LONG Repair(PEXCEPTION_POINTERS Pointers)
{
    Mark(1);
    Pointers->ContextRecord->Rcx = (ULONG64)&Good;
    return EXCEPTION_CONTINUE_EXECUTION;
}

static ULONG RepairedByFilter(void)
{
    ULONG got = 0;
    __try {
        got = (ULONG)LoadThroughRcx(BadPointer);
    } __except (Repair(GetExceptionInformation())) {
        got = 99;
    }
    return Trail * 100 + got;
}

/* 16: an exception that software raises, caught by its code. */
static DECLSPEC_NOINLINE void Allocate(void) { ExRaiseStatus(STATUS_INSUFFICIENT_RESOURCES); }

static ULONG RaiseStatus(void)
{
    ULONG got = 0;
    __try {
        __try {
            Allocate();
        } __except (GetExceptionCode() == STATUS_ACCESS_VIOLATION ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH) {
            got = 9;
        }
    } __except (GetExceptionCode() == STATUS_INSUFFICIENT_RESOURCES ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH) {
        got = 1;
    }
    return got;
}

/* 17: ProbeForRead refuses a kernel address and an odd one, and is content with a good range;
 * it does not look whether anything is mapped there. */
static ULONG Probe(ULONG_PTR Address, SIZE_T Length, ULONG Alignment)
{
    __try {
        ProbeForRead((PVOID)Address, Length, Alignment);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        switch (GetExceptionCode()) {
        case STATUS_ACCESS_VIOLATION: return 1;
        case STATUS_DATATYPE_MISALIGNMENT: return 2;
        default: return 9;
        }
    }
    return 3;
}

static ULONG ProbeBadPointer(void)
{
    ULONG got = Probe(0xFFFF800000001000ULL, 8, 1);    /* in the kernel half */
    got = got * 10 + Probe(0x10000, ~(SIZE_T)0, 1);    /* wraps around */
    got = got * 10 + Probe(0x10002, 8, 4);             /* not aligned */
    got = got * 10 + Probe(0x10000, 8, 4);             /* nothing wrong to see */
    got = got * 10 + Probe(0xFFFF800000001000ULL, 0, 1); /* length 0: never looked at */
    return got;
}

/* 18: an exception inside a __finally that runs because of another exception: the second one
 * wins, is offered to the handlers around that __finally, and the first is forgotten. */
static ULONG ExceptionInFinally(void)
{
    __try {
        __try {
            __try {
                Mark((ULONG)*BadPointer);
            } __finally {
                Mark(2);
                Mark((ULONG)(1000 / Zero));
            }
        } __except (GetExceptionCode() == STATUS_INTEGER_DIVIDE_BY_ZERO ? MarkingFilter(3, EXCEPTION_EXECUTE_HANDLER)
                                                                        : EXCEPTION_CONTINUE_SEARCH) {
            Mark(4);
        }
    } __except (MarkingFilter(1, EXCEPTION_EXECUTE_HANDLER)) {
        Mark(9);
    }
    return Trail;
}

static const struct {
    PCSTR Name;
    ULONG (*Run)(void);
    ULONG Want;
} Cases[] = {
    { "bare-load", BareLoad, 1 },
    { "bare-store", BareStore, 1 },
    { "finally-then-except", FinallyThenExcept, 1234 },
    { "continue-search", ContinueSearch, 123 },
    { "leave", Leave, 12 },
    { "return-inside-try", ReturnInsideTry, 125 },
    { "three-frames-below", ThreeFramesBelow, 123 },
    { "continue-in-loop", ContinueInLoop, 33 },
    { "changed-before-fault", ChangedBeforeFault, 42 },
    { "exception-record", ExceptionRecord, 127 },
    { "struct-copy", StructCopy, 1 },
    { "byte-loop", ByteLoop, 2 },
    { "divide-by-zero", DivideByZero, 1 },
    { "memory-only-callee", MemoryOnlyCallee, 1 },
    { "repaired-by-filter", RepairedByFilter, 142 },
    { "raise-status", RaiseStatus, 1 },
    { "probe-bad-pointer", ProbeBadPointer, 11233 },
    { "exception-in-finally", ExceptionInFinally, 1234 },
};

static DRIVER_UNLOAD Unload;
static VOID Unload(PDRIVER_OBJECT DriverObject)
{
    UNREFERENCED_PARAMETER(DriverObject);
    DbgPrint("seh-cases: unloaded\n");
}

DRIVER_INITIALIZE DriverEntry;
NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    ULONG right = 0;
    UNREFERENCED_PARAMETER(RegistryPath);
    for (ULONG i = 0; i < ARRAYSIZE(Cases); i++) {
        ULONG got;
        Trail = 0;
        got = Cases[i].Run();
        if (got == Cases[i].Want) {
            right++;
            DbgPrint("case %02lu %s: ok\n", i + 1, Cases[i].Name);
        } else {
            DbgPrint("case %02lu %s: FAILED (got %lu, want %lu)\n", i + 1, Cases[i].Name, got, Cases[i].Want);
        }
    }
    DbgPrint("%lu of %lu right\n", right, (ULONG)ARRAYSIZE(Cases));
    DriverObject->DriverUnload = Unload;
    return STATUS_SUCCESS;
}
