//! Linked lists, bitmaps, tables and trees.

use ring3_memory::Gva;

use crate::export::argument::Code;
use crate::guest_struct;

// Source: the public types of ntkrnlmp.pdb, 10.0.19041.
guest_struct! {
    /// A doubly linked list: its head or an entry.
    pub struct LIST_ENTRY("_LIST_ENTRY", 0x10) {
        Flink: Gva<LIST_ENTRY> = 0x0,
        Blink: Gva<LIST_ENTRY> = 0x8,
    }

    /// A singly linked list: its head or an entry.
    pub struct SINGLE_LIST_ENTRY("_SINGLE_LIST_ENTRY", 0x8) {
        Next: Gva<SINGLE_LIST_ENTRY> = 0x0,
    }

    /// An entry of a sequenced list; 16-byte aligned.
    pub struct SLIST_ENTRY("_SLIST_ENTRY", 0x10) {
        Next: Gva<SLIST_ENTRY> = 0x0,
    }

    /// The head of a sequenced list (SLIST); 16-byte aligned.
    pub struct SLIST_HEADER("_SLIST_HEADER", 0x10) {
        Alignment: u64 = 0x0,
        HeaderX64_Depth("HeaderX64.Depth"): u64 = 0x0 bits(0, 16),
        HeaderX64_Sequence("HeaderX64.Sequence"): u64 = 0x0 bits(16, 48),
        Region: u64 = 0x8,
        HeaderX64_NextEntry("HeaderX64.NextEntry"): u64 = 0x8 bits(4, 60),
    }

    /// A bitmap that describes a buffer of the caller.
    pub struct RTL_BITMAP("_RTL_BITMAP", 0x10) {
        SizeOfBitMap: u32 = 0x0,
        Buffer: Gva<u32> = 0x8,
    }

    /// The links of a splay tree node.
    pub struct RTL_SPLAY_LINKS("_RTL_SPLAY_LINKS", 0x18) {
        Parent: Gva<RTL_SPLAY_LINKS> = 0x0,
        LeftChild: Gva<RTL_SPLAY_LINKS> = 0x8,
        RightChild: Gva<RTL_SPLAY_LINKS> = 0x10,
    }

    /// The links of an AVL tree node.
    pub struct RTL_BALANCED_LINKS("_RTL_BALANCED_LINKS", 0x20) {
        Parent: Gva<RTL_BALANCED_LINKS> = 0x0,
        LeftChild: Gva<RTL_BALANCED_LINKS> = 0x8,
        RightChild: Gva<RTL_BALANCED_LINKS> = 0x10,
        Balance: i8 = 0x18,
    }

    /// The links of a red-black tree node.
    pub struct RTL_BALANCED_NODE("_RTL_BALANCED_NODE", 0x18) {
        Children: [Gva<RTL_BALANCED_NODE>; 2] = 0x0,
        Left: Gva<RTL_BALANCED_NODE> = 0x0,
        Right: Gva<RTL_BALANCED_NODE> = 0x8,
        ParentValue: u64 = 0x10,
        Balance: u8 = 0x10 bits(0, 2),
        Red: u8 = 0x10 bits(0, 1),
    }

    /// A red-black tree.
    pub struct RTL_RB_TREE("_RTL_RB_TREE", 0x10) {
        Root: Gva<RTL_BALANCED_NODE> = 0x0,
        Min: Gva<RTL_BALANCED_NODE> = 0x8,
        Encoded: u8 = 0x8 bits(0, 1),
    }

    /// A generic table over AVL trees.
    pub struct RTL_AVL_TABLE("_RTL_AVL_TABLE", 0x68) {
        BalancedRoot: RTL_BALANCED_LINKS = 0x0,
        OrderedPointer: Gva = 0x20,
        WhichOrderedElement: u32 = 0x28,
        NumberGenericTableElements: u32 = 0x2c,
        DepthOfTree: u32 = 0x30,
        RestartKey: Gva<RTL_BALANCED_LINKS> = 0x38,
        DeleteCount: u32 = 0x40,
        CompareRoutine: Gva<Code> = 0x48,
        AllocateRoutine: Gva<Code> = 0x50,
        FreeRoutine: Gva<Code> = 0x58,
        TableContext: Gva = 0x60,
    }

    /// A hash table that grows.
    pub struct RTL_DYNAMIC_HASH_TABLE("_RTL_DYNAMIC_HASH_TABLE", 0x28) {
        Flags: u32 = 0x0,
        Shift: u32 = 0x4,
        TableSize: u32 = 0x8,
        Pivot: u32 = 0xc,
        DivisorMask: u32 = 0x10,
        NumEntries: u32 = 0x14,
        NonEmptyBuckets: u32 = 0x18,
        NumEnumerators: u32 = 0x1c,
        Directory: Gva = 0x20,
    }
}

// Source: the public headers of the WDK; not among the types of that PDB.
guest_struct! {
    /// A generic table over splay trees.
    pub struct RTL_GENERIC_TABLE("RTL_GENERIC_TABLE", 0x48) {
        TableRoot: Gva<RTL_SPLAY_LINKS> = 0x0,
        InsertOrderList: LIST_ENTRY = 0x8,
        OrderedPointer: Gva<LIST_ENTRY> = 0x18,
        WhichOrderedElement: u32 = 0x20,
        NumberGenericTableElements: u32 = 0x24,
        CompareRoutine: Gva<Code> = 0x28,
        AllocateRoutine: Gva<Code> = 0x30,
        FreeRoutine: Gva<Code> = 0x38,
        TableContext: Gva = 0x40,
    }
}
