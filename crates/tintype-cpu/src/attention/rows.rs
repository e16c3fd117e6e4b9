//! The query rows of a task on their way through the keys: a running softmax.

use super::kernel::{add_values, scores};
use super::plan::Task;
use super::{Attention, CHUNK, PADDING};
use crate::scratch::Reusable;
use crate::simd::Simd;

/// Rows are ordered by token, then by head of the group. Heads are padded with zeros.
#[derive(Default)]
pub(super) struct Rows {
    group: usize,
    head_dim: usize,
    padded: usize,
    /// Queries times the scale: `[tokens, group, padded]`.
    q: Reusable,
    /// Values seen so far, weighted: in the shape of `q`.
    sums: Reusable,
    /// For each row.
    softmax: Vec<Softmax>,
    /// Scores, then weights, of one token: `[group, CHUNK]`.
    scores: Reusable,
    /// What the sums so far are scaled by: `[group]`.
    rescale: Vec<f32>,
    /// A row of queries that is not stored in f32.
    row: Vec<f32>,
}

/// The state of one row's softmax.
#[derive(Clone, Copy)]
struct Softmax {
    /// The largest score so far.
    max: f32,
    /// Of `exp(score - max)` over all scores so far.
    sum: f32,
}

impl Rows {
    /// Takes the queries of a task.
    pub(super) fn start(&mut self, simd: Simd, op: &Attention<'_>, task: &Task<'_>) {
        (self.group, self.head_dim) = (op.group(), op.head_dim());
        self.padded = self.head_dim.next_multiple_of(PADDING);
        let (num_rows, width) = (task.num_tokens * self.group, self.group * self.head_dim);
        self.softmax.clear();
        self.softmax.resize(num_rows, Softmax { max: f32::NEG_INFINITY, sum: 0.0 });
        self.sums.get(num_rows * self.padded).fill(0.0);
        let q = self.q.get(num_rows * self.padded);
        for (i, q) in q.chunks_exact_mut(self.group * self.padded).enumerate() {
            let row = op.q.row(simd, task.first_row + i, &mut self.row);
            let heads = row[task.kv_head * width..][..width].chunks_exact(self.head_dim);
            for (q, head) in q.chunks_exact_mut(self.padded).zip(heads) {
                let (values, padding) = q.split_at_mut(self.head_dim);
                for (q, value) in values.iter_mut().zip(head) {
                    *q = value * op.scale;
                }
                padding.fill(0.0);
            }
        }
    }

    /// Lets one token attend to keys that it sees, at most [`CHUNK`] of them.
    pub(super) fn attend(&mut self, simd: Simd, token: usize, k: &[f32], v: &[f32]) {
        let (rows, len) = (token * self.group, self.group * self.padded);
        let range = token * len..(token + 1) * len;
        let num_keys = k.len() / self.padded;
        let weights = self.scores.get(self.group * CHUNK);
        scores(simd, weights, &self.q.as_slice()[range.clone()], k, self.padded);
        self.rescale.clear();
        let softmax = &mut self.softmax[rows..rows + self.group];
        for (weights, softmax) in weights.chunks_exact_mut(CHUNK).zip(softmax) {
            self.rescale.push(softmax.update(simd, &mut weights[..num_keys]));
        }
        let sums = &mut self.sums.as_mut_slice()[range];
        add_values(simd, sums, &self.rescale, weights, v, self.padded);
    }

    /// Writes the weighted means of the values: `[tokens, group * head_dim]`.
    pub(super) fn finish(&mut self, out: &mut [f32]) {
        let sums = self.sums.as_slice().chunks_exact(self.padded);
        for ((out, sums), softmax) in
            out.chunks_exact_mut(self.head_dim).zip(sums).zip(&self.softmax)
        {
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = sum / softmax.sum;
            }
        }
    }
}

impl Softmax {
    /// Turns scores into weights relative to the largest score so far. Returns what earlier
    /// weights, and all that they went into, have to be multiplied by.
    fn update(&mut self, simd: Simd, scores: &mut [f32]) -> f32 {
        let max = self.max.max(simd.max(scores));
        let rescale = (self.max - max).exp();
        self.sum = self.sum * rescale + simd.exp_sum(scores, max);
        self.max = max;
        rescale
    }
}
