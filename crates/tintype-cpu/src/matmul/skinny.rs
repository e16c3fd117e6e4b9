//! Few tokens: as fast as the weights can be read.
//!
//! A block of a few rows is streamed through once. Each stretch of its columns is multiplied with
//! the tokens group by group; all groups but the first find the weights in the first-level
//! cache, and meanwhile the hardware fetches what comes next.
//!
//! For one or two tokens the rows of a block lie far apart, and the next block is made of the
//! rows below them: each place is then read as one long stream. With one token on a Zen 3, four
//! such streams a thread were read faster than the single stream of the read probe, and rows of
//! a page each, four side by side, slower than that.
//!
//! For more tokens the rows of a block lie side by side, and what follows them in memory is
//! prefetched. On the same Zen 3 eight sequences decoded faster so than with eight rows far
//! apart and nothing prefetched: in two pairs of runs 208.7 and 249.2 ms a step against 227.6
//! and 254.4. The cause is inferred, not measured: between two chunks of a row come those of the
//! other rows, and eight streams read by turns may be more than the hardware fetches ahead of.
//!
//! Each product of a row and a token is summed in one vector of its own, in the order of the
//! columns. The bits of a result therefore depend on the row, the token and the SIMD level only,
//! not on how many rows and tokens are computed beside it.

use std::array::{from_fn, from_mut};
use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::element::Element;
use super::{Product, for_each_piece};
use crate::scratch::Reusable;
use crate::simd::{mul_add, prefetch};
use crate::weights::WeightStore;

/// Most tokens that this is a kernel for.
pub(super) const MAX_TOKENS: usize = 16;
/// Most tokens of a group.
const MAX_GROUP: usize = 4;
/// Most rows of a block.
const MAX_ROWS: usize = 8;
/// Steps of columns after which the next group of tokens takes its turn.
const CHUNK_STEPS: usize = 32;
/// Steps that the innermost loop takes at a time.
const UNROLL: usize = 4;

/// Tokens `first..first + len`, multiplied with a weight once it is loaded.
#[derive(Clone, Copy)]
struct Group {
    first: usize,
    len: usize,
}

/// `n` tokens in as few groups as can be, of sizes that differ by one at most.
fn groups(n: usize) -> impl Iterator<Item = Group> {
    let count = n.div_ceil(MAX_GROUP);
    (0..count).map(move |i| {
        let (first, end) = (i * n / count, (i + 1) * n / count);
        Group { first, len: end - first }
    })
}

/// Computes `y_t` as [`super::matmul_t`] says.
pub(super) fn run<E: Element>(product: &Product<'_>, y_t: &mut [f32], x: &mut Reusable) {
    let Product { simd, n, w, ref rows, .. } = *product;
    let cols = w.cols();
    let stride = x_stride(cols, 2 * simd.f32_lanes());
    let arranged = x.get(n * stride);
    for_each_piece(arranged, stride, 1, n * cols, |first_token, out| {
        let x = product.x[first_token * cols..].chunks_exact(cols);
        for (out, x) in out.chunks_exact_mut(stride).zip(x) {
            simd.run(Arrange::<E> { out, x, element: PhantomData });
        }
    });
    let x = &*arranged;
    for_each_piece(y_t, n, MAX_ROWS, product.work(), |first_row, y_t| {
        let first_row = rows.start + first_row;
        simd.run(Rows::<E> { w, first_row, n, x, y_t, element: PhantomData });
    });
}

/// Floats from one arranged token to the next: the padded columns and one chunk. Without it a
/// chunk of every token would fall on the same few sets of the cache, rows being powers of two.
fn x_stride(cols: usize, step: usize) -> usize {
    cols.next_multiple_of(step) + CHUNK_STEPS * step
}

/// Writes a token in the order in which [`tile`] reads it: step by step, each as
/// [`Element::widen`] gives it, zeros behind the last column.
struct Arrange<'a, E> {
    out: &'a mut [f32],
    x: &'a [f32],
    element: PhantomData<E>,
}

impl<E: Element> WithSimd for Arrange<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Self { out, x, .. } = self;
        if !E::INTERLEAVED {
            out[..x.len()].copy_from_slice(x);
            out[x.len()..].fill(0.0);
            return;
        }
        let step = 2 * S::F32_LANES;
        let (whole, tail) = x.split_at(x.len() / step * step);
        let (out_whole, out_tail) = out.split_at_mut(whole.len());
        for (out, x) in out_whole.chunks_exact_mut(step).zip(whole.chunks_exact(step)) {
            let (even, odd) = out.split_at_mut(S::F32_LANES);
            for i in 0..S::F32_LANES {
                even[i] = x[2 * i];
                odd[i] = x[2 * i + 1];
            }
        }
        out_tail.fill(0.0);
        for (i, x) in tail.iter().enumerate() {
            out_tail[i % 2 * S::F32_LANES + i / 2] = *x;
        }
    }
}

/// Computes the rows from `first_row` that `y_t` has room for.
struct Rows<'a, E> {
    w: &'a WeightStore,
    first_row: usize,
    n: usize,
    x: &'a [f32],
    y_t: &'a mut [f32],
    element: PhantomData<E>,
}

impl<E: Element> WithSimd for Rows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { w, first_row, n, x, mut y_t, .. } = self;
        let cols = w.cols();
        for stretch in w.stretches::<E>(first_row..first_row + y_t.len() / n) {
            let (y, below) = y_t.split_at_mut(stretch.len() / cols * n);
            y_t = below;
            for block in blocks(stretch, cols, n) {
                // As many sums as hide the latency of a multiply-add and fit into registers.
                if n <= 2 || S::REGISTER_COUNT >= 32 {
                    block.multiply::<S, 4>(simd, x, n, y);
                } else {
                    block.multiply::<S, 2>(simd, x, n, y);
                }
            }
        }
    }
}

/// The rows of `stretch` in blocks as `n` tokens need them, far apart or side by side; rows that
/// are left come last, in a lower block.
#[inline(always)]
fn blocks<E>(stretch: &[E], cols: usize, n: usize) -> impl Iterator<Item = Block<'_, E>> {
    let apart = n <= 2;
    let height = if apart { 4 } else { MAX_ROWS };
    let num_rows = stretch.len() / cols;
    let (count, left) = (num_rows / height, num_rows % height);
    let block = move |first, stride, height| Block { stretch, cols, first, stride, height };
    let whole = (0..count)
        .map(move |i| if apart { block(i, count, height) } else { block(i * height, 1, height) });
    whole.chain((left > 0).then(|| block(num_rows - left, 1, left)))
}

/// `height` rows of a stretch, from row `first`, each `stride` rows below the one before.
struct Block<'a, E> {
    stretch: &'a [E],
    cols: usize,
    first: usize,
    stride: usize,
    height: usize,
}

/// A chunk of the steps of a block's rows and of the tokens.
struct Chunk<'a, V> {
    /// All arranged tokens, each `x_stride` steps behind the one before.
    x: &'a [[V; 2]],
    x_stride: usize,
    n: usize,
    steps: Range<usize>,
}

impl<E: Element> Block<'_, E> {
    /// The products of the rows and all tokens.
    #[inline(always)]
    fn multiply<S: Simd, const R: usize>(&self, simd: S, x: &[f32], n: usize, y: &mut [f32]) {
        let mut sums = [[simd.splat_f32s(0.0); MAX_TOKENS]; MAX_ROWS];
        let sums = &mut sums[..self.height];
        let step = 2 * S::F32_LANES;
        let x_stride = x_stride(self.cols, step) / step;
        let x = S::as_simd_f32s(x).0.as_chunks().0;
        let steps = self.cols.div_ceil(step);
        let len = if n <= 2 { steps } else { CHUNK_STEPS };
        for start in (0..steps).step_by(len) {
            let chunk = Chunk { x, x_stride, n, steps: start..steps.min(start + len) };
            let (tiles, rest) = sums.as_chunks_mut::<R>();
            for (i, sums) in tiles.iter_mut().enumerate() {
                self.multiply_tile::<S, R>(simd, &chunk, i * R, sums);
            }
            for (i, sums) in rest.iter_mut().enumerate() {
                let row = self.height / R * R + i;
                self.multiply_tile::<S, 1>(simd, &chunk, row, from_mut(sums));
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            let y = &mut y[(self.first + i * self.stride) * n..][..n];
            for (sum, y) in sums.iter().zip(y) {
                *y = simd.reduce_sum_f32s(*sum);
            }
        }
    }

    /// Adds the products of the rows from `row` and all tokens, one chunk of the steps.
    #[inline(always)]
    fn multiply_tile<S: Simd, const R: usize>(
        &self,
        simd: S,
        chunk: &Chunk<'_, S::f32s>,
        row: usize,
        sums: &mut [[S::f32s; MAX_TOKENS]; R],
    ) {
        let many = S::REGISTER_COUNT >= 32;
        let rows = from_fn(|r| self.row(row + r));
        let ahead = (self.stride == 1).then(|| from_fn(|r| self.row(row + r + self.height)));
        for Group { first, len } in groups(chunk.n) {
            let ahead = ahead.filter(|_| first == 0);
            match len {
                1 => tile::<S, E, R, 1>(simd, rows, ahead, chunk, first, sums),
                2 => tile::<S, E, R, 2>(simd, rows, ahead, chunk, first, sums),
                3 if many || R <= 2 => tile::<S, E, R, 3>(simd, rows, ahead, chunk, first, sums),
                4 if many || R <= 2 => tile::<S, E, R, 4>(simd, rows, ahead, chunk, first, sums),
                _ => unreachable!("groups have at most MAX_GROUP tokens"),
            }
        }
    }

    /// Row `i` of the block; nothing if it lies behind the stretch.
    #[inline(always)]
    fn row(&self, i: usize) -> &[E] {
        let row = self.first + i * self.stride;
        self.stretch.get(row * self.cols..(row + 1) * self.cols).unwrap_or_default()
    }
}

/// Adds the products of `R` rows and of the `T` tokens from `first`, one chunk of the steps, and
/// prefetches that chunk of the rows `ahead`.
#[inline(always)]
fn tile<S: Simd, E: Element, const R: usize, const T: usize>(
    simd: S,
    rows: [&[E]; R],
    ahead: Option<[&[E]; R]>,
    chunk: &Chunk<'_, S::f32s>,
    first: usize,
    sums: &mut [[S::f32s; MAX_TOKENS]; R],
) {
    let mut tile = [[simd.splat_f32s(0.0); T]; R];
    let Range { start, end } = chunk.steps;
    if start > 0 {
        for r in 0..R {
            tile[r].copy_from_slice(&sums[r][first..first + T]);
        }
    }
    let whole = start..end.min(rows[0].len() / (2 * S::F32_LANES));
    let tokens: [_; T] = from_fn(|t| &chunk.x[(first + t) * chunk.x_stride..]);
    let x: [_; T] = from_fn(|t| tokens[t][whole.clone()].as_chunks::<UNROLL>());
    let w: [_; R] = from_fn(|r| E::steps::<S>(rows[r]).0[whole.clone()].as_chunks::<UNROLL>());
    for i in 0..whole.len() / UNROLL {
        if let Some(rows) = ahead {
            let col = (start + i * UNROLL) * 2 * S::F32_LANES;
            for row in rows {
                prefetch(row.get(col..col + UNROLL * 2 * S::F32_LANES).unwrap_or_default());
            }
        }
        for j in 0..UNROLL {
            let (w, x) = (from_fn(|r| w[r].0[i][j]), from_fn(|t| &x[t].0[i][j]));
            add_step::<S, E, R, T>(simd, &mut tile, w, x);
        }
    }
    for i in 0..whole.len() % UNROLL {
        let (w, x) = (from_fn(|r| w[r].1[i]), from_fn(|t| &x[t].1[i]));
        add_step::<S, E, R, T>(simd, &mut tile, w, x);
    }
    if whole.end < end {
        let w = from_fn(|r| E::last_step::<S>(E::steps::<S>(rows[r]).1));
        let x = from_fn(|t| &tokens[t][whole.end]);
        add_step::<S, E, R, T>(simd, &mut tile, w, x);
    }
    for r in 0..R {
        sums[r][first..first + T].copy_from_slice(&tile[r]);
    }
}

#[inline(always)]
fn add_step<S: Simd, E: Element, const R: usize, const T: usize>(
    simd: S,
    sums: &mut [[S::f32s; T]; R],
    w: [E::Step<S>; R],
    x: [&[S::f32s; 2]; T],
) {
    let mut weights = [[simd.splat_f32s(0.0); 2]; R];
    for r in 0..R {
        weights[r] = E::widen(simd, w[r]);
    }
    for half in 0..2 {
        for t in 0..T {
            for r in 0..R {
                sums[r][t] = mul_add(simd, weights[r][half], x[t][half], sums[r][t]);
            }
        }
    }
}
