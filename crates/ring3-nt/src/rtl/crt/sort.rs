//! Sorting, searching in sorted arrays, and `rand`.

use ring3_macros::{exports, resumable};
use ring3_memory::{Fault, Gva};

use super::errno::EINVAL;
use crate::Machine;
use crate::export::argument::Code;
use crate::flow::Flow;

/// Largest element that is moved at once.
const LARGEST: u64 = 1 << 20;

fn swap(cx: &mut Machine, a: Gva, b: Gva, width: u64) -> Result<(), Fault> {
    let left = cx.memory.read_vec(a, width)?;
    let right = cx.memory.read_vec(b, width)?;
    cx.memory.write_bytes(a, &right)?;
    cx.memory.write_bytes(b, &left)
}

/// Heap sort in the driver's own array; the comparison is a call into the driver. `secure` says that
/// the comparison takes the context first.
#[resumable]
fn sort(
    cx: &mut Machine,
    base: Gva,
    count: u64,
    width: u64,
    compare: Gva<Code>,
    secure: bool,
    context: u64,
) -> Result<(), Fault> {
    let mut start: u64 = count / 2;
    let mut end: u64 = count;
    while end > 1 {
        if start > 0 {
            start -= 1;
        } else {
            end -= 1;
            swap(cx, base, base.byte_add(end * width), width)?;
        }
        // Lets the element at `start` sink in the heap of `end` elements.
        let mut root: u64 = start;
        while root * 2 + 1 < end {
            let mut child: u64 = root * 2 + 1;
            if child + 1 < end {
                let left: u64 = base.byte_add(child * width).raw();
                let right: u64 = base.byte_add((child + 1) * width).raw();
                let order: i32 = if secure {
                    call!(compare, context, left, right)
                } else {
                    call!(compare, left, right)
                };
                if order < 0 {
                    child += 1;
                }
            }
            let parent: u64 = base.byte_add(root * width).raw();
            let lower: u64 = base.byte_add(child * width).raw();
            let order: i32 = if secure {
                call!(compare, context, parent, lower)
            } else {
                call!(compare, parent, lower)
            };
            if order >= 0 {
                break;
            }
            swap(cx, Gva::new(parent), Gva::new(lower), width)?;
            root = child;
        }
    }
    Ok(())
}

/// Binary search.
#[resumable]
fn search(
    cx: &mut Machine,
    key: Gva,
    base: Gva,
    count: u64,
    width: u64,
    compare: Gva<Code>,
    secure: bool,
    context: u64,
) -> Result<u64, Fault> {
    let mut low: u64 = 0;
    let mut high: u64 = count;
    let _ = &cx;
    while low < high {
        let middle: u64 = low + (high - low) / 2;
        let at: u64 = base.byte_add(middle * width).raw();
        let order: i32 = if secure {
            call!(compare, context, key, at)
        } else {
            call!(compare, key, at)
        };
        if order == 0 {
            return Ok(at);
        }
        if order < 0 {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(0)
}

/// Whether an array can exist: its size does not wrap.
fn sensible(count: u64, width: u64) -> bool {
    width > 0
        && width <= LARGEST
        && count
            .checked_mul(width)
            .is_some_and(|bytes| bytes < 1 << 40)
}

/// Sorting and searching.
pub struct Sorting;

#[exports("ntoskrnl.exe")]
impl Sorting {
    /// Sorts an array.
    #[page("")]
    #[irql(any)]
    #[returns(())]
    #[assumed("the order in which elements are compared, and where equal ones end up, is our own")]
    fn qsort(cx: &mut Machine, base: Gva, number: u64, width: u64, compare: Gva<Code>) -> Flow {
        let _ = &cx;
        if base.is_null() || compare.is_null() || !sensible(number, width) {
            return Flow::Return(0);
        }
        Flow::Become(sort(base, number, width, compare, false, 0))
    }

    /// Sorts an array with a comparison that takes a context.
    #[page("")]
    #[irql(any)]
    #[returns(())]
    #[assumed("the order in which elements are compared, and where equal ones end up, is our own")]
    fn qsort_s(
        cx: &mut Machine,
        base: Gva,
        number: u64,
        width: u64,
        compare: Gva<Code>,
        context: u64,
    ) -> Flow {
        let _ = &cx;
        if base.is_null() || compare.is_null() || !sensible(number, width) {
            return Flow::Return(EINVAL as u64);
        }
        Flow::Become(sort(base, number, width, compare, true, context))
    }

    /// Finds a key in a sorted array; NULL if it is not there.
    #[page("")]
    #[irql(any)]
    #[returns(Gva)]
    fn bsearch(
        cx: &mut Machine,
        key: Gva,
        base: Gva,
        number: u64,
        width: u64,
        compare: Gva<Code>,
    ) -> Flow {
        let _ = &cx;
        if base.is_null() || compare.is_null() || !sensible(number, width) {
            return Flow::Return(0);
        }
        Flow::Become(search(key, base, number, width, compare, false, 0))
    }

    /// Finds a key in a sorted array with a comparison that takes a context; NULL if it is not there.
    #[page("")]
    #[irql(any)]
    #[returns(Gva)]
    fn bsearch_s(
        cx: &mut Machine,
        key: Gva,
        base: Gva,
        number: u64,
        width: u64,
        compare: Gva<Code>,
        context: u64,
    ) -> Flow {
        let _ = &cx;
        if base.is_null() || compare.is_null() || !sensible(number, width) {
            return Flow::Return(0);
        }
        Flow::Become(search(key, base, number, width, compare, true, context))
    }

    /// The next pseudo-random number, 0 to 7FFFh.
    #[page("")]
    #[irql(any)]
    #[assumed("the published generator of the C library")]
    fn rand(cx: &mut Machine) -> i32 {
        let next = cx.rtl.rand.wrapping_mul(214_013).wrapping_add(2_531_011);
        cx.rtl.rand = next;
        (next >> 16 & 0x7fff) as i32
    }

    /// Sets the start of the pseudo-random numbers.
    #[page("")]
    #[irql(any)]
    fn srand(cx: &mut Machine, seed: u32) {
        cx.rtl.rand = seed;
    }
}
