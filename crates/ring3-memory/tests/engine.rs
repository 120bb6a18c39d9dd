//! What an engine relies on: rights, faults, code watching, fetches, restores and clones.

use ring3_memory::{Access, Context, Fault, Fetch, Gpa, Gva, Memory, PageFlags, Privilege};

use Privilege::{Supervisor, User};

const VA: u64 = 0xffff_f800_0000_0000;
const PA: u64 = 0x20_0000;
const RW: PageFlags = PageFlags::PRESENT.union(PageFlags::WRITE);

fn machine(pages: &[PageFlags]) -> Memory {
    let mut memory = Memory::new(4 << 20);
    let cr3 = memory.new_address_space(None).unwrap();
    for (number, flags) in (0..).zip(pages) {
        memory
            .map(cr3, VA + number * 0x1000, Gpa(PA + number * 0x1000), *flags)
            .unwrap();
    }
    memory.set_context(Context {
        cr3,
        wp: true,
        nxe: true,
        smep: true,
        smap: true,
    });
    memory
}

/// Whether the guest can read, write and execute the first page; asked twice, to hit and to miss the TLB.
fn rights(memory: &mut Memory, privilege: Privilege) -> [bool; 3] {
    let mut ask = || {
        [
            memory.load::<u32>(VA, privilege).is_ok(),
            memory.store::<u32>(VA, 0, privilege).is_ok(),
            memory.fetch(VA, &mut [0; 16], privilege).is_ok(),
        ]
    };
    let first = ask();
    assert_eq!(first, ask());
    first
}

#[test]
fn rights_follow_flags_and_context() {
    let (u, nx) = (PageFlags::USER, PageFlags::NX);
    let (yes, no) = (true, false);
    type Change = fn(&mut Context);
    let cases: [(PageFlags, Change, Privilege, [bool; 3]); 14] = [
        (RW, |_| (), Supervisor, [yes, yes, yes]),
        (RW, |_| (), User, [no, no, no]),
        (RW | nx, |_| (), Supervisor, [yes, yes, no]),
        (RW | nx, |c| c.nxe = false, Supervisor, [yes, yes, yes]),
        (PageFlags::PRESENT, |_| (), Supervisor, [yes, no, yes]),
        (
            PageFlags::PRESENT,
            |c| c.wp = false,
            Supervisor,
            [yes, yes, yes],
        ),
        (
            PageFlags::PRESENT | u,
            |c| c.wp = false,
            User,
            [yes, no, yes],
        ),
        (RW | u, |_| (), User, [yes, yes, yes]),
        (RW | u | nx, |_| (), User, [yes, yes, no]),
        (RW | u, |_| (), Supervisor, [no, no, no]),
        (RW | u, |c| c.smap = false, Supervisor, [yes, yes, no]),
        (RW | u, |c| c.smep = false, Supervisor, [no, no, yes]),
        (
            PageFlags::PRESENT | u,
            |c| c.smap = false,
            Supervisor,
            [yes, no, no],
        ),
        (PageFlags::SOFTWARE_0, |_| (), Supervisor, [yes, no, yes]),
    ];
    for (flags, change, privilege, want) in cases {
        let mut memory = machine(&[flags]);
        let mut context = memory.context();
        change(&mut context);
        memory.set_context(context);
        assert_eq!(
            rights(&mut memory, privilege),
            want,
            "{flags:?} {privilege:?} {context:?}"
        );
        // The host stands for kernel code with RFLAGS.AC set.
        if privilege == Supervisor {
            assert!(memory.read(Gva::<u32>::new(VA)).is_ok());
            let write = flags.contains(PageFlags::WRITE) || !context.wp;
            assert_eq!(memory.write(Gva::<u32>::new(VA), 1).is_ok(), write);
            // A host access must not open the page to the guest.
            assert_eq!(
                rights(&mut memory, privilege),
                want,
                "{flags:?} after a host access"
            );
        }
    }
}

#[test]
fn faults_name_the_first_bad_address() {
    let mut memory = machine(&[RW, PageFlags::PRESENT]);
    let page = |va, access, present| {
        Err(Fault::Page {
            va,
            access,
            privilege: Supervisor,
            present,
        })
    };
    assert_eq!(
        memory.store(VA + 0xffe, 0x1234_5678u32, Supervisor),
        page(VA + 0x1000, Access::Write, true)
    );
    assert_eq!(
        memory.load::<u32>(VA + 0xffc, Supervisor),
        Ok(0),
        "nothing was written"
    );
    assert_eq!(
        memory.load::<u128>(VA + 0x1ff1, Supervisor).map(drop),
        page(VA + 0x2000, Access::Read, false)
    );
    let non_canonical = Fault::NonCanonical {
        va: 1 << 63,
        access: Access::Read,
    };
    assert_eq!(memory.load::<u8>(1 << 63, Supervisor), Err(non_canonical));
    assert_eq!(
        memory.load::<u16>(u64::MAX, Supervisor).map(drop),
        page(u64::MAX, Access::Read, false)
    );
    assert_eq!(
        memory.read(Gva::<u16>::new(0x7fff_ffff_ffff)).map(drop),
        page(0x7fff_ffff_ffff, Access::Read, false)
    );

    let cr3 = memory.context().cr3;
    memory.map(cr3, 0x1000, Gpa(1 << 32), RW).unwrap();
    let device = Fault::Device {
        pa: Gpa((1 << 32) + 8),
        access: Access::Write,
    };
    assert_eq!(memory.store(0x1008, 1u8, Supervisor), Err(device));
    assert_eq!(memory.write(Gva::<u8>::new(0x1008), 1), Err(device));
    memory.set_context(Context {
        cr3: 1 << 40,
        ..memory.context()
    });
    assert!(matches!(
        memory.load::<u8>(VA, Supervisor),
        Err(Fault::Device { .. })
    ));
}

#[test]
fn blocks_are_one_access() {
    let mut memory = machine(&[RW, RW, PageFlags::PRESENT]);
    let bytes: Vec<u8> = (0..512u32).map(|at| at as u8 ^ 0x5a).collect();
    let mut back = vec![0; 512];
    memory.store_bytes(VA + 0xf00, &bytes, Supervisor).unwrap();
    memory
        .load_bytes(VA + 0xf00, &mut back, Supervisor)
        .unwrap();
    assert_eq!(back, bytes);
    assert!(memory.store_bytes(VA + 0x1f00, &bytes, Supervisor).is_err());
    memory
        .load_bytes(VA + 0x1f00, &mut back, Supervisor)
        .unwrap();
    assert_eq!(back, [0; 512], "nothing was written");
    memory.poison(VA + 0x1008, 8, 0xfe);
    assert!(
        matches!(memory.load_bytes(VA + 0xf00, &mut back, Supervisor), Err(Fault::Shadow(hit)) if hit.va == VA + 0x1008)
    );
    memory
        .load_bytes(VA + 0xf00, &mut back[..0x108], Supervisor)
        .unwrap();
    memory.load_bytes(VA, &mut [], Supervisor).unwrap();
}

#[test]
fn copies_may_overlap() {
    let mut memory = machine(&[RW, RW, RW]);
    let bytes: Vec<u8> = (0..0x2000u32).map(|at| (at % 253) as u8).collect();
    for (dst, src) in [(VA + 0x123, VA), (VA, VA + 0x123), (VA + 8, VA + 8)] {
        memory.write_bytes(Gva::<u8>::new(src), &bytes).unwrap();
        memory
            .copy(Gva::<u8>::new(dst), Gva::<u8>::new(src), 0x2000)
            .unwrap();
        assert!(memory.read_vec(Gva::<u8>::new(dst), 0x2000).unwrap() == bytes);
    }
}

#[test]
fn every_write_to_watched_code_is_reported_once() {
    let mut memory = machine(&[RW, RW]);
    let pfn = PA >> 12;
    type Write = fn(&mut Memory);
    let writes: [Write; 8] = [
        |memory| memory.store(VA, 1u8, Supervisor).unwrap(),
        |memory| memory.store(VA + 0xffc, 1u64, Supervisor).unwrap(),
        |memory| memory.write(Gva::<u32>::new(VA + 4), 1).unwrap(),
        |memory| memory.fill(Gva::<u8>::new(VA), 0x2000, 0).unwrap(),
        |memory| {
            memory
                .copy(Gva::<u8>::new(VA), Gva::<u8>::new(VA + 0x1000), 9)
                .unwrap()
        },
        |memory| {
            memory
                .poke_bytes(None, Gva::<u8>::new(VA), &[0xcc])
                .unwrap()
        },
        |memory| memory.write_physical(Gpa(PA), &[0xcc]).unwrap(),
        |memory| {
            memory.reserve_frames(PA..PA + 1);
            memory.free_frame(Gpa(PA));
        },
    ];
    for write in writes {
        memory.store(VA, 0u8, Supervisor).unwrap();
        let before = memory.code_generation();
        memory.watch_code(pfn);
        memory.load::<u8>(VA, Supervisor).unwrap();
        memory.poison(VA, 8, 0xff);
        memory.unpoison(VA, 8);
        assert!(!memory.code_written(), "reads and marks change no code");
        write(&mut memory);
        assert!(memory.code_written());
        assert_eq!(memory.take_code_writes(), [pfn]);
        assert_eq!(memory.code_generation(), before + 1);
        write(&mut memory);
        assert!(memory.take_code_writes().is_empty(), "no longer watched");
    }
}

#[test]
fn restores_report_changed_code_only() {
    let mut memory = machine(&[RW, RW]);
    let before = memory.snapshot();
    memory.store(VA, 0xc3u8, Supervisor).unwrap();
    let between = memory.snapshot();
    memory.watch_code(PA >> 12);
    memory.watch_code((PA >> 12) + 1);
    memory.restore(&between);
    assert!(!memory.code_written());
    let mut copy = memory.clone();
    memory.restore(&before);
    assert_eq!(memory.take_code_writes(), [PA >> 12]);
    copy.store(VA + 0x1000, 0u8, Supervisor).unwrap();
    assert_eq!(copy.take_code_writes(), [(PA >> 12) + 1]);
}

#[test]
fn fetches_stop_at_a_page_without_code() {
    let mut memory = machine(&[RW, RW, RW | PageFlags::NX]);
    memory
        .write_bytes(Gva::<u8>::new(VA + 0xff8), &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
        .unwrap();
    let mut bytes = [0; 16];
    let got = memory.fetch(VA + 0xffa, &mut bytes, Supervisor).unwrap();
    assert_eq!(
        got,
        Fetch {
            len: 16,
            pfn: PA >> 12,
            next_pfn: Some((PA >> 12) + 1)
        }
    );
    assert_eq!(bytes[..8], [3, 4, 5, 6, 7, 8, 9, 10]);
    let got = memory.fetch(VA + 0x1ff8, &mut bytes, Supervisor).unwrap();
    assert_eq!(
        got,
        Fetch {
            len: 8,
            pfn: (PA >> 12) + 1,
            next_pfn: None
        }
    );
    let fault = memory
        .fetch(VA + 0x2000, &mut bytes, Supervisor)
        .unwrap_err();
    assert_eq!(fault.error_code(), 0x11);
}

/// Two pages of one TLB entry evict each other's write tag within an epoch; the page must not be saved twice.
#[test]
fn tlb_conflicts_do_not_break_restores() {
    let mut memory = machine(&[RW]);
    let cr3 = memory.context().cr3;
    memory
        .map(cr3, VA + 0x10_0000, Gpa(PA + 0x1000), RW)
        .unwrap();
    memory.store(VA, 1u64, Supervisor).unwrap();
    memory.store(VA + 0x10_0000, 2u64, Supervisor).unwrap();
    let snapshot = memory.snapshot();
    let hash = memory.hash();
    for round in 0..3u64 {
        for step in 0..5u64 {
            memory.store(VA, 100 + step + round, Supervisor).unwrap();
            memory
                .store(VA + 0x10_0000, 200 + step, Supervisor)
                .unwrap();
        }
        let dirty = memory.dirty_pages();
        assert!(dirty.contains(&(PA >> 12)) && dirty.contains(&((PA >> 12) + 1)));
        assert_ne!(memory.hash(), hash);
        memory.restore(&snapshot);
        assert_eq!(memory.hash(), hash);
        assert_eq!(memory.load::<u64>(VA, Supervisor), Ok(1));
    }
}

/// Clones are made and changed on several threads at once; each must see its own bytes only.
#[test]
fn clones_are_independent_across_threads() {
    fn check<T: Send + Sync>(_: &T) {}
    let mut memory = machine(&[RW, RW]);
    check(&memory);
    memory.store(VA, 7u64, Supervisor).unwrap();
    let shared = &memory;
    std::thread::scope(|scope| {
        for number in 0..3u64 {
            scope.spawn(move || {
                for round in 0..50 {
                    let mut copy = shared.clone();
                    let before = copy.hash();
                    assert_eq!(copy.load::<u64>(VA, Supervisor), Ok(7));
                    copy.store(VA, (number + 1) << 32 | round, Supervisor)
                        .unwrap();
                    assert_eq!(
                        copy.read(Gva::<u64>::new(VA)),
                        Ok((number + 1) << 32 | round)
                    );
                    assert_eq!(shared.read(Gva::<u64>::new(VA)), Ok(7));
                    assert_ne!(copy.hash(), before);
                }
            });
        }
    });
    let copy = memory.clone();
    memory.store(VA, 8u64, Supervisor).unwrap();
    assert_eq!(
        copy.read(Gva::<u64>::new(VA)),
        Ok(7),
        "through a warm TLB too"
    );
}

#[test]
fn much_ram_costs_nothing_until_used() {
    let mut memory = Memory::new(64 << 30);
    assert_eq!(memory.ram_ranges()[0], 0..64 << 30);
    assert_eq!(memory.ram_size(), 64 << 30);
    memory.write_physical(Gpa((64 << 30) - 4), &[1; 4]).unwrap();
    assert!(memory.write_physical(Gpa((64 << 30) - 4), &[1; 5]).is_err());
    assert_eq!(memory.clone().dirty_pages(), [(16 << 20) - 1]);
}
