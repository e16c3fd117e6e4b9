//! Loops over slices of f32. Sums run in several accumulators, in an order that depends on the
//! length and the SIMD level only.

use pulp::Simd;

use super::mul_add;

/// Accumulators of a sum: enough to hide the latency of an addition.
const UNROLL: usize = 4;
/// Accumulators of the read probe, which must wait for nothing but memory.
const PROBE_UNROLL: usize = 8;

#[inline(always)]
fn reduce<S: Simd>(simd: S, [a, b, c, d]: [S::f32s; UNROLL]) -> f32 {
    simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d)))
}

#[inline(always)]
pub(super) fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let (a_vectors, a_tail) = S::as_simd_f32s(a);
    let (b_vectors, b_tail) = S::as_simd_f32s(b);
    let (a_blocks, a_rest) = a_vectors.as_chunks::<UNROLL>();
    let (b_blocks, b_rest) = b_vectors.as_chunks::<UNROLL>();
    let mut sums = [simd.splat_f32s(0.0); UNROLL];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for i in 0..UNROLL {
            sums[i] = mul_add(simd, a[i], b[i], sums[i]);
        }
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        sums[0] = mul_add(simd, *a, *b, sums[0]);
    }
    if !a_tail.is_empty() {
        let (a, b) = (simd.partial_load_f32s(a_tail), simd.partial_load_f32s(b_tail));
        sums[1] = mul_add(simd, a, b, sums[1]);
    }
    reduce(simd, sums)
}

#[inline(always)]
pub(super) fn axpy<S: Simd>(simd: S, y: &mut [f32], alpha: f32, x: &[f32]) {
    assert_eq!(y.len(), x.len());
    let alpha = simd.splat_f32s(alpha);
    let (y, y_tail) = S::as_mut_simd_f32s(y);
    let (x, x_tail) = S::as_simd_f32s(x);
    for (y, x) in y.iter_mut().zip(x) {
        *y = mul_add(simd, alpha, *x, *y);
    }
    if !y_tail.is_empty() {
        let sum = simd.partial_load_f32s(y_tail);
        let sum = mul_add(simd, alpha, simd.partial_load_f32s(x_tail), sum);
        simd.partial_store_f32s(y_tail, sum);
    }
}

#[inline(always)]
pub(super) fn axpy_rows<S: Simd>(simd: S, out: &mut [f32], weights: &[f32], rows: &[f32]) {
    assert_eq!(rows.len(), out.len() * weights.len());
    let cols = out.len();
    let (out, out_tail) = S::as_mut_simd_f32s(out);
    let (blocks, rest) = out.as_chunks_mut::<UNROLL>();
    let mut col = 0;
    for sums in blocks {
        axpy_rows_block(simd, sums, col, cols, weights, rows);
        col += UNROLL * S::F32_LANES;
    }
    for sum in rest {
        axpy_rows_block(simd, std::array::from_mut(sum), col, cols, weights, rows);
        col += S::F32_LANES;
    }
    if !out_tail.is_empty() {
        for (weight, row) in weights.iter().zip(rows.chunks_exact(cols)) {
            axpy(simd, out_tail, *weight, &row[col..]);
        }
    }
}

/// `N` vectors of the output, from column `col`, stay in registers over all rows.
#[inline(always)]
fn axpy_rows_block<S: Simd, const N: usize>(
    simd: S,
    out: &mut [S::f32s; N],
    col: usize,
    cols: usize,
    weights: &[f32],
    rows: &[f32],
) {
    let mut sums = *out;
    for (weight, row) in weights.iter().zip(rows.chunks_exact(cols)) {
        let weight = simd.splat_f32s(*weight);
        let row = S::as_simd_f32s(&row[col..col + N * S::F32_LANES]).0;
        for (sum, x) in sums.iter_mut().zip(row) {
            *sum = mul_add(simd, weight, *x, *sum);
        }
    }
    *out = sums;
}

#[inline(always)]
pub(super) fn scale_mul<S: Simd>(_simd: S, out: &mut [f32], x: &[f32], scale: f32, weight: &[f32]) {
    assert!(out.len() == x.len() && out.len() == weight.len());
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = *x * scale * *weight;
    }
}

#[inline(always)]
pub(super) fn sum_u32<S: Simd>(simd: S, words: &[u32]) -> u32 {
    let (vectors, tail) = S::as_simd_u32s(words);
    let (blocks, rest) = vectors.as_chunks::<PROBE_UNROLL>();
    let mut sums = [simd.splat_u32s(0); PROBE_UNROLL];
    for words in blocks {
        for i in 0..PROBE_UNROLL {
            sums[i] = simd.add_u32s(sums[i], words[i]);
        }
    }
    let mut total = 0u32;
    for vector in sums.iter().chain(rest) {
        for lane in bytemuck::cast_slice::<S::u32s, u32>(std::slice::from_ref(vector)) {
            total = total.wrapping_add(*lane);
        }
    }
    for word in tail {
        total = total.wrapping_add(*word);
    }
    total
}

#[inline(always)]
pub(super) fn max<S: Simd>(simd: S, x: &[f32]) -> f32 {
    let (vectors, tail) = S::as_simd_f32s(x);
    let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
    for x in vectors {
        largest = simd.max_f32s(largest, *x);
    }
    let mut largest = simd.reduce_max_f32s(largest);
    for x in tail {
        largest = largest.max(*x);
    }
    largest
}
