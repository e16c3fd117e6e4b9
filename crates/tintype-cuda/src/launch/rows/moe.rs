//! Mixtures of experts.

use tintype_kernels::params::{
    BF16, ExpertsParams, F16, F32, MoeCombineParams, MoeRouteParams, View,
};
use tintype_ops::{DType, Op, Result, Tensor, Weight};

use super::super::{Launch, Layout, Placement};
use super::{THREADS, WARP_SIZE, blocks, by_column, refused};

/// Rows of a weight that a block computes at a time: one a warp.
const WARPS: u32 = THREADS / WARP_SIZE;
/// Blocks for each multiprocessor: several times what runs at once, so that experts that many
/// tokens chose and experts that none chose even out.
const BLOCKS_PER_SM: u32 = 16;

pub(super) fn route(
    ids: Tensor,
    weights: Tensor,
    logits: Tensor,
    renormalize: bool,
    at: &dyn Placement,
) -> Launch {
    let params = MoeRouteParams {
        ids: at.view(ids),
        weights: at.view(weights),
        logits: at.view(logits),
        num_rows: logits.rows,
        num_experts: logits.cols,
        k: ids.cols,
        renormalize: renormalize.into(),
    };
    Launch::new("moe_route", [logits.rows.div_ceil(WARPS), 1, 1], [THREADS, 1, 1], &params)
}

/// The launch of a [`Op::MoeGateUp`].
///
/// # Errors
/// When there are more choices than a grid takes, or the weight is packed.
pub(super) fn gate_up(op: &Op, at: &dyn Placement) -> Result<Launch> {
    let Op::MoeGateUp { out, x, weight, ids, num_experts } = *op else {
        return Err(refused(op.name(), "it is no moe_gate_up"));
    };
    let params = ExpertsParams {
        out: at.view(out),
        x: at.view(x),
        ids: at.view(ids),
        weights: View { address: 0, stride: 0, dtype: F32 },
        weight: row_major(op.name(), weight, at)?,
        num_tokens: ids.rows,
        k: ids.cols,
        num_experts,
        rows: out.cols,
        cols: x.cols,
        row_blocks: 0,
    };
    let kernels = ["moe_gate_up_f32", "moe_gate_up_f16", "moe_gate_up_bf16"];
    by_slot(of_dtype(kernels, weight.dtype), slots(&params), params, at)
}

/// Appends the launches of a [`Op::MoeDown`]: one where each choice reads an expert of its own,
/// else one for the experts' products and one for their sum, for as many tokens at a time as the
/// workspace has room for.
///
/// # Errors
/// When there are more choices than a grid takes, the weight is packed, or the workspace has no
/// room for a token.
pub(super) fn down(op: &Op, at: &dyn Placement, launches: &mut Vec<Launch>) -> Result<()> {
    let Op::MoeDown { out, x, weight, ids, weights, num_experts } = *op else {
        return Err(refused(op.name(), "it is no moe_down"));
    };
    let all = ExpertsParams {
        out: at.view(out),
        x: at.view(x),
        ids: at.view(ids),
        weights: at.view(weights),
        weight: row_major(op.name(), weight, at)?,
        num_tokens: ids.rows,
        k: ids.cols,
        num_experts,
        rows: out.cols,
        cols: x.cols,
        row_blocks: 0,
    };
    if ids.num_elements() <= u64::from(num_experts) {
        let kernels = ["moe_down_f32", "moe_down_f16", "moe_down_bf16"];
        launches.push(by_slot(of_dtype(kernels, weight.dtype), ids.rows, all, at)?);
        return Ok(());
    }
    let kernel = of_dtype(["moe_parts_f32", "moe_parts_f16", "moe_parts_bf16"], weight.dtype);
    let workspace = at.workspace();
    let parts = View { address: workspace.address, stride: all.rows, dtype: F32 };
    let max_tokens = workspace.bytes / (4 * u64::from(all.k) * u64::from(all.rows));
    if max_tokens == 0 {
        let what = format!("{} bytes of workspace do not hold a token", workspace.bytes);
        return Err(refused(op.name(), &what));
    }
    let mut first = 0;
    while first < all.num_tokens {
        let left = all.num_tokens - first;
        let num_tokens = u32::try_from(max_tokens).map_or(left, |max| left.min(max));
        let some = from_token(all, first, num_tokens);
        let products = ExpertsParams { out: parts, ..some };
        launches.push(by_slot(kernel, slots(&products), products, at)?);
        let ExpertsParams { out, weights, rows: cols, k, .. } = some;
        let sum = MoeCombineParams { out, parts, weights, cols, k };
        launches.push(by_column("moe_combine", num_tokens, cols, &sum));
        first += num_tokens;
    }
    Ok(())
}

/// The same for `num_tokens` tokens from `first` on.
fn from_token(all: ExpertsParams, first: u32, num_tokens: u32) -> ExpertsParams {
    let from_row = |view: View, row: u32| {
        let size = if matches!(view.dtype, F16 | BF16) { 2 } else { 4 };
        let offset = u64::from(row) * u64::from(view.stride) * size;
        View { address: view.address + offset, ..view }
    };
    ExpertsParams {
        out: from_row(all.out, first),
        x: from_row(all.x, first * all.k),
        ids: from_row(all.ids, first),
        weights: from_row(all.weights, first),
        num_tokens,
        ..all
    }
}

/// Blocks' first coordinate, apart from the rows: an expert, or a choice where those are fewer.
fn slots(params: &ExpertsParams) -> u32 {
    params.num_experts.min(params.num_tokens.saturating_mul(params.k))
}

/// A launch of `slots` times as many blocks as shall share the rows of an expert.
fn by_slot(
    kernel: &'static str,
    slots: u32,
    params: ExpertsParams,
    at: &dyn Placement,
) -> Result<Launch> {
    let wanted = (at.chip().num_sms * BLOCKS_PER_SM).div_ceil(slots);
    let row_blocks = params.rows.div_ceil(WARPS).min(wanted);
    let blocks = blocks(kernel, u64::from(slots) * u64::from(row_blocks))?;
    let params = ExpertsParams { row_blocks, ..params };
    Ok(Launch::new(kernel, [blocks, 1, 1], [THREADS, 1, 1], &params))
}

fn row_major(op: &'static str, weight: Weight, at: &dyn Placement) -> Result<u64> {
    let placed = at.weight(weight);
    match placed.layout {
        Layout::RowMajor => Ok(placed.address),
        Layout::Packed { .. } => Err(refused(op, "the experts' weight is packed")),
    }
}

/// Which of the kernels for f32, f16 and bf16.
fn of_dtype([f32, f16, bf16]: [&'static str; 3], dtype: DType) -> &'static str {
    match dtype {
        DType::Bf16 => bf16,
        DType::F16 => f16,
        DType::F32 | DType::I32 | DType::U32 => f32,
    }
}
