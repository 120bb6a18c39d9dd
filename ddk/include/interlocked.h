/* Interlocked operations: compiler builtins, one locked instruction each, as the
 * intrinsics of the Microsoft compiler. */
#pragma once

#define InterlockedIncrement(p) ((LONG)__sync_add_and_fetch((volatile LONG *)(p), 1))
#define InterlockedDecrement(p) ((LONG)__sync_sub_and_fetch((volatile LONG *)(p), 1))
#define InterlockedAdd(p, v) ((LONG)__sync_add_and_fetch((volatile LONG *)(p), (LONG)(v)))
#define InterlockedExchangeAdd(p, v) ((LONG)__sync_fetch_and_add((volatile LONG *)(p), (LONG)(v)))
#define InterlockedExchange(p, v) ((LONG)__atomic_exchange_n((volatile LONG *)(p), (LONG)(v), __ATOMIC_SEQ_CST))
#define InterlockedCompareExchange(p, v, c) ((LONG)__sync_val_compare_and_swap((volatile LONG *)(p), (LONG)(c), (LONG)(v)))
#define InterlockedAnd(p, v) ((LONG)__sync_fetch_and_and((volatile LONG *)(p), (LONG)(v)))
#define InterlockedOr(p, v) ((LONG)__sync_fetch_and_or((volatile LONG *)(p), (LONG)(v)))
#define InterlockedXor(p, v) ((LONG)__sync_fetch_and_xor((volatile LONG *)(p), (LONG)(v)))
#define InterlockedIncrement64(p) ((LONG64)__sync_add_and_fetch((volatile LONG64 *)(p), 1))
#define InterlockedDecrement64(p) ((LONG64)__sync_sub_and_fetch((volatile LONG64 *)(p), 1))
#define InterlockedAdd64(p, v) ((LONG64)__sync_add_and_fetch((volatile LONG64 *)(p), (LONG64)(v)))
#define InterlockedExchangeAdd64(p, v) ((LONG64)__sync_fetch_and_add((volatile LONG64 *)(p), (LONG64)(v)))
#define InterlockedExchange64(p, v) ((LONG64)__atomic_exchange_n((volatile LONG64 *)(p), (LONG64)(v), __ATOMIC_SEQ_CST))
#define InterlockedCompareExchange64(p, v, c) ((LONG64)__sync_val_compare_and_swap((volatile LONG64 *)(p), (LONG64)(c), (LONG64)(v)))
#define InterlockedAnd64(p, v) ((LONG64)__sync_fetch_and_and((volatile LONG64 *)(p), (LONG64)(v)))
#define InterlockedOr64(p, v) ((LONG64)__sync_fetch_and_or((volatile LONG64 *)(p), (LONG64)(v)))
#define InterlockedExchangePointer(p, v) ((PVOID)__atomic_exchange_n((PVOID volatile *)(p), (PVOID)(v), __ATOMIC_SEQ_CST))
#define InterlockedCompareExchangePointer(p, v, c) ((PVOID)__sync_val_compare_and_swap((PVOID volatile *)(p), (PVOID)(c), (PVOID)(v)))

FORCEINLINE BOOLEAN InterlockedBitTestAndSet(volatile LONG *Base, LONG Bit)
{
    return (__sync_fetch_and_or(Base + (Bit >> 5), 1L << (Bit & 31)) >> (Bit & 31)) & 1;
}

FORCEINLINE BOOLEAN InterlockedBitTestAndReset(volatile LONG *Base, LONG Bit)
{
    return (__sync_fetch_and_and(Base + (Bit >> 5), ~(1L << (Bit & 31))) >> (Bit & 31)) & 1;
}

#define ReadAcquire(p) __atomic_load_n((volatile const LONG *)(p), __ATOMIC_ACQUIRE)
#define ReadNoFence(p) __atomic_load_n((volatile const LONG *)(p), __ATOMIC_RELAXED)
#define WriteRelease(p, v) __atomic_store_n((volatile LONG *)(p), (LONG)(v), __ATOMIC_RELEASE)
#define WriteNoFence(p, v) __atomic_store_n((volatile LONG *)(p), (LONG)(v), __ATOMIC_RELAXED)
#define KeMemoryBarrier() __sync_synchronize()
#define MemoryBarrier() __sync_synchronize()
#define YieldProcessor() __builtin_ia32_pause()
