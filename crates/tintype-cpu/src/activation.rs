//! Elementwise ops: the gated activation and the residual addition.

use crate::parallel::Workers;
use crate::view::{FloatMatrix, RowMut};

/// What an exponential and a division cost, in element operations.
pub(crate) const SILU_COST: usize = 4;

/// `out = silu(gate) * up`, where a row of `gate_up` holds the gate, then up.
pub(crate) fn silu_mul(workers: Workers<'_>, out: Vec<RowMut<'_>>, gate_up: FloatMatrix<'_>) {
    let cost = SILU_COST * out.len() * gate_up.num_cols();
    workers.for_each(out, cost, |scratch: &mut [Vec<f32>; 2], i, mut row| {
        let [x_scratch, out_scratch] = scratch;
        let gate_up = gate_up.row(workers.simd, i, x_scratch);
        let (gate, up) = gate_up.split_at(gate_up.len() / 2);
        row.write(workers.simd, out_scratch, |values| workers.simd.silu_mul(values, gate, up));
    });
}

/// `out += x`.
pub(crate) fn add(workers: Workers<'_>, out: Vec<RowMut<'_>>, x: FloatMatrix<'_>) {
    let cost = out.len() * x.num_cols();
    workers.for_each(out, cost, |scratch: &mut [Vec<f32>; 2], i, mut row| {
        let [x_scratch, out_scratch] = scratch;
        let x = x.row(workers.simd, i, x_scratch);
        row.update(workers.simd, out_scratch, |values| workers.simd.axpy(values, 1.0, x));
    });
}
