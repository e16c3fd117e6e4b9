//! Matrix products with weights, the ops that almost all time goes to.
//!
//! With few tokens a product takes as long as reading the weights ([`skinny`]); with many, as
//! long as the arithmetic ([`gemm`]). Both convert the stored elements to f32 exactly and
//! accumulate in f32. No token's result depends on what the other tokens contain, and none on
//! the number of threads.

mod element;
mod gemm;
mod skinny;

#[cfg(test)]
mod tests;

use std::ops::Range;

use half::{bf16, f16};
use rayon::prelude::*;
use tintype_ops::DType;

use self::element::Element;

use crate::scratch::Reusable;
use crate::simd::Simd;
use crate::weights::WeightStore;

/// Up to as many tokens, a token's bits do not depend on how many there are; above, they do not
/// either, but the sums run in another order.
pub(crate) const MAX_SKINNY_TOKENS: usize = skinny::MAX_TOKENS;

/// Multiply-adds below which waking other threads costs more than it saves. A smaller product
/// runs on the calling thread, which need not be one of a pool.
pub(crate) const MIN_PARALLEL_WORK: usize = 50_000;
/// Tasks per thread: enough that a thread which is late can be helped, few enough that each
/// streams through long stretches of memory.
const TASKS_PER_THREAD: usize = 8;

/// Buffers that [`matmul_t`] reuses from call to call.
#[derive(Default)]
pub(crate) struct MatmulScratch {
    /// The activations in the order in which the kernel reads them.
    x: Reusable,
}

/// One product: `x` is `[n, cols]`, packed; `rows` are those of `w` that are wanted.
struct Product<'a> {
    simd: Simd,
    x: &'a [f32],
    n: usize,
    w: &'a WeightStore,
    rows: Range<usize>,
}

impl Product<'_> {
    /// Multiply-adds that the product takes.
    fn work(&self) -> usize {
        self.rows.len() * self.x.len()
    }
}

/// `y_t[r - rows.start][t] = Σ_c x[t][c] * w[r][c]` for every `r` in `rows` and `t < n`.
///
/// `x` is `[n, cols]`, `y_t` is `[rows.len(), n]`, both packed. Runs on the current rayon pool.
/// For one `n`, a token's result depends on its own `x`, the weights and the SIMD level only.
pub(crate) fn matmul_t(
    simd: Simd,
    x: &[f32],
    n: usize,
    w: &WeightStore,
    rows: Range<usize>,
    y_t: &mut [f32],
    scratch: &mut MatmulScratch,
) {
    assert!(rows.end <= w.rows(), "rows {rows:?} of a matrix that has {}", w.rows());
    assert_eq!((x.len(), y_t.len()), (n * w.cols(), n * rows.len()), "sizes of x and y_t");
    if y_t.is_empty() {
        return;
    }
    let product = Product { simd, x, n, w, rows };
    match w.dtype() {
        DType::F16 => run::<f16>(&product, y_t, scratch),
        DType::Bf16 => run::<bf16>(&product, y_t, scratch),
        _ => run::<f32>(&product, y_t, scratch),
    }
}

fn run<E: Element>(product: &Product<'_>, y_t: &mut [f32], scratch: &mut MatmulScratch) {
    if product.n <= MAX_SKINNY_TOKENS {
        skinny::run::<E>(product, y_t, &mut scratch.x);
    } else {
        gemm::run::<E>(product, y_t, &mut scratch.x);
    }
}

/// Calls `task` with pieces of `data`, and the number of the unit that each starts with: all of
/// it at once where `work` (in multiply-adds) does not pay for waking threads, else pieces of
/// whole multiples of `granule` units, on all threads.
fn for_each_piece(
    data: &mut [f32],
    unit: usize,
    granule: usize,
    work: usize,
    task: impl Fn(usize, &mut [f32]) + Sync,
) {
    // Asking for the threads first would start rayon's global ones where no pool is entered.
    let threads = if work < MIN_PARALLEL_WORK { 1 } else { rayon::current_num_threads() };
    if threads == 1 {
        return task(0, data);
    }
    let units = (data.len() / unit).div_ceil(threads * TASKS_PER_THREAD);
    let units = units.next_multiple_of(granule);
    let pieces = data.par_chunks_mut(units * unit).enumerate();
    pieces.for_each(|(i, piece)| task(i * units, piece));
}
