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
/// Most warps of a block.
const MOST_WARPS: u32 = 12;
/// The same where blocks leave no multiprocessor to the kernel behind them.
const MOST_WARPS_OF_FULL_CHIP: u32 = 10;
/// Threads of a warp.
const WARP_SIZE: u32 = 32;
/// Threads of a block that merges partitions.
const COMBINE_THREADS: u32 = 128;

/// Tiles of a ring in shared memory.
const RING_STAGES: u32 = 2;

/// How a kernel treats the heads of a query.
pub(super) struct Heads {
    kernel: &'static str,
    /// Query heads that a block takes at most.
    max_heads: u32,
    /// Keys that a warp takes at a time.
    tile: u32,
    /// Fewest warps of a block that has room for more, and most of any.
    warps: [u32; 2],
    /// Warps of a block where there are more blocks than fit at a time.
    warps_of_many: u32,
    /// Warps that a multiprocessor has room for.
    resident_warps: u32,
    /// Bytes of shared memory through which a warp streams keys and values.
    ring_bytes: u32,
    /// Whether it takes rows as they come, and keeps their queries in shared memory; else it takes
    /// the sequences that have one row.
    by_row: bool,
}

impl Heads {
    /// A kernel of `attention_decode.cu`.
    pub(super) const fn on_tensor_cores(kernel: &'static str, head_dim: u32) -> Self {
        let (dim, resident_warps, most, warps_of_many) = match head_dim {
            0..=64 => (64, 16, MOST_WARPS, 2),
            65..=128 => (128, 12, MOST_WARPS, 3),
            _ => (256, 5, 5, 2),
        };
        let (tile, warps) = (16, [2, most]);
        let ring_bytes = RING_STAGES * 2 * tile * dim * 2;
        let max_heads = MAX_HEADS;
        Self {
            kernel,
            max_heads,
            tile,
            warps,
            warps_of_many,
            resident_warps,
            ring_bytes,
            by_row: false,
        }
    }

    /// The kernel of `attention_any.cu`.
    pub(super) const fn of_any_kind() -> Self {
        Self {
            kernel: "attention_any",
            max_heads: 4,
            tile: 32,
            warps: [4, 4],
            warps_of_many: 4,
            resident_warps: 16,
            ring_bytes: 0,
            by_row: true,
        }
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
        let mut split = Self { heads, params, pairs, blocks, cluster, warps: 1 };
        split.warps = split.warps_for(chip).min(max_splits.div_ceil(splits));
        Ok(split)
    }

    /// Warps of a block: as many as fill the chip, if all blocks are there at a time.
    fn warps_for(&self, chip: Chip) -> u32 {
        let Heads { warps: [fewest, most], warps_of_many, resident_warps, .. } = *self.heads;
        let room = resident_warps * chip.num_sms / self.blocks;
        let full = 4 * u64::from(self.blocks) > 3 * u64::from(chip.num_sms);
        let most = if full { most.min(MOST_WARPS_OF_FULL_CHIP) } else { most };
        let wanted = if room < fewest { warps_of_many } else { room.min(most) };
        let shared = chip.max_shared_bytes.saturating_sub(self.shared_bytes_of(0));
        let each = self.shared_bytes_of(1) - self.shared_bytes_of(0);
        wanted.min(shared / each).max(1)
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
        launch.shared_bytes = self.shared_bytes_of(self.warps);
        launches.push(launch);
        if params.partitions > 1 {
            let block = [COMBINE_THREADS, 1, 1];
            launches.push(Launch::new("attention_combine", [self.pairs, 1, 1], block, params));
        }
    }

    /// Shared memory of a block: queries, a ring and a part of each warp, and a slice of the part
    /// of each block of a cluster.
    fn shared_bytes_of(&self, warps: u32) -> u32 {
        let size = values(&self.params);
        let queries = if self.heads.by_row { size } else { 0 };
        let slice = 4 * (size / 4).div_ceil(self.cluster);
        let blocks = if self.cluster > 1 { self.cluster * (2 * MAX_HEADS + slice) } else { 0 };
        warps * self.heads.ring_bytes + 4 * (queries + warps * (2 * MAX_HEADS + size) + blocks)
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
