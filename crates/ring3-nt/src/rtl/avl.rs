//! AVL trees of RTL_BALANCED_LINKS in guest memory. The root is the right child of a node that stands
//! for the table and is its own parent.

use ring3_memory::{Fault, Gva};

use crate::Machine;
use crate::layout::RTL_BALANCED_LINKS as LINKS;

/// A node.
pub type Node = Gva<LINKS>;

/// More levels than any tree in guest memory has: what goes deeper is no tree, because somebody has
/// written over its links.
const LEVELS: u32 = 128;

/// Which child.
#[derive(Clone, Copy, Hash, Debug, PartialEq, Eq)]
pub enum Side {
    /// The smaller ones.
    Left,
    /// The larger ones.
    Right,
}

impl Side {
    /// The other one.
    pub(super) fn other(self) -> Self {
        if self == Self::Left {
            Self::Right
        } else {
            Self::Left
        }
    }
    /// What the side adds to a balance.
    fn weight(self) -> i8 {
        if self == Self::Left { -1 } else { 1 }
    }
}

/// A child; NULL if there is none.
///
/// # Errors
/// A fault if a node cannot be read; as for all functions here.
pub fn child(cx: &Machine, node: Node, side: Side) -> Result<Node, Fault> {
    cx.memory.get(
        node,
        if side == Side::Left {
            LINKS::LeftChild
        } else {
            LINKS::RightChild
        },
    )
}

fn set_child(cx: &mut Machine, node: Node, side: Side, to: Node) -> Result<(), Fault> {
    cx.memory.set(
        node,
        if side == Side::Left {
            LINKS::LeftChild
        } else {
            LINKS::RightChild
        },
        to,
    )?;
    if to.is_null() {
        Ok(())
    } else {
        cx.memory.set(to, LINKS::Parent, node)
    }
}

fn parent(cx: &Machine, node: Node) -> Result<Node, Fault> {
    cx.memory.get(node, LINKS::Parent)
}

fn balance(cx: &Machine, node: Node) -> Result<i8, Fault> {
    cx.memory.get(node, LINKS::Balance)
}

fn set_balance(cx: &mut Machine, node: Node, value: i8) -> Result<(), Fault> {
    cx.memory.set(node, LINKS::Balance, value)
}

fn side_of(cx: &Machine, above: Node, node: Node) -> Result<Side, Fault> {
    Ok(if child(cx, above, Side::Left)? == node {
        Side::Left
    } else {
        Side::Right
    })
}

/// The outermost node on a side, from a node downwards.
pub fn outermost(cx: &Machine, node: Node, side: Side) -> Result<Node, Fault> {
    let mut node = node;
    for _ in 0..LEVELS {
        let next = child(cx, node, side)?;
        if next.is_null() {
            break;
        }
        node = next;
    }
    Ok(node)
}

/// The next node in order on a side; NULL at the end.
pub fn neighbour(cx: &Machine, head: Node, node: Node, side: Side) -> Result<Node, Fault> {
    let below = child(cx, node, side)?;
    if !below.is_null() {
        return outermost(cx, below, side.other());
    }
    let mut node = node;
    for _ in 0..LEVELS {
        let above = parent(cx, node)?;
        if above == head || above == node {
            break;
        }
        if side_of(cx, above, node)? != side {
            return Ok(above);
        }
        node = above;
    }
    Ok(Gva::NULL)
}

/// Lifts the child on `side` over its parent.
fn rotate(cx: &mut Machine, node: Node, side: Side) -> Result<(), Fault> {
    let above = parent(cx, node)?;
    let place = side_of(cx, above, node)?;
    let risen = child(cx, node, side)?;
    let inner = child(cx, risen, side.other())?;
    set_child(cx, node, side, inner)?;
    set_child(cx, above, place, risen)?;
    set_child(cx, risen, side.other(), node)
}

/// Puts a node right that leans to `side` by two. Gives the node that stands in its place.
fn straighten(cx: &mut Machine, node: Node, side: Side) -> Result<Node, Fault> {
    let weight = side.weight();
    let heavy = child(cx, node, side)?;
    let lean = balance(cx, heavy)?;
    if lean != -weight {
        rotate(cx, node, side)?;
        let left_over = if lean == 0 { weight } else { 0 };
        set_balance(cx, node, left_over)?;
        set_balance(cx, heavy, left_over.wrapping_neg())?;
        return Ok(heavy);
    }
    let inner = child(cx, heavy, side.other())?;
    let lean = balance(cx, inner)?;
    rotate(cx, heavy, side.other())?;
    rotate(cx, node, side)?;
    set_balance(cx, node, if lean == weight { -weight } else { 0 })?;
    set_balance(cx, heavy, if lean == -weight { weight } else { 0 })?;
    set_balance(cx, inner, 0)?;
    Ok(inner)
}

/// Links a fresh node below another one and balances the tree.
pub fn insert(
    cx: &mut Machine,
    head: Node,
    above: Node,
    side: Side,
    node: Node,
) -> Result<(), Fault> {
    cx.memory.fill(node, LINKS::SIZE, 0)?;
    set_child(cx, above, side, node)?;
    let (mut node, mut above) = (node, above);
    for _ in 0..LEVELS {
        if above == head {
            break;
        }
        let side = side_of(cx, above, node)?;
        let lean = balance(cx, above)?.wrapping_add(side.weight());
        if matches!(lean, -2 | 2) {
            straighten(cx, above, side)?;
            break;
        }
        set_balance(cx, above, lean)?;
        if lean == 0 {
            break;
        }
        node = above;
        above = parent(cx, node)?;
    }
    Ok(())
}

/// Takes a node out and balances the tree.
pub fn remove(cx: &mut Machine, head: Node, node: Node) -> Result<(), Fault> {
    let above = parent(cx, node)?;
    let place = side_of(cx, above, node)?;
    let left = child(cx, node, Side::Left)?;
    let right = child(cx, node, Side::Right)?;
    // Where a subtree has become lower.
    let (mut at, mut side);
    if left.is_null() || right.is_null() {
        set_child(cx, above, place, if left.is_null() { right } else { left })?;
        (at, side) = (above, place);
    } else {
        // The next larger node takes its place.
        let next = outermost(cx, right, Side::Left)?;
        let lean = balance(cx, node)?;
        if next == right {
            (at, side) = (next, Side::Right);
        } else {
            let over = parent(cx, next)?;
            let rest = child(cx, next, Side::Right)?;
            set_child(cx, over, Side::Left, rest)?;
            set_child(cx, next, Side::Right, right)?;
            (at, side) = (over, Side::Left);
        }
        set_child(cx, next, Side::Left, left)?;
        set_balance(cx, next, lean)?;
        set_child(cx, above, place, next)?;
    }
    for _ in 0..LEVELS {
        if at == head {
            break;
        }
        let lean = balance(cx, at)?.wrapping_sub(side.weight());
        let mut top = at;
        if matches!(lean, -2 | 2) {
            top = straighten(cx, at, side.other())?;
            if balance(cx, top)? != 0 {
                break;
            }
        } else {
            set_balance(cx, at, lean)?;
            if lean != 0 {
                break;
            }
        }
        at = parent(cx, top)?;
        side = side_of(cx, at, top)?;
    }
    Ok(())
}

/// How many levels a tree has: down the higher side.
pub fn depth(cx: &Machine, head: Node) -> Result<u32, Fault> {
    let mut node = child(cx, head, Side::Right)?;
    let mut depth = 0;
    while !node.is_null() && depth < LEVELS {
        depth += 1;
        node = child(
            cx,
            node,
            if balance(cx, node)? < 0 {
                Side::Left
            } else {
                Side::Right
            },
        )?;
    }
    Ok(depth)
}
