//! Splay trees of RTL_SPLAY_LINKS in guest memory. Documentation: ntifs.h, "RtlSplay" and neighbours.
//! The root is its own parent.

use ring3_macros::exports;
use ring3_memory::{Fault, Gva};

use super::avl::Side;
use crate::Machine;
use crate::layout::RTL_SPLAY_LINKS as LINKS;

/// A node.
pub type Node = Gva<LINKS>;

/// More steps than any walk in guest memory takes: what goes further is no tree, because somebody has
/// written over its links.
const STEPS: u32 = 1 << 20;

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

/// Links a child.
pub fn set_child(cx: &mut Machine, node: Node, side: Side, to: Node) -> Result<(), Fault> {
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

fn side_of(cx: &Machine, above: Node, node: Node) -> Result<Side, Fault> {
    Ok(if child(cx, above, Side::Left)? == node {
        Side::Left
    } else {
        Side::Right
    })
}

/// Lifts a node over its parent.
fn lift(cx: &mut Machine, node: Node) -> Result<(), Fault> {
    let above = parent(cx, node)?;
    let top = parent(cx, above)?;
    let side = side_of(cx, above, node)?;
    let inner = child(cx, node, side.other())?;
    if top == above {
        cx.memory.set(node, LINKS::Parent, node)?;
    } else {
        let place = side_of(cx, top, above)?;
        set_child(cx, top, place, node)?;
    }
    set_child(cx, above, side, inner)?;
    set_child(cx, node, side.other(), above)
}

/// Makes a node the root.
pub fn splay(cx: &mut Machine, node: Node) -> Result<Node, Fault> {
    for _ in 0..STEPS {
        let above = parent(cx, node)?;
        if above == node {
            break;
        }
        let top = parent(cx, above)?;
        if top != above {
            // Both lean the same way: the parent rises first.
            let same = side_of(cx, above, node)? == side_of(cx, top, above)?;
            lift(cx, if same { above } else { node })?;
        }
        lift(cx, node)?;
    }
    Ok(node)
}

/// The outermost node on a side, from a node downwards.
pub fn outermost(cx: &Machine, node: Node, side: Side) -> Result<Node, Fault> {
    let mut node = node;
    for _ in 0..STEPS {
        let next = child(cx, node, side)?;
        if next.is_null() {
            break;
        }
        node = next;
    }
    Ok(node)
}

/// The next node in order on a side, in the tree or only below the node; NULL at the end.
pub fn neighbour(cx: &Machine, node: Node, side: Side, below_only: bool) -> Result<Node, Fault> {
    let below = child(cx, node, side)?;
    if !below.is_null() {
        return outermost(cx, below, side.other());
    }
    let mut node = node;
    for _ in 0..STEPS {
        let above = parent(cx, node)?;
        if above == node || below_only {
            break;
        }
        if side_of(cx, above, node)? != side {
            return Ok(above);
        }
        node = above;
    }
    Ok(Gva::NULL)
}

/// Takes a node out; gives the root of what is left, NULL for nothing.
pub fn remove(cx: &mut Machine, node: Node) -> Result<Node, Fault> {
    splay(cx, node)?;
    let left = child(cx, node, Side::Left)?;
    let right = child(cx, node, Side::Right)?;
    if left.is_null() {
        if !right.is_null() {
            cx.memory.set(right, LINKS::Parent, right)?;
        }
        return Ok(right);
    }
    // The largest of the smaller ones becomes the root and takes the larger ones.
    cx.memory.set(left, LINKS::Parent, left)?;
    let largest = outermost(cx, left, Side::Right)?;
    splay(cx, largest)?;
    set_child(cx, largest, Side::Right, right)?;
    Ok(largest)
}

/// Routines on splay trees.
pub struct SplayTrees;

#[exports("ntoskrnl.exe")]
impl SplayTrees {
    /// Makes a node the root of its tree.
    #[page("ntifs/nf-ntifs-rtlsplay")]
    #[irql(any)]
    fn RtlSplay(cx: &mut Machine, Links: Gva<LINKS>) -> Result<Gva<LINKS>, Fault> {
        splay(cx, Links)
    }

    /// Takes a node out of its tree; gives the root of the tree that is left.
    #[page("ntifs/nf-ntifs-rtldelete")]
    #[irql(any)]
    fn RtlDelete(cx: &mut Machine, Links: Gva<LINKS>) -> Result<Gva<LINKS>, Fault> {
        remove(cx, Links)
    }

    /// The next larger node; NULL if there is none.
    #[page("ntifs/nf-ntifs-rtlrealsuccessor")]
    #[irql(any)]
    fn RtlRealSuccessor(cx: &mut Machine, Links: Gva<LINKS>) -> Result<Gva<LINKS>, Fault> {
        neighbour(cx, Links, Side::Right, false)
    }

    /// The next smaller node; NULL if there is none.
    #[page("ntifs/nf-ntifs-rtlrealpredecessor")]
    #[irql(any)]
    fn RtlRealPredecessor(cx: &mut Machine, Links: Gva<LINKS>) -> Result<Gva<LINKS>, Fault> {
        neighbour(cx, Links, Side::Left, false)
    }

    /// The next larger node below this one; NULL if there is none.
    #[page("ntifs/nf-ntifs-rtlsubtreesuccessor")]
    #[irql(any)]
    fn RtlSubtreeSuccessor(cx: &mut Machine, Links: Gva<LINKS>) -> Result<Gva<LINKS>, Fault> {
        neighbour(cx, Links, Side::Right, true)
    }

    /// The next smaller node below this one; NULL if there is none.
    #[page("ntifs/nf-ntifs-rtlsubtreepredecessor")]
    #[irql(any)]
    fn RtlSubtreePredecessor(cx: &mut Machine, Links: Gva<LINKS>) -> Result<Gva<LINKS>, Fault> {
        neighbour(cx, Links, Side::Left, true)
    }
}
