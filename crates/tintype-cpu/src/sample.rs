//! Drawing tokens.

use tintype_ops::sampling::{SampleParams, sample};

use crate::parallel::Workers;
use crate::view::Matrix;

/// What a draw costs for each token of the vocabulary, in element operations: a hash, two
/// logarithms, and the filters.
const DRAW_COST: usize = 16;

/// `out[i]` is drawn from `logits[i]` as `params[i]` says.
pub(crate) fn sample_rows(
    workers: Workers<'_>,
    out: Vec<&mut [i32]>,
    logits: Matrix<'_, f32>,
    params: Matrix<'_, u32>,
) {
    let cost = DRAW_COST * out.len() * logits.num_cols();
    workers.for_each(out, cost, |(): &mut (), i, token| {
        let bytes: &[u8] = bytemuck::cast_slice(params.row(i));
        let params: SampleParams = bytemuck::pod_read_unaligned(bytes);
        token[0] = sample(logits.row(i), &params).cast_signed();
    });
}
