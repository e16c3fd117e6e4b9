//! The two products of attention, over keys and over values.
//!
//! Each score and each weighted sum is accumulated by itself, in the order of its elements, so
//! its bits do not depend on which others are computed in the same tile.

use pulp::{Simd as PulpSimd, WithSimd};

use super::CHUNK;
use crate::simd::{Simd, mul_add};

/// `out[r][i] = q[r] · k[i]`, where rows of `q` and of `k` have `dim` elements, a multiple of
/// [`super::PADDING`], and rows of `out` have [`CHUNK`].
pub(super) fn scores(simd: Simd, out: &mut [f32], q: &[f32], k: &[f32], dim: usize) {
    simd.run(Scores { out, q, k, dim });
}

/// `sums[r] = sums[r] * rescale[r] + Σ_i weights[r][i] * v[i]`, in the same shapes.
pub(super) fn add_values(
    simd: Simd,
    sums: &mut [f32],
    rescale: &[f32],
    weights: &[f32],
    v: &[f32],
    dim: usize,
) {
    simd.run(Values { sums, rescale, weights, v, dim });
}

struct Scores<'a> {
    out: &'a mut [f32],
    q: &'a [f32],
    k: &'a [f32],
    dim: usize,
}

impl WithSimd for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: PulpSimd>(self, simd: S) {
        let Self { out, q, k, dim } = self;
        let (mut out, mut q) = (out, q);
        while !q.is_empty() {
            let rows = (q.len() / dim).min(4);
            let (tile_out, rest_out) = out.split_at_mut(rows * CHUNK);
            let (tile_q, rest_q) = q.split_at(rows * dim);
            match rows {
                4 => score_rows::<S, 4, 2>(simd, tile_out, tile_q, k, dim),
                3 => score_rows::<S, 3, 3>(simd, tile_out, tile_q, k, dim),
                2 => score_rows::<S, 2, 4>(simd, tile_out, tile_q, k, dim),
                _ => score_rows::<S, 1, 4>(simd, tile_out, tile_q, k, dim),
            }
            (out, q) = (rest_out, rest_q);
        }
    }
}

/// Scores of `R` queries, `K` keys at a time.
#[inline(always)]
fn score_rows<S: PulpSimd, const R: usize, const K: usize>(
    simd: S,
    out: &mut [f32],
    q: &[f32],
    k: &[f32],
    dim: usize,
) {
    let mut first = 0;
    let mut tiles = k.chunks_exact(K * dim);
    for tile in &mut tiles {
        score_tile::<S, R, K>(simd, &mut out[first..], q, tile, dim);
        first += K;
    }
    for key in tiles.remainder().chunks_exact(dim) {
        score_tile::<S, R, 1>(simd, &mut out[first..], q, key, dim);
        first += 1;
    }
}

#[inline(always)]
fn score_tile<S: PulpSimd, const R: usize, const K: usize>(
    simd: S,
    out: &mut [f32],
    q: &[f32],
    k: &[f32],
    dim: usize,
) {
    let q: [&[S::f32s]; R] = std::array::from_fn(|r| vectors::<S>(&q[r * dim..(r + 1) * dim]));
    let k: [&[S::f32s]; K] = std::array::from_fn(|i| vectors::<S>(&k[i * dim..(i + 1) * dim]));
    let len = dim / S::F32_LANES;
    // The compiler needs to see that every slice is this long to leave out the bounds checks.
    let (q, k) = (q.map(|q| &q[..len]), k.map(|k| &k[..len]));
    let mut sums = [[simd.splat_f32s(0.0); K]; R];
    for j in 0..len {
        for r in 0..R {
            for i in 0..K {
                sums[r][i] = mul_add(simd, q[r][j], k[i][j], sums[r][i]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (out, sum) in out[r * CHUNK..].iter_mut().zip(sums) {
            *out = simd.reduce_sum_f32s(*sum);
        }
    }
}

struct Values<'a> {
    sums: &'a mut [f32],
    rescale: &'a [f32],
    weights: &'a [f32],
    v: &'a [f32],
    dim: usize,
}

impl WithSimd for Values<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: PulpSimd>(self, simd: S) {
        let Self { sums, rescale, weights, v, dim } = self;
        let (mut sums, mut rescale, mut weights) = (sums, rescale, weights);
        while !rescale.is_empty() {
            let rows = rescale.len().min(4);
            let (tile_sums, rest_sums) = sums.split_at_mut(rows * dim);
            let (tile_rescale, rest_rescale) = rescale.split_at(rows);
            let tile = ValueRows { rescale: tile_rescale, weights, v, dim };
            match rows {
                4 => tile.add::<S, 4, 3>(simd, tile_sums),
                3 => tile.add::<S, 3, 3>(simd, tile_sums),
                2 => tile.add::<S, 2, 4>(simd, tile_sums),
                _ => tile.add::<S, 1, 8>(simd, tile_sums),
            }
            (sums, rescale) = (rest_sums, rest_rescale);
            weights = &weights[rows * CHUNK..];
        }
    }
}

/// Some rows of [`Values`].
struct ValueRows<'a> {
    rescale: &'a [f32],
    weights: &'a [f32],
    v: &'a [f32],
    dim: usize,
}

impl ValueRows<'_> {
    /// Adds to `R` rows, `C` vectors of columns at a time.
    #[inline(always)]
    fn add<S: PulpSimd, const R: usize, const C: usize>(&self, simd: S, sums: &mut [f32]) {
        let len = self.dim / S::F32_LANES;
        let mut first = 0;
        while first + C <= len {
            self.add_tile::<S, R, C>(simd, sums, first);
            first += C;
        }
        while first + 2 <= len {
            self.add_tile::<S, R, 2>(simd, sums, first);
            first += 2;
        }
        if first < len {
            self.add_tile::<S, R, 1>(simd, sums, first);
        }
    }

    #[inline(always)]
    fn add_tile<S: PulpSimd, const R: usize, const C: usize>(
        &self,
        simd: S,
        sums: &mut [f32],
        first: usize,
    ) {
        let len = self.dim / S::F32_LANES;
        let num_keys = self.v.len() / self.dim;
        let sums = S::as_mut_simd_f32s(sums).0;
        // Said once, so that the loops need not ask again.
        assert!(first + C <= len && sums.len() >= R * len);
        let mut acc = [[simd.splat_f32s(0.0); C]; R];
        for r in 0..R {
            let rescale = simd.splat_f32s(self.rescale[r]);
            for c in 0..C {
                acc[r][c] = simd.mul_f32s(sums[r * len + first + c], rescale);
            }
        }
        let weights: [&[f32]; R] = std::array::from_fn(|r| &self.weights[r * CHUNK..][..num_keys]);
        for (i, v) in vectors::<S>(self.v).chunks_exact(len).enumerate().take(num_keys) {
            let v = &v[first..first + C];
            for r in 0..R {
                let weight = simd.splat_f32s(weights[r][i]);
                for c in 0..C {
                    acc[r][c] = mul_add(simd, weight, v[c], acc[r][c]);
                }
            }
        }
        for r in 0..R {
            sums[r * len + first..][..C].copy_from_slice(&acc[r]);
        }
    }
}

/// A slice whose length is a whole number of vectors.
#[inline(always)]
fn vectors<S: PulpSimd>(x: &[f32]) -> &[S::f32s] {
    S::as_simd_f32s(x).0
}
