//! Conversions between integers, single and double.

use iced_x86::Code;

use super::lanes::{from_u32s, from_u64s, merge32, merge64, u32s, u64s};
use super::softfloat::{DOUBLE, Env, Format, Rounding, SINGLE};
use super::{VectorContext, VectorOp};

/// The rows of this file.
pub fn lookup(code: Code) -> Option<VectorOp> {
    let op = match code {
        Code::Cvtsi2ss_xmm_rm32 => VectorOp::xmm(|c, a, b, _| {
            with(c, |env| {
                merge32(a, env.number_of_integer(SINGLE, int32(b)) as u32)
            })
        })
        .memory(4),
        Code::Cvtsi2ss_xmm_rm64 => VectorOp::xmm(|c, a, b, _| {
            with(c, |env| {
                merge32(a, env.number_of_integer(SINGLE, b as i64) as u32)
            })
        })
        .memory(8),
        Code::Cvtsi2sd_xmm_rm32 => VectorOp::xmm(|c, a, b, _| {
            with(c, |env| merge64(a, env.number_of_integer(DOUBLE, int32(b))))
        })
        .memory(4),
        Code::Cvtsi2sd_xmm_rm64 => VectorOp::xmm(|c, a, b, _| {
            with(c, |env| merge64(a, env.number_of_integer(DOUBLE, b as i64)))
        })
        .memory(8),
        Code::Cvtss2si_r32_xmmm32 => {
            VectorOp::xmm(|c, _, b, _| scalar(c, SINGLE, b, 32, false)).memory(4)
        }
        Code::Cvtss2si_r64_xmmm32 => {
            VectorOp::xmm(|c, _, b, _| scalar(c, SINGLE, b, 64, false)).memory(4)
        }
        Code::Cvttss2si_r32_xmmm32 => {
            VectorOp::xmm(|c, _, b, _| scalar(c, SINGLE, b, 32, true)).memory(4)
        }
        Code::Cvttss2si_r64_xmmm32 => {
            VectorOp::xmm(|c, _, b, _| scalar(c, SINGLE, b, 64, true)).memory(4)
        }
        Code::Cvtsd2si_r32_xmmm64 => {
            VectorOp::xmm(|c, _, b, _| scalar(c, DOUBLE, b, 32, false)).memory(8)
        }
        Code::Cvtsd2si_r64_xmmm64 => {
            VectorOp::xmm(|c, _, b, _| scalar(c, DOUBLE, b, 64, false)).memory(8)
        }
        Code::Cvttsd2si_r32_xmmm64 => {
            VectorOp::xmm(|c, _, b, _| scalar(c, DOUBLE, b, 32, true)).memory(8)
        }
        Code::Cvttsd2si_r64_xmmm64 => {
            VectorOp::xmm(|c, _, b, _| scalar(c, DOUBLE, b, 64, true)).memory(8)
        }
        Code::Cvtss2sd_xmm_xmmm32 => VectorOp::xmm(|c, a, b, _| {
            with(c, |env| {
                merge64(a, env.convert(SINGLE, DOUBLE, u64::from(b as u32)))
            })
        })
        .memory(4),
        Code::Cvtsd2ss_xmm_xmmm64 => VectorOp::xmm(|c, a, b, _| {
            with(c, |env| {
                merge32(a, env.convert(DOUBLE, SINGLE, b as u64) as u32)
            })
        })
        .memory(8),
        Code::Cvtps2pd_xmm_xmmm64 => VectorOp::xmm(|c, _, b, _| {
            with(c, |env| {
                from_u64s(std::array::from_fn(|i| {
                    env.convert(SINGLE, DOUBLE, u32s(b)[i].into())
                }))
            })
        })
        .memory(8),
        Code::Cvtpd2ps_xmm_xmmm128 => VectorOp::xmm(|c, _, b, _| {
            with(c, |env| {
                let low = u64s(b).map(|lane| env.convert(DOUBLE, SINGLE, lane) as u32);
                from_u32s([low[0], low[1], 0, 0])
            })
        }),
        Code::Cvtdq2ps_xmm_xmmm128 => VectorOp::xmm(|c, _, b, _| {
            with(c, |env| {
                from_u32s(
                    u32s(b)
                        .map(|lane| env.number_of_integer(SINGLE, i64::from(lane as i32)) as u32),
                )
            })
        }),
        Code::Cvtdq2pd_xmm_xmmm64 => VectorOp::xmm(|c, _, b, _| {
            with(c, |env| {
                from_u64s(std::array::from_fn(|i| {
                    env.number_of_integer(DOUBLE, i64::from(u32s(b)[i] as i32))
                }))
            })
        })
        .memory(8),
        Code::Cvtps2dq_xmm_xmmm128 => VectorOp::xmm(|c, _, b, _| singles_to_integers(c, b, false)),
        Code::Cvttps2dq_xmm_xmmm128 => VectorOp::xmm(|c, _, b, _| singles_to_integers(c, b, true)),
        Code::Cvtpd2dq_xmm_xmmm128 => VectorOp::xmm(|c, _, b, _| doubles_to_integers(c, b, false)),
        Code::Cvttpd2dq_xmm_xmmm128 => VectorOp::xmm(|c, _, b, _| doubles_to_integers(c, b, true)),
        _ => return None,
    };
    Some(op.float())
}

/// Runs one instruction's conversions under MXCSR.
fn with(context: &mut VectorContext, convert: impl FnOnce(&mut Env) -> u128) -> u128 {
    let mut env = Env::new(context.mxcsr);
    let result = convert(&mut env);
    env.finish(context);
    result
}

fn int32(b: u128) -> i64 {
    i64::from(b as i32)
}

fn rounding(env: &Env, truncate: bool) -> Rounding {
    if truncate {
        Rounding::Zero
    } else {
        env.rounding
    }
}

fn scalar(
    context: &mut VectorContext,
    format: Format,
    b: u128,
    width: u32,
    truncate: bool,
) -> u128 {
    let bits = if format == SINGLE {
        u64::from(b as u32)
    } else {
        b as u64
    };
    with(context, |env| {
        u128::from(env.round_to_integer(format, bits, width, rounding(env, truncate)))
    })
}

fn singles_to_integers(context: &mut VectorContext, b: u128, truncate: bool) -> u128 {
    with(context, |env| {
        from_u32s(u32s(b).map(|lane| {
            env.round_to_integer(SINGLE, lane.into(), 32, rounding(env, truncate)) as u32
        }))
    })
}

fn doubles_to_integers(context: &mut VectorContext, b: u128, truncate: bool) -> u128 {
    with(context, |env| {
        let low = u64s(b)
            .map(|lane| env.round_to_integer(DOUBLE, lane, 32, rounding(env, truncate)) as u32);
        from_u32s([low[0], low[1], 0, 0])
    })
}
