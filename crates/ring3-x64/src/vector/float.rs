//! Floating-point addition, subtraction, multiplication, division, square root, minimum, maximum and what is made of them.

use std::cmp::Ordering;

use iced_x86::Code;

use super::lanes::{from_u32s, from_u64s, merge32, merge64, u32s, u64s};
use super::softfloat::{DOUBLE, Env, Format, SINGLE};
use super::{VectorContext, VectorOp};

/// An operation on two lanes.
type Lane = fn(&mut Env, Format, u64, u64) -> u64;

/// The rows for packed and scalar, single and double.
macro_rules! rows {
    ($code:ident; $($lane:ident: $ps:ident $pd:ident $ss:ident $sd:ident;)*) => {
        match $code {
            $(Code::$ps => Some(VectorOp::xmm(|c, a, b, _| packed_single(c, a, b, $lane)).float()),
            Code::$pd => Some(VectorOp::xmm(|c, a, b, _| packed_double(c, a, b, $lane)).float()),
            Code::$ss => Some(VectorOp::xmm(|c, a, b, _| scalar_single(c, a, b, $lane)).memory(4).float()),
            Code::$sd => Some(VectorOp::xmm(|c, a, b, _| scalar_double(c, a, b, $lane)).memory(8).float()),)*
            _ => None,
        }
    };
}

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    rows!(code;
        add: Addps_xmm_xmmm128 Addpd_xmm_xmmm128 Addss_xmm_xmmm32 Addsd_xmm_xmmm64;
        subtract: Subps_xmm_xmmm128 Subpd_xmm_xmmm128 Subss_xmm_xmmm32 Subsd_xmm_xmmm64;
        multiply: Mulps_xmm_xmmm128 Mulpd_xmm_xmmm128 Mulss_xmm_xmmm32 Mulsd_xmm_xmmm64;
        divide: Divps_xmm_xmmm128 Divpd_xmm_xmmm128 Divss_xmm_xmmm32 Divsd_xmm_xmmm64;
        minimum: Minps_xmm_xmmm128 Minpd_xmm_xmmm128 Minss_xmm_xmmm32 Minsd_xmm_xmmm64;
        maximum: Maxps_xmm_xmmm128 Maxpd_xmm_xmmm128 Maxss_xmm_xmmm32 Maxsd_xmm_xmmm64;
        square_root: Sqrtps_xmm_xmmm128 Sqrtpd_xmm_xmmm128 Sqrtss_xmm_xmmm32 Sqrtsd_xmm_xmmm64;
    )
    .or_else(|| {
        let op = match code {
            Code::Haddps_xmm_xmmm128 => VectorOp::xmm(|c, a, b, _| horizontal_single(c, a, b, add)),
            Code::Haddpd_xmm_xmmm128 => VectorOp::xmm(|c, a, b, _| horizontal_double(c, a, b, add)),
            Code::Hsubps_xmm_xmmm128 => {
                VectorOp::xmm(|c, a, b, _| horizontal_single(c, a, b, subtract))
            }
            Code::Hsubpd_xmm_xmmm128 => {
                VectorOp::xmm(|c, a, b, _| horizontal_double(c, a, b, subtract))
            }
            Code::Addsubps_xmm_xmmm128 => VectorOp::xmm(add_subtract_single),
            Code::Addsubpd_xmm_xmmm128 => VectorOp::xmm(add_subtract_double),
            Code::Dpps_xmm_xmmm128_imm8 => VectorOp::xmm(dot_single).imm(),
            Code::Dppd_xmm_xmmm128_imm8 => VectorOp::xmm(dot_double).imm(),
            _ => return None,
        };
        Some(op.float())
    })
}

/// The host's result if it is certain to be the same as the slow one: see [`Env::host_arithmetic_is_enough`].
fn on_host(
    env: &Env,
    format: Format,
    a: u64,
    b: u64,
    single: fn(f32, f32) -> f32,
    double: fn(f64, f64) -> f64,
) -> Option<u64> {
    if !env.host_arithmetic_is_enough() {
        return None;
    }
    if format == SINGLE {
        let (x, y) = (f32::from_bits(a as u32), f32::from_bits(b as u32));
        let result = single(x, y);
        let safe = x.is_normal()
            && y.is_normal()
            && result.abs() >= 2.0 * f32::MIN_POSITIVE
            && result.is_finite();
        safe.then(|| u64::from(result.to_bits()))
    } else {
        let (x, y) = (f64::from_bits(a), f64::from_bits(b));
        let result = double(x, y);
        let safe = x.is_normal()
            && y.is_normal()
            && result.abs() >= 2.0 * f64::MIN_POSITIVE
            && result.is_finite();
        safe.then(|| result.to_bits())
    }
}

fn add(env: &mut Env, format: Format, a: u64, b: u64) -> u64 {
    on_host(env, format, a, b, |x, y| x + y, |x, y| x + y)
        .unwrap_or_else(|| env.add(format, a, b, false))
}

fn subtract(env: &mut Env, format: Format, a: u64, b: u64) -> u64 {
    on_host(env, format, a, b, |x, y| x - y, |x, y| x - y)
        .unwrap_or_else(|| env.add(format, a, b, true))
}

fn multiply(env: &mut Env, format: Format, a: u64, b: u64) -> u64 {
    on_host(env, format, a, b, |x, y| x * y, |x, y| x * y)
        .unwrap_or_else(|| env.multiply(format, a, b))
}

fn divide(env: &mut Env, format: Format, a: u64, b: u64) -> u64 {
    on_host(env, format, a, b, |x, y| x / y, |x, y| x / y)
        .unwrap_or_else(|| env.divide(format, a, b))
}

fn square_root(env: &mut Env, format: Format, _: u64, b: u64) -> u64 {
    env.square_root(format, b)
}

/// The second operand unless the first is smaller: so for zeros of either sign and when one is a NaN.
fn minimum(env: &mut Env, format: Format, a: u64, b: u64) -> u64 {
    let first = env.compare(format, a, b, true) == Some(Ordering::Less);
    env.flush_input(format, if first { a } else { b })
}

/// The second operand unless the first is larger.
fn maximum(env: &mut Env, format: Format, a: u64, b: u64) -> u64 {
    let first = env.compare(format, a, b, true) == Some(Ordering::Greater);
    env.flush_input(format, if first { a } else { b })
}

fn packed_single(context: &mut VectorContext, a: u128, b: u128, lane: Lane) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let (a, b) = (u32s(a), u32s(b));
    let result = std::array::from_fn(|i| lane(&mut env, SINGLE, a[i].into(), b[i].into()) as u32);
    env.finish(context);
    from_u32s(result)
}

fn packed_double(context: &mut VectorContext, a: u128, b: u128, lane: Lane) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let (a, b) = (u64s(a), u64s(b));
    let result = std::array::from_fn(|i| lane(&mut env, DOUBLE, a[i], b[i]));
    env.finish(context);
    from_u64s(result)
}

fn scalar_single(context: &mut VectorContext, a: u128, b: u128, lane: Lane) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let result = lane(&mut env, SINGLE, u64::from(a as u32), u64::from(b as u32));
    env.finish(context);
    merge32(a, result as u32)
}

fn scalar_double(context: &mut VectorContext, a: u128, b: u128, lane: Lane) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let result = lane(&mut env, DOUBLE, a as u64, b as u64);
    env.finish(context);
    merge64(a, result)
}

/// Neighbours: the low half of the result from `a`, the high half from `b`.
fn horizontal_single(context: &mut VectorContext, a: u128, b: u128, lane: Lane) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let (a, b) = (u32s(a).map(u64::from), u32s(b).map(u64::from));
    let pairs = [(a[0], a[1]), (a[2], a[3]), (b[0], b[1]), (b[2], b[3])];
    let result = pairs.map(|(x, y)| lane(&mut env, SINGLE, x, y) as u32);
    env.finish(context);
    from_u32s(result)
}

fn horizontal_double(context: &mut VectorContext, a: u128, b: u128, lane: Lane) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let (a, b) = (u64s(a), u64s(b));
    let result = [(a[0], a[1]), (b[0], b[1])].map(|(x, y)| lane(&mut env, DOUBLE, x, y));
    env.finish(context);
    from_u64s(result)
}

/// Odd lanes add, even lanes subtract.
fn add_subtract_single(context: &mut VectorContext, a: u128, b: u128, _: u8) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let (a, b) = (u32s(a), u32s(b));
    let result = std::array::from_fn(|i| {
        (if i % 2 == 0 { subtract } else { add })(&mut env, SINGLE, a[i].into(), b[i].into()) as u32
    });
    env.finish(context);
    from_u32s(result)
}

fn add_subtract_double(context: &mut VectorContext, a: u128, b: u128, _: u8) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let (a, b) = (u64s(a), u64s(b));
    let result = [
        subtract(&mut env, DOUBLE, a[0], b[0]),
        add(&mut env, DOUBLE, a[1], b[1]),
    ];
    env.finish(context);
    from_u64s(result)
}

/// `dpps`: bits 7:4 choose the products, 3:0 the lanes that receive the sum.
///
/// An unmasked exception of one stage (the products, the two sums, their sum) keeps the later ones from
/// happening, with their flags.
fn dot_single(context: &mut VectorContext, a: u128, b: u128, imm: u8) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let (a, b) = (u32s(a).map(u64::from), u32s(b).map(u64::from));
    let products: [u64; 4] = std::array::from_fn(|i| {
        if imm >> (4 + i) & 1 != 0 {
            multiply(&mut env, SINGLE, a[i], b[i])
        } else {
            0
        }
    });
    let mut sum = 0;
    if env.stage(context) {
        let low = add(&mut env, SINGLE, products[0], products[1]);
        let high = add(&mut env, SINGLE, products[2], products[3]);
        if env.stage(context) {
            sum = add(&mut env, SINGLE, low, high) as u32;
        }
    }
    env.finish(context);
    from_u32s(std::array::from_fn(
        |i| if imm >> i & 1 != 0 { sum } else { 0 },
    ))
}

/// `dppd`: bits 5:4 choose the products, 1:0 the lanes that receive the sum.
fn dot_double(context: &mut VectorContext, a: u128, b: u128, imm: u8) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let (a, b) = (u64s(a), u64s(b));
    let products: [u64; 2] = std::array::from_fn(|i| {
        if imm >> (4 + i) & 1 != 0 {
            multiply(&mut env, DOUBLE, a[i], b[i])
        } else {
            0
        }
    });
    let sum = if env.stage(context) {
        add(&mut env, DOUBLE, products[0], products[1])
    } else {
        0
    };
    env.finish(context);
    from_u64s(std::array::from_fn(
        |i| if imm >> i & 1 != 0 { sum } else { 0 },
    ))
}
