/*
 * The frame of the seeded bugs: one driver with one device, whose mistakes are in the hooks.
 *
 * A source file of this folder holds cases. Each is announced by a line
 *
 *     // case NAME: rule/id in Function
 *
 * and stands between `#if CASE_NAME` and `#endif`. It is built twice, with BUG 1 and with BUG 0: the first must give
 * that finding in that function (`-` for findings about the driver as a whole), the second none. A case
 * defines some of the hooks below as names of its own functions:
 *
 *     ENTRY      NTSTATUS (VOID)                        at the end of DriverEntry
 *     WORK       VOID (VOID)                            in a request of an application, at PASSIVE_LEVEL
 *     CONTROL    NTSTATUS (PDEVICE_OBJECT, PIRP)        instead: the whole dispatch routine of that request
 *     CREATE     NTSTATUS (PDEVICE_OBJECT, PIRP)        the dispatch routine of IRP_MJ_CREATE
 *     UNLOAD     VOID (VOID)                            at the start of DriverUnload
 *
 * The request is a METHOD_BUFFERED control code with 8 bytes of input and room for 16 of output.
 */
#pragma once
#include <ntifs.h>

#define TAG 'deeS'
#define NOINLINE __declspec(noinline)

static PDRIVER_OBJECT Driver;
static PDEVICE_OBJECT Device;

/* Completes a request. */
static NTSTATUS Done(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);
    return Status;
}

static VOID Sleep(ULONG Milliseconds)
{
    LARGE_INTEGER interval;
    interval.QuadPart = -10000LL * Milliseconds;
    KeDelayExecutionThread(KernelMode, FALSE, &interval);
}

static PVOID Allocate(SIZE_T Size) { return ExAllocatePoolWithTag(NonPagedPoolNx, Size, TAG); }
static VOID Free(PVOID Memory) { ExFreePoolWithTag(Memory, TAG); }
