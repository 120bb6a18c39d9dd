//! Multiplication and division.

use crate::exit::vector_number;
use crate::flags::Flags;
use crate::op::{FIRST, Next, Op, SECOND};
use crate::vm::{Trap, Vm, with_load};
use crate::width::{Slot, Width, operand, put};

const LOW: Slot = Slot::S0;

/// The upper half of a product or dividend: AH, DX, EDX or RDX.
const fn upper<W: Width>() -> Slot {
    if W::BITS == 8 { Slot::S16 } else { Slot::S2 }
}

/// IMUL with two or three operands: the product and the flags.
#[inline(always)]
fn signed_product<W: Width, const FLAGS: bool>(vm: &mut Vm, a: W, b: u64) -> W {
    let wide = i128::from(a.sx() as i64) * i128::from(W::of(b).sx() as i64);
    let result = W::of(wide as u64);
    let overflow = wide != i128::from(result.sx() as i64);
    if FLAGS {
        vm.flags = Flags::with(result.sx(), overflow, overflow);
    }
    result
}

/// IMUL: `dst` gets the product of `base` and `src`.
pub(crate) fn imul_rr<W: Width, const FROM: u8, const FLAGS: bool>(
    vm: &mut Vm,
    op: &Op,
    held: u64,
) -> Next {
    let a = operand::<W, FROM, FIRST>(&vm.regs, op.base, held);
    let b = operand::<W, FROM, SECOND>(&vm.regs, op.src, held).zx();
    let result = signed_product::<W, FLAGS>(vm, a, b);
    let held = put(&mut vm.regs, op.dst, result, held);
    op.then(vm, held)
}

/// IMUL register, memory.
pub(crate) fn imul_rm<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, held, |vm, op, b, held| {
        let a = W::get(&vm.regs, op.dst);
        let result = signed_product::<W, true>(vm, a, b.zx());
        W::set(&mut vm.regs, op.dst, result);
        op.then(vm, held)
    })
}

/// IMUL register, register, immediate.
pub(crate) fn imul_rri<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let a = W::get(&vm.regs, op.src);
    let result = signed_product::<W, true>(vm, a, op.imm);
    W::set(&mut vm.regs, op.dst, result);
    op.then(vm, held)
}

/// IMUL register, memory, immediate.
pub(crate) fn imul_rmi<W: Width>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, held, |vm, op, a, held| {
        let result = signed_product::<W, true>(vm, a, op.imm);
        W::set(&mut vm.regs, op.dst, result);
        op.then(vm, held)
    })
}

/// MUL and IMUL of the accumulator.
#[inline(always)]
fn multiply<W: Width, const SIGNED: bool>(vm: &mut Vm, op: &Op, b: W, held: u64) -> Next {
    let a = W::get(&vm.regs, LOW);
    let (wide, overflow);
    if SIGNED {
        let product = i128::from(a.sx() as i64) * i128::from(b.sx() as i64);
        overflow = product != i128::from(W::of(product as u64).sx() as i64);
        wide = product as u128;
    } else {
        wide = u128::from(a.zx()) * u128::from(b.zx());
        overflow = wide >> W::BITS != 0;
    }
    let low = W::of(wide as u64);
    W::set(&mut vm.regs, LOW, low);
    W::set(&mut vm.regs, upper::<W>(), W::of((wide >> W::BITS) as u64));
    vm.flags = Flags::with(low.sx(), overflow, overflow);
    op.then(vm, held)
}

/// MUL, IMUL register.
pub(crate) fn mul_r<W: Width, const SIGNED: bool>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let b = W::get(&vm.regs, op.src);
    multiply::<W, SIGNED>(vm, op, b, held)
}

/// MUL, IMUL memory.
pub(crate) fn mul_m<W: Width, const SIGNED: bool>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, held, multiply::<W, SIGNED>)
}

/// DIV and IDIV. The flags, which are undefined afterwards, stay as they are.
#[inline(always)]
fn divide<W: Width, const SIGNED: bool>(vm: &mut Vm, op: &Op, divisor: W, held: u64) -> Next {
    let high = W::get(&vm.regs, upper::<W>());
    let low = W::get(&vm.regs, LOW);
    let parts = if SIGNED {
        signed_quotient(high, low, divisor)
    } else {
        unsigned_quotient(high, low, divisor)
    };
    match parts {
        Some((quotient, remainder)) => {
            W::set(&mut vm.regs, LOW, quotient);
            W::set(&mut vm.regs, upper::<W>(), remainder);
            op.then(vm, held)
        }
        None => vm.trap(op, Trap::Exception(vector_number::DIVIDE, 0)),
    }
}

#[inline(always)]
fn unsigned_quotient<W: Width>(high: W, low: W, divisor: W) -> Option<(W, W)> {
    let (high, low, divisor) = (high.zx(), low.zx(), divisor.zx());
    if high >= divisor {
        return None;
    }
    if W::BITS < 64 || high == 0 {
        let dividend = if W::BITS < 64 {
            high << W::BITS | low
        } else {
            low
        };
        return Some((
            W::of(dividend.checked_div(divisor)?),
            W::of(dividend.checked_rem(divisor)?),
        ));
    }
    let dividend = u128::from(high) << 64 | u128::from(low);
    let divisor = u128::from(divisor);
    Some((
        W::of((dividend / divisor) as u64),
        W::of((dividend % divisor) as u64),
    ))
}

#[inline(always)]
fn signed_quotient<W: Width>(high: W, low: W, divisor: W) -> Option<(W, W)> {
    let divisor = divisor.sx() as i64;
    if W::BITS < 64 || high.sx() == (low.sx() as i64 >> 63) as u64 {
        let dividend = if W::BITS < 64 {
            (high.sx() << W::BITS | low.zx()) as i64
        } else {
            low.sx() as i64
        };
        let quotient = dividend.checked_div(divisor)?;
        let result = W::of(quotient as u64);
        return (result.sx() as i64 == quotient)
            .then(|| (result, W::of(dividend.wrapping_rem(divisor) as u64)));
    }
    let dividend = (u128::from(high.zx()) << 64 | u128::from(low.zx())) as i128;
    let quotient = dividend.checked_div(i128::from(divisor))?;
    let remainder = dividend.checked_rem(i128::from(divisor))?;
    i64::try_from(quotient)
        .ok()
        .map(|quotient| (W::of(quotient as u64), W::of(remainder as u64)))
}

/// DIV, IDIV register.
pub(crate) fn div_r<W: Width, const SIGNED: bool>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let divisor = W::get(&vm.regs, op.src);
    divide::<W, SIGNED>(vm, op, divisor, held)
}

/// DIV, IDIV memory.
pub(crate) fn div_m<W: Width, const SIGNED: bool>(vm: &mut Vm, op: &Op, held: u64) -> Next {
    let va = vm.address(op);
    with_load::<W, false>(vm, op, va, held, divide::<W, SIGNED>)
}
