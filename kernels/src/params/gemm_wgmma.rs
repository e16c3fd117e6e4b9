//! Matrix products of many rows, by warps in groups of four.

use bytemuck::{Pod, Zeroable};

use super::{GemmParams, View};

/// `gemm_wgmma_*`: `out = epilogue(x * weight^T + bias)` with a packed weight. `x` is arranged by
/// `gemm_arrange_*`, and its stride is the tokens of a group of columns. A cluster cuts the
/// columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GemmWgmmaParams {
    /// The product.
    pub product: GemmParams,
    /// Chunks that cover the rows.
    pub num_row_chunks: u32,
    /// How many of them have `height` units of 16 rows; the others have one less.
    pub num_tall: u32,
    /// Units of a tall chunk, no more than warps that multiply.
    pub height: u32,
    /// Tiles that cover the tokens.
    pub num_token_tiles: u32,
    /// Slots of the ring in shared memory.
    pub num_stages: u32,
    /// 0.
    pub reserved: u32,
}

/// `gemm_arrange_*`: x as `gemm_wgmma_*` takes it, normalised where there is a norm. Blocks are
/// (tokens, parts of a row), one part where there is a norm.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct ArrangeParams {
    /// Address of `[cols / 64, room, 64]` elements of the type that the kernel's name says.
    pub out: u64,
    /// Float `[num_tokens, cols]`.
    pub x: View,
    /// Float `[1, cols]`, the norm's weight; address 0: none.
    pub norm: View,
    /// Tokens.
    pub num_tokens: u32,
    /// Tokens of a group of columns.
    pub room: u32,
    /// Columns, a multiple of 64.
    pub cols: u32,
    /// The norm's.
    pub eps: f32,
}

const _: () = assert!(size_of::<GemmWgmmaParams>() == 96);
const _: () = assert!(size_of::<ArrangeParams>() == 56);
