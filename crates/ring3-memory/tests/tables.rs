//! Page tables in use: they change under the TLB, become tables, map themselves, and are restored.

use ring3_memory::{Context, Gpa, Gva, Memory, PageFlags, Privilege};

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

#[test]
fn accessed_and_dirty_bits() {
    let mut memory = machine(&[RW]);
    let cr3 = memory.context().cr3;
    let bits = |memory: &Memory| {
        let flags = memory.translate(cr3, VA).unwrap().flags;
        (
            flags.contains(PageFlags::ACCESSED),
            flags.contains(PageFlags::DIRTY),
        )
    };
    assert_eq!(bits(&memory), (false, false));
    memory.read(Gva::<u8>::new(VA)).unwrap();
    assert_eq!(
        bits(&memory),
        (false, false),
        "the host reads without a trace"
    );
    let clean = memory.snapshot();
    memory.load::<u8>(VA, Supervisor).unwrap();
    assert_eq!(bits(&memory), (true, false));
    memory.store::<u8>(VA, 0, Supervisor).unwrap();
    assert_eq!(bits(&memory), (true, true));
    memory.restore(&clean);
    assert_eq!(bits(&memory), (false, false));
    memory.load::<u8>(VA, Supervisor).unwrap();
    assert_eq!(
        bits(&memory),
        (true, false),
        "the TLB was not kept over the restore"
    );
}

#[test]
fn large_pages_translate_every_page() {
    let mut memory = machine(&[]);
    let cr3 = memory.context().cr3;
    memory.map_large(cr3, VA, Gpa(PA), RW).unwrap();
    memory
        .store(VA + 0x12_3ffc, 0x1122_3344_5566_7788u64, Supervisor)
        .unwrap();
    let mut bytes = [0; 8];
    memory
        .read_physical(Gpa(PA + 0x12_3ffc), &mut bytes)
        .unwrap();
    assert_eq!(u64::from_le_bytes(bytes), 0x1122_3344_5566_7788);
    assert!(
        memory
            .translate(cr3, VA)
            .unwrap()
            .flags
            .contains(PageFlags::DIRTY | PageFlags::LARGE)
    );
}

/// A guest that writes its own page tables sees the effect at once, also when the tables lie within themselves.
#[test]
fn writes_to_page_tables_take_effect() {
    let mut memory = machine(&[RW, RW]);
    let cr3 = memory.context().cr3;
    let table = memory.pte_address(cr3, VA).unwrap();
    memory
        .map(cr3, VA + 0x1_0000, Gpa(table.0 & !0xfff), RW)
        .unwrap();
    memory.store(VA, 1u64, Supervisor).unwrap();
    memory.store(VA + 0x1000, 2u64, Supervisor).unwrap();
    for _ in 0..2 {
        // The table maps itself there, so the entry of VA can be stored to.
        let first = memory.load::<u64>(VA + 0x1_0000, Supervisor).unwrap();
        let second = memory.load::<u64>(VA + 0x1_0008, Supervisor).unwrap();
        let seen = memory.load::<u64>(VA, Supervisor).unwrap();
        memory.store(VA + 0x1_0000, second, Supervisor).unwrap();
        memory.store(VA + 0x1_0008, first, Supervisor).unwrap();
        assert_eq!(memory.load::<u64>(VA, Supervisor), Ok(3 - seen));
    }
    // An entry that maps its own table, changed through itself.
    let entry = memory.load::<u64>(VA + 0x1_0080, Supervisor).unwrap();
    assert_eq!(entry & !0xfff, table.0 & !0xfff);
    memory.store(VA + 0x1_0080, PA | 0x67, Supervisor).unwrap();
    assert_eq!(memory.load::<u64>(VA + 0x1_0000, Supervisor), Ok(1));
    memory
        .write_physical(Gpa(table.0 + 0x80), &entry.to_le_bytes())
        .unwrap();
    memory.write_physical(table, &[0; 8]).unwrap();
    assert!(memory.load::<u64>(VA, Supervisor).is_err());
    memory
        .poke_bytes(None, Gva::<u8>::new(VA + 0x1_0008), &[0; 8])
        .unwrap();
    assert!(memory.load::<u64>(VA + 0x1000, Supervisor).is_err());
}

/// A frame that the TLB allows stores to becomes a page table: stores from then on must be noticed.
#[test]
fn a_page_can_become_a_table() {
    let mut memory = machine(&[RW, RW]);
    let cr3 = memory.context().cr3;
    let far = VA + (1 << 21);
    let table = Gpa(PA + 0x4000);
    memory.map(cr3, VA + 0x4000, table, RW).unwrap();
    memory.store(VA, 1u64, Supervisor).unwrap();
    memory.store(VA + 0x1000, 2u64, Supervisor).unwrap();
    memory.map(cr3, far, Gpa(0), RW).unwrap();
    memory.unmap(cr3, far);
    let leaf = memory.pte_address(cr3, far).unwrap().0 & !0xfff;
    let leads_to_leaf = |entry: &Gpa| {
        let mut bytes = [0; 8];
        memory.read_physical(*entry, &mut bytes).unwrap();
        u64::from_le_bytes(bytes) & !0xfff == leaf
    };
    let directory = (0..PA / 8)
        .map(|word| Gpa(word * 8))
        .find(leads_to_leaf)
        .unwrap();
    memory
        .write_physical(directory, &(table.0 | 0x67).to_le_bytes())
        .unwrap();
    memory.store(VA + 0x4000, PA | 0x67, Supervisor).unwrap();
    assert_eq!(memory.load::<u64>(far, Supervisor), Ok(1));
    memory
        .store(VA + 0x4000, (PA + 0x1000) | 0x67, Supervisor)
        .unwrap();
    assert_eq!(memory.load::<u64>(far, Supervisor), Ok(2));
}

/// One store whose second half changes the translation of its first.
#[test]
fn a_crossing_store_can_change_its_own_translation() {
    let mut memory = machine(&[RW]);
    let cr3 = memory.context().cr3;
    let table = memory.pte_address(cr3, VA).unwrap();
    assert_eq!(table.0 % 0x1000, 0);
    memory.map(cr3, VA + 0x1000, table, RW).unwrap();
    memory.write_physical(Gpa(PA + 0x1ff8), &[9; 8]).unwrap();
    let entry = (PA + 0x1000) | 0x67;
    memory
        .store(VA + 0xff8, u128::from(entry) << 64 | 5, Supervisor)
        .unwrap();
    assert_eq!(
        memory.load::<u64>(VA + 0xff8, Supervisor),
        Ok(0x0909_0909_0909_0909)
    );
    let mut first = [0; 8];
    memory.read_physical(Gpa(PA + 0xff8), &mut first).unwrap();
    assert_eq!(first, 5u64.to_le_bytes());
}

#[test]
fn a_user_page_next_to_kernel_pages() {
    let mut memory = machine(&[RW]);
    let cr3 = memory.context().cr3;
    memory.store(VA, 1u8, Supervisor).unwrap();
    memory
        .map(cr3, VA + 0x1000, Gpa(PA + 0x1000), RW | PageFlags::USER)
        .unwrap();
    assert_eq!(memory.store(VA + 0x1000, 1u8, User), Ok(()));
    assert!(memory.store(VA, 1u8, User).is_err());
}

#[test]
fn a_frame_freed_while_mapped() {
    let mut memory = machine(&[]);
    let cr3 = memory.context().cr3;
    let frame = memory.alloc_frame().unwrap();
    memory
        .map(cr3, VA, frame, RW | PageFlags::ACCESSED | PageFlags::DIRTY)
        .unwrap();
    memory.store(VA, 5u64, Supervisor).unwrap();
    let before = memory.snapshot();
    let hash = memory.hash();
    let free = memory.free_frames();
    memory.store(VA, 6u64, Supervisor).unwrap();
    memory.free_frame(frame);
    assert_eq!(memory.load::<u64>(VA, Supervisor), Ok(0));
    memory.store(VA, 7u64, Supervisor).unwrap();
    let mut untouched = [0; 8];
    memory
        .read_physical(Gpa(memory.ram_size() - 8), &mut untouched)
        .unwrap();
    assert_eq!(
        untouched, [0; 8],
        "the page of zeros that all untouched frames share was not written"
    );
    memory.restore(&before);
    assert_eq!((memory.hash(), memory.free_frames()), (hash, free));
    assert!(!memory.is_free_frame(frame));
    assert_eq!(memory.load::<u64>(VA, Supervisor), Ok(5));
    memory.free_frame(frame);
    memory.restore(&before);
    assert_eq!(
        memory.load::<u64>(VA, Supervisor),
        Ok(5),
        "freeing alone is undone too"
    );
}
