//! Rotary position embedding.

use tintype_ops::Result;

use crate::device_value::checked_index;
use crate::parallel::Workers;
use crate::view::{Matrix, RowMut};

/// Rotates every head of every row by the angles of the row's position.
///
/// # Errors
/// When a position has no row in the table; nothing is rotated then.
pub(crate) fn rope(
    workers: Workers<'_>,
    x: Vec<RowMut<'_>>,
    cols: usize,
    positions: Matrix<'_, i32>,
    table: Matrix<'_, f32>,
    head_dim: usize,
) -> Result<()> {
    let mut angles = Vec::with_capacity(x.len());
    for (i, row) in positions.rows().enumerate() {
        let position = checked_index("rope", i, "position", row[0], table.num_rows())?;
        angles.push(table.row(position).split_at(table.num_cols() / 2));
    }
    let cost = x.len() * cols;
    workers.for_each(x, cost, |scratch: &mut Vec<f32>, i, mut row| {
        let (cos, sin) = angles[i];
        row.update(workers.simd, scratch, |values| {
            for head in values.chunks_exact_mut(head_dim) {
                rotate(head, cos, sin);
            }
        });
    });
    Ok(())
}

/// Rotates the pairs `(j, j + half)` of a head's first `2 * half` elements.
fn rotate(head: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    let (first, rest) = head.split_at_mut(half);
    for (((a, b), cos), sin) in first.iter_mut().zip(rest).zip(cos).zip(sin) {
        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
    }
}
