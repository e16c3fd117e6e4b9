//! Attention over the paged KV cache.
//!
//! Heads of one 16-bit type throughout go to the tensor cores: sequences with one query token to
//! kernels that split their keys, all others to kernels that work on tiles of queries. Anything
//! else goes to a kernel for every mix, row by row.
//!
//! A decode batch rotates its heads and updates the cache in the same launch as it attends, where
//! they have a size for which there is such a kernel. Elsewhere that is a launch of its own.
//!
//! Grids follow from the shapes of the op and from the chip. How many keys there are, and which
//! sequences have one query token, is read from device memory.

mod split;

#[cfg(test)]
mod tests;

use tintype_kernels::params::{AttentionParams, BF16, F32, PagedCache, RopeKvParams, View};
use tintype_ops::{Error, Op, Result};

use self::split::{Heads, Split};
use super::{Chip, Launch, Placement, dtype_tag, rows};

/// Packed query rows of a block that works on many.
const PREFILL_ROWS: u64 = 128;
/// Threads of such a block.
const PREFILL_THREADS: u32 = 256;

/// Appends the launches of `op`.
///
/// Every kernel reads `cu_seqlens`, context lengths and block tables before it waits for the kernel
/// in front: the host brings them with copies, never with kernels, and everything behind a copy
/// starts after it. So do, by the op's contract, all tokens of a decode batch but the newest. All
/// else is read after that wait.
///
/// # Errors
/// When an operand has a size that no kernel takes.
pub(super) fn plan(op: &Op, at: &dyn Placement, launches: &mut Vec<Launch>) -> Result<()> {
    let first = launches.len();
    let (params, rope) = (params(op, at)?, rope(op, at));
    match (TensorCores::of(&params, at.chip()), rope) {
        (Some(TensorCores { fused: Some(heads), .. }), Some(rope)) if takes(&params, &rope) => {
            Split::new(&heads, &params, at)?.plan(Some(rope), launches);
        }
        (_, Some(_)) => {
            return op.sequence().iter().try_for_each(|op| super::plan(op, at, launches));
        }
        (Some(kernels), None) => kernels.plan(&params, at, launches)?,
        (None, None) => Split::new(&Heads::of_any_kind(), &params, at)?.plan(None, launches),
    }
    let programmatic = at.chip().is_hopper();
    launches[first..].iter_mut().for_each(|launch| launch.programmatic = programmatic);
    Ok(())
}

/// What happens to q, k and v first, if that is part of the op.
fn rope(op: &Op, at: &dyn Placement) -> Option<RopeKvParams> {
    let Op::Attention { q: qkv, cache, rope_kv: Some(rope_kv), .. } = *op else { return None };
    Some(rows::rope_kv_params(qkv, cache, rope_kv, at))
}

/// Whether the fused kernel for heads of that size does it: it holds whole heads in pieces of 16
/// bytes, of one type.
fn takes(params: &AttentionParams, rope: &RopeKvParams) -> bool {
    let norms = [rope.q_norm, rope.k_norm];
    let normed = |norm: &View| {
        norm.address == 0 || (norm.address.is_multiple_of(16) && norm.dtype == params.cache.dtype)
    };
    let table = rope.table.address.is_multiple_of(16) && rope.table.stride.is_multiple_of(4);
    params.decode == 1 && rope.rotary == rope.head_dim && table && norms.iter().all(normed)
}

fn params(op: &Op, at: &dyn Placement) -> Result<AttentionParams> {
    let Op::Attention { out, q, cache, meta, scale, window, .. } = *op else {
        return Err(refused(format!("planned as attention: {}", op.name())));
    };
    // Kernels count rows of heads in 32 bits.
    let rows = cache.num_slots() * u64::from(cache.num_kv_heads);
    if rows > u64::from(u32::MAX) {
        return Err(refused(format!("{cache} has {rows} heads of keys, at most {}", u32::MAX)));
    }
    Ok(AttentionParams {
        out: at.view(out),
        q: at.view(q),
        cache: PagedCache {
            k: at.buffer(cache.k),
            v: at.buffer(cache.v),
            num_blocks: cache.num_blocks,
            block_size: cache.block_size,
            num_kv_heads: cache.num_kv_heads,
            head_dim: cache.head_dim,
            dtype: dtype_tag(cache.dtype),
            group: out.cols / cache.head_dim / cache.num_kv_heads,
        },
        cu_seqlens: at.view(meta.cu_seqlens),
        context_lens: at.view(meta.context_lens),
        block_tables: at.view(meta.block_tables),
        partials: at.workspace().address,
        scale_log2: scale * std::f32::consts::LOG2_E,
        window: window.unwrap_or(u32::MAX),
        num_rows: q.rows,
        num_seqs: meta.context_lens.rows,
        max_blocks: meta.block_tables.cols,
        decode: meta.decode.into(),
        partitions: 1,
        heads: 1,
    })
}

/// The kernels for one size and type of head.
struct TensorCores {
    decode: Heads,
    /// For q, k and v as a projection leaves them.
    fused: Option<Heads>,
    prefill: &'static str,
    prefill_shared_bytes: u32,
}

impl TensorCores {
    /// `None` if the operands, or the chip, call for the kernel for every mix.
    fn of(params: &AttentionParams, chip: Chip) -> Option<Self> {
        let AttentionParams { out, q, cache, .. } = params;
        let one_type = q.dtype != F32 && q.dtype == cache.dtype && q.dtype == out.dtype;
        let aligned =
            |view: &View| view.address.is_multiple_of(16) && view.stride.is_multiple_of(8);
        let whole_pieces = cache.head_dim.is_multiple_of(8) && aligned(q) && aligned(out);
        // The largest score must come from the largest product.
        if !one_type || !whole_pieces || params.scale_log2 <= 0.0 {
            return None;
        }
        let [decode, prefill] = names(cache.head_dim, q.dtype == BF16);
        let kernels = Self {
            decode: Heads::on_tensor_cores(decode, cache.head_dim),
            fused: fused(cache.head_dim, q.dtype == BF16)
                .map(|kernel| Heads::on_tensor_cores(kernel, cache.head_dim)),
            prefill,
            prefill_shared_bytes: prefill_shared_bytes(cache.head_dim, chip),
        };
        let fits = params.decode == 1 || kernels.prefill_shared_bytes <= chip.max_shared_bytes;
        fits.then_some(kernels)
    }

    fn plan(
        &self,
        params: &AttentionParams,
        at: &dyn Placement,
        launches: &mut Vec<Launch>,
    ) -> Result<()> {
        Split::new(&self.decode, params, at)?.plan(None, launches);
        if params.decode == 1 {
            return Ok(());
        }
        // Each sequence, and the rows that nobody owns, may end in a tile that is not full.
        let cache = &params.cache;
        let rows = u64::from(params.num_rows) * u64::from(cache.group);
        let tiles = rows / PREFILL_ROWS + u64::from(params.num_seqs) + 1;
        let blocks = blocks(tiles * u64::from(cache.num_kv_heads))?;
        let mut launch = Launch::new(self.prefill, [blocks, 1, 1], [PREFILL_THREADS, 1, 1], params);
        launch.shared_bytes = self.prefill_shared_bytes;
        launches.push(launch);
        Ok(())
    }
}

/// Decode and prefill kernels for a head.
const fn names(head_dim: u32, bf16: bool) -> [&'static str; 2] {
    match (head_dim, bf16) {
        (..=64, true) => ["attention_decode_64_bf16", "attention_prefill_64_bf16"],
        (..=64, false) => ["attention_decode_64_f16", "attention_prefill_64_f16"],
        (..=128, true) => ["attention_decode_128_bf16", "attention_prefill_128_bf16"],
        (..=128, false) => ["attention_decode_128_f16", "attention_prefill_128_f16"],
        (_, true) => ["attention_decode_256_bf16", "attention_prefill_256_bf16"],
        (_, false) => ["attention_decode_256_f16", "attention_prefill_256_f16"],
    }
}

/// The kernel that also rotates heads of exactly this size.
const fn fused(head_dim: u32, bf16: bool) -> Option<&'static str> {
    match (head_dim, bf16) {
        (64, true) => Some("attention_rope_64_bf16"),
        (64, false) => Some("attention_rope_64_f16"),
        (128, true) => Some("attention_rope_128_bf16"),
        (128, false) => Some("attention_rope_128_f16"),
        _ => None,
    }
}

/// Shared memory of a prefill kernel: `SHARED_BYTES` of its shape in `attention_prefill.cu`.
const fn prefill_shared_bytes(head_dim: u32, chip: Chip) -> u32 {
    // Elements of a head, keys of a tile, stages, and rows of queries that stay there.
    let (dim, keys, stages, queries) = match (head_dim, chip.is_hopper()) {
        (..=64, _) => (64, 64, 3, 128),
        (..=128, true) => (128, 128, 2, 0),
        (..=128, false) => (128, 64, 3, 0),
        (_, true) => (256, 64, 2, 128),
        (_, false) => (256, 16, 2, 128),
    };
    2 * dim * (queries + stages * 2 * keys)
}

/// A number of blocks along x.
fn blocks(count: u64) -> Result<u32> {
    match i32::try_from(count) {
        Ok(count) => Ok(count.unsigned_abs()),
        Err(_) => Err(refused(format!("{count} blocks, a grid has at most {}", i32::MAX))),
    }
}

fn refused(what: String) -> Error {
    Error::InvalidOp { op: "attention", what }
}
