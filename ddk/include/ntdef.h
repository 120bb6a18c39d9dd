/* The basic types of the Windows kernel, its strings and its lists.
 * Written from the public documentation of wdm.h and ntdef.h (learn.microsoft.com,
 * windows-hardware/drivers/ddi); sizes are those of x64. */
#pragma once

#include <sal.h>

#if !defined(_M_X64) && !defined(_M_AMD64)
#error "These headers describe x64 only: compile with --target=x86_64-pc-windows-msvc."
#endif

/* Microsoft's lower-case spellings of structured exception handling. */
#define try __try
#define except __except
#define finally __finally
#define leave __leave

#define NTAPI
#define FASTCALL
#define CDECL
#define APIENTRY
#define CONST const
#define VOID void
#define IN
#define OUT
#define OPTIONAL
#define NULL ((void *)0)
#define FALSE 0
#define TRUE 1
#define FORCEINLINE static __inline__ __attribute__((always_inline, unused))
#define DECLSPEC_IMPORT __declspec(dllimport)
#define DECLSPEC_NORETURN __declspec(noreturn)
#define DECLSPEC_ALIGN(n) __declspec(align(n))
#define DECLSPEC_NOINLINE __declspec(noinline)
#define NTKERNELAPI DECLSPEC_IMPORT
#define NTSYSAPI DECLSPEC_IMPORT
#define NTSYSCALLAPI DECLSPEC_IMPORT
#define NTHALAPI DECLSPEC_IMPORT
#define UNALIGNED __unaligned
#define RESTRICTED_POINTER __restrict
#define MEMORY_ALLOCATION_ALIGNMENT 16
#define MAXIMUM_PROCESSORS 64

typedef char CHAR, *PCHAR, *PSTR, *PSZ, CCHAR;
typedef const char *PCSTR, *PCSZ;
typedef signed char SCHAR, *PSCHAR, INT8;
typedef unsigned char UCHAR, *PUCHAR, BYTE, *PBYTE, UINT8, uint8_t;
typedef const unsigned char *PCUCHAR;
typedef unsigned char BOOLEAN, *PBOOLEAN;
typedef short SHORT, *PSHORT, CSHORT, INT16;
typedef unsigned short USHORT, *PUSHORT, WORD, UINT16, uint16_t;
typedef int INT, *PINT, BOOL, *PBOOL, INT32;
typedef unsigned int UINT, *PUINT, UINT32, uint32_t;
typedef long LONG, *PLONG;
typedef unsigned long ULONG, *PULONG, DWORD, *PDWORD, CLONG, LOGICAL;
typedef long long LONGLONG, *PLONGLONG, LONG64, *PLONG64, INT64;
typedef unsigned long long ULONGLONG, *PULONGLONG, ULONG64, *PULONG64, UINT64, DWORD64, uint64_t, QWORD;
typedef long long INT_PTR, LONG_PTR, *PLONG_PTR, SSIZE_T, ptrdiff_t, intptr_t;
typedef unsigned long long UINT_PTR, ULONG_PTR, *PULONG_PTR, SIZE_T, *PSIZE_T, KAFFINITY, *PKAFFINITY, size_t, uintptr_t;
typedef unsigned short wchar_t;
typedef wchar_t WCHAR, *PWCHAR, *PWCH, *PWSTR, *LPWSTR, *PZZWSTR;
typedef const wchar_t *PCWSTR, *PCWCH, *LPCWSTR;
typedef void *PVOID, *LPVOID, *HANDLE, **PHANDLE;
typedef const void *PCVOID;
typedef LONG NTSTATUS, *PNTSTATUS;
typedef UCHAR KIRQL, *PKIRQL;
typedef CCHAR KPROCESSOR_MODE;
typedef LONG KPRIORITY;
typedef ULONG_PTR KSPIN_LOCK, *PKSPIN_LOCK;
typedef ULONG ACCESS_MASK, *PACCESS_MASK;
typedef ULONG DEVICE_TYPE;
typedef ULONG LCID;
typedef PVOID PSECURITY_DESCRIPTOR;
typedef ULONG SECURITY_INFORMATION, *PSECURITY_INFORMATION;
typedef PVOID PSID;
typedef __builtin_va_list va_list;
#define va_start(list, last) __builtin_va_start(list, last)
#define va_arg(list, type) __builtin_va_arg(list, type)
#define va_end(list) __builtin_va_end(list)

typedef union _LARGE_INTEGER {
    struct { ULONG LowPart; LONG HighPart; };
    struct { ULONG LowPart; LONG HighPart; } u;
    LONGLONG QuadPart;
} LARGE_INTEGER, *PLARGE_INTEGER;
_Static_assert(sizeof(LARGE_INTEGER) == 8, "LARGE_INTEGER");

typedef union _ULARGE_INTEGER {
    struct { ULONG LowPart; ULONG HighPart; };
    struct { ULONG LowPart; ULONG HighPart; } u;
    ULONGLONG QuadPart;
} ULARGE_INTEGER, *PULARGE_INTEGER;

typedef LARGE_INTEGER PHYSICAL_ADDRESS, *PPHYSICAL_ADDRESS;

typedef struct _LUID { ULONG LowPart; LONG HighPart; } LUID, *PLUID;

typedef struct _GUID {
    ULONG Data1;
    USHORT Data2;
    USHORT Data3;
    UCHAR Data4[8];
} GUID, *PGUID, *LPGUID;
typedef const GUID *LPCGUID, *PCGUID;
_Static_assert(sizeof(GUID) == 0x10, "GUID");

/* With INITGUID defined the GUID is made here, otherwise only declared. */
#ifdef INITGUID
#define DEFINE_GUID(name, a, b, c, d0, d1, d2, d3, d4, d5, d6, d7) \
    extern const GUID name; \
    __declspec(selectany) const GUID name = { a, b, c, { d0, d1, d2, d3, d4, d5, d6, d7 } }
#else
#define DEFINE_GUID(name, a, b, c, d0, d1, d2, d3, d4, d5, d6, d7) extern const GUID name
#endif

typedef struct _UNICODE_STRING {
    USHORT Length;          /* bytes, without a terminating NUL */
    USHORT MaximumLength;   /* bytes */
    PWCH Buffer;
} UNICODE_STRING, *PUNICODE_STRING;
typedef const UNICODE_STRING *PCUNICODE_STRING;
_Static_assert(sizeof(UNICODE_STRING) == 0x10, "UNICODE_STRING");

typedef struct _STRING {
    USHORT Length;
    USHORT MaximumLength;
    PCHAR Buffer;
} STRING, *PSTRING, ANSI_STRING, *PANSI_STRING, OEM_STRING, *POEM_STRING;
typedef const STRING *PCANSI_STRING, *PCOEM_STRING;

#define DECLARE_CONST_UNICODE_STRING(variable, text) \
    const WCHAR variable##_buffer[] = text; \
    const UNICODE_STRING variable = { sizeof(text) - sizeof(WCHAR), sizeof(text), (PWCH)variable##_buffer }
#define RTL_CONSTANT_STRING(text) \
    { sizeof(text) - sizeof((text)[0]), sizeof(text), (void *)(text) }

typedef struct _LIST_ENTRY {
    struct _LIST_ENTRY *Flink;
    struct _LIST_ENTRY *Blink;
} LIST_ENTRY, *PLIST_ENTRY;

typedef struct _SINGLE_LIST_ENTRY {
    struct _SINGLE_LIST_ENTRY *Next;
} SINGLE_LIST_ENTRY, *PSINGLE_LIST_ENTRY;

typedef struct _OBJECT_ATTRIBUTES {
    ULONG Length;
    HANDLE RootDirectory;
    PUNICODE_STRING ObjectName;
    ULONG Attributes;
    PVOID SecurityDescriptor;
    PVOID SecurityQualityOfService;
} OBJECT_ATTRIBUTES, *POBJECT_ATTRIBUTES;
_Static_assert(sizeof(OBJECT_ATTRIBUTES) == 0x30, "OBJECT_ATTRIBUTES");

#define OBJ_INHERIT 0x00000002L
#define OBJ_PERMANENT 0x00000010L
#define OBJ_EXCLUSIVE 0x00000020L
#define OBJ_CASE_INSENSITIVE 0x00000040L
#define OBJ_OPENIF 0x00000080L
#define OBJ_OPENLINK 0x00000100L
#define OBJ_KERNEL_HANDLE 0x00000200L
#define OBJ_FORCE_ACCESS_CHECK 0x00000400L

#define InitializeObjectAttributes(attributes, name, flags, root, security) do { \
        (attributes)->Length = sizeof(OBJECT_ATTRIBUTES); \
        (attributes)->RootDirectory = (root); \
        (attributes)->Attributes = (flags); \
        (attributes)->ObjectName = (name); \
        (attributes)->SecurityDescriptor = (security); \
        (attributes)->SecurityQualityOfService = NULL; \
    } while (0)

typedef struct _CLIENT_ID { HANDLE UniqueProcess; HANDLE UniqueThread; } CLIENT_ID, *PCLIENT_ID;

typedef struct _KSYSTEM_TIME {
    ULONG LowPart;
    LONG High1Time;
    LONG High2Time;
} KSYSTEM_TIME, *PKSYSTEM_TIME;
_Static_assert(sizeof(KSYSTEM_TIME) == 0xC, "KSYSTEM_TIME");

typedef enum _EVENT_TYPE { NotificationEvent, SynchronizationEvent } EVENT_TYPE;
typedef enum _TIMER_TYPE { NotificationTimer, SynchronizationTimer } TIMER_TYPE;
typedef enum _WAIT_TYPE { WaitAll, WaitAny } WAIT_TYPE;

#define FIELD_OFFSET(type, field) ((LONG)__builtin_offsetof(type, field))
#define UFIELD_OFFSET(type, field) ((ULONG)__builtin_offsetof(type, field))
#define CONTAINING_RECORD(address, type, field) \
    ((type *)((PCHAR)(address) - (ULONG_PTR)__builtin_offsetof(type, field)))
#define RTL_FIELD_SIZE(type, field) (sizeof(((type *)0)->field))
#define ARRAYSIZE(array) (sizeof(array) / sizeof((array)[0]))
#define RTL_NUMBER_OF(array) ARRAYSIZE(array)
#define UNREFERENCED_PARAMETER(parameter) ((void)(parameter))
#define DBG_UNREFERENCED_PARAMETER(parameter) ((void)(parameter))
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define MAXULONG 0xFFFFFFFFUL
#define MAXLONG 0x7FFFFFFFL
#define MAXUSHORT 0xFFFF
#define ALIGN_DOWN_BY(value, n) ((ULONG_PTR)(value) & ~((ULONG_PTR)(n) - 1))
#define ALIGN_UP_BY(value, n) ALIGN_DOWN_BY((ULONG_PTR)(value) + (n) - 1, n)
#define PtrToUlong(pointer) ((ULONG)(ULONG_PTR)(pointer))
#define UlongToPtr(value) ((PVOID)(ULONG_PTR)(ULONG)(value))
#define HandleToULong(handle) ((ULONG)(ULONG_PTR)(handle))
#define ULongToHandle(value) ((HANDLE)(ULONG_PTR)(ULONG)(value))
#define C_ASSERT(expression) _Static_assert(expression, #expression)
#define NT_SUCCESS(status) (((NTSTATUS)(status)) >= 0)
#define NT_INFORMATION(status) ((((ULONG)(status)) >> 30) == 1)
#define NT_WARNING(status) ((((ULONG)(status)) >> 30) == 2)
#define NT_ERROR(status) ((((ULONG)(status)) >> 30) == 3)

#include <ntstatus.h>
#include <lists.h>
#include <interlocked.h>
