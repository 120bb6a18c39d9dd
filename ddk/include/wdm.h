/* Windows Driver Model: everything that a WDM driver needs. */
#pragma once

#include <ntdef.h>
#include <ke.h>
#include <po.h>
#include <irp.h>
#include <ex.h>
#include <locks.h>
#include <mm.h>
#include <dbg.h>
#include <rtl.h>
#include <io.h>
#include <po_routines.h>
#include <ob.h>
#include <zw.h>
#include <cm.h>
#include <etw.h>
#include <hal.h>
