//! Matrix products with weights, the ops that almost all time goes to.

use std::ops::Range;

use rayon::prelude::*;

use crate::simd::Simd;
use crate::weights::WeightStore;

/// Buffers that [`matmul_t`] reuses from call to call.
#[derive(Default)]
pub(crate) struct MatmulScratch {}

/// `y_t[r - rows.start][t] = Σ_c x[t][c] * w[r][c]` for every `r` in `rows` and `t < n`.
///
/// `x` is `[n, cols]`, `y_t` is `[rows.len(), n]`, both packed.
pub(crate) fn matmul_t(
    simd: Simd,
    x: &[f32],
    n: usize,
    w: &WeightStore,
    rows: Range<usize>,
    y_t: &mut [f32],
    _scratch: &mut MatmulScratch,
) {
    let cols = w.cols();
    y_t.par_chunks_mut(n).zip(rows).for_each_init(
        || vec![0.0; cols],
        |row, (y, r)| {
            w.read_row(r, row);
            for (y, x) in y.iter_mut().zip(x.chunks_exact(cols)) {
                *y = simd.dot(x, row);
            }
        },
    );
}
