//! Ops that work row by row: embedding, norms, rotation, cache writes, routing, sampling.

use bytemuck::{Pod, Zeroable};

use super::View;

/// `embed`: `out[i] = table[ids[i]]`, zeros where the table has no such row. A block of x a row,
/// blocks of y sharing its columns.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct EmbedParams {
    /// Float `[num_rows, cols]`.
    pub out: View,
    /// i32 `[num_rows, 1]`.
    pub ids: View,
    /// Float `[table_rows, cols]`, row-major unless `packed`.
    pub table: View,
    /// Columns.
    pub cols: u32,
    /// Rows of the table.
    pub table_rows: u32,
    /// 1 where the table is packed as `include/packed.cuh` says, else 0.
    pub packed: u32,
    /// 0.
    pub reserved: u32,
}

/// `gather`: `out[i] = x[indices[i]]`, zeros where `x` has no such row. A block of x a row, blocks
/// of y sharing its columns.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct GatherParams {
    /// Float `[num_rows, cols]`.
    pub out: View,
    /// Float `[x_rows, cols]`.
    pub x: View,
    /// i32 `[num_rows, 1]`.
    pub indices: View,
    /// Columns.
    pub cols: u32,
    /// Rows of `x`.
    pub x_rows: u32,
}

/// `add`: `out += x`. A block of x a row, blocks of y sharing its columns.
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

/// `silu_mul`: `out = silu(gate) * up`. A block of x a row, blocks of y sharing its columns.
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

/// `rms_norm`, a block a row, and `head_norm`, a warp a head:
/// `out = x / sqrt(mean(x²) + eps) * weight`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct NormParams {
    /// Float `[num_rows, heads * dim]`; `head_norm`: `x` itself.
    pub out: View,
    /// Float `[num_rows, heads * dim]`.
    pub x: View,
    /// Float `[1, dim]`.
    pub weight: View,
    /// Elements that are normalised together.
    pub dim: u32,
    /// Heads of a row; 1 for `rms_norm`.
    pub heads: u32,
    /// Rows of `x`.
    pub num_rows: u32,
    /// Added to the mean square.
    pub eps: f32,
}

/// `rope`: rotates pairs `(j, j + rotary / 2)` of each head's first `rotary` elements. A block of x
/// a row, blocks of y sharing its pairs.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct RopeParams {
    /// Float `[num_rows, heads * head_dim]`, in place.
    pub x: View,
    /// i32 `[num_rows, 1]`. A row whose position is not in the table stays as it is.
    pub positions: View,
    /// f32 `[max_positions, rotary]`: cosines, then sines.
    pub table: View,
    /// Heads of a row.
    pub heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Elements of a head that are rotated.
    pub rotary: u32,
    /// Rows of the table.
    pub max_positions: u32,
}

/// `write_kv`: stores each token's K and V in its slot of
/// `[num_blocks, num_kv_heads, block_size, head_dim]`. A block of x a token, blocks of y sharing
/// its elements.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct WriteKvParams {
    /// Address of the keys.
    pub k_cache: u64,
    /// Address of the values.
    pub v_cache: u64,
    /// Float `[num_rows, num_kv_heads * head_dim]`.
    pub k: View,
    /// Float `[num_rows, num_kv_heads * head_dim]`.
    pub v: View,
    /// i32 `[num_rows, 1]`. A slot that is not in the cache, as −1, stores nothing.
    pub slots: View,
    /// Element type of the cache.
    pub cache_dtype: u32,
    /// KV heads.
    pub num_kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Tokens of a block.
    pub block_size: u32,
    /// Tokens of the cache.
    pub num_slots: u32,
    /// 0.
    pub reserved: u32,
}

/// `rope_kv`: norms of the heads of q and k, rotation of both, K and V to their slots. A block of x
/// a token, a warp a head.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct RopeKvParams {
    /// Address of the keys.
    pub k_cache: u64,
    /// Address of the values.
    pub v_cache: u64,
    /// Float `[num_rows, (num_heads + 2 * num_kv_heads) * head_dim]`; q and k in place.
    pub qkv: View,
    /// i32 `[num_rows, 1]`. A row whose position is not in the table is not rotated.
    pub positions: View,
    /// i32 `[num_rows, 1]`. A slot that is not in the cache, as −1, stores nothing.
    pub slots: View,
    /// f32 `[max_positions, rotary]`: cosines, then sines.
    pub table: View,
    /// Float `[1, head_dim]`; address 0 where there is no norm.
    pub q_norm: View,
    /// The same for the heads of k.
    pub k_norm: View,
    /// Added to the mean square of a head of q.
    pub q_eps: f32,
    /// Added to the mean square of a head of k.
    pub k_eps: f32,
    /// Query heads.
    pub num_heads: u32,
    /// KV heads.
    pub num_kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Elements of a head that are rotated.
    pub rotary: u32,
    /// Rows of the table.
    pub max_positions: u32,
    /// Element type of the cache.
    pub cache_dtype: u32,
    /// Tokens of a block.
    pub block_size: u32,
    /// Tokens of the cache.
    pub num_slots: u32,
}

/// `moe_route`: the `k` experts of each token, and their weights. A warp a row.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct MoeRouteParams {
    /// i32 `[num_rows, k]`.
    pub ids: View,
    /// f32 `[num_rows, k]`.
    pub weights: View,
    /// Float `[num_rows, num_experts]`.
    pub logits: View,
    /// Tokens.
    pub num_rows: u32,
    /// Experts.
    pub num_experts: u32,
    /// Experts of each token.
    pub k: u32,
    /// 1 where the `k` weights are scaled to sum to 1, else 0.
    pub renormalize: u32,
}

/// `moe_gate_up_*`, `moe_parts_*` and `moe_down_*`: a stack of matrices over the rows of `x` that
/// chose each. Choice `i * k + j` is the `j`-th of token `i`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct ExpertsParams {
    /// `moe_gate_up`: float `[num_tokens * k, rows]`; `moe_parts`: f32 `[num_tokens * k, rows]`;
    /// `moe_down`: float `[num_tokens, rows]`, added to.
    pub out: View,
    /// `moe_gate_up`: float `[num_tokens, cols]`; the others: float `[num_tokens * k, cols]`.
    pub x: View,
    /// i32 `[num_tokens, k]`. Nothing is computed for an id that names no expert.
    pub ids: View,
    /// f32 `[num_tokens, k]`; `moe_down` only.
    pub weights: View,
    /// Address of `[num_experts * rows, cols]`, row-major; `moe_gate_up`: twice as many rows.
    pub weight: u64,
    /// Tokens.
    pub num_tokens: u32,
    /// Experts of each token.
    pub k: u32,
    /// Experts.
    pub num_experts: u32,
    /// Outputs of an expert.
    pub rows: u32,
    /// Inputs of an expert.
    pub cols: u32,
    /// Blocks that share the rows of an expert. The grid has so many for each slot (`moe_gate_up`,
    /// `moe_parts`; a slot is a choice, or an expert where there are fewer of those) or for each
    /// token (`moe_down`).
    pub row_blocks: u32,
}

/// `moe_combine`: `out[i] += Σ_j weights[i, j] * parts[i * k + j]`. A block of x a token, blocks of
/// y sharing its columns.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct MoeCombineParams {
    /// Float `[num_tokens, cols]`, added to.
    pub out: View,
    /// f32 `[num_tokens * k, cols]`.
    pub parts: View,
    /// f32 `[num_tokens, k]`.
    pub weights: View,
    /// Columns.
    pub cols: u32,
    /// Experts of each token.
    pub k: u32,
}

/// `sample`: draws one token of each row. A cluster a row.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SampleParams {
    /// i32 `[num_rows, 1]`.
    pub out: View,
    /// f32 `[num_rows, cols]`.
    pub logits: View,
    /// u32 `[num_rows, 8]`: how each row is drawn.
    pub params: View,
    /// Columns.
    pub cols: u32,
    /// 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<EmbedParams>() == 64);
const _: () = assert!(size_of::<GatherParams>() == 56);
const _: () = assert!(size_of::<AddParams>() == 40);
const _: () = assert!(size_of::<SiluMulParams>() == 40);
const _: () = assert!(size_of::<NormParams>() == 64);
const _: () = assert!(size_of::<RopeParams>() == 64);
const _: () = assert!(size_of::<WriteKvParams>() == 88);
const _: () = assert!(size_of::<RopeKvParams>() == 152);
const _: () = assert!(size_of::<MoeRouteParams>() == 64);
const _: () = assert!(size_of::<ExpertsParams>() == 96);
const _: () = assert!(size_of::<MoeCombineParams>() == 56);
const _: () = assert!(size_of::<SampleParams>() == 56);
