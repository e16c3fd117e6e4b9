//! Which weights are packed, and the launches that do it.

use std::ops::Range;

use tintype_kernels::params::PackParams;
use tintype_ops::{DType, WeightRole};

use super::super::{Chip, Launch, Layout};

/// Rows of a unit, and of each half of it where gate and up share one.
const UNIT_ROWS: u32 = 16;
const HALF_ROWS: u32 = 8;
/// Columns within which the order is permuted.
const GROUP_COLS: u32 = 64;
/// Warps of a block, and blocks at most. A warp takes a group of columns of a unit at a time.
const WARPS: u64 = 8;
const MAX_BLOCKS: u64 = 2048;

/// The layout in which a weight is read fastest.
pub(in super::super) fn layout(
    chip: Chip,
    rows: u32,
    cols: u32,
    dtype: DType,
    role: WeightRole,
) -> Layout {
    let gate_up = match role {
        WeightRole::Plain => false,
        WeightRole::GateUp => true,
        WeightRole::Experts { .. } => return Layout::RowMajor,
    };
    let has_units = rows.is_multiple_of(UNIT_ROWS) && cols.is_multiple_of(GROUP_COLS);
    let sixteen_bit = matches!(dtype, DType::Bf16 | DType::F16);
    if chip.is_hopper() && has_units && sixteen_bit {
        Layout::Packed { gate_up }
    } else {
        Layout::RowMajor
    }
}

/// Packs `rows` of the matrix of `num_rows` rows that is packed at `packed`. They lie row-major at
/// `piece`, a multiple of 16 bytes. Other rows stay as they are.
pub(in super::super) fn pack(
    [packed, piece]: [u64; 2],
    [num_rows, cols]: [u32; 2],
    gate_up: bool,
    rows: Range<u32>,
) -> Launch {
    let gate_rows = if gate_up { num_rows / 2 } else { 0 };
    let units = units(&rows, gate_rows);
    let params = PackParams {
        packed,
        piece,
        first_row: rows.start,
        num_rows: rows.end - rows.start,
        cols,
        gate_rows,
        first_unit: units.start,
        num_units: units.end - units.start,
    };
    let work = u64::from(params.num_units) * u64::from(cols / GROUP_COLS);
    let blocks = work.div_ceil(WARPS).min(MAX_BLOCKS) as u32;
    Launch::new("pack", [blocks, 1, 1], [WARPS as u32 * 32, 1, 1], &params)
}

/// The units that hold `rows`, and no more than a few others.
fn units(rows: &Range<u32>, gate_rows: u32) -> Range<u32> {
    if gate_rows == 0 {
        return rows.start / UNIT_ROWS..rows.end.div_ceil(UNIT_ROWS);
    }
    let of = |rows: Range<u32>| rows.start / HALF_ROWS..rows.end.div_ceil(HALF_ROWS);
    if rows.end <= gate_rows {
        of(rows.clone())
    } else if rows.start >= gate_rows {
        of(rows.start - gate_rows..rows.end - gate_rows)
    } else {
        0..gate_rows / HALF_ROWS
    }
}
