//! Generic tables over splay trees. Documentation: ntddk.h, "RtlInitializeGenericTable" and neighbours.
//!
//! An element is a block of the driver's own allocator: the links of the tree, those of the list in
//! order of insertion, then its data.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::avl::Side;
use super::splay;
use super::table_search::{self as tables, Node, Routines, Sort, Tree, enumerate};
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::ke::list;
use crate::layout::{LIST_ENTRY, RTL_GENERIC_TABLE, RTL_SPLAY_LINKS};

const SORT: Sort = Sort::Splay;
/// Bytes before the data of an element: the links of the tree and of the list.
const HEADER: u64 = RTL_SPLAY_LINKS::SIZE + LIST_ENTRY::SIZE;

type Table = Gva<RTL_GENERIC_TABLE>;

/// The tree of an `RTL_GENERIC_TABLE`.
pub struct Splay;

fn count(cx: &mut Machine, table: Table, by: i32) -> Result<(), Fault> {
    let number = cx
        .memory
        .get(table, RTL_GENERIC_TABLE::NumberGenericTableElements)?;
    cx.memory.set(
        table,
        RTL_GENERIC_TABLE::NumberGenericTableElements,
        number.wrapping_add_signed(by),
    )?;
    // What GetElement remembers is no longer true.
    let list = table.at(RTL_GENERIC_TABLE::InsertOrderList);
    cx.memory
        .set(table, RTL_GENERIC_TABLE::OrderedPointer, list)?;
    cx.memory
        .set(table, RTL_GENERIC_TABLE::WhichOrderedElement, 0)
}

/// The list entry of an element.
fn entry(node: splay::Node) -> Gva<LIST_ENTRY> {
    node.cast::<u8>().byte_add(RTL_SPLAY_LINKS::SIZE).cast()
}

/// Makes a node the root of the table.
fn raise(cx: &mut Machine, table: Table, node: splay::Node) -> Result<(), Fault> {
    let root = splay::splay(cx, node)?;
    cx.memory.set(table, RTL_GENERIC_TABLE::TableRoot, root)
}

/// Links a fresh element into tree and list.
fn link(
    cx: &mut Machine,
    table: Table,
    above: splay::Node,
    side: Side,
    node: splay::Node,
) -> Result<(), Fault> {
    cx.memory.fill(node, HEADER, 0)?;
    if above.is_null() {
        cx.memory.set(node, RTL_SPLAY_LINKS::Parent, node)?;
    } else {
        splay::set_child(cx, above, side, node)?;
    }
    let list = table.at(RTL_GENERIC_TABLE::InsertOrderList);
    list::insert_before(&mut cx.memory, list, entry(node))?;
    raise(cx, table, node)?;
    count(cx, table, 1)
}

impl Tree for Splay {
    fn header(&self) -> u64 {
        HEADER
    }

    fn routines(&self, cx: &Machine, table: Gva) -> Result<Routines, Fault> {
        let table: Table = table.cast();
        let get = |field| {
            cx.memory
                .get(table, field)
                .map(|routine: Gva<Code>| routine.raw())
        };
        Ok(Routines {
            compare: get(RTL_GENERIC_TABLE::CompareRoutine)?,
            allocate: get(RTL_GENERIC_TABLE::AllocateRoutine)?,
            free: get(RTL_GENERIC_TABLE::FreeRoutine)?,
        })
    }

    fn root(&self, cx: &Machine, table: Gva) -> Result<Node, Fault> {
        let table: Table = table.cast();
        Ok(cx.memory.get(table, RTL_GENERIC_TABLE::TableRoot)?.cast())
    }

    fn child(&self, cx: &Machine, node: Node, side: Side) -> Result<Node, Fault> {
        Ok(splay::child(cx, node.cast(), side)?.cast())
    }

    fn outermost(&self, cx: &Machine, node: Node, side: Side) -> Result<Node, Fault> {
        Ok(splay::outermost(cx, node.cast(), side)?.cast())
    }

    fn neighbour(&self, cx: &Machine, _table: Gva, node: Node, side: Side) -> Result<Node, Fault> {
        Ok(splay::neighbour(cx, node.cast(), side, false)?.cast())
    }

    fn insert(
        &self,
        cx: &mut Machine,
        table: Gva,
        above: Node,
        side: Side,
        node: Node,
    ) -> Result<(), Fault> {
        link(cx, table.cast(), above.cast(), side, node.cast())
    }

    fn remove(&self, cx: &mut Machine, table: Gva, node: Node) -> Result<(), Fault> {
        let table: Table = table.cast();
        let root = splay::remove(cx, node.cast())?;
        cx.memory.set(table, RTL_GENERIC_TABLE::TableRoot, root)?;
        list::remove(&mut cx.memory, entry(node.cast()))?;
        count(cx, table, -1)
    }

    fn touch(&self, cx: &mut Machine, table: Gva, node: Node) -> Result<(), Fault> {
        raise(cx, table.cast(), node.cast())
    }
}

/// Generic tables over splay trees.
pub struct GenericTables;

#[exports("ntoskrnl.exe")]
impl GenericTables {
    /// Makes an empty table.
    #[page("ntddk/nf-ntddk-rtlinitializegenerictable")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlInitializeGenericTable(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
        CompareRoutine: Gva<Code>,
        AllocateRoutine: Gva<Code>,
        FreeRoutine: Gva<Code>,
        TableContext: Gva,
    ) -> Result<(), Fault> {
        cx.memory.fill(Table, RTL_GENERIC_TABLE::SIZE, 0)?;
        let list = Table.at(RTL_GENERIC_TABLE::InsertOrderList);
        list::initialize(&mut cx.memory, list)?;
        cx.memory
            .set(Table, RTL_GENERIC_TABLE::OrderedPointer, list)?;
        cx.memory
            .set(Table, RTL_GENERIC_TABLE::CompareRoutine, CompareRoutine)?;
        cx.memory
            .set(Table, RTL_GENERIC_TABLE::AllocateRoutine, AllocateRoutine)?;
        cx.memory
            .set(Table, RTL_GENERIC_TABLE::FreeRoutine, FreeRoutine)?;
        cx.memory
            .set(Table, RTL_GENERIC_TABLE::TableContext, TableContext)
    }

    /// Adds an element, or finds the one that is equal.
    #[page("ntddk/nf-ntddk-rtlinsertelementgenerictable")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn RtlInsertElementGenericTable(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
        Buffer: Gva,
        BufferSize: u32,
        NewElement: u64,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(tables::insert(
            SORT,
            Table.cast(),
            Buffer.raw(),
            BufferSize,
            NewElement,
        ))
    }

    /// Adds an element at the place that RtlLookupElementGenericTableFull has found.
    #[page("ntddk/nf-ntddk-rtlinsertelementgenerictablefull")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn RtlInsertElementGenericTableFull(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
        Buffer: Gva,
        BufferSize: u32,
        NewElement: u64,
        NodeOrParent: Gva<RTL_SPLAY_LINKS>,
        SearchResult: u32,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(tables::insert_at(
            SORT,
            Table.cast(),
            Buffer.raw(),
            BufferSize,
            NewElement,
            NodeOrParent.cast(),
            SearchResult,
        ))
    }

    /// Removes an element. TRUE if there was one.
    #[page("ntddk/nf-ntddk-rtldeleteelementgenerictable")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(bool)]
    fn RtlDeleteElementGenericTable(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
        Buffer: Gva,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(tables::delete(SORT, Table.cast(), Buffer.raw()))
    }

    /// Finds an element; NULL if there is none.
    #[page("ntddk/nf-ntddk-rtllookupelementgenerictable")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn RtlLookupElementGenericTable(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
        Buffer: Gva,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(tables::lookup(
            SORT,
            Table.cast(),
            Buffer.raw(),
            Gva::NULL,
            Gva::NULL,
        ))
    }

    /// Finds an element, and tells the place of the search.
    #[page("ntddk/nf-ntddk-rtllookupelementgenerictablefull")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn RtlLookupElementGenericTableFull(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
        Buffer: Gva,
        NodeOrParent: Gva<u64>,
        SearchResult: Gva<u32>,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(tables::lookup(
            SORT,
            Table.cast(),
            Buffer.raw(),
            NodeOrParent,
            SearchResult,
        ))
    }

    /// The first or the next element in order, which becomes the root; NULL at the end.
    #[page("ntddk/nf-ntddk-rtlenumerategenerictable")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlEnumerateGenericTable(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
        Restart: bool,
    ) -> Result<Gva, Fault> {
        let tree = SORT.tree();
        let table = Table.cast();
        let root = tree.root(cx, table)?;
        if root.is_null() {
            return Ok(Gva::NULL);
        }
        let next = if Restart {
            tree.outermost(cx, root, Side::Left)?
        } else {
            tree.neighbour(cx, table, root, Side::Right)?
        };
        if !next.is_null() {
            tree.touch(cx, table, next)?;
        }
        Ok(Gva::new(SORT.data(next)))
    }

    /// The element after a key of the caller; NULL at the end.
    #[page("ntddk/nf-ntddk-rtlenumerategenerictablewithoutsplaying")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlEnumerateGenericTableWithoutSplaying(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
        RestartKey: Gva<u64>,
    ) -> Result<Gva, Fault> {
        Ok(Gva::new(enumerate(cx, SORT, Table.cast(), RestartKey)?))
    }

    /// The n-th element in order of insertion, from 0; NULL if there is none.
    #[page("ntddk/nf-ntddk-rtlgetelementgenerictable")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlGetElementGenericTable(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
        I: u32,
    ) -> Result<Gva, Fault> {
        let number = cx
            .memory
            .get(Table, RTL_GENERIC_TABLE::NumberGenericTableElements)?;
        if I >= number {
            return Ok(Gva::NULL);
        }
        let list = Table.at(RTL_GENERIC_TABLE::InsertOrderList);
        let mut at = cx.memory.get(list, LIST_ENTRY::Flink)?;
        for _ in 0..I {
            at = cx.memory.get(at, LIST_ENTRY::Flink)?;
        }
        cx.memory
            .set(Table, RTL_GENERIC_TABLE::OrderedPointer, at)?;
        cx.memory
            .set(Table, RTL_GENERIC_TABLE::WhichOrderedElement, I + 1)?;
        Ok(at.cast::<u8>().byte_add(LIST_ENTRY::SIZE))
    }

    /// How many elements a table has.
    #[page("ntddk/nf-ntddk-rtlnumbergenerictableelements")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlNumberGenericTableElements(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
    ) -> Result<u32, Fault> {
        cx.memory
            .get(Table, RTL_GENERIC_TABLE::NumberGenericTableElements)
    }

    /// TRUE if a table has no elements.
    #[page("ntddk/nf-ntddk-rtlisgenerictableempty")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlIsGenericTableEmpty(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
    ) -> Result<bool, Fault> {
        Ok(cx
            .memory
            .get(Table, RTL_GENERIC_TABLE::NumberGenericTableElements)?
            == 0)
    }
}
