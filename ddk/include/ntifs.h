/* For drivers that include ntifs.h for its few additions to ntddk.h. */
#pragma once

#include <ntddk.h>
#include <se.h>
