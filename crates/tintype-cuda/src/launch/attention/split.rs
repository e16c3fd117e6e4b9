//! Spreading the keys of each query over warps, blocks and clusters.

use tintype_kernels::params::{AttentionParams, RopeAttentionParams, RopeKvParams};
use tintype_ops::Result;

use super::super::{Chip, Launch, Placement};
use super::blocks;

/// Room for the maxima, and for the sums, of a part's heads.
const MAX_HEADS: u32 = 8;
/// Most blocks that a cluster may have on every chip.
const MAX_CLUSTER: u32 = 8;
/// Most clusters that share a query: more would take longer to merge than they save.
const MAX_PARTITIONS: u32 = 64;
/// Threads of a warp.
const WARP_SIZE: u32 = 32;
/// Threads of a block that merges partitions.
const COMBINE_THREADS: u32 = 128;

/// How a kernel treats the heads of a query.
pub(super) struct Heads {
    kernel: &'static str,
    /// Query heads that a block takes at most.
    max_heads: u32,
    /// Keys that a warp takes at a time.
    tile: u32,
    /// Warps of a block, at least and at most.
    warps: [u32; 2],
    /// Warps whose registers a multiprocessor has room for.
    resident_warps: u32,
    /// Whether it takes rows as they come, and keeps their queries in shared memory; else it takes
    /// the sequences that have one row.
    by_row: bool,
}

impl Heads {
    /// A kernel of `attention_decode.cu`.
    pub(super) const fn on_tensor_cores(kernel: &'static str, head_dim: u32) -> Self {
        let resident_warps = match head_dim {
            0..=64 => 16,
            65..=128 => 12,
            _ => 8,
        };
        let warps = [2, if resident_warps < 12 { resident_warps } else { 12 }];
        Self { kernel, max_heads: MAX_HEADS, tile: 16, warps, resident_warps, by_row: false }
    }

    /// The kernel of `attention_any.cu`.
    pub(super) const fn of_any_kind() -> Self {
        let (kernel, warps) = ("attention_any", [4, 4]);
        Self { kernel, max_heads: 4, tile: 32, warps, resident_warps: 16, by_row: true }
    }
}

/// The launches of a kernel that splits keys.
pub(super) struct Split<'a> {
    heads: &'a Heads,
    params: AttentionParams,
    /// Queries times KV heads times blocks of heads.
    pairs: u32,
    blocks: u32,
    cluster: u32,
    warps: u32,
}

impl<'a> Split<'a> {
    /// The number of queries, the chip and the longest context that the block tables can hold fix
    /// the splits; how many of them have work shows when they run.
    pub(super) fn new(
        heads: &'a Heads,
        params: &AttentionParams,
        at: &dyn Placement,
    ) -> Result<Self> {
        let (chip, cache) = (at.chip(), &params.cache);
        let num_items = if heads.by_row { params.num_rows } else { params.num_seqs };
        let blocks_of_heads = cache.group.div_ceil(heads.max_heads);
        let mut params =
            AttentionParams { heads: cache.group.div_ceil(blocks_of_heads), ..*params };
        let blocks_of_heads = u64::from(cache.group.div_ceil(params.heads));
        let pairs = u64::from(num_items) * u64::from(cache.num_kv_heads) * blocks_of_heads;
        let pairs = blocks(pairs)?;
        let max_context = u64::from(params.max_blocks) * u64::from(cache.block_size);
        let max_splits = max_context.div_ceil(u64::from(heads.tile)).try_into().unwrap_or(u32::MAX);
        let cluster = if chip.is_hopper() { cluster(chip, pairs, max_splits) } else { 1 };
        // What several clusters find is merged by sequence.
        if !chip.is_hopper() && (params.decode == 1 || !heads.by_row) {
            let room = at.workspace().bytes / (u64::from(pairs) * part_bytes(&params));
            let wanted = (2 * chip.num_sms / pairs).min(max_splits).min(MAX_PARTITIONS);
            params.partitions = wanted.min(room.try_into().unwrap_or(u32::MAX)).max(1);
        }
        let splits = cluster * params.partitions;
        let blocks = blocks(u64::from(pairs) * u64::from(splits))?;
        let [min_warps, max_warps] = heads.warps;
        let resident = (heads.resident_warps * chip.num_sms / blocks).clamp(min_warps, max_warps);
        let warps = resident.min(max_splits.div_ceil(splits));
        Ok(Self { heads, params, pairs, blocks, cluster, warps })
    }

    /// Appends the launches, of a fused kernel if there is `rope`.
    pub(super) fn plan(&self, rope: Option<RopeKvParams>, launches: &mut Vec<Launch>) {
        let Self { heads, params, .. } = self;
        let (grid, block) = ([self.blocks, 1, 1], [self.warps * WARP_SIZE, 1, 1]);
        let mut launch = match rope {
            Some(rope) => {
                let params = RopeAttentionParams { attention: *params, rope };
                Launch::new(heads.kernel, grid, block, &params)
            }
            None => Launch::new(heads.kernel, grid, block, params),
        };
        launch.cluster = self.cluster;
        launch.shared_bytes = self.shared_bytes();
        launches.push(launch);
        if params.partitions > 1 {
            let block = [COMBINE_THREADS, 1, 1];
            launches.push(Launch::new("attention_combine", [self.pairs, 1, 1], block, params));
        }
    }

    /// Queries, a part of each warp, and a slice of the part of each block of the cluster.
    fn shared_bytes(&self) -> u32 {
        let size = values(&self.params);
        let queries = if self.heads.by_row { size } else { 0 };
        let slice = 4 * (size / 4).div_ceil(self.cluster);
        let parts = self.warps * (2 * MAX_HEADS + size) + self.cluster * (2 * MAX_HEADS + slice);
        4 * (queries + parts)
    }
}

/// Values of a part: `heads` heads, each padded to 8 elements.
const fn values(params: &AttentionParams) -> u32 {
    params.heads * params.cache.head_dim.next_multiple_of(8)
}

/// Bytes of a part in the workspace.
fn part_bytes(params: &AttentionParams) -> u64 {
    4 * u64::from(2 * MAX_HEADS + values(params))
}

/// Blocks of a cluster on Hopper: as many as fill the chip once. The blocks of a cluster run on
/// neighbouring multiprocessors, whose number larger clusters do not divide: those get three
/// quarters of the chip.
fn cluster(chip: Chip, pairs: u32, max_splits: u32) -> u32 {
    let mut cluster = MAX_CLUSTER;
    while cluster > 1 {
        let room = if cluster == 2 { chip.num_sms } else { chip.num_sms * 3 / 4 };
        if cluster <= max_splits && pairs.saturating_mul(cluster) <= room {
            return cluster;
        }
        cluster /= 2;
    }
    1
}
