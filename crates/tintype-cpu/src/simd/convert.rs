//! Conversions between f32 and the 16-bit formats. Plain loops, which the compiler vectorises
//! for the level that they are inlined into.

use half::{bf16, f16};
use pulp::Simd;

/// The smallest f16 that is not subnormal, 2^-14.
pub(crate) const F16_MIN_NORMAL: f32 = f32::from_bits((127 - 14) << 23);

/// The smallest f32 that rounds to an infinite f16: half a step above 65504.
const F16_OVERFLOW: f32 = 65520.0;

#[inline(always)]
pub(super) fn bf16_to_f32s<S: Simd>(_simd: S, out: &mut [f32], x: &[bf16]) {
    assert_eq!(out.len(), x.len());
    for (out, x) in out.iter_mut().zip(x) {
        *out = f32::from_bits(u32::from(x.to_bits()) << 16);
    }
}

#[inline(always)]
pub(super) fn f16_to_f32s<S: Simd>(_simd: S, out: &mut [f32], x: &[f16]) {
    assert_eq!(out.len(), x.len());
    for (out, x) in out.iter_mut().zip(x) {
        *out = f16_to_f32(x.to_bits());
    }
}

/// The value of an f16, without a branch and without arithmetic on subnormal f32, which some
/// processors are slow at.
#[inline(always)]
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let bits = u32::from(bits);
    // Exponent and fraction take f32's places. Moved to f32's bias they are right if the f16 is
    // normal and too large if not; one higher and 2^-14 less, the other way round.
    let magnitude = (bits & 0x7fff) << 13;
    let normal = f32::from_bits(magnitude + (112 << 23));
    let subnormal = f32::from_bits(magnitude + (113 << 23)) - F16_MIN_NORMAL;
    let magnitude = if normal < subnormal { normal } else { subnormal };
    // Infinity and NaN have become 65536 and more; they need f32's largest exponent.
    let special = if magnitude >= 65536.0 { f32::INFINITY.to_bits() } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | (bits & 0x8000) << 16)
}

#[inline(always)]
pub(super) fn f32_to_bf16s<S: Simd>(_simd: S, out: &mut [bf16], x: &[f32]) {
    assert_eq!(out.len(), x.len());
    for (out, x) in out.iter_mut().zip(x) {
        *out = bf16::from_bits(f32_to_bf16(*x));
    }
}

#[inline(always)]
fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    // A NaN stays one even where all its set bits are in the lower half.
    let quieted = bits | 0x0040_0000;
    ((if x.is_nan() { quieted } else { rounded }) >> 16) as u16
}

#[inline(always)]
pub(super) fn f32_to_f16s<S: Simd>(_simd: S, out: &mut [f16], x: &[f32]) {
    assert_eq!(out.len(), x.len());
    for (out, x) in out.iter_mut().zip(x) {
        *out = f16::from_bits(f32_to_f16(*x));
    }
}

/// Rounds by letting the adder of f32 do it: a value to which a suitable power of two is added
/// keeps exactly the bits that an f16 has room for.
#[inline(always)]
fn f32_to_f16(x: f32) -> u16 {
    let sign = (x.to_bits() >> 16) & 0x8000;
    let magnitude = x.abs();
    let bits = magnitude.to_bits();
    // Normal: round to 10 fraction bits, and carry into the exponent where that overflows.
    let rounded = bits.wrapping_add(0x0fff + ((bits >> 13) & 1));
    let normal = (rounded.wrapping_sub(112 << 23)) >> 13;
    // Below 2^-14: one unit in the last place of 0.5 is 2^-24, an f16's smallest step.
    let subnormal = (magnitude + 0.5).to_bits() - 0.5f32.to_bits();
    let finite = if magnitude < F16_MIN_NORMAL { subnormal } else { normal };
    let finite_or_inf = if magnitude >= F16_OVERFLOW { 0x7c00 } else { finite };
    let nan = 0x7e00 | ((bits >> 13) & 0x03ff);
    (sign | if x.is_nan() { nan } else { finite_or_inf }) as u16
}
