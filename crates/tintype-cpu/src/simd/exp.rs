//! The exponential and what is made of it.

use pulp::Simd;

use super::mul_add;

/// Adding this to a small float rounds it to a whole number and leaves that number in the low
/// bits: 1.5 · 2^23.
const ROUND: f32 = 12_582_912.0;

/// ln 2, upper part: few enough bits that its product with a whole exponent is exact.
const LN2_HI: f32 = 0.693_359_4;
/// ln 2 minus [`LN2_HI`].
const LN2_LO: f32 = -2.121_944_4e-4;

/// Results below 2^-125 are flushed to zero.
const UNDERFLOW: f32 = -86.643;
/// Results above f32's largest are infinite.
const OVERFLOW: f32 = 88.722_83;

/// Taylor coefficients of exp, highest first: on ±ln 2 / 2 the next term is below 2^-27.
const COEFFICIENTS: [f32; 8] =
    [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];

/// `exp(x)` to 2 units in the last place; NaN for NaN.
#[inline(always)]
pub(super) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let round = simd.splat_f32s(ROUND);
    let shifted = mul_add(simd, x, simd.splat_f32s(std::f32::consts::LOG2_E), round);
    let exponent = simd.sub_f32s(shifted, round);
    let rest = mul_add(simd, exponent, simd.splat_f32s(-LN2_HI), x);
    let rest = mul_add(simd, exponent, simd.splat_f32s(-LN2_LO), rest);
    let mut power = simd.splat_f32s(COEFFICIENTS[0]);
    for coefficient in &COEFFICIENTS[1..] {
        power = mul_add(simd, power, rest, simd.splat_f32s(*coefficient));
    }
    // Half of 2^exponent, so that the largest results do not overflow on the way.
    let bits = simd.add_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(126));
    let half = simd.wrapping_dyn_shl_u32s(bits, simd.splat_u32s(23));
    let scaled = simd.mul_f32s(power, simd.transmute_f32s_u32s(half));
    let result = simd.add_f32s(scaled, scaled);
    let too_small = simd.less_than_f32s(x, simd.splat_f32s(UNDERFLOW));
    let result = simd.select_f32s(too_small, simd.splat_f32s(0.0), result);
    let too_large = simd.greater_than_f32s(x, simd.splat_f32s(OVERFLOW));
    simd.select_f32s(too_large, simd.splat_f32s(f32::INFINITY), result)
}

#[inline(always)]
pub(super) fn exp_sum<S: Simd>(simd: S, x: &mut [f32], shift: f32) -> f32 {
    let shift = simd.splat_f32s(shift);
    let (vectors, tail) = S::as_mut_simd_f32s(x);
    let mut sum = simd.splat_f32s(0.0);
    for x in vectors {
        *x = exp(simd, simd.sub_f32s(*x, shift));
        sum = simd.add_f32s(sum, *x);
    }
    let mut total = simd.reduce_sum_f32s(sum);
    if !tail.is_empty() {
        let x = simd.partial_load_f32s(tail);
        simd.partial_store_f32s(tail, exp(simd, simd.sub_f32s(x, shift)));
        for x in tail {
            total += *x;
        }
    }
    total
}

#[inline(always)]
pub(super) fn silu_mul<S: Simd>(simd: S, out: &mut [f32], gate: &[f32], up: &[f32]) {
    assert!(out.len() == gate.len() && out.len() == up.len());
    let (out, out_tail) = S::as_mut_simd_f32s(out);
    let (gate, gate_tail) = S::as_simd_f32s(gate);
    let (up, up_tail) = S::as_simd_f32s(up);
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        *out = silu_mul_vector(simd, *gate, *up);
    }
    if !out_tail.is_empty() {
        let gate = simd.partial_load_f32s(gate_tail);
        let up = simd.partial_load_f32s(up_tail);
        simd.partial_store_f32s(out_tail, silu_mul_vector(simd, gate, up));
    }
}

#[inline(always)]
fn silu_mul_vector<S: Simd>(simd: S, gate: S::f32s, up: S::f32s) -> S::f32s {
    let denominator = simd.add_f32s(simd.splat_f32s(1.0), exp(simd, simd.neg_f32s(gate)));
    simd.mul_f32s(simd.div_f32s(gate, denominator), up)
}
