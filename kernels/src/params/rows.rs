//! Ops that work row by row: embedding, norms, rotation, cache writes, routing, sampling.

use bytemuck::{Pod, Zeroable};

use super::View;

/// `add`: `out += x`, a block of x a row, blocks of y sharing its columns.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct AddParams {
    /// Float `[num_rows, cols]`.
    pub out: View,
    /// Float `[num_rows, cols]`.
    pub x: View,
    /// Columns.
    pub cols: u32,
    /// 0.
    pub reserved: u32,
}

/// `silu_mul`: `out = silu(gate) * up`, a block of x a row, blocks of y sharing its columns.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SiluMulParams {
    /// Float `[num_rows, cols]`.
    pub out: View,
    /// Float `[num_rows, 2 * cols]`: gate, then up.
    pub gate_up: View,
    /// Columns of the output.
    pub cols: u32,
    /// 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<AddParams>() == 40);
const _: () = assert!(size_of::<SiluMulParams>() == 40);
