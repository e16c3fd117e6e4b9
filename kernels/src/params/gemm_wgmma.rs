//! Matrix products of many rows, by warps in groups of four.

use bytemuck::{Pod, Zeroable};

use super::{GemmParams, View};

/// What the blocks of a cluster share: nothing, a cluster of any size cuts the columns.
pub const SHARES_NOTHING: u32 = 0;
/// The weight: its two blocks have neighbouring tiles of tokens.
pub const SHARES_WEIGHT: u32 = 1;
/// x: its two blocks have neighbouring chunks of rows.
pub const SHARES_X: u32 = 2;

/// `gemm_wgmma_*`: `out = epilogue(x * weight^T + bias)` with a packed weight. `x` is arranged by
/// `gemm_arrange_*`, and its stride is the tokens of a group of columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GemmWgmmaParams {
    /// The product.
    pub product: GemmParams,
    /// Address where the first half of the blocks hand over sums to the second half, which have the
    /// rest of the columns; 0: all blocks have all columns. A word for each warp of a half that
    /// multiplies, 0 at first, then 64 bytes for each of the tile's tokens and each such warp.
    pub handover: u64,
    /// Chunks that cover the rows.
    pub num_row_chunks: u32,
    /// How many of them have `height` units of 16 rows; the others have `step` less.
    pub num_tall: u32,
    /// Units of a tall chunk, no more than warps that multiply.
    pub height: u32,
    /// Units that the other chunks have less.
    pub step: u32,
    /// Tiles that cover the tokens; `x` has an even number of them where the weight is shared.
    pub num_token_tiles: u32,
    /// Slots of the ring in shared memory.
    pub num_stages: u32,
    /// What the blocks of a cluster share: `SHARES_*`.
    pub shares: u32,
    /// Groups of 64 columns of the blocks that hand over sums.
    pub first_groups: u32,
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
    /// Address of words that become 0, as the product behind expects.
    pub flags: u64,
    /// How many words.
    pub num_flags: u32,
    /// Tokens.
    pub num_tokens: u32,
    /// Tokens of a group of columns.
    pub room: u32,
    /// Columns, a multiple of 64.
    pub cols: u32,
    /// The norm's.
    pub eps: f32,
    /// 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<GemmWgmmaParams>() == 112);
const _: () = assert!(size_of::<ArrangeParams>() == 72);
