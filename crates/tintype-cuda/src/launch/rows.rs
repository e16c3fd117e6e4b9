//! Ops that work row by row: embedding, norms, rotation, cache writes, routing, sampling.
//!
//! Every kernel waits for the one in front before it reads anything, so all are launched
//! programmatically where the chip can.

mod moe;
mod sample;

use bytemuck::NoUninit;
use tintype_kernels::params::{
    AddParams, EmbedParams, F32, GatherParams, NormParams, RopeKvParams, RopeParams, SiluMulParams,
    View, WriteKvParams,
};
use tintype_ops::{Error, KvCache, Norm, Op, Result, RopeKv, Tensor, Weight};

use super::{Launch, Layout, Placement, dtype_tag};

/// Threads of a warp.
const WARP_SIZE: u32 = 32;
/// Threads of a block, where nothing else decides.
const THREADS: u32 = 256;
/// Most threads of the block that normalises a row.
const MAX_NORM_THREADS: u32 = 1024;
/// Heads of a block of `rope_kv`, a warp each: few, so that a single token spreads over the chip.
const HEADS_PER_BLOCK: u32 = 4;
/// Elements that a thread takes at a time.
const ELEMENTS: u32 = 8;

/// Appends the launches of `op`.
///
/// # Errors
/// When an operand has a size that no kernel takes.
pub(super) fn plan(op: &Op, at: &dyn Placement, launches: &mut Vec<Launch>) -> Result<()> {
    let first = launches.len();
    match *op {
        Op::Embed { out, ids, table } => launches.push(embed(out, ids, table, at)?),
        Op::Gather { out, x, rows } => launches.push(gather(out, x, rows, at)),
        Op::Add { out, x } => launches.push(add(out, x, at)),
        Op::SiluMul { out, gate_up } => launches.push(silu_mul(out, gate_up, at)),
        Op::RmsNorm { out, x, norm } => launches.push(rms_norm(at.view(out), x, norm, at)),
        Op::HeadNorm { x, norm } => launches.push(head_norm(x, norm, at)?),
        Op::Rope { x, positions, table, head_dim } => {
            launches.push(rope(x, positions, table, head_dim, at));
        }
        Op::WriteKv { cache, k, v, slots } => launches.push(write_kv(cache, k, v, slots, at)),
        Op::RopeKv { .. } => launches.push(rope_kv(op, at)?),
        Op::MoeRoute { ids, weights, logits, renormalize } => {
            launches.push(moe::route(ids, weights, logits, renormalize, at));
        }
        Op::MoeGateUp { .. } => launches.push(moe::gate_up(op, at)?),
        Op::MoeDown { .. } => moe::down(op, at, launches)?,
        Op::Sample { out, logits, params } => {
            launches.push(sample::sample(out, logits, params, at)?);
        }
        Op::Matmul { .. } | Op::Attention { .. } => {
            return Err(refused(op.name(), "it does not work row by row"));
        }
    }
    let programmatic = at.chip().is_hopper();
    launches[first..].iter_mut().for_each(|launch| launch.programmatic = programmatic);
    Ok(())
}

fn embed(out: Tensor, ids: Tensor, table: Weight, at: &dyn Placement) -> Result<Launch> {
    let placed = at.weight(table);
    let packed = match placed.layout {
        Layout::RowMajor => 0,
        Layout::Packed { gate_up: false } => 1,
        Layout::Packed { gate_up: true } => {
            return Err(refused("embed", "its table is packed as a gate and an up projection"));
        }
    };
    let params = EmbedParams {
        out: at.view(out),
        ids: at.view(ids),
        table: View { address: placed.address, stride: table.cols, dtype: dtype_tag(table.dtype) },
        cols: table.cols,
        table_rows: table.rows,
        packed,
        reserved: 0,
    };
    Ok(by_column("embed", out.rows, out.cols, &params))
}

fn gather(out: Tensor, x: Tensor, rows: Tensor, at: &dyn Placement) -> Launch {
    let params = GatherParams {
        out: at.view(out),
        x: at.view(x),
        indices: at.view(rows),
        cols: x.cols,
        x_rows: x.rows,
    };
    by_column("gather", out.rows, out.cols, &params)
}

fn add(out: Tensor, x: Tensor, at: &dyn Placement) -> Launch {
    let params = AddParams { out: at.view(out), x: at.view(x), cols: out.cols, reserved: 0 };
    by_column("add", out.rows, out.cols, &params)
}

fn silu_mul(out: Tensor, gate_up: Tensor, at: &dyn Placement) -> Launch {
    let params =
        SiluMulParams { out: at.view(out), gate_up: at.view(gate_up), cols: out.cols, reserved: 0 };
    by_column("silu_mul", out.rows, out.cols, &params)
}

/// The launch that writes the normalised rows of `x` to `out`: of the op, and in front of products
/// that do not normalise by themselves.
pub(super) fn rms_norm(out: View, x: Tensor, norm: Norm, at: &dyn Placement) -> Launch {
    let params = norm_params(out, x, norm, at);
    let threads = threads(x.cols, MAX_NORM_THREADS);
    Launch::new("rms_norm", [x.rows, 1, 1], [threads, 1, 1], &params)
}

fn head_norm(x: Tensor, norm: Norm, at: &dyn Placement) -> Result<Launch> {
    let params = norm_params(at.view(x), x, norm, at);
    let heads = u64::from(params.num_rows) * u64::from(params.heads);
    let blocks = blocks("head_norm", heads.div_ceil(u64::from(THREADS / WARP_SIZE)))?;
    Ok(Launch::new("head_norm", [blocks, 1, 1], [THREADS, 1, 1], &params))
}

fn norm_params(out: View, x: Tensor, norm: Norm, at: &dyn Placement) -> NormParams {
    let dim = norm.weight.cols;
    NormParams {
        out,
        x: at.view(x),
        weight: at.view(norm.weight),
        dim,
        heads: x.cols / dim,
        num_rows: x.rows,
        eps: norm.eps,
    }
}

fn rope(x: Tensor, positions: Tensor, table: Tensor, head_dim: u32, at: &dyn Placement) -> Launch {
    let params = RopeParams {
        x: at.view(x),
        positions: at.view(positions),
        table: at.view(table),
        heads: x.cols / head_dim,
        head_dim,
        rotary: table.cols,
        max_positions: table.rows,
    };
    by_column("rope", x.rows, params.heads * (params.rotary / 2), &params)
}

fn write_kv(cache: KvCache, k: Tensor, v: Tensor, slots: Tensor, at: &dyn Placement) -> Launch {
    let params = WriteKvParams {
        k_cache: at.buffer(cache.k),
        v_cache: at.buffer(cache.v),
        k: at.view(k),
        v: at.view(v),
        slots: at.view(slots),
        cache_dtype: dtype_tag(cache.dtype),
        num_kv_heads: cache.num_kv_heads,
        head_dim: cache.head_dim,
        block_size: cache.block_size,
        num_slots: cache.num_blocks * cache.block_size,
        reserved: 0,
    };
    by_column("write_kv", k.rows, k.cols, &params)
}

fn rope_kv(op: &Op, at: &dyn Placement) -> Result<Launch> {
    let Op::RopeKv { qkv, cache, norms, positions, table, slots } = *op else {
        return Err(refused(op.name(), "it is another op"));
    };
    let params = rope_kv_params(qkv, cache, RopeKv { norms, positions, table, slots }, at);
    let shares = (qkv.cols / cache.head_dim).div_ceil(HEADS_PER_BLOCK);
    let block = [HEADS_PER_BLOCK * WARP_SIZE, 1, 1];
    Ok(Launch::new("rope_kv", [qkv.rows, shares, 1], block, &params))
}

/// What happens to q, k and v before attention, as kernels take it.
pub(super) fn rope_kv_params(
    qkv: Tensor,
    cache: KvCache,
    rope_kv: RopeKv,
    at: &dyn Placement,
) -> RopeKvParams {
    let RopeKv { norms, positions, table, slots } = rope_kv;
    let norm = |which: usize| match norms {
        Some(norms) => (at.view(norms[which].weight), norms[which].eps),
        None => (View { address: 0, stride: 0, dtype: F32 }, 0.0),
    };
    let ((q_norm, q_eps), (k_norm, k_eps)) = (norm(0), norm(1));
    RopeKvParams {
        k_cache: at.buffer(cache.k),
        v_cache: at.buffer(cache.v),
        qkv: at.view(qkv),
        positions: at.view(positions),
        slots: at.view(slots),
        table: at.view(table),
        q_norm,
        k_norm,
        q_eps,
        k_eps,
        num_heads: qkv.cols / cache.head_dim - 2 * cache.num_kv_heads,
        num_kv_heads: cache.num_kv_heads,
        head_dim: cache.head_dim,
        rotary: table.cols,
        max_positions: table.rows,
        cache_dtype: dtype_tag(cache.dtype),
        block_size: cache.block_size,
        num_slots: cache.num_blocks * cache.block_size,
    }
}

/// A launch with a block of x for each row, and as many along y as it takes to give every thread
/// some of the columns.
fn by_column<P: NoUninit>(kernel: &'static str, rows: u32, cols: u32, params: &P) -> Launch {
    let threads = threads(cols, THREADS);
    let shares = cols.div_ceil(threads * ELEMENTS).max(1);
    Launch::new(kernel, [rows, shares, 1], [threads, 1, 1], params)
}

/// As many whole warps as it takes to give every thread [`ELEMENTS`] of `cols`, at most `max`
/// threads.
fn threads(cols: u32, max: u32) -> u32 {
    cols.div_ceil(ELEMENTS).next_multiple_of(WARP_SIZE).clamp(WARP_SIZE, max)
}

/// `count` as a number of blocks along x.
///
/// # Errors
/// When a grid cannot have so many.
fn blocks(op: &'static str, count: u64) -> Result<u32> {
    let fits = u32::try_from(count).ok().filter(|&count| count <= i32::MAX.unsigned_abs());
    fits.ok_or_else(|| refused(op, &format!("it takes {count} thread blocks, at most 2^31 - 1")))
}

fn refused(op: &'static str, what: &str) -> Error {
    Error::InvalidOp { op, what: what.to_owned() }
}

#[cfg(test)]
mod tests;
