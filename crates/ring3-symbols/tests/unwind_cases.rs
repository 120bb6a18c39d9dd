//! Single cases of unwinding: handlers, chains, machine frames, epilogue forms, errors.

mod common;

use common::{BASE, BEGIN, Fake, RSP, Step, UNWIND, caller, entry, run, same_caller};
use ring3_pe::RuntimeFunction;
use ring3_pe::build::{UnwindCode, UnwindHandler, UnwindInfo};
use ring3_symbols::unwind::{
    Handler, Module, Registers, Scope, UnwindError, lookup, scope_table, virtual_unwind,
};

const RBX: u8 = 3;
const RSI: u8 = 6;

/// `sub rsp, 28h; nop; add rsp, 28h; ret` with a handler.
fn with_handler() -> (Vec<Step>, UnwindInfo) {
    let steps = vec![Step::Sub(0x28), Step::Nop, Step::Add(0x28), Step::Ret];
    let data = [2u32, 0x1010, 0x1020, 1, 0x1030, 0x1040, 0x1050, 0x1100, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    let info = UnwindInfo {
        prolog_size: 7,
        codes: vec![UnwindCode::Alloc { at: 7, size: 0x28 }],
        handler: Some(UnwindHandler {
            flags: 3,
            routine_rva: 0x5000,
            data,
        }),
        ..UnwindInfo::default()
    };
    (steps, info)
}

#[test]
fn a_handler_counts_in_the_body_only() {
    let (steps, info) = with_handler();
    let mut handlers = Vec::new();
    run(&steps, &info.encode(), |_, regs, memory, expected| {
        let mut got = *regs;
        let unwound = virtual_unwind(memory, BASE, Some(&entry(&steps)), &mut got).unwrap();
        same_caller(&got, expected, "with a handler");
        handlers.push(unwound.handler);
        if let Some(handler) = unwound.handler {
            let scopes = scope_table(memory, handler.data_va);
            let scope = |begin, end, handler, target| Scope {
                begin,
                end,
                handler,
                target,
            };
            assert_eq!(
                scopes,
                [
                    scope(0x1010, 0x1020, 1, 0x1030),
                    scope(0x1040, 0x1050, 0x1100, 0)
                ]
            );
        }
    });
    let handler = Handler {
        flags: 3,
        routine_rva: 0x5000,
        data_va: BASE + u64::from(UNWIND) + 12,
    };
    assert_eq!(handlers, [None, Some(handler), None, None]);
}

#[test]
fn scope_tables_that_are_none_are_empty() {
    let mut memory = Fake::default();
    assert_eq!(scope_table(&memory, 0x1000), []);
    memory.write(0x1000, &u32::MAX.to_le_bytes());
    assert_eq!(scope_table(&memory, 0x1000), []);
    memory.write(0x1000, &1u32.to_le_bytes());
    assert_eq!(scope_table(&memory, 0x1000), []);
}

#[test]
fn a_leaf_function_has_only_its_return_address() {
    let (mut regs, mut memory) = caller();
    regs.gpr[RSP] -= 8;
    memory.write_u64(regs.gpr[RSP], 0x1234);
    let before = regs;
    let unwound = virtual_unwind(&memory, BASE, None, &mut regs).unwrap();
    assert_eq!((regs.rip, regs.gpr[RSP]), (0x1234, before.gpr[RSP] + 8));
    assert_eq!(
        (
            unwound.establisher_frame,
            unwound.handler,
            unwound.machine_frame
        ),
        (before.gpr[RSP], None, false)
    );
}

#[test]
fn machine_frames_with_and_without_error_code() {
    for error_code in [false, true] {
        // An interrupt entry: the processor's frame, then `push rbx; sub rsp, 20h`.
        let info = UnwindInfo {
            prolog_size: 5,
            codes: vec![
                UnwindCode::PushMachframe { at: 0, error_code },
                UnwindCode::PushNonvol {
                    at: 1,
                    register: RBX,
                },
                UnwindCode::Alloc { at: 5, size: 0x20 },
            ],
            ..UnwindInfo::default()
        };
        let (expected, mut memory) = caller();
        memory.write(BASE + u64::from(UNWIND), &info.encode());
        memory.write(BASE + u64::from(BEGIN), &[0x90; 32]);
        let frame = 0xffff_c000_0090_0000u64;
        for (index, value) in [expected.rip, 0x10, 0x246, expected.gpr[RSP], 0x18]
            .into_iter()
            .enumerate()
        {
            memory.write_u64(frame + index as u64 * 8, value);
        }
        let top = if error_code { frame - 8 } else { frame };
        if error_code {
            memory.write_u64(top, 0xe);
        }
        memory.write_u64(top - 8, expected.gpr[usize::from(RBX)]);
        let function = RuntimeFunction {
            begin: BEGIN,
            end: BEGIN + 32,
            unwind: UNWIND,
        };
        for (offset, rsp) in [(0, top), (1, top - 8), (5, top - 0x28), (9, top - 0x28)] {
            let mut regs = Registers {
                rip: BASE + u64::from(BEGIN) + offset,
                ..expected
            };
            regs.gpr[RSP] = rsp;
            if offset > 0 {
                regs.gpr[usize::from(RBX)] = 0;
            }
            let unwound = virtual_unwind(&memory, BASE, Some(&function), &mut regs).unwrap();
            assert!(unwound.machine_frame);
            same_caller(&regs, &expected, "through a machine frame");
        }
    }
}

/// A primary function `push rbx; sub rsp, 20h` and a part of it that also saved rsi, at other RVAs.
fn chained() -> (Fake, Registers, Registers, RuntimeFunction, RuntimeFunction) {
    let primary = RuntimeFunction {
        begin: BEGIN,
        end: BEGIN + 0x100,
        unwind: UNWIND,
    };
    let part = RuntimeFunction {
        begin: 0x3000,
        end: 0x3040,
        unwind: UNWIND + 0x100,
    };
    let outer = UnwindInfo {
        prolog_size: 5,
        codes: vec![
            UnwindCode::PushNonvol {
                at: 1,
                register: RBX,
            },
            UnwindCode::Alloc { at: 5, size: 0x20 },
        ],
        handler: Some(UnwindHandler {
            flags: 1,
            routine_rva: 0x5000,
            data: vec![],
        }),
        ..UnwindInfo::default()
    };
    let inner = UnwindInfo {
        prolog_size: 8,
        codes: vec![UnwindCode::SaveNonvol {
            at: 8,
            register: RSI,
            offset: 0x30,
        }],
        chained: Some(primary),
        ..UnwindInfo::default()
    };
    let (expected, mut memory) = caller();
    memory.write(BASE + u64::from(UNWIND), &outer.encode());
    memory.write(BASE + u64::from(UNWIND) + 0x100, &inner.encode());
    memory.write(BASE + u64::from(primary.begin), &[0x90; 0x100]);
    memory.write(BASE + u64::from(part.begin), &[0x90; 0x40]);
    let mut regs = expected;
    let rsp = expected.gpr[RSP] - 8 - 8 - 0x20;
    memory.write_u64(expected.gpr[RSP] - 8, expected.rip);
    memory.write_u64(rsp + 0x20, expected.gpr[usize::from(RBX)]);
    memory.write_u64(rsp + 0x30, expected.gpr[usize::from(RSI)]);
    // The slot for rsi is the caller's home space; the return address lies below it.
    memory.write_u64(rsp + 0x28, expected.rip);
    regs.gpr[RSP] = rsp;
    regs.gpr[usize::from(RBX)] = 0;
    regs.rip = BASE + u64::from(part.begin) + 0x10;
    (memory, regs, expected, primary, part)
}

#[test]
fn chained_information_is_undone_link_by_link() {
    let (memory, mut regs, expected, _, part) = chained();
    let in_prolog = Registers {
        rip: BASE + u64::from(part.begin) + 4,
        ..regs
    };
    regs.gpr[usize::from(RSI)] = 0;
    let unwound = virtual_unwind(&memory, BASE, Some(&part), &mut regs).unwrap();
    same_caller(&regs, &expected, "chained");
    // The handler is the primary function's.
    assert_eq!(
        unwound.handler.map(|handler| handler.routine_rva),
        Some(0x5000)
    );
    let mut regs = in_prolog;
    virtual_unwind(&memory, BASE, Some(&part), &mut regs).unwrap();
    same_caller(
        &regs,
        &expected,
        "in the chained prologue, before rsi is saved",
    );
}

#[test]
fn an_indirect_entry_leads_to_the_real_one() {
    let (mut memory, mut regs, expected, _, part) = chained();
    let bytes: Vec<u8> = [part.begin, part.end, part.unwind]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    memory.write(BASE + 0x9000, &bytes);
    let indirect = RuntimeFunction {
        unwind: 0x9001,
        ..part
    };
    regs.gpr[usize::from(RSI)] = 0;
    virtual_unwind(&memory, BASE, Some(&indirect), &mut regs).unwrap();
    same_caller(&regs, &expected, "indirect");
}

#[test]
fn a_jump_between_parts_of_a_function_is_no_epilogue() {
    let (mut memory, regs, expected, primary, part) = chained();
    // At the jump, the frame is still whole: taken for a tail call, the return address would be wrong.
    let from = u64::from(primary.begin) + 0x20;
    let distance = part.begin as i32 - (from as i32 + 5);
    memory.write(BASE + from, &Step::Jump(distance).encode());
    let at_jump = Registers {
        rip: BASE + from,
        ..regs
    };
    let mut alone = at_jump;
    let found = virtual_unwind(&memory, BASE, Some(&primary), &mut alone);
    assert!(
        found.is_err() || alone.rip != expected.rip,
        "without the function table the jump looks like a tail call"
    );
    memory.function(primary);
    memory.function(part);
    let mut known = at_jump;
    virtual_unwind(&memory, BASE, Some(&primary), &mut known).unwrap();
    same_caller(&known, &expected, "at a jump to the function's other part");
    // The way back is known from the chain.
    let from = u64::from(part.begin) + 0x20;
    memory.write(
        BASE + from,
        &Step::Jump(primary.begin as i32 + 0x30 - (from as i32 + 5)).encode(),
    );
    let mut back = Registers {
        rip: BASE + from,
        ..regs
    };
    virtual_unwind(&memory, BASE, Some(&part), &mut back).unwrap();
    same_caller(&back, &expected, "at a jump back");
}

#[test]
fn a_jump_inside_the_function_is_no_epilogue() {
    let steps = [
        Step::Sub(0x28),
        Step::Jump(-7),
        Step::Nop,
        Step::Add(0x28),
        Step::Ret,
    ];
    let info = UnwindInfo {
        prolog_size: 7,
        codes: vec![UnwindCode::Alloc { at: 7, size: 0x28 }],
        ..UnwindInfo::default()
    };
    run(&steps, &info.encode(), |_, regs, memory, expected| {
        let mut got = *regs;
        virtual_unwind(memory, BASE, Some(&entry(&steps)), &mut got).unwrap();
        same_caller(&got, expected, "with a loop");
    });
}

/// Unwinds from the end of a function of the frame `sub rsp, 28h` whose epilogue is done, but for `bytes`.
fn at_end(bytes: &[u8]) -> Registers {
    let info = UnwindInfo {
        prolog_size: 4,
        codes: vec![UnwindCode::Alloc { at: 4, size: 0x28 }],
        ..UnwindInfo::default()
    };
    let (mut regs, mut memory) = caller();
    memory.write(BASE + u64::from(UNWIND), &info.encode());
    memory.write(BASE + u64::from(BEGIN), &[0x90; 0x40]);
    memory.write(BASE + u64::from(BEGIN) + 0x30, bytes);
    regs.gpr[RSP] -= 8;
    memory.write_u64(regs.gpr[RSP], 0x7777);
    regs.rip = BASE + u64::from(BEGIN) + 0x30;
    let function = RuntimeFunction {
        begin: BEGIN,
        end: BEGIN + 0x30 + bytes.len() as u32,
        unwind: UNWIND,
    };
    virtual_unwind(&memory, BASE, Some(&function), &mut regs).unwrap();
    regs
}

#[test]
fn forms_of_the_last_instruction() {
    for bytes in [
        &[0xc3][..],
        &[0xf3, 0xc3],
        &[0xc2, 8, 0],
        // jmp to other functions, short and near
        &[0xeb, 0x40],
        &[0xe9, 0, 0x10, 0, 0],
        // jmp [rip+disp32], with and without REX.W
        &[0xff, 0x25, 0, 0, 0, 0],
        &[0x48, 0xff, 0x25, 0, 0, 0, 0],
        // rex.w jmp rax, rex.w jmp r11
        &[0x48, 0xff, 0xe0],
        &[0x49, 0xff, 0xe3],
        // to the function's own start: a tail call of itself
        &[0xe9, 0xcb, 0xff, 0xff, 0xff],
    ] {
        assert_eq!(at_end(bytes).rip, 0x7777, "{bytes:02x?}");
    }
    // These are no epilogues: a call through a pointer, a switch, a jump into the function.
    for bytes in [
        &[0xff, 0x15, 0, 0, 0, 0][..],
        &[0xff, 0xe0],
        &[0xeb, 0xf0],
        &[0x5c, 0xc3],
    ] {
        assert_ne!(at_end(bytes).rip, 0x7777, "{bytes:02x?}");
    }
}

#[test]
fn far_saves() {
    let (rsi_at, xmm_at) = (0x9_0008, 0x12_0010);
    let steps = [
        Step::Sub(0x20_0000),
        Step::Save(RSI, rsi_at),
        Step::SaveXmm(9, xmm_at),
        Step::Clobber(RSI),
        Step::ClobberXmm(9),
        Step::Nop,
    ];
    let info = UnwindInfo {
        prolog_size: 23,
        codes: vec![
            UnwindCode::Alloc {
                at: 7,
                size: 0x20_0000,
            },
            UnwindCode::SaveNonvol {
                at: 15,
                register: RSI,
                offset: rsi_at,
            },
            UnwindCode::SaveXmm128 {
                at: 23,
                register: 9,
                offset: xmm_at,
            },
        ],
        ..UnwindInfo::default()
    };
    // ALLOC_LARGE with an unscaled operand, SAVE_NONVOL_FAR, SAVE_XMM128_FAR: three slots each.
    assert_eq!(info.encode()[2], 9);
    run(&steps, &info.encode(), |_, regs, memory, expected| {
        let mut got = *regs;
        virtual_unwind(memory, BASE, Some(&entry(&steps)), &mut got).unwrap();
        same_caller(&got, expected, "far");
    });
}

#[test]
fn errors_say_where() {
    let function = RuntimeFunction {
        begin: BEGIN,
        end: BEGIN + 0x40,
        unwind: UNWIND,
    };
    let va = BASE + u64::from(UNWIND);
    let unwind = |info: &[u8]| {
        let (mut regs, mut memory) = caller();
        memory.write(va, info);
        regs.rip = BASE + u64::from(BEGIN) + 0x10;
        virtual_unwind(&memory, BASE, Some(&function), &mut regs).unwrap_err()
    };
    assert_eq!(unwind(&[]), UnwindError::Data { va });
    assert_eq!(
        unwind(&[3, 0, 0, 0]),
        UnwindError::Version { va, version: 3 }
    );
    assert_eq!(
        unwind(&[1, 0, 1, 0, 0, 11, 0, 0]),
        UnwindError::Code { va, operation: 11 }
    );
    // A large allocation without its operand.
    assert_eq!(
        unwind(&[1, 0, 1, 0, 0, 1, 0, 0]),
        UnwindError::Code { va, operation: 1 }
    );
    // Chained to itself.
    let own: Vec<u8> = [BEGIN, BEGIN + 0x40, UNWIND]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect();
    assert_eq!(
        unwind(&[&[1 | 4 << 3, 0, 0, 0], &own[..]].concat()),
        UnwindError::Chain { va }
    );
    // A stack that is not there.
    let error = unwind(&[1, 0, 3, 0, 0, 0x11, 0, 0, 0x10, 0, 0, 0]);
    assert!(matches!(error, UnwindError::Stack { .. }), "{error}");
}

#[test]
fn modules_find_their_functions() {
    let entry = |begin, end| RuntimeFunction {
        begin,
        end,
        unwind: 0,
    };
    let functions = [
        entry(0x1000, 0x1010),
        entry(0x1010, 0x1020),
        entry(0x2000, 0x2001),
    ];
    let module = Module {
        base: BASE,
        size: 0x3000,
        functions: functions.to_vec().into(),
    };
    assert_eq!(lookup(&functions, 0x1010), Some(&functions[1]));
    assert_eq!(
        (
            lookup(&functions, 0xfff),
            lookup(&functions, 0x1020),
            lookup(&[], 5)
        ),
        (None, None, None)
    );
    assert_eq!(module.lookup(BASE + 0x2000), Some(&functions[2]));
    assert_eq!(
        (module.lookup(BASE - 1), module.lookup(BASE + 0x3000)),
        (None, None)
    );
    assert!(
        module.contains(BASE + 0x2fff) && !module.contains(BASE + 0x3000) && !module.contains(0)
    );
}

#[test]
fn version_two_says_where_the_epilogues_are() {
    // Two epilogues, one in the middle that ends in `jmp rax`, and one at the end.
    let (expected, mut memory) = caller();
    let regs = expected;
    let code: Vec<u8> = [0x53, 0x90, 0x90, 0x5b, 0xff, 0xe0, 0x90, 0x5b, 0xc3].to_vec();
    let epilogs = |info: u8, far: u8| {
        vec![
            UnwindCode::Epilog { offset: 3, info },
            UnwindCode::Epilog {
                offset: far,
                info: 0,
            },
            UnwindCode::PushNonvol {
                at: 1,
                register: RBX,
            },
        ]
    };
    memory.write(BASE + u64::from(BEGIN), &code);
    let function = RuntimeFunction {
        begin: BEGIN,
        end: BEGIN + 9,
        unwind: UNWIND,
    };
    memory.write_u64(regs.gpr[RSP] - 8, regs.rip);
    memory.write_u64(regs.gpr[RSP] - 16, regs.gpr[usize::from(RBX)]);
    let mut at = |offset: u64, rsp: u64, codes: Vec<UnwindCode>| {
        let info = UnwindInfo {
            version: 2,
            prolog_size: 1,
            codes,
            ..UnwindInfo::default()
        };
        memory.write(BASE + u64::from(UNWIND), &info.encode());
        let mut got = regs;
        got.gpr[RSP] -= rsp;
        got.rip = BASE + u64::from(BEGIN) + offset;
        virtual_unwind(&memory, BASE, Some(&function), &mut got).map(|_| got)
    };
    // In the middle: before the pop, and at the jump, whose form alone does not tell an epilogue.
    same_caller(&at(3, 16, epilogs(0, 6)).unwrap(), &expected, "at the pop");
    same_caller(&at(4, 8, epilogs(0, 6)).unwrap(), &expected, "at the jump");
    // At the end, where no code tells: taken for the body, so the return address is popped into rbx.
    assert_ne!(at(8, 8, epilogs(0, 6)).map(|got| got.rip), Ok(expected.rip));
    assert_eq!(
        at(
            8,
            8,
            vec![
                UnwindCode::Epilog { offset: 2, info: 1 },
                UnwindCode::PushNonvol {
                    at: 1,
                    register: RBX
                }
            ]
        )
        .map(|got| got.rip),
        Ok(expected.rip)
    );
    // The same bytes without codes for epilogues have none.
    assert_ne!(
        at(
            8,
            8,
            vec![UnwindCode::PushNonvol {
                at: 1,
                register: RBX
            }]
        )
        .map(|got| got.rip),
        Ok(expected.rip)
    );
}
