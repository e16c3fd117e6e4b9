//! RMS normalisation, of whole rows and of single heads.

use tintype_ops::Norm;

use crate::memory::Memory;
use crate::parallel::Workers;
use crate::simd::Simd;
use crate::view::{FloatMatrix, RowMut};

/// A norm's weight in f32, and its epsilon.
pub(crate) struct RmsNorm {
    weight: Vec<f32>,
    eps: f32,
}

impl RmsNorm {
    pub(crate) fn new(simd: Simd, memory: &Memory, norm: Norm) -> Self {
        let mut weight = vec![0.0; norm.weight.cols as usize];
        memory.floats(norm.weight).read_row(simd, 0, &mut weight);
        Self { weight, eps: norm.eps }
    }

    /// `out = x / sqrt(mean(x²) + eps) * weight`.
    pub(crate) fn apply(&self, simd: Simd, out: &mut [f32], x: &[f32]) {
        simd.scale_mul(out, x, self.scale(simd, x), &self.weight);
    }

    fn apply_in_place(&self, simd: Simd, x: &mut [f32]) {
        let scale = self.scale(simd, x);
        for (x, weight) in x.iter_mut().zip(&self.weight) {
            *x = *x * scale * weight;
        }
    }

    fn scale(&self, simd: Simd, x: &[f32]) -> f32 {
        let mean_square = simd.dot(x, x) / x.len() as f32;
        1.0 / (mean_square + self.eps).sqrt()
    }
}

/// `out[i] = norm(x[i])`.
pub(crate) fn rms_norm(
    workers: Workers<'_>,
    out: Vec<RowMut<'_>>,
    x: FloatMatrix<'_>,
    norm: &RmsNorm,
) {
    let cost = out.len() * x.num_cols();
    workers.for_each(out, cost, |scratch: &mut [Vec<f32>; 2], i, mut row| {
        let [x_scratch, out_scratch] = scratch;
        let x = x.row(workers.simd, i, x_scratch);
        row.write(workers.simd, out_scratch, |values| norm.apply(workers.simd, values, x));
    });
}

/// Normalises each head of each row by itself.
pub(crate) fn head_norm(workers: Workers<'_>, x: Vec<RowMut<'_>>, cols: usize, norm: &RmsNorm) {
    let cost = x.len() * cols;
    workers.for_each(x, cost, |scratch: &mut Vec<f32>, _, mut row| {
        row.update(workers.simd, scratch, |values| {
            for head in values.chunks_exact_mut(norm.weight.len()) {
                norm.apply_in_place(workers.simd, head);
            }
        });
    });
}
