/* Ports and device registers: one instruction each, inline as on every x64 Windows. */
#pragma once

FORCEINLINE UCHAR READ_PORT_UCHAR(PUCHAR Port)
{
    UCHAR value;
    __asm__ volatile("inb %w1, %0" : "=a"(value) : "Nd"((USHORT)(ULONG_PTR)Port) : "memory");
    return value;
}

FORCEINLINE USHORT READ_PORT_USHORT(PUSHORT Port)
{
    USHORT value;
    __asm__ volatile("inw %w1, %0" : "=a"(value) : "Nd"((USHORT)(ULONG_PTR)Port) : "memory");
    return value;
}

FORCEINLINE ULONG READ_PORT_ULONG(PULONG Port)
{
    ULONG value;
    __asm__ volatile("inl %w1, %0" : "=a"(value) : "Nd"((USHORT)(ULONG_PTR)Port) : "memory");
    return value;
}

FORCEINLINE VOID WRITE_PORT_UCHAR(PUCHAR Port, UCHAR Value)
{
    __asm__ volatile("outb %0, %w1" : : "a"(Value), "Nd"((USHORT)(ULONG_PTR)Port) : "memory");
}

FORCEINLINE VOID WRITE_PORT_USHORT(PUSHORT Port, USHORT Value)
{
    __asm__ volatile("outw %0, %w1" : : "a"(Value), "Nd"((USHORT)(ULONG_PTR)Port) : "memory");
}

FORCEINLINE VOID WRITE_PORT_ULONG(PULONG Port, ULONG Value)
{
    __asm__ volatile("outl %0, %w1" : : "a"(Value), "Nd"((USHORT)(ULONG_PTR)Port) : "memory");
}

FORCEINLINE UCHAR READ_REGISTER_UCHAR(volatile UCHAR *Register) { KeMemoryBarrier(); return *Register; }
FORCEINLINE USHORT READ_REGISTER_USHORT(volatile USHORT *Register) { KeMemoryBarrier(); return *Register; }
FORCEINLINE ULONG READ_REGISTER_ULONG(volatile ULONG *Register) { KeMemoryBarrier(); return *Register; }
FORCEINLINE ULONG64 READ_REGISTER_ULONG64(volatile ULONG64 *Register) { KeMemoryBarrier(); return *Register; }
FORCEINLINE VOID WRITE_REGISTER_UCHAR(volatile UCHAR *Register, UCHAR Value) { *Register = Value; KeMemoryBarrier(); }
FORCEINLINE VOID WRITE_REGISTER_USHORT(volatile USHORT *Register, USHORT Value) { *Register = Value; KeMemoryBarrier(); }
FORCEINLINE VOID WRITE_REGISTER_ULONG(volatile ULONG *Register, ULONG Value) { *Register = Value; KeMemoryBarrier(); }
FORCEINLINE VOID WRITE_REGISTER_ULONG64(volatile ULONG64 *Register, ULONG64 Value) { *Register = Value; KeMemoryBarrier(); }

/* Interrupts of a PnP driver. */
typedef enum _KINTERRUPT_MODE { LevelSensitive, Latched } KINTERRUPT_MODE;
NTKERNELAPI NTSTATUS IoConnectInterrupt(PKINTERRUPT *InterruptObject, PKSERVICE_ROUTINE ServiceRoutine, PVOID ServiceContext, PKSPIN_LOCK SpinLock, ULONG Vector, KIRQL Irql, KIRQL SynchronizeIrql, KINTERRUPT_MODE InterruptMode, BOOLEAN ShareVector, KAFFINITY ProcessorEnableMask, BOOLEAN FloatingSave);
NTKERNELAPI VOID IoDisconnectInterrupt(PKINTERRUPT InterruptObject);
NTKERNELAPI NTSTATUS IoConnectInterruptEx(PVOID Parameters);
NTKERNELAPI VOID IoDisconnectInterruptEx(PVOID Parameters);
