/* Strings that never overrun: the most used inline functions of ntstrsafe.h, after its documentation.
 * The result is always terminated; what does not fit is cut off, with STATUS_BUFFER_OVERFLOW. */
#pragma once

#include <wdm.h>

#define NTSTRSAFE_MAX_CCH 2147483647
#define NTSTRSAFEDDI FORCEINLINE NTSTATUS

NTSYSAPI int _vsnwprintf(wchar_t *Buffer, size_t Count, const wchar_t *Format, va_list Arguments);

#define NTSTRSAFE_FUNCTIONS(Suffix, Char, PString, PConst, Print) \
    NTSTRSAFEDDI RtlStringCchLength##Suffix(PConst String, size_t Maximum, size_t *Length) \
    { \
        size_t n = 0; \
        if (String == NULL || Maximum > NTSTRSAFE_MAX_CCH) return STATUS_INVALID_PARAMETER; \
        while (n < Maximum && String[n] != 0) n++; \
        if (n == Maximum) return STATUS_INVALID_PARAMETER; \
        if (Length != NULL) *Length = n; \
        return STATUS_SUCCESS; \
    } \
    NTSTRSAFEDDI RtlStringCchCopyN##Suffix(PString Destination, size_t Room, PConst Source, size_t Count) \
    { \
        size_t n = 0; \
        if (Room == 0 || Room > NTSTRSAFE_MAX_CCH) return STATUS_INVALID_PARAMETER; \
        while (n + 1 < Room && n < Count && Source[n] != 0) { Destination[n] = Source[n]; n++; } \
        Destination[n] = 0; \
        return n < Count && Source[n] != 0 ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS; \
    } \
    NTSTRSAFEDDI RtlStringCchCopy##Suffix(PString Destination, size_t Room, PConst Source) \
    { \
        return RtlStringCchCopyN##Suffix(Destination, Room, Source, NTSTRSAFE_MAX_CCH); \
    } \
    NTSTRSAFEDDI RtlStringCchCat##Suffix(PString Destination, size_t Room, PConst Source) \
    { \
        size_t n; \
        NTSTATUS status = RtlStringCchLength##Suffix(Destination, Room, &n); \
        return NT_SUCCESS(status) ? RtlStringCchCopy##Suffix(Destination + n, Room - n, Source) : status; \
    } \
    NTSTRSAFEDDI RtlStringCchVPrintf##Suffix(PString Destination, size_t Room, PConst Format, va_list Arguments) \
    { \
        int n; \
        if (Room == 0 || Room > NTSTRSAFE_MAX_CCH) return STATUS_INVALID_PARAMETER; \
        n = Print(Destination, Room - 1, Format, Arguments); \
        if (n < 0 || (size_t)n >= Room - 1) { \
            Destination[Room - 1] = 0; \
            return n >= 0 && (size_t)n == Room - 1 ? STATUS_SUCCESS : STATUS_BUFFER_OVERFLOW; \
        } \
        Destination[n] = 0; \
        return STATUS_SUCCESS; \
    } \
    static __inline__ __attribute__((unused)) NTSTATUS RtlStringCchPrintf##Suffix(PString Destination, size_t Room, PConst Format, ...) \
    { \
        NTSTATUS status; \
        va_list arguments; \
        va_start(arguments, Format); \
        status = RtlStringCchVPrintf##Suffix(Destination, Room, Format, arguments); \
        va_end(arguments); \
        return status; \
    } \
    NTSTRSAFEDDI RtlStringCbLength##Suffix(PConst String, size_t Bytes, size_t *Length) \
    { \
        NTSTATUS status = RtlStringCchLength##Suffix(String, Bytes / sizeof(Char), Length); \
        if (NT_SUCCESS(status) && Length != NULL) *Length *= sizeof(Char); \
        return status; \
    } \
    NTSTRSAFEDDI RtlStringCbCopy##Suffix(PString Destination, size_t Bytes, PConst Source) \
    { \
        return RtlStringCchCopy##Suffix(Destination, Bytes / sizeof(Char), Source); \
    } \
    NTSTRSAFEDDI RtlStringCbCopyN##Suffix(PString Destination, size_t Bytes, PConst Source, size_t Count) \
    { \
        return RtlStringCchCopyN##Suffix(Destination, Bytes / sizeof(Char), Source, Count / sizeof(Char)); \
    } \
    NTSTRSAFEDDI RtlStringCbCat##Suffix(PString Destination, size_t Bytes, PConst Source) \
    { \
        return RtlStringCchCat##Suffix(Destination, Bytes / sizeof(Char), Source); \
    } \
    static __inline__ __attribute__((unused)) NTSTATUS RtlStringCbPrintf##Suffix(PString Destination, size_t Bytes, PConst Format, ...) \
    { \
        NTSTATUS status; \
        va_list arguments; \
        va_start(arguments, Format); \
        status = RtlStringCchVPrintf##Suffix(Destination, Bytes / sizeof(Char), Format, arguments); \
        va_end(arguments); \
        return status; \
    }

NTSTRSAFE_FUNCTIONS(W, WCHAR, PWSTR, PCWSTR, _vsnwprintf)
NTSTRSAFE_FUNCTIONS(A, CHAR, PSTR, PCSTR, _vsnprintf)
