//! Mixtures of experts: routing, and the experts' matrices over the tokens that chose them.

use tintype_ops::{Epilogue, Result, Tensor, Weight};

use crate::dense::{Product, finish};
use crate::device_value::checked_index;
use crate::matmul::{MAX_SKINNY_TOKENS, MatmulScratch};
use crate::memory::Memory;
use crate::parallel::Workers;
use crate::scratch::{Reusable, Scratch};
use crate::view::{FloatMatrix, Matrix, RowMut};
use crate::weights::WeightStore;

/// Softmax over each row of `logits`, then its `k` largest, largest first.
pub(crate) fn route(
    workers: Workers<'_>,
    ids: Vec<&mut [i32]>,
    weights: Vec<&mut [f32]>,
    logits: FloatMatrix<'_>,
    renormalize: bool,
) {
    const COST: usize = 16;
    let cost = COST * ids.len() * logits.num_cols();
    let rows = ids.into_iter().zip(weights).collect();
    workers.for_each(rows, cost, |scratch: &mut Vec<f32>, i, (ids, weights)| {
        choose(ids, weights, logits.row(workers.simd, i, scratch), renormalize);
    });
}

/// The experts of one token. A NaN is chosen last, and makes every weight NaN.
fn choose(ids: &mut [i32], weights: &mut [f32], logits: &[f32], renormalize: bool) {
    let key = |id: &i32| {
        let logit = logits[*id as usize];
        if logit.is_nan() { f32::NEG_INFINITY } else { logit }
    };
    let mut order: Vec<i32> = (0..).take(logits.len()).collect();
    order.sort_by(|a, b| key(b).partial_cmp(&key(a)).unwrap_or(std::cmp::Ordering::Equal));
    ids.copy_from_slice(&order[..ids.len()]);
    let max = key(&order[0]);
    let exp = |logit: f32| (logit - max).exp();
    for (weight, id) in weights.iter_mut().zip(&*ids) {
        *weight = exp(logits[*id as usize]);
    }
    let chosen: f32 = weights.iter().sum();
    let all: f32 = logits.iter().map(|&logit| exp(logit)).sum();
    let sum = if renormalize { chosen } else { all };
    weights.iter_mut().for_each(|weight| *weight /= sum);
}

/// A stack of equally tall matrices, and which of them each token chose. Choice `i * k + j` is
/// the `j`-th of token `i`.
pub(crate) struct Experts<'a> {
    op: &'static str,
    weight: &'a WeightStore,
    ids: Matrix<'a, i32>,
    num_experts: usize,
}

impl<'a> Experts<'a> {
    pub(crate) fn new(
        op: &'static str,
        memory: &'a Memory,
        weight: Weight,
        ids: Tensor,
        num_experts: usize,
    ) -> Self {
        Self { op, weight: memory.weight(weight), ids: memory.i32s(ids), num_experts }
    }

    /// For each expert, the choices that fell on it, in order.
    fn choices(&self) -> Result<Vec<Vec<usize>>> {
        let mut choices = vec![Vec::new(); self.num_experts];
        let mut next = 0..;
        for (i, ids) in self.ids.rows().enumerate() {
            for (&id, choice) in ids.iter().zip(&mut next) {
                choices[checked_index(self.op, i, "expert", id, self.num_experts)?].push(choice);
            }
        }
        Ok(choices)
    }

    /// How many choices one product takes: at most as many as the first number says, padded to
    /// the second. Decided by the size of the batch, not by what the router chose, so that the
    /// kernel, and with it a row's bits, does not depend on the other rows.
    fn group_size(&self) -> (usize, usize) {
        let num_choices = self.ids.num_rows() * self.ids.num_cols();
        let few = num_choices <= MAX_SKINNY_TOKENS * self.num_experts;
        if few { (MAX_SKINNY_TOKENS, 1) } else { (num_choices, MAX_SKINNY_TOKENS + 1) }
    }

    /// `out[choice] = epilogue(x[row_of(choice)] · expertᵀ)` for every choice, expert by expert,
    /// so that an expert's matrix is read once.
    fn run(
        &self,
        workers: Workers<'_>,
        scratch: &mut ExpertScratch<'_>,
        out: Vec<RowMut<'_>>,
        x: FloatMatrix<'_>,
        row_of: impl Fn(usize) -> usize,
        epilogue: Epilogue,
    ) -> Result<()> {
        let (height, cols) = (self.weight.rows() / self.num_experts, self.weight.cols());
        let (max_group, min_group) = self.group_size();
        let mut out: Vec<_> = out.into_iter().map(Some).collect();
        for (expert, choices) in self.choices()?.iter().enumerate() {
            for group in choices.chunks(max_group) {
                let n = group.len().max(min_group);
                let packed = scratch.x.get(n * cols);
                let (real, padding) = packed.split_at_mut(group.len() * cols);
                for (choice, row) in group.iter().zip(real.chunks_exact_mut(cols)) {
                    x.read_row(workers.simd, row_of(*choice), row);
                }
                padding.fill(0.0);
                let y_t = scratch.y_t.get(height * n);
                let rows = expert * height..(expert + 1) * height;
                workers.matmul_t(packed, n, self.weight, rows, y_t, scratch.matmul);
                let mut out: Vec<_> = group.iter().filter_map(|&c| out[c].take()).collect();
                finish(workers, &mut out, &Product { y_t, n, bias: None }, epilogue);
            }
        }
        Ok(())
    }
}

/// The parts of [`Scratch`] that a product takes.
struct ExpertScratch<'a> {
    x: &'a mut Reusable,
    y_t: &'a mut Reusable,
    matmul: &'a mut MatmulScratch,
}

/// `out[i * k + j] = silu(gate) * up` of the `j`-th expert of token `i` on `x[i]`.
///
/// # Errors
/// When an id names no expert.
pub(crate) fn gate_up(
    workers: Workers<'_>,
    scratch: &mut Scratch,
    out: Vec<RowMut<'_>>,
    x: FloatMatrix<'_>,
    experts: &Experts<'_>,
) -> Result<()> {
    let Scratch { x: packed, y_t, matmul, .. } = scratch;
    let k = experts.ids.num_cols();
    let mut scratch = ExpertScratch { x: packed, y_t, matmul };
    experts.run(workers, &mut scratch, out, x, |choice| choice / k, Epilogue::SiluMul)
}

/// `out[i] += Σ_j weights[i, j] * (j-th expert of token i on x[i * k + j])`, summed in the order
/// of `j`.
///
/// # Errors
/// When an id names no expert.
pub(crate) fn down(
    workers: Workers<'_>,
    scratch: &mut Scratch,
    out: Vec<RowMut<'_>>,
    x: FloatMatrix<'_>,
    weights: Matrix<'_, f32>,
    experts: &Experts<'_>,
) -> Result<()> {
    let Scratch { x: packed, y_t, matmul, out: parts } = scratch;
    let (k, dim) = (experts.ids.num_cols(), experts.weight.rows() / experts.num_experts);
    let cost = out.len() * k * dim;
    let parts = parts.get(cost);
    let rows = parts.chunks_exact_mut(dim).map(RowMut::F32).collect();
    let mut scratch = ExpertScratch { x: packed, y_t, matmul };
    experts.run(workers, &mut scratch, rows, x, |choice| choice, Epilogue::Store)?;
    let parts = &*parts;
    workers.for_each(out, cost, |scratch: &mut [Vec<f32>; 2], i, mut row| {
        let [sum, row_scratch] = scratch;
        sum.clear();
        sum.resize(dim, 0.0);
        workers.simd.axpy_rows(sum, weights.row(i), &parts[i * k * dim..][..k * dim]);
        row.update(workers.simd, row_scratch, |values| workers.simd.axpy(values, 1.0, sum));
    });
    Ok(())
}
