/* Include this before the headers whose GUIDs are to be made in this source file. */
#pragma once
#define INITGUID
#include <ntdef.h>
#undef DEFINE_GUID
#define DEFINE_GUID(name, a, b, c, d0, d1, d2, d3, d4, d5, d6, d7) \
    extern const GUID name; \
    __declspec(selectany) const GUID name = { a, b, c, { d0, d1, d2, d3, d4, d5, d6, d7 } }
