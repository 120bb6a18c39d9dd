//! Generic tables over AVL trees. Documentation: ntddk.h, "RtlInitializeGenericTableAvl" and neighbours.
//!
//! An element is a block of the driver's own allocator: the links of the tree, then its data.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::avl::{self, Side};
use super::table_search::{
    self as tables, AS_LEFT, FOUND, Node, Routines, Sort, Tree, enumerate, place, search,
};
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;
use crate::layout::{RTL_AVL_TABLE, RTL_BALANCED_LINKS};
use crate::ntstatus::{NTSTATUS, STATUS_NO_MORE_MATCHES, STATUS_SUCCESS};

const SORT: Sort = Sort::Avl;
/// `GenericEqual`.
const GENERIC_EQUAL: u32 = 2;

/// The tree of an `RTL_AVL_TABLE`.
pub struct Avl;

fn head(table: Gva) -> avl::Node {
    table
        .cast::<RTL_AVL_TABLE>()
        .at(RTL_AVL_TABLE::BalancedRoot)
}

fn count(cx: &mut Machine, table: Gva, by: i32) -> Result<(), Fault> {
    let table = table.cast::<RTL_AVL_TABLE>();
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
    let depth = avl::depth(cx, head(table.cast()))?;
    cx.memory.set(table, RTL_AVL_TABLE::DepthOfTree, depth)
}

impl Tree for Avl {
    fn header(&self) -> u64 {
        RTL_BALANCED_LINKS::SIZE
    }

    fn routines(&self, cx: &Machine, table: Gva) -> Result<Routines, Fault> {
        let table = table.cast::<RTL_AVL_TABLE>();
        let get = |field| {
            cx.memory
                .get(table, field)
                .map(|routine: Gva<Code>| routine.raw())
        };
        Ok(Routines {
            compare: get(RTL_AVL_TABLE::CompareRoutine)?,
            allocate: get(RTL_AVL_TABLE::AllocateRoutine)?,
            free: get(RTL_AVL_TABLE::FreeRoutine)?,
        })
    }

    fn root(&self, cx: &Machine, table: Gva) -> Result<Node, Fault> {
        Ok(avl::child(cx, head(table), Side::Right)?.cast())
    }

    fn child(&self, cx: &Machine, node: Node, side: Side) -> Result<Node, Fault> {
        Ok(avl::child(cx, node.cast(), side)?.cast())
    }

    fn outermost(&self, cx: &Machine, node: Node, side: Side) -> Result<Node, Fault> {
        Ok(avl::outermost(cx, node.cast(), side)?.cast())
    }

    fn neighbour(&self, cx: &Machine, table: Gva, node: Node, side: Side) -> Result<Node, Fault> {
        Ok(avl::neighbour(cx, head(table), node.cast(), side)?.cast())
    }

    fn insert(
        &self,
        cx: &mut Machine,
        table: Gva,
        above: Node,
        side: Side,
        node: Node,
    ) -> Result<(), Fault> {
        let above = if above.is_null() {
            head(table)
        } else {
            above.cast()
        };
        avl::insert(cx, head(table), above, side, node.cast())?;
        count(cx, table, 1)
    }

    fn remove(&self, cx: &mut Machine, table: Gva, node: Node) -> Result<(), Fault> {
        let at = table.cast::<RTL_AVL_TABLE>();
        if cx.memory.get(at, RTL_AVL_TABLE::RestartKey)? == node.cast() {
            // An enumeration goes on with what follows.
            let before = avl::neighbour(cx, head(table), node.cast(), Side::Left)?;
            cx.memory.set(at, RTL_AVL_TABLE::RestartKey, before)?;
        }
        let deleted = cx.memory.get(at, RTL_AVL_TABLE::DeleteCount)?;
        cx.memory
            .set(at, RTL_AVL_TABLE::DeleteCount, deleted.wrapping_add(1))?;
        avl::remove(cx, head(table), node.cast())?;
        count(cx, table, -1)
    }

    fn touch(&self, _cx: &mut Machine, _table: Gva, _node: Node) -> Result<(), Fault> {
        Ok(())
    }
}

/// Finds the first of several elements that compare as equal.
#[resumable]
fn first_match(
    cx: &mut Machine,
    table: Gva,
    buffer: u64,
    restart_key: Gva<u64>,
) -> Result<u64, Fault> {
    let found: u64 = host!(search(SORT, table, buffer));
    let (last, result) = place(found);
    let mut node: Node = last;
    if result != FOUND {
        cx.memory.write(restart_key, 0)?;
        return Ok(0);
    }
    let compare: u64 = SORT.tree().routines(cx, table)?.compare;
    loop {
        let before: Node = SORT.tree().neighbour(cx, table, node, Side::Left)?;
        if before.is_null() {
            break;
        }
        let order: u32 = call!(compare, table, buffer, SORT.data(before));
        if order != GENERIC_EQUAL {
            break;
        }
        node = before;
    }
    cx.memory.write(restart_key, node.raw())?;
    Ok(SORT.data(node))
}

/// Goes on in order from an element, until the driver's match function takes one.
#[resumable]
fn like_a_directory(
    cx: &mut Machine,
    table: Gva,
    matches: u64,
    match_data: u64,
    next: bool,
    restart_key: Gva<u64>,
    delete_count: Gva<u32>,
    buffer: u64,
) -> Result<u64, Fault> {
    let deleted: u32 = cx.memory.get(table.cast(), RTL_AVL_TABLE::DeleteCount)?;
    let mut node: Node = Gva::new(cx.memory.read(restart_key)?);
    let mut skip: bool = next;
    if node.is_null() || cx.memory.read(delete_count)? != deleted {
        let found: u64 = host!(search(SORT, table, buffer));
        let (last, result) = place(found);
        node = last;
        // Where there is no such element any more, its successor is the next one.
        skip = match result {
            FOUND => next,
            AS_LEFT => false,
            _ => true,
        };
    }
    if skip && !node.is_null() {
        node = SORT.tree().neighbour(cx, table, node, Side::Right)?;
    }
    while !node.is_null() {
        let mut status: u32 = 0;
        if matches != 0 {
            status = call!(matches, table, SORT.data(node), match_data);
        }
        if NTSTATUS(status) == STATUS_SUCCESS {
            cx.memory.write(restart_key, node.raw())?;
            cx.memory.write(delete_count, deleted)?;
            return Ok(SORT.data(node));
        }
        if NTSTATUS(status) == STATUS_NO_MORE_MATCHES {
            break;
        }
        node = SORT.tree().neighbour(cx, table, node, Side::Right)?;
    }
    Ok(0)
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
        cx.memory.set(
            head(Table.cast()),
            RTL_BALANCED_LINKS::Parent,
            head(Table.cast()),
        )?;
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
        Flow::Become(tables::insert(
            SORT,
            Table.cast(),
            Buffer.raw(),
            BufferSize,
            NewElement,
        ))
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
    #[page("ntddk/nf-ntddk-rtldeleteelementgenerictableavl")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(bool)]
    fn RtlDeleteElementGenericTableAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        Buffer: Gva,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(tables::delete(SORT, Table.cast(), Buffer.raw()))
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
        Flow::Become(tables::lookup(
            SORT,
            Table.cast(),
            Buffer.raw(),
            Gva::NULL,
            Gva::NULL,
        ))
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
        Flow::Become(tables::lookup(
            SORT,
            Table.cast(),
            Buffer.raw(),
            NodeOrParent,
            SearchResult,
        ))
    }

    /// Finds the first of several elements that compare as equal, for an enumeration from there on.
    #[page("ntddk/nf-ntddk-rtllookupfirstmatchingelementgenerictableavl")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn RtlLookupFirstMatchingElementGenericTableAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        Buffer: Gva,
        RestartKey: Gva<u64>,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(first_match(Table.cast(), Buffer.raw(), RestartKey))
    }

    /// The first or the next element that a match function takes, though elements come and go.
    #[page("ntddk/nf-ntddk-rtlenumerategenerictablelikeadirectory")]
    #[irql(..=DISPATCH_LEVEL)]
    #[returns(Gva)]
    fn RtlEnumerateGenericTableLikeADirectory(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        MatchFunction: Gva<Code>,
        MatchData: Gva,
        NextFlag: u32,
        RestartKey: Gva<u64>,
        DeleteCount: Gva<u32>,
        Buffer: Gva,
    ) -> Flow {
        let _ = &cx;
        Flow::Become(like_a_directory(
            Table.cast(),
            MatchFunction.raw(),
            MatchData.raw(),
            NextFlag != 0,
            RestartKey,
            DeleteCount,
            Buffer.raw(),
        ))
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
        Ok(Gva::new(enumerate(cx, SORT, Table.cast(), key.cast())?))
    }

    /// The element after a key of the caller; NULL at the end.
    #[page("ntddk/nf-ntddk-rtlenumerategenerictablewithoutsplayingavl")]
    #[irql(..=DISPATCH_LEVEL)]
    fn RtlEnumerateGenericTableWithoutSplayingAvl(
        cx: &mut Machine,
        Table: Gva<RTL_AVL_TABLE>,
        RestartKey: Gva<u64>,
    ) -> Result<Gva, Fault> {
        Ok(Gva::new(enumerate(cx, SORT, Table.cast(), RestartKey)?))
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
        let table = Table.cast();
        let tree = SORT.tree();
        let mut node = tree.root(cx, table)?;
        if I >= number || node.is_null() {
            return Ok(Gva::NULL);
        }
        node = tree.outermost(cx, node, Side::Left)?;
        for _ in 0..I {
            node = tree.neighbour(cx, table, node, Side::Right)?;
            if node.is_null() {
                return Ok(Gva::NULL);
            }
        }
        cx.memory.set(Table, RTL_AVL_TABLE::OrderedPointer, node)?;
        cx.memory
            .set(Table, RTL_AVL_TABLE::WhichOrderedElement, I + 1)?;
        Ok(Gva::new(SORT.data(node)))
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
