//! Few tokens: as fast as the weights can be read.
//!
//! Every weight is loaded once and multiplied with the tokens of a group, whose activations stay
//! in the caches next to the core. A task streams through a long run of rows, some at a time.
//!
//! Each product of a row and a token is summed in one vector of its own, in the order of the
//! columns. The bits of a result therefore depend on the row, the token and the SIMD level only,
//! not on how many rows and tokens are computed beside it.

use pulp::{Simd, WithSimd};

use super::element::Element;
use super::scratch::AlignedBuffer;
use super::{Product, for_each_piece};
use crate::simd::mul_add;
use crate::weights::WeightStore;

/// Most tokens that this is the faster kernel for.
pub(super) const MAX_TOKENS: usize = 2 * MAX_GROUP;
/// Most tokens that a weight is multiplied with once it is loaded: each has an accumulator.
const MAX_GROUP: usize = 8;
/// Rows that one group of tokens takes before the next reads them again, from the cache.
const ROW_BLOCK: usize = 12;
/// Floats of activations that are used for all rows of a block before the next are: half of a
/// first-level cache.
const CHUNK_FLOATS: usize = 4096;
/// Steps of activations that are arranged in one task.
const ARRANGE_STEPS: usize = 64;

/// Tokens `first..first + len`, processed together.
#[derive(Clone, Copy)]
struct Group {
    first: usize,
    len: usize,
}

/// `n` tokens in one or two groups; an empty group is skipped.
fn groups(n: usize) -> [Group; 2] {
    let len = if n <= MAX_GROUP { n } else { n.div_ceil(2) };
    [Group { first: 0, len }, Group { first: len, len: n - len }]
}

/// Computes `y_t` as [`super::matmul_t`] says.
pub(super) fn run<E: Element>(product: &Product<'_>, y_t: &mut [f32], x: &mut AlignedBuffer) {
    let Product { simd, n, w, ref rows, .. } = *product;
    let step = 2 * simd.f32_lanes();
    let steps = w.cols().div_ceil(step);
    let x = x.take(n * steps * step);
    for Group { first, len } in groups(n) {
        let x = &mut x[first * steps * step..][..len * steps * step];
        let work = len * w.cols();
        for_each_piece(x, (len * step).max(1), ARRANGE_STEPS, work, |first_step, out| {
            let tokens = &product.x[first * w.cols()..][..len * w.cols()];
            arrange::<E>(tokens, w.cols(), step, first_step, out);
        });
    }
    let x = &*x;
    for_each_piece(y_t, n, ROW_BLOCK, product.work(), |first_row, y_t| {
        let first_row = rows.start + first_row;
        simd.run(Rows::<E> { w, first_row, n, x, y_t, element: std::marker::PhantomData });
    });
}

/// Writes the activations of a group of tokens in the order in which [`tile`] reads them:
/// `[steps][tokens][2][lanes]`, from step `first_step`, zeros behind the last column.
fn arrange<E: Element>(x: &[f32], cols: usize, step: usize, first_step: usize, out: &mut [f32]) {
    let tokens = x.len() / cols;
    for (i, out) in out.chunks_exact_mut(step).enumerate() {
        let col = (first_step + i / tokens) * step;
        let row = &x[i % tokens * cols..][..cols];
        let x = &row[col..cols.min(col + step)];
        if x.len() < step {
            out.fill(0.0);
        }
        if E::INTERLEAVED {
            let (even, odd) = out.split_at_mut(step / 2);
            for (even, x) in even.iter_mut().zip(x.iter().step_by(2)) {
                *even = *x;
            }
            for (odd, x) in odd.iter_mut().zip(x.iter().skip(1).step_by(2)) {
                *odd = *x;
            }
        } else {
            out[..x.len()].copy_from_slice(x);
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
    element: std::marker::PhantomData<E>,
}

impl<E: Element> WithSimd for Rows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { w, first_row, n, x, mut y_t, .. } = self;
        let cols = w.cols();
        for stretch in w.stretches::<E>(first_row..first_row + y_t.len() / n) {
            for block in stretch.chunks(ROW_BLOCK * cols) {
                let (y, rest) = y_t.split_at_mut(block.len() / cols * n);
                y_t = rest;
                let sums = multiply_block::<S, E>(simd, block, cols, x, n);
                for (sums, y) in sums.iter().zip(y.chunks_exact_mut(n)) {
                    for (sum, y) in sums.iter().zip(y) {
                        *y = simd.reduce_sum_f32s(*sum);
                    }
                }
            }
        }
    }
}

/// One vector of sums per row of a block and token.
type Sums<V> = [[V; MAX_TOKENS]; ROW_BLOCK];

/// The products of the rows of `block` and all tokens, some columns at a time.
#[inline(always)]
fn multiply_block<S: Simd, E: Element>(
    simd: S,
    block: &[E],
    cols: usize,
    x: &[f32],
    n: usize,
) -> Sums<S::f32s> {
    let mut sums = [[simd.splat_f32s(0.0); MAX_TOKENS]; ROW_BLOCK];
    let step = 2 * S::F32_LANES;
    let steps = cols.div_ceil(step);
    let chunk = (CHUNK_FLOATS / (step * n)).max(1);
    for start in (0..steps).step_by(chunk) {
        let end = steps.min(start + chunk);
        for Group { first, len } in groups(n) {
            let x = &x[(first * steps + start * len) * step..][..(end - start) * len * step];
            let x = S::as_simd_f32s(x).0.as_chunks::<2>().0;
            multiply_group::<S, E>(simd, block, cols, start, x, len, &mut sums, first);
        }
    }
    sums
}

/// Picks how many rows to take at a time: enough accumulators to keep the multipliers busy, no
/// more than there are registers for.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn multiply_group<S: Simd, E: Element>(
    simd: S,
    block: &[E],
    cols: usize,
    start: usize,
    x: &[[S::f32s; 2]],
    len: usize,
    sums: &mut Sums<S::f32s>,
    first: usize,
) {
    macro_rules! by_size {
        ($($tokens:literal: $rows:literal or $rows_of_32:literal,)*) => {
            match (len, S::REGISTER_COUNT >= 32) {
                $(($tokens, false) => tiles::<S, E, $rows, $tokens>(simd, block, cols, start, x.as_chunks().0, sums, first),
                ($tokens, true) =>
                    tiles::<S, E, $rows_of_32, $tokens>(simd, block, cols, start, x.as_chunks().0, sums, first),)*
                _ => {}
            }
        };
    }
    by_size! {
        1: 4 or 4, 2: 4 or 4, 3: 4 or 4, 4: 3 or 4,
        5: 2 or 4, 6: 2 or 4, 7: 1 or 3, 8: 1 or 3,
    }
}

/// Takes `R` rows of the block at a time, and those that are left one by one.
#[inline(always)]
fn tiles<S: Simd, E: Element, const R: usize, const T: usize>(
    simd: S,
    block: &[E],
    cols: usize,
    start: usize,
    x: &[[[S::f32s; 2]; T]],
    sums: &mut Sums<S::f32s>,
    first: usize,
) {
    let full = block.chunks_exact(R * cols);
    let rest = full.remainder().chunks_exact(cols);
    let (sums_full, sums_rest) = sums.split_at_mut(block.len() / cols / R * R);
    for (rows, sums) in full.zip(sums_full.as_chunks_mut::<R>().0) {
        let rows = std::array::from_fn(|r| &rows[r * cols..(r + 1) * cols]);
        tile::<S, E, R, T>(simd, rows, start, x, sums, first);
    }
    for (row, sums) in rest.zip(sums_rest) {
        tile::<S, E, 1, T>(simd, [row], start, x, std::array::from_mut(sums), first);
    }
}

/// Adds the products of `R` rows, from step `start` on, and `T` tokens.
#[inline(always)]
fn tile<S: Simd, E: Element, const R: usize, const T: usize>(
    simd: S,
    rows: [&[E]; R],
    start: usize,
    x: &[[[S::f32s; 2]; T]],
    sums: &mut [[S::f32s; MAX_TOKENS]; R],
    first: usize,
) {
    let mut tile = [[simd.splat_f32s(0.0); T]; R];
    for r in 0..R {
        tile[r].copy_from_slice(&sums[r][first..first + T]);
    }
    let whole = x.len().min(E::steps::<S>(rows[0]).0.len() - start);
    let steps: [&[E::Step<S>]; R] =
        std::array::from_fn(|r| &E::steps::<S>(rows[r]).0[start..start + whole]);
    let (x_whole, x_tail) = x.split_at(whole);
    for (i, x) in x_whole.iter().enumerate() {
        for r in 0..R {
            add_step(simd, &mut tile[r], E::widen(simd, steps[r][i]), x);
        }
    }
    if let Some(x) = x_tail.first() {
        for r in 0..R {
            let step = E::last_step(simd, E::steps::<S>(rows[r]).1);
            add_step(simd, &mut tile[r], E::widen(simd, step), x);
        }
    }
    for r in 0..R {
        sums[r][first..first + T].copy_from_slice(&tile[r]);
    }
}

#[inline(always)]
fn add_step<S: Simd, const T: usize>(
    simd: S,
    sums: &mut [S::f32s; T],
    weights: [S::f32s; 2],
    x: &[[S::f32s; 2]; T],
) {
    for half in 0..2 {
        for t in 0..T {
            sums[t] = mul_add(simd, weights[half], x[t][half], sums[t]);
        }
    }
}
