//! Arithmetic of f16 and bf16, scalar and in pairs. The decoders of [`super::float`] come here for
//! these types.

use super::arithmetic::unsupported;
use super::body::Body;
use super::lane_ops;
use super::operands::Decoded;
use super::statement::{Statement, Type};
use crate::half_math::{Binary, Half, pairwise};
use crate::lanes::Scalar;

/// The format of a type, and whether a register holds two.
fn half(ty: Type) -> Option<(Half, bool)> {
    Some(match ty {
        Type::F16 => (Half::F16, false),
        Type::F16x2 => (Half::F16, true),
        Type::Bf16 => (Half::Bf16, false),
        Type::Bf16x2 => (Half::Bf16, true),
        _ => return None,
    })
}

/// What happens to a result: `.sat`, `.relu`.
fn finish(half: Half, saturate: bool, relu: bool) -> impl Fn(u16) -> u16 + Copy + Send + Sync {
    move |bits| match (saturate, relu) {
        (true, _) => half.saturate(bits),
        (_, true) => half.relu(bits),
        _ => bits,
    }
}

/// `opcode d, a`
pub(super) fn unary<'a>(
    body: &mut Body<'a, '_>,
    s: &mut Statement<'a>,
    ty: Type,
    op: fn(Half, u16) -> u16,
) -> Decoded {
    match half(ty) {
        None => unsupported(ty),
        Some((half, false)) => lane_ops::unary(body, s, move |a: u16| op(half, a)),
        Some((half, true)) => {
            lane_ops::unary(body, s, move |a: u32| pairwise([a], |[a]| op(half, a)))
        }
    }
}

/// `opcode d, a, b`
pub(super) fn binary<'a>(
    body: &mut Body<'a, '_>,
    s: &mut Statement<'a>,
    ty: Type,
    op: Binary,
    saturate: bool,
) -> Decoded {
    let Some((half, packed)) = half(ty) else { return unsupported(ty) };
    let finish = finish(half, saturate, s.modifiers.take("relu"));
    let op = move |[a, b]: [u16; 2]| finish(half.binary(op, a, b));
    match packed {
        false => lane_ops::binary(body, s, move |a: u16, b: u16| op([a, b])),
        true => lane_ops::binary(body, s, move |a: u32, b: u32| pairwise([a, b], op)),
    }
}

/// `fma d, a, b, c`
pub(super) fn fma<'a>(
    body: &mut Body<'a, '_>,
    s: &mut Statement<'a>,
    ty: Type,
    saturate: bool,
) -> Decoded {
    let Some((half, packed)) = half(ty) else { return unsupported(ty) };
    let finish = finish(half, saturate, s.modifiers.take("relu"));
    let op = move |[a, b, c]: [u16; 3]| finish(half.fma(a, b, c));
    match packed {
        false => lane_ops::ternary(body, s, move |a: u16, b: u16, c: u16| op([a, b, c])),
        true => lane_ops::ternary(body, s, move |a: u32, b: u32, c: u32| pairwise([a, b, c], op)),
    }
}

/// An f16 or bf16 as a number to compare.
macro_rules! comparable {
    ($name:ident, $half:expr) => {
        #[doc = concat!("A number of `", stringify!($half), "`.")]
        #[derive(Clone, Copy, PartialEq, PartialOrd)]
        pub(super) struct $name(pub(super) f32);

        impl Scalar for $name {
            type Lane = u32;
            const BITS: u32 = 16;

            fn from_lane(lane: u32) -> Self {
                Self($half.to_f32(lane as u16))
            }

            fn to_lane(self) -> u32 {
                u32::from($half.nearest(f64::from(self.0)))
            }
        }
    };
}

comparable!(F16, Half::F16);
comparable!(Bf16, Half::Bf16);
