//! Matrix products of up to 16 rows, and the repacking of weights.

use bytemuck::{Pod, Zeroable};

use super::View;

/// `matvec_*`: `out = epilogue(norm(x) * weight^T + bias)`, bound by reading the weight. Blocks of
/// 8 warps, each for two rows of the weight or four.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct MatvecParams {
    /// Float `[num_tokens, rows]`, or half as many columns where the epilogue pairs them.
    pub out: View,
    /// Float `[num_tokens, cols]`.
    pub x: View,
    /// Float `[1, cols]`; address 0: x is taken as it is.
    pub norm: View,
    /// Float `[1, rows]`; address 0: none.
    pub bias: View,
    /// Address of the weight, `[rows, cols]`, row-major or packed as the kernel says.
    pub weight: u64,
    /// Tokens, 1 to 16.
    pub num_tokens: u32,
    /// Rows of the weight.
    pub rows: u32,
    /// Columns of the weight.
    pub cols: u32,
    /// What follows the product: an `EPILOGUE_*`.
    pub epilogue: u32,
    /// Rows of the gate, where a packed weight has a gate and an up projection in the same units;
    /// else 0.
    pub gate_rows: u32,
    /// The norm's epsilon.
    pub eps: f32,
}

/// `matvec_packed_*`: the same, streaming a packed weight through shared memory. Blocks of 16
/// warps, in clusters of `cluster`; x and the norm's weight are of the weight's type, in rows that
/// start at multiples of 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct MatvecPackedParams {
    /// The product.
    pub product: MatvecParams,
    /// Blocks that share each unit of 16 rows, cut along the columns.
    pub cluster: u32,
    /// 0.
    pub reserved: u32,
}

/// `pack`: puts rows of a 16-bit matrix in the order of `include/packed.cuh`. Blocks of 8 warps,
/// any number of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct PackParams {
    /// Address of the whole matrix in the packed order.
    pub packed: u64,
    /// Address of the rows, row-major, a multiple of 16 bytes.
    pub piece: u64,
    /// First of these rows.
    pub first_row: u32,
    /// How many they are.
    pub num_rows: u32,
    /// Columns, a multiple of 64.
    pub cols: u32,
    /// As in [`MatvecParams`].
    pub gate_rows: u32,
    /// First unit of 16 rows that may hold one of these.
    pub first_unit: u32,
    /// Units from there on that may.
    pub num_units: u32,
}

const _: () = assert!(size_of::<MatvecParams>() == 96);
const _: () = assert!(size_of::<MatvecPackedParams>() == 104);
const _: () = assert!(size_of::<PackParams>() == 40);
