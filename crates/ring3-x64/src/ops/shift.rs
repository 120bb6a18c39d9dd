//! Shifts and rotates. A count of 0 leaves all flags alone, but is a write all the same: it clears the upper half of a
//! register for a 32-bit operand, and a page must be writable (Intel SDM volume 2, SAL/SAR/SHL/SHR).

use crate::cpu::RCX;
use crate::flags::Flags;
use crate::op::{FIRST, Next, Op};
use crate::vm::{Vm, with_load, with_store};
use crate::width::{Width, operand, put};

/// What an instruction computes; `count` is masked and not 0.
pub(crate) trait Shift {
    /// The result; sets the flags.
    fn compute<W: Width>(a: W, count: u32, flags: &mut Flags) -> W;
}

/// SHL, SAL.
pub(crate) struct Shl;
/// SHR.
pub(crate) struct Shr;
/// SAR.
pub(crate) struct Sar;
/// ROL.
pub(crate) struct Rol;
/// ROR.
pub(crate) struct Ror;
/// RCL.
pub(crate) struct Rcl;
/// RCR.
pub(crate) struct Rcr;

#[inline(always)]
fn top<W: Width>(value: u64) -> bool {
    value >> (W::BITS - 1) & 1 != 0
}

impl Shift for Shl {
    #[inline(always)]
    fn compute<W: Width>(a: W, count: u32, flags: &mut Flags) -> W {
        let last = a.zx() << (count - 1);
        let (cf, result) = (top::<W>(last), W::of(last << 1));
        *flags = Flags::with(result.sx(), cf, cf != top::<W>(result.zx()));
        result
    }
}

impl Shift for Shr {
    #[inline(always)]
    fn compute<W: Width>(a: W, count: u32, flags: &mut Flags) -> W {
        let last = a.zx() >> (count - 1);
        let result = W::of(last >> 1);
        *flags = Flags::with(result.sx(), last & 1 != 0, top::<W>(a.zx()));
        result
    }
}

impl Shift for Sar {
    #[inline(always)]
    fn compute<W: Width>(a: W, count: u32, flags: &mut Flags) -> W {
        let last = a.sx() as i64 >> (count - 1);
        let result = W::of((last >> 1) as u64);
        *flags = Flags::with(result.sx(), last & 1 != 0, false);
        result
    }
}

impl Shift for Rol {
    #[inline(always)]
    fn compute<W: Width>(a: W, count: u32, flags: &mut Flags) -> W {
        let result = rotate_left::<W>(a.zx(), count % W::BITS);
        let cf = result.zx() & 1 != 0;
        flags.set_cf_of(cf, cf != top::<W>(result.zx()));
        result
    }
}

impl Shift for Ror {
    #[inline(always)]
    fn compute<W: Width>(a: W, count: u32, flags: &mut Flags) -> W {
        let result = rotate_left::<W>(a.zx(), (W::BITS - count % W::BITS) % W::BITS);
        let cf = top::<W>(result.zx());
        flags.set_cf_of(cf, cf != top::<W>(result.zx() << 1));
        result
    }
}

#[inline(always)]
fn rotate_left<W: Width>(a: u64, count: u32) -> W {
    if W::BITS == 64 {
        return W::of(a.rotate_left(count));
    }
    W::of(a << count | a >> (W::BITS - count))
}

/// Rotates the value with the carry above it.
fn rotate_with_carry<W: Width>(a: W, count: u32, carry: bool) -> (W, bool) {
    let bits = W::BITS + 1;
    let value = u128::from(carry) << W::BITS | u128::from(a.zx());
    let value = if count == 0 {
        value
    } else {
        value << count | value >> (bits - count)
    };
    (W::of(value as u64), value >> W::BITS & 1 != 0)
}

impl Shift for Rcl {
    fn compute<W: Width>(a: W, count: u32, flags: &mut Flags) -> W {
        let (result, cf) = rotate_with_carry(a, count % (W::BITS + 1), flags.cf());
        flags.set_cf_of(cf, cf != top::<W>(result.zx()));
        result
    }
}

impl Shift for Rcr {
    fn compute<W: Width>(a: W, count: u32, flags: &mut Flags) -> W {
        let bits = W::BITS + 1;
        let (result, cf) = rotate_with_carry(a, (bits - count % bits) % bits, flags.cf());
        flags.set_cf_of(cf, top::<W>(result.zx()) != top::<W>(result.zx() << 1));
        result
    }
}

#[inline(always)]
fn mask<W: Width>(count: u64) -> u32 {
    count as u32 & if W::BITS == 64 { 63 } else { 31 }
}

#[inline(always)]
fn register<S: Shift, W: Width, const FLAGS: bool>(
    vm: &mut Vm,
    op: &Op,
    a: W,
    count: u32,
    held: u64,
) -> Next {
    let mut flags = vm.flags;
    let result = if count == 0 {
        a
    } else {
        S::compute(a, count, &mut flags)
    };
    let held = put(&mut vm.regs, op.dst, result, held);
    if FLAGS {
        vm.flags = flags;
    }
    op.then(vm, held)
}

#[inline(always)]
fn memory<S: Shift, W: Width>(vm: &mut Vm, op: &Op, count: u32, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, held, move |vm, op, a, held| {
        let mut flags = vm.flags;
        let result = if count == 0 {
            a
        } else {
            S::compute(a, count, &mut flags)
        };
        let va = vm.address(op);
        with_store::<W, false>(vm, op, va, result, held, move |vm| vm.flags = flags)
    })
}

/// Register `base` by a constant, into `dst`.
pub(crate) fn ri<S: Shift, W: Width, const FROM: u8, const FLAGS: bool>(
    vm: &mut Vm,
    op: &Op,
    held: u64,
) -> Next {
    let a = operand::<W, FROM, FIRST>(&vm.regs, op.base, held);
    register::<S, W, FLAGS>(vm, op, a, mask::<W>(op.imm), held)
}

/// Register by CL.
pub(crate) fn rc<S: Shift, W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let (a, count) = (W::get(&vm.regs, op.dst), mask::<W>(vm.regs[RCX]));
    register::<S, W, true>(vm, op, a, count, held)
}

/// Memory by a constant.
pub(crate) fn mi<S: Shift, W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    memory::<S, W>(vm, op, mask::<W>(op.imm), held)
}

/// Memory by CL.
pub(crate) fn mc<S: Shift, W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let count = mask::<W>(vm.regs[RCX]);
    memory::<S, W>(vm, op, count, held)
}

/// SHLD (`left`) and SHRD. A count above 16 of a 16-bit operand, which is undefined, goes on with the destination's
/// bits behind those of the source.
pub(crate) fn double<W: Width>(left: bool, a: u64, b: u64, count: u64, flags: &mut Flags) -> u64 {
    let count = mask::<W>(count);
    if count == 0 {
        return a;
    }
    let old = a;
    let (a, b, count) = if count > W::BITS {
        (b, a, count - W::BITS)
    } else {
        (a, b, count)
    };
    let (wide_a, wide_b) = (u128::from(a), u128::from(b));
    let rest = W::BITS - count;
    let (result, cf) = if left {
        (wide_a << count | wide_b >> rest, wide_a >> rest & 1 != 0)
    } else {
        (
            wide_a >> count | wide_b << rest,
            wide_a >> (count - 1) & 1 != 0,
        )
    };
    let result = W::of(result as u64);
    *flags = Flags::with(result.sx(), cf, top::<W>(result.zx()) != top::<W>(old));
    result.zx()
}
