//! How the kernels for packed weights share out a product: which tile of tokens, how many units of
//! 16 rows a block takes at a time, and whether a cluster cuts the columns.

use bytemuck::Zeroable;
use tintype_kernels::params::{ArrangeParams, GemmParams, GemmWgmmaParams, View};
use tintype_ops::DType;

use super::super::{Chip, Launch};
use super::UNIT_ROWS;

/// Units of a warpgroup, one for each of its warps.
const GROUP_UNITS: u32 = 4;
/// Threads of a warpgroup: those that multiply, and one that fetches.
const GROUP_THREADS: u32 = 128;
/// Columns of a slot of the ring, and the bytes that they take in a row or token.
const SLOT_COLS: u32 = 64;
const SLOT_ROW_BYTES: u32 = 2 * SLOT_COLS;
/// Most slots of the ring.
const MAX_STAGES: u32 = 16;
/// Bytes of a slot's barriers.
const BARRIER_BYTES: u32 = 16;
/// Most threads of a block that arranges, and the elements that each takes at a time.
const ARRANGE_THREADS: u32 = 512;
const PIECE: u32 = 8;

/// Picoseconds, fitted to an H200: of a slot in itself, of one of its bytes when they come out of
/// the cache and of a weight's when all blocks read it out of memory, of what a warpgroup
/// multiplies for a token of a slot, of finishing a tile and each warpgroup's tokens in it, and of
/// adding up a cluster's sums.
const SLOT: u64 = 52_000;
const BYTE: u64 = 14;
const MEMORY_BYTE: u64 = 22;
const PRODUCT: u64 = 1_330;
const FINISH: u64 = 4_400_000;
const FINISH_TOKEN: u64 = 13_000;
const MERGE: u64 = 1_100_000;

/// Sizes of clusters to look at.
const CLUSTERS: [u32; 3] = [1, 2, 4];

/// A kernel, and the one that arranges x for it.
#[derive(Debug)]
struct Kernel {
    bf16: &'static str,
    f16: &'static str,
    /// Tokens of its tile.
    tokens: u32,
    /// Most warpgroups of a block that multiply.
    groups: u32,
}

const KERNELS: [Kernel; 6] = [
    kernel(["gemm_wgmma_n32_bf16", "gemm_wgmma_n32_f16"], 32, 4),
    kernel(["gemm_wgmma_n64_bf16", "gemm_wgmma_n64_f16"], 64, 4),
    kernel(["gemm_wgmma_n96_bf16", "gemm_wgmma_n96_f16"], 96, 4),
    kernel(["gemm_wgmma_n128_bf16", "gemm_wgmma_n128_f16"], 128, 4),
    kernel(["gemm_wgmma_n192_bf16", "gemm_wgmma_n192_f16"], 192, 2),
    kernel(["gemm_wgmma_n256_bf16", "gemm_wgmma_n256_f16"], 256, 2),
];

const fn kernel(names: [&'static str; 2], tokens: u32, groups: u32) -> Kernel {
    Kernel { bf16: names[0], f16: names[1], tokens, groups }
}

impl Kernel {
    const fn max_height(&self) -> u32 {
        self.groups * GROUP_UNITS
    }

    /// A slot of `height` units and of the tokens, with its barriers.
    const fn slot_bytes(&self, height: u32) -> u32 {
        (height * UNIT_ROWS + self.tokens) * SLOT_ROW_BYTES + BARRIER_BYTES
    }

    /// Slots of `height` units that fit.
    fn stages(&self, height: u32, chip: Chip) -> u32 {
        (chip.max_shared_bytes / self.slot_bytes(height)).min(MAX_STAGES)
    }

    /// Into how many chunks to cut `units` units, with `places` that take `token_tiles` tiles of
    /// tokens of each: as many for every place, or as high as may be.
    fn row_chunks(&self, units: u32, token_tiles: u32, places: u32) -> impl Iterator<Item = u32> {
        let fewest = units.div_ceil(self.max_height());
        let rounds = (fewest * token_tiles).div_ceil(places.max(1));
        let even = [rounds, rounds + 1].map(|rounds| rounds * places / token_tiles);
        let high = [self.max_height(), self.max_height() / 2].map(|height| units.div_ceil(height));
        even.into_iter().chain(high).map(move |chunks| chunks.clamp(fewest, units))
    }
}

/// One way to share out a product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    kernel: &'static Kernel,
    /// Blocks of a cluster, which cut the columns.
    cluster: u32,
    token_tiles: u32,
    /// Chunks that cover the rows.
    row_chunks: u32,
    /// Units of the first `tall` chunks; the others have one less.
    height: u32,
    tall: u32,
    /// Clusters; where they cut the columns one for each chunk.
    workers: u32,
    /// How many chunks the busiest place for a cluster gets.
    rounds: u32,
    stages: u32,
}

impl Split {
    /// The fastest way for `tokens` tokens and a weight of `rows` by `cols`, as far as
    /// [`Split::cost`] knows, of those for which the arranged x takes up to `room` tokens.
    pub(super) fn best(tokens: u32, [rows, cols]: [u32; 2], room: u64, chip: Chip) -> Option<Self> {
        let (units, groups) = (rows / UNIT_ROWS, cols / SLOT_COLS);
        // A tile beyond the first that holds all tokens only takes longer. This is worth looking
        // at, since every product of every graph comes by here.
        let largest = KERNELS.iter().position(|kernel| kernel.tokens >= tokens);
        let kernels = &KERNELS[..=largest.unwrap_or(KERNELS.len() - 1)];
        let ways = kernels.iter().flat_map(|kernel| CLUSTERS.map(|cluster| (kernel, cluster)));
        let splits = ways.flat_map(|(kernel, cluster)| {
            let token_tiles = tokens.div_ceil(kernel.tokens);
            let places = num_clusters(chip, cluster);
            let chunks = kernel.row_chunks(units, token_tiles, places);
            chunks.filter_map(move |chunks| {
                Self::new(kernel, cluster, [token_tiles, units, chunks], chip)
            })
        });
        let splits = splits.filter(|split| split.fits(groups) && u64::from(split.room()) <= room);
        splits.min_by_key(|split| split.cost(groups))
    }

    fn new(
        kernel: &'static Kernel,
        cluster: u32,
        [token_tiles, units, row_chunks]: [u32; 3],
        chip: Chip,
    ) -> Option<Self> {
        let height = units.div_ceil(row_chunks);
        let tall = units - row_chunks * (height - 1);
        let chunks = row_chunks.checked_mul(token_tiles)?;
        let places = num_clusters(chip, cluster);
        let workers = if cluster > 1 { chunks } else { chunks.min(places) };
        let rounds = chunks.checked_div(places)? + u32::from(!chunks.is_multiple_of(places));
        let stages = kernel.stages(height, chip);
        let split = Self {
            kernel,
            cluster,
            token_tiles,
            row_chunks,
            height,
            tall,
            workers,
            rounds,
            stages,
        };
        Some(split)
    }

    /// Tokens of whole tiles.
    pub(super) const fn room(&self) -> u32 {
        self.token_tiles * self.kernel.tokens
    }

    /// Warpgroups that multiply.
    const fn groups(&self) -> u32 {
        self.height.div_ceil(GROUP_UNITS)
    }

    /// Whether the ring has two slots. Where the columns are cut also whether there are enough, and
    /// whether the sums of a tile go through the ring.
    fn fits(&self, groups: u32) -> bool {
        let ring = self.stages * (self.kernel.slot_bytes(self.height) - BARRIER_BYTES);
        let sums = self.groups() * GROUP_UNITS * UNIT_ROWS * self.kernel.tokens * 4;
        self.stages >= 2 && (self.cluster == 1 || self.cluster <= groups && sums <= ring)
    }

    /// Roughly how long it takes, in picoseconds.
    fn cost(&self, groups: u32) -> u64 {
        let (tokens, row_bytes) = (u64::from(self.kernel.tokens), u64::from(SLOT_ROW_BYTES));
        let weight_bytes = u64::from(self.height * UNIT_ROWS) * row_bytes;
        let cache = (weight_bytes + tokens * row_bytes) * BYTE;
        let memory = weight_bytes * MEMORY_BYTE / u64::from(self.token_tiles);
        let group_tokens = u64::from(self.groups()) * tokens;
        let slot = SLOT + cache.max(memory).max(group_tokens * PRODUCT);
        let finish = FINISH + group_tokens * FINISH_TOKEN / u64::from(self.cluster);
        let chunk = u64::from(groups.div_ceil(self.cluster)) * slot + finish;
        u64::from(self.rounds) * chunk + if self.cluster > 1 { MERGE } else { 0 }
    }

    /// The launch of `product`, whose x is arranged in [`Split::room`] tokens.
    pub(super) fn launch(&self, product: GemmParams, dtype: DType) -> Launch {
        let x = View { stride: self.room(), ..product.x };
        let params = GemmWgmmaParams {
            product: GemmParams { x, ..product },
            num_row_chunks: self.row_chunks,
            num_tall: self.tall,
            height: self.height,
            num_token_tiles: self.token_tiles,
            num_stages: self.stages,
            reserved: 0,
        };
        let Kernel { bf16, f16, .. } = self.kernel;
        let name = if dtype == DType::F16 { f16 } else { bf16 };
        let threads = (self.groups() + 1) * GROUP_THREADS;
        let grid = [self.workers * self.cluster, 1, 1];
        let mut launch = Launch::new(name, grid, [threads, 1, 1], &params);
        launch.cluster = self.cluster;
        launch.shared_bytes = self.stages * self.kernel.slot_bytes(self.height);
        launch
    }
}

/// Clusters of `size` blocks, up to four, that run at the same time.
const fn num_clusters(chip: Chip, size: u32) -> u32 {
    if size == 4 { chip.clusters_of_4 } else { chip.num_sms / size }
}

/// A launch whose clusters are of four blocks that take a multiprocessor each.
pub(crate) fn cluster_of_4(chip: Chip) -> Launch {
    let kernel = &KERNELS[0];
    let threads = (kernel.groups + 1) * GROUP_THREADS;
    let mut launch =
        Launch::new(kernel.bf16, [4, 1, 1], [threads, 1, 1], &GemmWgmmaParams::zeroed());
    launch.cluster = 4;
    launch.shared_bytes = chip.max_shared_bytes;
    launch
}

/// The launch that arranges the `num_tokens` rows of `x`, of `cols` columns, at `out` for `split`;
/// normalised where there is a norm: its weight and epsilon.
pub(super) fn arrange(
    split: &Split,
    out: u64,
    x: View,
    [num_tokens, cols]: [u32; 2],
    norm: Option<(View, f32)>,
    dtype: DType,
) -> Launch {
    let (norm, eps) = norm.unwrap_or((View::zeroed(), 0.0));
    let params = ArrangeParams { out, x, norm, num_tokens, room: split.room(), cols, eps };
    let name = if dtype == DType::F16 { "gemm_arrange_f16" } else { "gemm_arrange_bf16" };
    // A norm needs the sum of a row, which is a block's.
    let pieces = cols.div_ceil(PIECE);
    let parts = pieces.div_ceil(ARRANGE_THREADS);
    let blocks = if params.norm.address == 0 { parts } else { 1 };
    let threads = pieces.div_ceil(parts).next_multiple_of(32);
    Launch::new(name, [num_tokens, blocks, 1], [threads, 1, 1], &params)
}
