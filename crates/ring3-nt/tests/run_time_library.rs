//! The run-time library, the registry and security as drivers call them.

mod common;

use common::{boot, data, routine, thread};
use iced_x86::code_asm::{eax, ecx, edx, qword_ptr, r8, r9, r10, rax, rcx, rdx, rsp};
use ring3_nt::Machine;
use ring3_nt::export::VarArgs;
use ring3_nt::machine::run::RunEnd;
use ring3_nt::memory::Gva;
use ring3_nt::rtl::format;

fn text(value: &str) -> Vec<u8> {
    value
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

fn poke(cx: &mut Machine, at: Gva, bytes: &[u8]) {
    cx.memory.poke_bytes(None, at, bytes).expect("mapped");
}

fn word(cx: &Machine, at: Gva) -> u64 {
    cx.memory.peek(at.cast::<u64>()).expect("mapped")
}

/// A UNICODE_STRING at `at` with its text right behind it.
fn string(cx: &mut Machine, at: Gva, value: &str) {
    let bytes = text(value);
    let lengths = [(bytes.len() - 2) as u16, bytes.len() as u16];
    poke(
        cx,
        at,
        &[lengths[0].to_le_bytes(), lengths[1].to_le_bytes()].concat(),
    );
    poke(cx, at.byte_add(8), &(at.raw() + 16).to_le_bytes());
    poke(cx, at.byte_add(16), &bytes);
}

/// Calls a routine of the kernel from a thread of its own; gives what it returns.
fn call(cx: &mut Machine, name: &str, arguments: &[u64]) -> u64 {
    let result = data(cx);
    let start = routine(cx, |g| {
        let a = &mut g.asm;
        a.sub(rsp, 0x60).unwrap();
        for (i, value) in arguments.iter().enumerate() {
            a.mov(rax, *value).unwrap();
            match i {
                0 => a.mov(rcx, rax).unwrap(),
                1 => a.mov(rdx, rax).unwrap(),
                2 => a.mov(r8, rax).unwrap(),
                3 => a.mov(r9, rax).unwrap(),
                _ => a.mov(qword_ptr(rsp + 8 * i as i32), rax).unwrap(),
            }
        }
        g.call(name);
        let a = &mut g.asm;
        a.mov(r10, result.raw()).unwrap();
        a.mov(qword_ptr(r10), rax).unwrap();
        a.add(rsp, 0x60).unwrap();
    });
    thread(cx, start, 0);
    assert_eq!(
        cx.run_until(|_| false),
        RunEnd::Idle,
        "{name}: {:?}",
        cx.stop
    );
    word(cx, result)
}

#[test]
fn formats() {
    let mut cx = boot(1, 0);
    let page = data(&mut cx);
    let (ansi, wide, counted) = (page.raw() + 0x400, page.raw() + 0x500, page.byte_add(0x600));
    poke(&mut cx, Gva::new(ansi), b"text\0");
    poke(&mut cx, Gva::new(wide), &text("wide"));
    string(&mut cx, counted, "counted");
    let minus: u64 = (-42i32) as u32 as u64;
    let table: &[(&str, &[u64], &str)] = &[
        (
            "%d|%5d|%-5d|%05d",
            &[minus, minus, minus, minus],
            "-42|  -42|-42  |-0042",
        ),
        ("%+d|% d|%.3d|%5.3d", &[42, 42, 7, 7], "+42| 42|007|  007"),
        (
            "%u|%x|%X|%#x|%#o|%o",
            &[minus, 0xbeef, 0xbeef, 0xbeef, 8, 8],
            "4294967254|beef|BEEF|0xbeef|010|10",
        ),
        ("%.0d|%#x", &[0, 0], "|0"),
        (
            "%hd|%hhx|%lld|%I64x|%Ix|%I32d",
            &[0xffff, 0x1ff, u64::MAX, 1 << 40, 1 << 40, minus],
            "-1|ff|-1|10000000000|10000000000|-42",
        ),
        ("%p", &[0xffff_f800_0000_1000], "FFFFF80000001000"),
        (
            "%s|%S|%ws|%ls|%hs",
            &[ansi, wide, wide, wide, ansi],
            "text|wide|wide|wide|text",
        ),
        (
            "%6s|%-6s|%.2s|%6.2s|",
            &[ansi, ansi, ansi, ansi],
            "  text|text  |te|    te|",
        ),
        ("%*d|%-*d|%.*s", &[4, 7, 4, 7, 1, ansi], "   7|7   |t"),
        ("%c|%3c|%C|%lc", &[0x41, 0x42, 0x43, 0x44], "A|  B|C|D"),
        ("%wZ|%.3wZ", &[counted.raw(), counted.raw()], "counted|cou"),
        ("%s|%wZ", &[0, 0], "(null)|(null)"),
        ("100%%", &[], "100%"),
        (
            "%08X|%016I64x",
            &[0xc000_0005, 0x1234],
            "C0000005|0000000000001234",
        ),
    ];
    for (template, arguments, expected) in table {
        let bytes: Vec<u8> = arguments.iter().flat_map(|v| v.to_le_bytes()).collect();
        poke(&mut cx, page, &bytes);
        let units: Vec<u16> = template.encode_utf16().collect();
        let mut list = VarArgs::from_list(page.raw());
        let printed = format::format(&cx, &units, &mut list, false).expect("mapped");
        assert_eq!(String::from_utf16_lossy(&printed), *expected, "{template}");
    }
    // In a wide function %s is wide and %S is not.
    poke(
        &mut cx,
        page,
        &[wide.to_le_bytes(), ansi.to_le_bytes()].concat(),
    );
    let units: Vec<u16> = "%s|%S".encode_utf16().collect();
    let printed =
        format::format(&cx, &units, &mut VarArgs::from_list(page.raw()), true).expect("mapped");
    assert_eq!(String::from_utf16_lossy(&printed), "wide|text");
}

#[test]
fn sorting_calls_the_driver() {
    let mut cx = boot(1, 0);
    let numbers = data(&mut cx);
    let mut values: Vec<u32> = (0..50u32).map(|i| i * 37 % 53).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    poke(&mut cx, numbers, &bytes);
    let compare = routine(&mut cx, |g| {
        g.asm.mov(eax, iced_x86::code_asm::dword_ptr(rcx)).unwrap();
        g.asm.sub(eax, iced_x86::code_asm::dword_ptr(rdx)).unwrap();
    });
    call(&mut cx, "qsort", &[numbers.raw(), 50, 4, compare.raw()]);
    values.sort_unstable();
    let sorted: Vec<u32> = (0..50)
        .map(|i| {
            cx.memory
                .peek(numbers.byte_add(4 * i).cast())
                .expect("mapped")
        })
        .collect();
    assert_eq!(sorted, values);
    let key = numbers.byte_add(0x400);
    poke(&mut cx, key, &values[17].to_le_bytes());
    let found = call(
        &mut cx,
        "bsearch",
        &[key.raw(), numbers.raw(), 50, 4, compare.raw()],
    );
    assert_eq!(found, numbers.raw() + 4 * 17);
    poke(&mut cx, key, &1000u32.to_le_bytes());
    assert_eq!(
        call(
            &mut cx,
            "bsearch",
            &[key.raw(), numbers.raw(), 50, 4, compare.raw()]
        ),
        0
    );
}

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

/// Levels of the tree below a node; every node leans as it says and by one at most.
fn levels(cx: &Machine, node: u64) -> u32 {
    if node == 0 {
        return 0;
    }
    let link = |offset: u64| word(cx, Gva::new(node + offset));
    let (left, right) = (levels(cx, link(8)), levels(cx, link(16)));
    let lean = cx.memory.peek(Gva::<i8>::new(node + 0x18)).expect("mapped");
    assert_eq!(right as i32 - left as i32, i32::from(lean));
    assert!(lean.abs() <= 1);
    for below in [link(8), link(16)] {
        assert!(
            below == 0 || word(cx, Gva::new(below)) == node,
            "a child knows its parent"
        );
    }
    1 + left.max(right)
}

/// The routines of a table of 64-bit numbers: compare, allocate, free.
fn table_routines(cx: &mut Machine) -> [u64; 3] {
    // RTL_GENERIC_COMPARE_RESULTS: 0 less, 1 greater, 2 equal.
    let compare = routine(cx, |g| {
        g.asm.mov(rax, qword_ptr(rdx)).unwrap();
        g.asm.mov(rcx, qword_ptr(r8)).unwrap();
        g.asm.mov(edx, 1).unwrap();
        g.asm.cmp(rax, rcx).unwrap();
        g.asm.mov(eax, 2).unwrap();
        g.asm.mov(ecx, 0).unwrap();
        g.asm.cmovb(eax, ecx).unwrap();
        g.asm.cmova(eax, edx).unwrap();
    });
    let allocate = routine(cx, |g| {
        g.asm.mov(ecx, 0x40).unwrap();
        g.asm.mov(r8, 0x6c62_6154u64).unwrap();
        g.call("ExAllocatePool2");
    });
    let free = routine(cx, |g| {
        g.asm.mov(rcx, rdx).unwrap();
        g.call("ExFreePool");
    });
    [compare.raw(), allocate.raw(), free.raw()]
}

#[test]
fn a_generic_table_keeps_its_order_and_balance() {
    let mut cx = boot(1, 0);
    let page = data(&mut cx);
    let (table, element, fresh, key) = (
        page,
        page.byte_add(0x100),
        page.byte_add(0x110),
        page.byte_add(0x118),
    );
    let [compare, allocate, free] = table_routines(&mut cx);
    call(
        &mut cx,
        "RtlInitializeGenericTableAvl",
        &[table.raw(), compare, allocate, free, 0],
    );
    let value = |i: u64| i * 7919 % 127 + 1;
    for i in 0..126 {
        poke(&mut cx, element, &value(i).to_le_bytes());
        let at = call(
            &mut cx,
            "RtlInsertElementGenericTableAvl",
            &[table.raw(), element.raw(), 8, fresh.raw()],
        );
        assert_eq!(word(&cx, Gva::new(at)), value(i));
        assert_eq!(word(&cx, fresh) as u8, 1);
        let root = word(&cx, table.byte_add(0x10));
        assert_eq!(
            levels(&cx, root),
            word(&cx, table.byte_add(0x30)) as u32,
            "DepthOfTree"
        );
    }
    let again = call(
        &mut cx,
        "RtlInsertElementGenericTableAvl",
        &[table.raw(), element.raw(), 8, fresh.raw()],
    );
    assert_eq!(
        (word(&cx, Gva::new(again)), word(&cx, fresh) as u8),
        (value(125), 0)
    );
    for i in (0..126).step_by(2) {
        poke(&mut cx, element, &value(i).to_le_bytes());
        assert_eq!(
            call(
                &mut cx,
                "RtlDeleteElementGenericTableAvl",
                &[table.raw(), element.raw()]
            ) as u8,
            1
        );
        assert_eq!(
            call(
                &mut cx,
                "RtlLookupElementGenericTableAvl",
                &[table.raw(), element.raw()]
            ),
            0
        );
        let root = word(&cx, table.byte_add(0x10));
        levels(&cx, root);
    }
    let mut expected: Vec<u64> = (0..126).filter(|i| i % 2 == 1).map(value).collect();
    expected.sort_unstable();
    poke(&mut cx, key, &[0; 8]);
    let mut seen = Vec::new();
    loop {
        let at = call(
            &mut cx,
            "RtlEnumerateGenericTableWithoutSplayingAvl",
            &[table.raw(), key.raw()],
        );
        if at == 0 {
            break;
        }
        seen.push(word(&cx, Gva::new(at)));
    }
    assert_eq!(seen, expected);
    let tenth = call(&mut cx, "RtlGetElementGenericTableAvl", &[table.raw(), 10]);
    assert_eq!(word(&cx, Gva::new(tenth)), expected[10]);
    assert_eq!(
        call(&mut cx, "RtlNumberGenericTableElementsAvl", &[table.raw()]) as usize,
        expected.len()
    );
    assert!(cx.findings.is_empty(), "{:?}", cx.findings);
}

#[test]
fn a_generic_table_remembers_the_order_of_insertion() {
    let mut cx = boot(1, 0);
    let page = data(&mut cx);
    let (table, element, fresh) = (page, page.byte_add(0x100), page.byte_add(0x110));
    let [compare, allocate, free] = table_routines(&mut cx);
    call(
        &mut cx,
        "RtlInitializeGenericTable",
        &[table.raw(), compare, allocate, free, 0],
    );
    let value = |i: u64| i * 7919 % 61 + 1;
    let mut order = Vec::new();
    for i in 0..60 {
        poke(&mut cx, element, &value(i).to_le_bytes());
        let arguments = [table.raw(), element.raw(), 8, fresh.raw()];
        let at = call(&mut cx, "RtlInsertElementGenericTable", &arguments);
        assert_eq!(
            (word(&cx, Gva::new(at)), word(&cx, fresh) as u8),
            (value(i), 1)
        );
        assert_eq!(word(&cx, table), at - 0x28, "the element is the root");
        order.push(value(i));
    }
    for i in (0..60).step_by(3) {
        poke(&mut cx, element, &value(i).to_le_bytes());
        let arguments = [table.raw(), element.raw()];
        assert_eq!(
            call(&mut cx, "RtlDeleteElementGenericTable", &arguments) as u8,
            1
        );
        assert_eq!(
            call(&mut cx, "RtlDeleteElementGenericTable", &arguments) as u8,
            0
        );
        order.retain(|v| *v != value(i));
    }
    for (i, expected) in order.iter().enumerate() {
        let at = call(
            &mut cx,
            "RtlGetElementGenericTable",
            &[table.raw(), i as u64],
        );
        assert_eq!(word(&cx, Gva::new(at)), *expected);
    }
    let mut seen = Vec::new();
    let mut at = call(&mut cx, "RtlEnumerateGenericTable", &[table.raw(), 1]);
    while at != 0 {
        seen.push(word(&cx, Gva::new(at)));
        at = call(&mut cx, "RtlEnumerateGenericTable", &[table.raw(), 0]);
    }
    order.sort_unstable();
    assert_eq!(seen, order);
    poke(&mut cx, element, &order[7].to_le_bytes());
    let found = call(
        &mut cx,
        "RtlLookupElementGenericTable",
        &[table.raw(), element.raw()],
    );
    assert_eq!(word(&cx, Gva::new(found)), order[7]);
    assert!(cx.findings.is_empty(), "{:?}", cx.findings);
}

#[test]
fn a_callback_object_calls_who_is_registered() {
    let mut cx = boot(1, 0);
    let page = data(&mut cx);
    let (name, object, seen) = (
        page.byte_add(0x200),
        page.byte_add(0x700),
        page.byte_add(0x710),
    );
    string(&mut cx, name, r"\Callback\Ours");
    let words: [u64; 6] = [0x30, 0, name.raw(), 0x40, 0, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    poke(&mut cx, page.byte_add(0x600), &bytes);
    // Adds context, first and second argument to what was seen.
    let routine = routine(&mut cx, |g| {
        g.asm.mov(r10, seen.raw()).unwrap();
        g.asm.add(rcx, rdx).unwrap();
        g.asm.add(rcx, r8).unwrap();
        g.asm.add(qword_ptr(r10), rcx).unwrap();
    });
    let attributes = page.raw() + 0x600;
    assert_eq!(
        call(
            &mut cx,
            "ExCreateCallback",
            &[object.raw(), attributes, 0, 1]
        ) as u32,
        0xc000_0034
    );
    assert_eq!(
        call(
            &mut cx,
            "ExCreateCallback",
            &[object.raw(), attributes, 1, 0]
        ) as u32,
        0
    );
    let ours = word(&cx, object);
    let registration = call(&mut cx, "ExRegisterCallback", &[ours, routine.raw(), 0x100]);
    assert_ne!(registration, 0);
    assert_eq!(
        call(&mut cx, "ExRegisterCallback", &[ours, routine.raw(), 0x100]),
        0,
        "one only"
    );
    call(&mut cx, "ExNotifyCallback", &[ours, 0x20, 3]);
    assert_eq!(word(&cx, seen), 0x123);
    call(&mut cx, "ExUnregisterCallback", &[registration]);
    call(&mut cx, "ExNotifyCallback", &[ours, 0x20, 3]);
    assert_eq!(word(&cx, seen), 0x123);
    assert!(cx.findings.is_empty(), "{:?}", cx.findings);
}
