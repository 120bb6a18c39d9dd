//! What the two sorts of generic tables share: searching by the driver's comparison, adding, removing
//! and walking in order. They differ in the tree below, which [`Tree`] stands for.

use ring3_macros::resumable;
use ring3_memory::{Fault, Gva};

use super::avl::Side;
use crate::Machine;
use crate::flow::Flow;

/// `GenericLessThan`, `GenericGreaterThan` of `RTL_GENERIC_COMPARE_RESULTS`; GenericEqual is 2.
const LESS: u32 = 0;
const GREATER: u32 = 1;
/// `TABLE_SEARCH_RESULT`: TableEmptyTree, TableFoundNode, TableInsertAsLeft, TableInsertAsRight.
pub const EMPTY: u32 = 0;
/// An equal element exists.
pub const FOUND: u32 = 1;
/// It belongs to the left of the node.
pub const AS_LEFT: u32 = 2;
/// It belongs to the right of the node.
const AS_RIGHT: u32 = 3;

/// The address of a node of either tree.
pub type Node = Gva;

/// The driver's routines of a table.
#[derive(Clone, Copy, Hash, Debug)]
pub struct Routines {
    /// `CompareRoutine`.
    pub compare: u64,
    /// `AllocateRoutine`.
    pub allocate: u64,
    /// `FreeRoutine`.
    pub free: u64,
}

/// A table over a tree in guest memory. All functions give a fault where guest memory cannot be used.
pub trait Tree {
    /// Bytes before the data of an element.
    fn header(&self) -> u64;
    /// The driver's routines.
    fn routines(&self, cx: &Machine, table: Gva) -> Result<Routines, Fault>;
    /// The root; NULL in an empty tree.
    fn root(&self, cx: &Machine, table: Gva) -> Result<Node, Fault>;
    /// A child; NULL if there is none.
    fn child(&self, cx: &Machine, node: Node, side: Side) -> Result<Node, Fault>;
    /// The outermost node below this one.
    fn outermost(&self, cx: &Machine, node: Node, side: Side) -> Result<Node, Fault>;
    /// The next node in order; NULL at the end.
    fn neighbour(&self, cx: &Machine, table: Gva, node: Node, side: Side) -> Result<Node, Fault>;
    /// Links a fresh node below another one (NULL: as the root) and counts it.
    fn insert(
        &self,
        cx: &mut Machine,
        table: Gva,
        above: Node,
        side: Side,
        node: Node,
    ) -> Result<(), Fault>;
    /// Takes a node out and counts it.
    fn remove(&self, cx: &mut Machine, table: Gva, node: Node) -> Result<(), Fault>;
    /// A search has ended at this node.
    fn touch(&self, cx: &mut Machine, table: Gva, node: Node) -> Result<(), Fault>;
}

/// Which tree: what a suspended routine keeps instead of the tree itself.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq)]
pub enum Sort {
    /// `RTL_AVL_TABLE`.
    Avl,
    /// `RTL_GENERIC_TABLE`.
    Splay,
}

impl Sort {
    /// Its operations.
    #[must_use]
    pub fn tree(self) -> &'static dyn Tree {
        match self {
            Self::Avl => &super::avl_table::Avl,
            Self::Splay => &super::generic_table::Splay,
        }
    }

    /// The data of a node; 0 for NULL.
    #[must_use]
    pub fn data(self, node: Node) -> u64 {
        if node.is_null() {
            0
        } else {
            node.raw().wrapping_add(self.tree().header())
        }
    }
}

/// What follows from comparing the wanted element with a node: the node to go on with, or the result.
fn follow(cx: &Machine, sort: Sort, node: Node, order: u32) -> Result<Result<Node, u32>, Fault> {
    let (side, result) = match order {
        LESS => (Side::Left, AS_LEFT),
        GREATER => (Side::Right, AS_RIGHT),
        _ => return Ok(Err(FOUND)),
    };
    let next = sort.tree().child(cx, node, side)?;
    Ok(if next.is_null() {
        Err(result)
    } else {
        Ok(next)
    })
}

fn tell(cx: &mut Machine, to: u64, value: bool) -> Result<(), Fault> {
    if to == 0 {
        Ok(())
    } else {
        cx.memory.write(Gva::<bool>::new(to), value)
    }
}

/// Searches. Gives the node at which the search ended, and the result in the two lowest bits: nodes
/// are aligned to 8 bytes or more.
#[resumable]
pub fn search(cx: &mut Machine, sort: Sort, table: Gva, buffer: u64) -> Result<u64, Fault> {
    let compare: u64 = sort.tree().routines(cx, table)?.compare;
    let mut node: Node = sort.tree().root(cx, table)?;
    let mut result: u32 = EMPTY;
    while !node.is_null() {
        let order: u32 = call!(compare, table, buffer, sort.data(node));
        match follow(cx, sort, node, order)? {
            Ok(next) => node = next,
            Err(end) => {
                result = end;
                break;
            }
        }
    }
    Ok(node.raw() & !3 | u64::from(result))
}

/// The node and the result of a search.
#[must_use]
pub fn place(found: u64) -> (Node, u32) {
    (Gva::new(found & !3), (found & 3) as u32)
}

/// Makes an element at a place that a search has found.
#[resumable]
pub fn insert_at(
    cx: &mut Machine,
    sort: Sort,
    table: Gva,
    buffer: u64,
    size: u32,
    is_new: u64,
    node: Node,
    result: u32,
) -> Result<u64, Fault> {
    if result == FOUND {
        sort.tree().touch(cx, table, node)?;
        tell(cx, is_new, false)?;
        return Ok(sort.data(node));
    }
    let allocate: u64 = sort.tree().routines(cx, table)?.allocate;
    let bytes: u64 = u64::from(size) + sort.tree().header();
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
    let data = sort.data(Gva::new(block));
    cx.memory.copy(
        Gva::<u8>::new(data),
        Gva::<u8>::new(buffer),
        u64::from(size),
    )?;
    sort.tree()
        .insert(cx, table, above, side, Gva::new(block))?;
    tell(cx, is_new, true)?;
    Ok(data)
}

/// Searches for an element, and makes it where there is none.
#[resumable]
pub fn insert(
    cx: &mut Machine,
    sort: Sort,
    table: Gva,
    buffer: u64,
    size: u32,
    is_new: u64,
) -> Result<Flow, Fault> {
    let found: u64 = host!(search(sort, table, buffer));
    let (node, result) = place(found);
    let _ = &cx;
    Ok(Flow::Become(insert_at(
        sort, table, buffer, size, is_new, node, result,
    )))
}

/// Searches for an element. With addresses for them, node and result of the search are told.
#[resumable]
pub fn lookup(
    cx: &mut Machine,
    sort: Sort,
    table: Gva,
    buffer: u64,
    node_at: Gva<u64>,
    result_at: Gva<u32>,
) -> Result<u64, Fault> {
    let found: u64 = host!(search(sort, table, buffer));
    let (node, result) = place(found);
    if !node.is_null() {
        sort.tree().touch(cx, table, node)?;
    }
    if !node_at.is_null() {
        cx.memory.write(node_at, node.raw())?;
        cx.memory.write(result_at, result)?;
    }
    Ok(if result == FOUND { sort.data(node) } else { 0 })
}

/// Removes an element. Gives whether there was one.
#[resumable]
pub fn delete(cx: &mut Machine, sort: Sort, table: Gva, buffer: u64) -> Result<bool, Fault> {
    let found: u64 = host!(search(sort, table, buffer));
    let (node, result) = place(found);
    if result != FOUND {
        return Ok(false);
    }
    sort.tree().remove(cx, table, node)?;
    let free: u64 = sort.tree().routines(cx, table)?.free;
    call!(free, table, node);
    Ok(true)
}

/// The element after the one that a key names; the first one for NULL. The key moves on to it.
///
/// # Errors
/// A fault where guest memory cannot be used.
pub fn enumerate(cx: &mut Machine, sort: Sort, table: Gva, key: Gva<u64>) -> Result<u64, Fault> {
    let at = Node::new(cx.memory.read(key)?);
    let tree = sort.tree();
    let next = if at.is_null() {
        let root = tree.root(cx, table)?;
        if root.is_null() {
            root
        } else {
            tree.outermost(cx, root, Side::Left)?
        }
    } else {
        tree.neighbour(cx, table, at, Side::Right)?
    };
    if !next.is_null() {
        cx.memory.write(key, next.raw())?;
    }
    Ok(sort.data(next))
}
