//! Matrix products of many rows.

use bytemuck::{Pod, Zeroable};

use super::View;

/// `gemm_rows_*`: `out = epilogue(x * weight^T + bias)`. Blocks are (rows, tokens).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GemmParams {
    /// Float `[num_tokens, rows]`, or half as many columns where the epilogue pairs them.
    pub out: View,
    /// Float `[num_tokens, cols]`.
    pub x: View,
    /// Float `[1, rows]`; address 0: none.
    pub bias: View,
    /// Address of the weight, `[rows, cols]`, row-major or packed as the kernel says.
    pub weight: u64,
    /// Tokens.
    pub num_tokens: u32,
    /// Rows of the weight.
    pub rows: u32,
    /// Columns of the weight.
    pub cols: u32,
    /// What follows the product: an `EPILOGUE_*`.
    pub epilogue: u32,
}

/// `gemm_any`: the same for every mix of types and layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GemmAnyParams {
    /// The product.
    pub product: GemmParams,
    /// Element type of the weight.
    pub weight_dtype: u32,
    /// How the weight lies: a `PACKING_*`.
    pub packing: u32,
}

/// What follows a product: `out = y`.
pub const EPILOGUE_STORE: u32 = 0;
/// `out += y`.
pub const EPILOGUE_ADD: u32 = 1;
/// `out = silu(gate) * up`, of the first and the second half of y's columns.
pub const EPILOGUE_SILU_MUL: u32 = 2;

/// A weight lies row by row.
pub const PACKING_NONE: u32 = 0;
/// It is packed.
pub const PACKING_PLAIN: u32 = 1;
/// It is packed, gate and up in the same units.
pub const PACKING_GATE_UP: u32 = 2;

const _: () = assert!(size_of::<GemmParams>() == 72);
const _: () = assert!(size_of::<GemmAnyParams>() == 80);
