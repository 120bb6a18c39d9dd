//! Generic tables over AVL trees. Documentation: ntddk.h, "RtlInitializeGenericTableAvl" and neighbours.
//!
//! An element is a block of the driver's own allocator: the links of the tree, then its data.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::avl::{self, Node, Side};
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::layout::{RTL_AVL_TABLE, RTL_BALANCED_LINKS};

/// `GenericLessThan`, `GenericGreaterThan`; GenericEqual is 2.
const LESS: u32 = 0;
const GREATER: u32 = 1;
/// `TABLE_SEARCH_RESULT`: TableEmptyTree, TableFoundNode, TableInsertAsLeft, TableInsertAsRight.
const EMPTY: u32 = 0;
const FOUND: u32 = 1;
const AS_LEFT: u32 = 2;
const AS_RIGHT: u32 = 3;

type Table = Gva<RTL_AVL_TABLE>;

fn head(table: Table) -> Node {
    table.at(RTL_AVL_TABLE::BalancedRoot)
}

fn data(node: Node) -> u64 {
    if node.is_null() {
        0
    } else {
        node.raw().wrapping_add(RTL_BALANCED_LINKS::SIZE)
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
    avl::child(cx, head(table), Side::Right)
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
    let next = avl::child(cx, node, side)?;
    Ok(if next.is_null() {
        Err(Place { node, result })
    } else {
        Ok(next)
    })
}

fn count(cx: &mut Machine, table: Table, by: i32) -> Result<(), Fault> {
    let number = cx
        .memory
        .get(table, RTL_AVL_TABLE::NumberGenericTableElements)?;
    cx.memory.set(
        table,
        RTL_AVL_TABLE::NumberGenericTableElements,
        number.wrapping_add_signed(by),
    )?;
    // What GetElement remembers is no longer true.
    cx.memory
        .set(table, RTL_AVL_TABLE::OrderedPointer, Gva::NULL)?;
    cx.memory
        .set(table, RTL_AVL_TABLE::WhichOrderedElement, 0)?;
    let depth = avl::depth(cx, head(table))?;
    cx.memory.set(table, RTL_AVL_TABLE::DepthOfTree, depth)
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
        tell(cx, is_new, false)?;
        return Ok(data(node));
    }
    let allocate = cx.memory.get(table, RTL_AVL_TABLE::AllocateRoutine)?;
    let bytes: u64 = u64::from(size) + RTL_BALANCED_LINKS::SIZE;
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
    let above = if result == EMPTY { head(table) } else { node };
    cx.memory.copy(
        Gva::<u8>::new(data(Gva::new(block))),
        Gva::<u8>::new(buffer),
        u64::from(size),
    )?;
    avl::insert(cx, head(table), above, side, Gva::new(block))?;
    count(cx, table, 1)?;
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
    let compare: u64 = cx.memory.get(table, RTL_AVL_TABLE::CompareRoutine)?.raw();
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
    let compare: u64 = cx.memory.get(table, RTL_AVL_TABLE::CompareRoutine)?.raw();
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
    let node = Node::new(found - RTL_BALANCED_LINKS::SIZE);
    if cx.memory.get(table, RTL_AVL_TABLE::RestartKey)? == node {
        // An enumeration goes on with what follows.
        let before = avl::neighbour(cx, head(table), node, Side::Left)?;
        cx.memory.set(table, RTL_AVL_TABLE::RestartKey, before)?;
    }
    let deleted = cx.memory.get(table, RTL_AVL_TABLE::DeleteCount)?;
    cx.memory
        .set(table, RTL_AVL_TABLE::DeleteCount, deleted.wrapping_add(1))?;
    avl::remove(cx, head(table), node)?;
    count(cx, table, -1)?;
    let free = cx.memory.get(table, RTL_AVL_TABLE::FreeRoutine)?;
    call!(free, table, found - RTL_BALANCED_LINKS::SIZE);
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
            avl::outermost(cx, root, Side::Left)?
        }
    } else {
        avl::neighbour(cx, head(table), at, Side::Right)?
    };
    if !next.is_null() {
        cx.memory.write(key, next.raw())?;
    }
    Ok(data(next))
}

/// Generic tables over AVL trees.
pub struct AvlTables;

#[exports("ntoskrnl.exe")]
impl AvlTables {
    /// Makes an empty table.
    #[page("ntddk/nf-ntddk-rtlinitializegenerictableavl")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlInitializeGenericTableAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        CompareRoutine: Gva<Code>,
        AllocateRoutine: Gva<Code>,
        FreeRoutine: Gva<Code>,
        TableContext: Gva,
    ) -> Result<(), Fault> {
        cx.memory.fill(Table, RTL_AVL_TABLE::SIZE, 0)?;
        cx.memory
            .set(head(Table), RTL_BALANCED_LINKS::Parent, head(Table))?;
        cx.memory
            .set(Table, RTL_AVL_TABLE::CompareRoutine, CompareRoutine)?;
        cx.memory
            .set(Table, RTL_AVL_TABLE::AllocateRoutine, AllocateRoutine)?;
        cx.memory
            .set(Table, RTL_AVL_TABLE::FreeRoutine, FreeRoutine)?;
        cx.memory
            .set(Table, RTL_AVL_TABLE::TableContext, TableContext)
    }

    /// Adds an element, or finds the one that is equal.
    #[page("ntddk/nf-ntddk-rtlinsertelementgenerictableavl")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn RtlInsertElementGenericTableAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        Buffer: Gva,
        BufferSize: u32,
        NewElement: u64,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(insert(Table, Buffer.raw(), BufferSize, NewElement))
    }

    /// Adds an element at the place that RtlLookupElementGenericTableFullAvl has found.
    #[page("ntddk/nf-ntddk-rtlinsertelementgenerictablefullavl")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn RtlInsertElementGenericTableFullAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        Buffer: Gva,
        BufferSize: u32,
        NewElement: u64,
        NodeOrParent: Gva<RTL_BALANCED_LINKS>,
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
    #[page("ntddk/nf-ntddk-rtldeleteelementgenerictableavl")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(bool)]
    fn RtlDeleteElementGenericTableAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        Buffer: Gva,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(delete(Table, Buffer.raw()))
    }

    /// Finds an element; NULL if there is none.
    #[page("ntddk/nf-ntddk-rtllookupelementgenerictableavl")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn RtlLookupElementGenericTableAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        Buffer: Gva,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(lookup(Table, Buffer.raw(), Gva::NULL, Gva::NULL))
    }

    /// Finds an element, and tells the place of the search.
    #[page("ntddk/nf-ntddk-rtllookupelementgenerictablefullavl")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn RtlLookupElementGenericTableFullAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        Buffer: Gva,
        NodeOrParent: Gva<u64>,
        SearchResult: Gva<u32>,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(lookup(Table, Buffer.raw(), NodeOrParent, SearchResult))
    }

    /// The first or the next element in order; NULL at the end.
    #[page("ntddk/nf-ntddk-rtlenumerategenerictableavl")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlEnumerateGenericTableAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        Restart: bool,
    ) -> Result<Gva, Fault> {
        let key = Table.at(RTL_AVL_TABLE::RestartKey);
        if Restart {
            cx.memory.write(key, Gva::NULL)?;
        }
        Ok(Gva::new(enumerate(cx, Table, key.cast())?))
    }

    /// The element after a key of the caller; NULL at the end.
    #[page("ntddk/nf-ntddk-rtlenumerategenerictablewithoutsplayingavl")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlEnumerateGenericTableWithoutSplayingAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        RestartKey: Gva<u64>,
    ) -> Result<Gva, Fault> {
        Ok(Gva::new(enumerate(cx, Table, RestartKey)?))
    }

    /// The n-th element in order, from 0; NULL if there is none.
    #[page("ntddk/nf-ntddk-rtlgetelementgenerictableavl")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlGetElementGenericTableAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        I: u32,
    ) -> Result<Gva, Fault> {
        let number = cx
            .memory
            .get(Table, RTL_AVL_TABLE::NumberGenericTableElements)?;
        let mut node = root(cx, Table)?;
        if I >= number || node.is_null() {
            return Ok(Gva::NULL);
        }
        node = avl::outermost(cx, node, Side::Left)?;
        for _ in 0..I {
            node = avl::neighbour(cx, head(Table), node, Side::Right)?;
            if node.is_null() {
                return Ok(Gva::NULL);
            }
        }
        cx.memory
            .set(Table, RTL_AVL_TABLE::OrderedPointer, node.cast())?;
        cx.memory
            .set(Table, RTL_AVL_TABLE::WhichOrderedElement, I + 1)?;
        Ok(Gva::new(data(node)))
    }

    /// How many elements a table has.
    #[page("ntddk/nf-ntddk-rtlnumbergenerictableelementsavl")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlNumberGenericTableElementsAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
    ) -> Result<u32, Fault> {
        cx.memory
            .get(Table, RTL_AVL_TABLE::NumberGenericTableElements)
    }

    /// TRUE if a table has no elements.
    #[page("ntddk/nf-ntddk-rtlisgenerictableemptyavl")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlIsGenericTableEmptyAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
    ) -> Result<bool, Fault> {
        Ok(cx
            .memory
            .get(Table, RTL_AVL_TABLE::NumberGenericTableElements)?
            == 0)
    }
}
