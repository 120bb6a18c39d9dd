/* IoCreateDeviceSecure and its security descriptors in text form. As with Microsoft's kit
 * it is no export but a piece of code that is linked to the driver: ddk/lib/wdmsec.c. */
#pragma once

#include <wdm.h>

NTSTATUS IoCreateDeviceSecure(PDRIVER_OBJECT DriverObject, ULONG DeviceExtensionSize, PUNICODE_STRING DeviceName, DEVICE_TYPE DeviceType, ULONG DeviceCharacteristics, BOOLEAN Exclusive, PCUNICODE_STRING DefaultSDDLString, LPCGUID DeviceClassGuid, PDEVICE_OBJECT *DeviceObject);

extern const UNICODE_STRING SDDL_DEVOBJ_KERNEL_ONLY;            /* nobody */
extern const UNICODE_STRING SDDL_DEVOBJ_SYS_ALL;                /* the system */
extern const UNICODE_STRING SDDL_DEVOBJ_SYS_ALL_ADM_ALL;        /* and administrators */
extern const UNICODE_STRING SDDL_DEVOBJ_SYS_ALL_ADM_RX;         /* administrators read and execute */
extern const UNICODE_STRING SDDL_DEVOBJ_SYS_ALL_ADM_RWX_WORLD_R;
extern const UNICODE_STRING SDDL_DEVOBJ_SYS_ALL_ADM_RWX_WORLD_RWX_RES_RWX;
