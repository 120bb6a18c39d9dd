/* What drivers of Windows NT include: wdm.h and the process notifications. */
#pragma once

#include <wdm.h>
#include <ps.h>
