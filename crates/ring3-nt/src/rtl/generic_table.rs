//! Generic tables over splay trees. Documentation: ntddk.h, "RtlInitializeGenericTable" and neighbours.
//!
//! An element is a block of the driver's own allocator: the links of the tree, those of the list in
//! order of insertion, then its data.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::avl::Side;
use super::splay::{self, Node};
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::layout::{LIST_ENTRY, RTL_GENERIC_TABLE, RTL_SPLAY_LINKS};

/// `GenericLessThan`, `GenericGreaterThan`; GenericEqual is 2.
const LESS: u32 = 0;
const GREATER: u32 = 1;
/// `TABLE_SEARCH_RESULT`: TableEmptyTree, TableFoundNode, TableInsertAsLeft, TableInsertAsRight.
const EMPTY: u32 = 0;
const FOUND: u32 = 1;
const AS_LEFT: u32 = 2;
const AS_RIGHT: u32 = 3;

/// Bytes before the data of an element: the links of the tree and of the list.
const HEADER: u64 = RTL_SPLAY_LINKS::SIZE + LIST_ENTRY::SIZE;

type Table = Gva<RTL_GENERIC_TABLE>;

fn data(node: Node) -> u64 {
    if node.is_null() {
        0
    } else {
        node.raw().wrapping_add(HEADER)
    }
}

/// Where a search has ended, kept in the frame of the caller.
#[derive(Clone, Copy, Hash, Debug)]
struct Place {
    node: Node,
    result: u32,
}

/// One step of a search: the node to compare with; `None` in an empty tree.
fn root(cx: &Machine, table: Table) -> Result<Node, Fault> {
    cx.memory.get(table, RTL_GENERIC_TABLE::TableRoot)
}

/// What follows from comparing the wanted element with a node: the node to go on with, or the end.
fn follow(cx: &Machine, node: Node, order: u32) -> Result<Result<Node, Place>, Fault> {
    let (side, result) = match order {
        LESS => (Side::Left, AS_LEFT),
        GREATER => (Side::Right, AS_RIGHT),
        _ => {
            return Ok(Err(Place {
                node,
                result: FOUND,
            }));
        }
    };
    let next = splay::child(cx, node, side)?;
    Ok(if next.is_null() {
        Err(Place { node, result })
    } else {
        Ok(next)
    })
}

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
fn entry(node: Node) -> Gva<LIST_ENTRY> {
    node.cast::<u8>().byte_add(RTL_SPLAY_LINKS::SIZE).cast()
}

/// Makes a node the root of the table.
fn raise(cx: &mut Machine, table: Table, node: Node) -> Result<(), Fault> {
    let root = splay::splay(cx, node)?;
    cx.memory.set(table, RTL_GENERIC_TABLE::TableRoot, root)
}

/// Links a fresh element into tree and list.
fn link(cx: &mut Machine, table: Table, above: Node, side: Side, node: Node) -> Result<(), Fault> {
    cx.memory.fill(node, HEADER, 0)?;
    if above.is_null() {
        cx.memory.set(node, RTL_SPLAY_LINKS::Parent, node)?;
    } else {
        splay::set_child(cx, above, side, node)?;
    }
    let list = table.at(RTL_GENERIC_TABLE::InsertOrderList);
    let last = cx.memory.get(list, LIST_ENTRY::Blink)?;
    cx.memory.set(entry(node), LIST_ENTRY::Flink, list)?;
    cx.memory.set(entry(node), LIST_ENTRY::Blink, last)?;
    cx.memory.set(last, LIST_ENTRY::Flink, entry(node))?;
    cx.memory.set(list, LIST_ENTRY::Blink, entry(node))?;
    raise(cx, table, node)?;
    count(cx, table, 1)
}

fn tell(cx: &mut Machine, to: u64, value: bool) -> Result<(), Fault> {
    if to == 0 {
        Ok(())
    } else {
        cx.memory.write(Gva::<bool>::new(to), value)
    }
}

/// Makes an element at a place that a search has found.
#[resumable]
fn insert_at(
    cx: &mut Machine,
    table: Table,
    buffer: u64,
    size: u32,
    is_new: u64,
    node: Node,
    result: u32,
) -> Result<u64, Fault> {
    if result == FOUND {
        raise(cx, table, node)?;
        tell(cx, is_new, false)?;
        return Ok(data(node));
    }
    let allocate = cx.memory.get(table, RTL_GENERIC_TABLE::AllocateRoutine)?;
    let bytes: u64 = u64::from(size) + HEADER;
    let block: u64 = call!(allocate, table, bytes as u32);
    if block == 0 {
        tell(cx, is_new, false)?;
        return Ok(0);
    }
    let side = if result == AS_LEFT {
        Side::Left
    } else {
        Side::Right
    };
    let above = if result == EMPTY { Gva::NULL } else { node };
    cx.memory.copy(
        Gva::<u8>::new(data(Gva::new(block))),
        Gva::<u8>::new(buffer),
        u64::from(size),
    )?;
    link(cx, table, above, side, Gva::new(block))?;
    tell(cx, is_new, true)?;
    Ok(data(Gva::new(block)))
}

/// Searches for an element, and then makes it.
#[resumable]
fn insert(
    cx: &mut Machine,
    table: Table,
    buffer: u64,
    size: u32,
    is_new: u64,
) -> Result<Flow, Fault> {
    let compare: u64 = cx
        .memory
        .get(table, RTL_GENERIC_TABLE::CompareRoutine)?
        .raw();
    let mut node: Node = root(cx, table)?;
    let mut result: u32 = EMPTY;
    while !node.is_null() {
        let order: u32 = call!(compare, table, buffer, data(node));
        match follow(cx, node, order)? {
            Ok(next) => node = next,
            Err(place) => {
                node = place.node;
                result = place.result;
                break;
            }
        }
    }
    Ok(Flow::Become(insert_at(
        table, buffer, size, is_new, node, result,
    )))
}

/// Searches for an element. With addresses for them, node and result of the search are told.
#[resumable]
fn lookup(
    cx: &mut Machine,
    table: Table,
    buffer: u64,
    node_at: Gva<u64>,
    result_at: Gva<u32>,
) -> Result<u64, Fault> {
    let compare: u64 = cx
        .memory
        .get(table, RTL_GENERIC_TABLE::CompareRoutine)?
        .raw();
    let mut node: Node = root(cx, table)?;
    let mut result: u32 = EMPTY;
    while !node.is_null() {
        let order: u32 = call!(compare, table, buffer, data(node));
        match follow(cx, node, order)? {
            Ok(next) => node = next,
            Err(place) => {
                node = place.node;
                result = place.result;
                break;
            }
        }
    }
    if !node.is_null() {
        raise(cx, table, node)?;
    }
    if !node_at.is_null() {
        cx.memory.write(node_at, node.raw())?;
        cx.memory.write(result_at, result)?;
    }
    Ok(if result == FOUND { data(node) } else { 0 })
}

/// Removes an element. Gives whether there was one.
#[resumable]
fn delete(cx: &mut Machine, table: Table, buffer: u64) -> Result<bool, Fault> {
    let found: u64 = host!(lookup(table, buffer, Gva::NULL, Gva::NULL));
    if found == 0 {
        return Ok(false);
    }
    let node = Node::new(found - HEADER);
    let root = splay::remove(cx, node)?;
    cx.memory.set(table, RTL_GENERIC_TABLE::TableRoot, root)?;
    let before = cx.memory.get(entry(node), LIST_ENTRY::Blink)?;
    let after = cx.memory.get(entry(node), LIST_ENTRY::Flink)?;
    cx.memory.set(before, LIST_ENTRY::Flink, after)?;
    cx.memory.set(after, LIST_ENTRY::Blink, before)?;
    count(cx, table, -1)?;
    let free = cx.memory.get(table, RTL_GENERIC_TABLE::FreeRoutine)?;
    call!(free, table, found - HEADER);
    Ok(true)
}

/// The element after the one that a key names; the first one for NULL. The key moves on to it.
fn enumerate(cx: &mut Machine, table: Table, key: Gva<u64>) -> Result<u64, Fault> {
    let at = Node::new(cx.memory.read(key)?);
    let next = if at.is_null() {
        let root = root(cx, table)?;
        if root.is_null() {
            root
        } else {
            splay::outermost(cx, root, Side::Left)?
        }
    } else {
        splay::neighbour(cx, at, Side::Right, false)?
    };
    if !next.is_null() {
        cx.memory.write(key, next.raw())?;
    }
    Ok(data(next))
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
        cx.memory.set(list, LIST_ENTRY::Flink, list)?;
        cx.memory.set(list, LIST_ENTRY::Blink, list)?;
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
        Flow::Become(insert(Table, Buffer.raw(), BufferSize, NewElement))
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
        Flow::Become(insert_at(
            Table,
            Buffer.raw(),
            BufferSize,
            NewElement,
            NodeOrParent,
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
        Flow::Become(delete(Table, Buffer.raw()))
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
        Flow::Become(lookup(Table, Buffer.raw(), Gva::NULL, Gva::NULL))
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
        Flow::Become(lookup(Table, Buffer.raw(), NodeOrParent, SearchResult))
    }

    /// The first or the next element in order, which becomes the root; NULL at the end.
    #[page("ntddk/nf-ntddk-rtlenumerategenerictable")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlEnumerateGenericTable(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
        Restart: bool,
    ) -> Result<Gva, Fault> {
        let root = root(cx, Table)?;
        if root.is_null() {
            return Ok(Gva::NULL);
        }
        let next = if Restart {
            splay::outermost(cx, root, Side::Left)?
        } else {
            splay::neighbour(cx, root, Side::Right, false)?
        };
        if !next.is_null() {
            raise(cx, Table, next)?;
        }
        Ok(Gva::new(data(next)))
    }

    /// The element after a key of the caller; NULL at the end.
    #[page("ntddk/nf-ntddk-rtlenumerategenerictablewithoutsplaying")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlEnumerateGenericTableWithoutSplaying(
        cx: &mut Machine,
        Table: Gva<RTL_GENERIC_TABLE>,
        RestartKey: Gva<u64>,
    ) -> Result<Gva, Fault> {
        Ok(Gva::new(enumerate(cx, Table, RestartKey)?))
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
