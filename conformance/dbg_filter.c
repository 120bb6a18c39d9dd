/* The debug print filter: component masks, levels and bit fields. */
#include "conformance.h"

#define FILTER "debugger/reading-and-filtering-debugging-messages"

static BOOLEAN Shows(ULONG Component, ULONG Level)
{
    return DbgQueryDebugFilterState(Component, Level) == TRUE;
}

/* vDbgPrintEx and its neighbour with what they need. */
static ULONG Print(PCSTR Format, ...)
{
    va_list list;
    ULONG status;

    va_start(list, Format);
    status = vDbgPrintEx(DPFLTR_IHVAUDIO_ID, DPFLTR_INFO_LEVEL, Format, list);
    va_end(list);
    return status;
}

static ULONG PrintWithPrefix(PCSTR Prefix, PCSTR Format, ...)
{
    va_list list;
    ULONG status;

    va_start(list, Format);
    status = vDbgPrintExWithPrefix(Prefix, DPFLTR_IHVAUDIO_ID, DPFLTR_INFO_LEVEL, Format, list);
    va_end(list);
    return status;
}

VOID Conform_dbg_filter(VOID)
{
    /* Streaming is a component that nobody sets masks for. */
    const ULONG id = DPFLTR_IHVSTREAMING_ID;
    ULONG before[32];
    ULONG bit;

    for (bit = 0; bit < 32; bit++) {
        before[bit] = Shows(id, bit);
        DbgSetDebugFilterState(id, bit, FALSE);
    }

    /* The mask of all components lets errors through, whatever the own mask says. */
    CHECK(FILTER, Shows(id, DPFLTR_ERROR_LEVEL));
    CHECK(FILTER, !Shows(id, DPFLTR_WARNING_LEVEL));
    CHECK(FILTER, !Shows(id, DPFLTR_TRACE_LEVEL));
    CHECK(FILTER, !Shows(id, DPFLTR_INFO_LEVEL));
    CHECK(FILTER, !Shows(id, 31));

    /* Below 32 a level is a shift, from 32 on the bit field itself. */
    CHECK_EQUAL(FILTER, DbgSetDebugFilterState(id, DPFLTR_INFO_LEVEL, TRUE), STATUS_SUCCESS);
    CHECK(FILTER, Shows(id, DPFLTR_INFO_LEVEL));
    CHECK(FILTER, !Shows(id, DPFLTR_TRACE_LEVEL));
    CHECK(FILTER, !Shows(id, DPFLTR_WARNING_LEVEL));
    CHECK(FILTER, Shows(id, DPFLTR_MASK | 8));
    CHECK(FILTER, Shows(id, DPFLTR_MASK | 0x18));
    CHECK(FILTER, !Shows(id, DPFLTR_MASK | 0x10));
    CHECK(FILTER, !Shows(id, 32));
    CHECK(FILTER, Shows(id, 0x28));
    CHECK(FILTER, Shows(id, 33));
    CHECK(FILTER, !Shows(id, 4));

    /* Level 5 and level 32 name the same bit; 14 and 0x4000 too. */
    CHECK_EQUAL(FILTER, DbgSetDebugFilterState(id, 5, TRUE), STATUS_SUCCESS);
    CHECK(FILTER, Shows(id, 32));
    CHECK(FILTER, Shows(id, 5));
    CHECK_EQUAL(FILTER, DbgSetDebugFilterState(id, 0x4000, TRUE), STATUS_SUCCESS);
    CHECK(FILTER, Shows(id, 14));
    CHECK(FILTER, !Shows(id, 13));
    CHECK_EQUAL(FILTER, DbgSetDebugFilterState(id, 14, FALSE), STATUS_SUCCESS);
    CHECK(FILTER, !Shows(id, 0x4000));
    CHECK(FILTER, Shows(id, 5));
    CHECK(FILTER, Shows(id, DPFLTR_INFO_LEVEL));

    /* Each component has a mask of its own. */
    CHECK_EQUAL(FILTER, DbgSetDebugFilterState(id, 21, TRUE), STATUS_SUCCESS);
    CHECK(FILTER, Shows(id, 21));
    CHECK(FILTER, !Shows(DPFLTR_IHVBUS_ID, 21));
    CHECK(FILTER, !Shows(DPFLTR_IHVVIDEO_ID, 21));
    CHECK_EQUAL(FILTER, DbgSetDebugFilterState(id, 21, FALSE), STATUS_SUCCESS);
    CHECK(FILTER, !Shows(id, 21));

    for (bit = 0; bit < 32; bit++) {
        DbgSetDebugFilterState(id, bit, (BOOLEAN)before[bit]);
    }

    /* The routines succeed whether the filter lets the text through or not. */
    CHECK_EQUAL("wdm/nf-wdm-dbgprintex", DbgPrintEx(DPFLTR_IHVAUDIO_ID, DPFLTR_INFO_LEVEL, "%d\n", 1), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-dbgprint", DbgPrint("%s\n", "dbg_filter"), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-vdbgprintex", Print("%d %s\n", 1, "two"), STATUS_SUCCESS);
    CHECK_EQUAL("wdm/nf-wdm-vdbgprintexwithprefix", PrintWithPrefix("p: ", "%d\n", 1), STATUS_SUCCESS);

    /* The return value is that of the variable, which the routine has just brought up to date. */
    CHECK_EQUAL("wdm/nf-wdm-kdrefreshdebuggernotpresent", KdRefreshDebuggerNotPresent(), KdDebuggerNotPresent);
}
