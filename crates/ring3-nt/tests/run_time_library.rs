//! The run-time library and callback objects as drivers call them.

mod common;

use common::{boot, call, data, poke, routine, string, text, word};
use iced_x86::code_asm::{dword_ptr, eax, ecx, edx, qword_ptr, r8, r10, rax, rcx, rdx};
use ring3_nt::Machine;
use ring3_nt::export::VarArgs;
use ring3_nt::memory::Gva;
use ring3_nt::rtl::format;

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
        g.asm.mov(eax, dword_ptr(rcx)).unwrap();
        g.asm.sub(eax, dword_ptr(rdx)).unwrap();
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
