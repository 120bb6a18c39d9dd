//! The registry as drivers call it.

mod common;

use common::{boot, call, data, poke, routine, string, text, word};
use iced_x86::code_asm::{eax, ecx, edx, qword_ptr, r9, r10, rdx};

const SERVICE: &str = r"\Registry\Machine\System\CurrentControlSet\Services\Echo";

#[test]
fn a_table_of_values_is_fetched() {
    let mut cx = boot(1, 0);
    cx.cm.create_service_key("Echo", 3, "echo.sys");
    let page = data(&mut cx);
    let names = page.byte_add(0x800);
    poke(&mut cx, names, &text("Start"));
    poke(&mut cx, names.byte_add(0x20), &text("Missing"));
    poke(&mut cx, names.byte_add(0x40), &text("ImagePath"));
    poke(&mut cx, names.byte_add(0x80), &text("Echo"));
    let (start, missing, seen) = (
        page.byte_add(0x700),
        page.byte_add(0x708),
        page.byte_add(0x710),
    );
    poke(&mut cx, missing, &[7, 0, 0, 0]);
    // The routine notes type and length: its second and fourth arguments.
    let note = routine(&mut cx, |g| {
        g.asm.mov(r10, seen.raw()).unwrap();
        g.asm.mov(qword_ptr(r10), rdx).unwrap();
        g.asm.mov(qword_ptr(r10 + 8), r9).unwrap();
        g.asm.xor(eax, eax).unwrap();
    });
    let default = page.byte_add(0x780);
    poke(&mut cx, default, &[9, 0, 0, 0]);
    // QueryRoutine, Flags, Name, EntryContext, DefaultType, DefaultData, DefaultLength.
    let table: [[u64; 7]; 4] = [
        [0, 0x120, names.raw(), start.raw(), 4 << 24, 0, 0],
        [
            0,
            0x120,
            names.raw() + 0x20,
            missing.raw(),
            4 << 24 | 4,
            default.raw(),
            4,
        ],
        [note.raw(), 0, names.raw() + 0x40, 0, 0, 0, 0],
        [0; 7],
    ];
    let bytes: Vec<u8> = table
        .iter()
        .flatten()
        .flat_map(|w| w.to_le_bytes())
        .collect();
    poke(&mut cx, page, &bytes);
    let status = call(
        &mut cx,
        "RtlQueryRegistryValues",
        &[1, names.raw() + 0x80, page.raw(), 0, 0],
    );
    assert_eq!(status as u32, 0);
    assert_eq!(word(&cx, start) as u32, 3);
    assert_eq!(word(&cx, missing) as u32, 9, "the default");
    // REG_EXPAND_SZ is expanded and told as REG_SZ; there is no variable in \SystemRoot\....
    let image = text(r"\SystemRoot\System32\drivers\echo.sys");
    assert_eq!(
        (word(&cx, seen) as u32, word(&cx, seen.byte_add(8)) as usize),
        (1, image.len())
    );
    // A value of another type is refused by RTL_QUERY_REGISTRY_TYPECHECK.
    poke(&mut cx, page.byte_add(0x20), &(1u64 << 24).to_le_bytes());
    let status = call(
        &mut cx,
        "RtlQueryRegistryValues",
        &[1, names.raw() + 0x80, page.raw(), 0, 0],
    );
    assert_eq!(status as u32, 0xc000_0024);
    assert!(cx.findings.is_empty(), "{:?}", cx.findings);
}

#[test]
fn a_registry_callback_sees_and_refuses() {
    let mut cx = boot(1, 0);
    cx.cm.create_service_key("Echo", 3, "echo.sys");
    let page = data(&mut cx);
    let (altitude, path, name) = (
        page.byte_add(0x100),
        page.byte_add(0x200),
        page.byte_add(0x400),
    );
    string(&mut cx, altitude, "380000");
    string(&mut cx, path, SERVICE);
    string(&mut cx, name, "Start");
    let (handle, cookie, classes) = (
        page.byte_add(0x700),
        page.byte_add(0x708),
        page.byte_add(0x710),
    );
    // OBJECT_ATTRIBUTES: Length, RootDirectory, ObjectName, Attributes.
    let attributes = page.byte_add(0x600);
    let words: [u64; 6] = [0x30, 0, path.raw(), 0x240, 0, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    poke(&mut cx, attributes, &bytes);
    // Notes the class as a bit; refuses RegNtPreSetValueKey (1) with STATUS_ACCESS_DENIED.
    let callback = routine(&mut cx, |g| {
        g.asm.mov(r10, classes.raw()).unwrap();
        g.asm.bts(qword_ptr(r10), rdx).unwrap();
        g.asm.xor(eax, eax).unwrap();
        g.asm.mov(ecx, 0xc000_0022u32).unwrap();
        g.asm.cmp(edx, 1).unwrap();
        g.asm.cmove(eax, ecx).unwrap();
    });
    let status = call(
        &mut cx,
        "CmRegisterCallbackEx",
        &[callback.raw(), altitude.raw(), 0, 0, cookie.raw(), 0],
    );
    assert_eq!(status as u32, 0);
    let again = call(
        &mut cx,
        "CmRegisterCallbackEx",
        &[callback.raw(), altitude.raw(), 0, 0, cookie.raw(), 0],
    );
    assert_eq!(
        again as u32, 0xc01c_0011,
        "STATUS_FLT_INSTANCE_ALTITUDE_COLLISION"
    );
    assert_eq!(
        call(
            &mut cx,
            "ZwOpenKey",
            &[handle.raw(), 0xf003f, attributes.raw()]
        ) as u32,
        0
    );
    let key = word(&cx, handle);
    poke(&mut cx, page, &[1, 0, 0, 0]);
    let set = [key, name.raw(), 0, 4, page.raw(), 4];
    assert_eq!(call(&mut cx, "ZwSetValueKey", &set) as u32, 0xc000_0022);
    assert_eq!(
        cx.cm.value(SERVICE, "Start").map(|v| v.data[0]),
        Some(3),
        "refused"
    );
    assert_eq!(
        call(&mut cx, "ZwDeleteValueKey", &[key, name.raw()]) as u32,
        0
    );
    // RegNtPreSetValueKey 1, RegNtPreDeleteValueKey 2, RegNtPostDeleteValueKey 17, open 28 and 29.
    assert_eq!(
        word(&cx, classes),
        1 << 1 | 1 << 2 | 1 << 17 | 1 << 28 | 1 << 29
    );
    let registered = word(&cx, cookie);
    assert_eq!(
        call(&mut cx, "CmUnRegisterCallback", &[registered]) as u32,
        0
    );
    assert_eq!(call(&mut cx, "ZwSetValueKey", &set) as u32, 0);
    assert_eq!(cx.cm.value(SERVICE, "Start").map(|v| v.data[0]), Some(1));
    assert_eq!(call(&mut cx, "ZwDeleteKey", &[key]) as u32, 0);
    assert_eq!(
        call(&mut cx, "ZwSetValueKey", &set) as u32,
        0xc000_017c,
        "STATUS_KEY_DELETED"
    );
    assert_eq!(call(&mut cx, "ZwClose", &[key]) as u32, 0);
}

#[test]
fn values_are_given_as_far_as_they_fit() {
    let mut cx = boot(1, 0);
    cx.cm.create_service_key("Echo", 3, "echo.sys");
    let page = data(&mut cx);
    let (path, name, handle, needed) = (
        page.byte_add(0x200),
        page.byte_add(0x400),
        page.byte_add(0x700),
        page.byte_add(0x708),
    );
    string(&mut cx, path, SERVICE);
    string(&mut cx, name, "start");
    let words: [u64; 6] = [0x30, 0, path.raw(), 0x240, 0, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    poke(&mut cx, page.byte_add(0x600), &bytes);
    assert_eq!(
        call(
            &mut cx,
            "ZwOpenKey",
            &[handle.raw(), 0x20019, page.raw() + 0x600]
        ) as u32,
        0
    );
    let key = word(&cx, handle);
    for (length, status) in [(8u64, 0xc000_0023u32), (12, 0x8000_0005), (16, 0)] {
        let got = call(
            &mut cx,
            "ZwQueryValueKey",
            &[key, name.raw(), 2, page.raw(), length, needed.raw()],
        );
        assert_eq!(got as u32, status, "{length} bytes");
        assert_eq!(word(&cx, needed) as u32, 16);
    }
    assert_eq!(
        word(&cx, page.byte_add(8)),
        3 << 32 | 4,
        "four bytes that say 3"
    );
    assert_eq!(
        call(
            &mut cx,
            "ZwEnumerateValueKey",
            &[key, 99, 2, page.raw(), 64, needed.raw()]
        ) as u32,
        0x8000_001a
    );
    string(&mut cx, name, "nothing");
    let got = call(
        &mut cx,
        "ZwQueryValueKey",
        &[key, name.raw(), 2, page.raw(), 16, needed.raw()],
    );
    assert_eq!(got as u32, 0xc000_0034);
}
