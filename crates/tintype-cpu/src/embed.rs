//! Ops that copy rows: `embed` and `gather`.

use crate::parallel::Workers;
use crate::view::{FloatMatrix, Matrix, RowMut};
use crate::weights::WeightStore;

/// `out[i] = table[ids[i]]`, zeros where the table has no such row.
pub(crate) fn embed(
    workers: Workers<'_>,
    out: Vec<RowMut<'_>>,
    ids: Matrix<'_, i32>,
    table: &WeightStore,
) {
    let cost = out.len() * table.cols();
    workers.for_each(out, cost, |scratch: &mut Vec<f32>, i, mut row| {
        row.write(workers.simd, scratch, |values| match index(ids.row(i)[0], table.rows()) {
            Some(id) => table.read_row(id, values),
            None => values.fill(0.0),
        });
    });
}

/// `out[i] = x[rows[i]]`, zeros where `x` has no such row.
pub(crate) fn gather(
    workers: Workers<'_>,
    out: Vec<RowMut<'_>>,
    x: FloatMatrix<'_>,
    rows: Matrix<'_, i32>,
) {
    let cost = out.len() * x.num_cols();
    workers.for_each(out, cost, |scratch: &mut Vec<f32>, i, mut row| {
        row.write(workers.simd, scratch, |values| match index(rows.row(i)[0], x.num_rows()) {
            Some(source) => x.read_row(workers.simd, source, values),
            None => values.fill(0.0),
        });
    });
}

fn index(value: i32, len: usize) -> Option<usize> {
    usize::try_from(value).ok().filter(|&index| index < len)
}
