//! How the kernels for packed weights share out a product: which tile of tokens, how many units of
//! 16 rows a block takes at a time, and whether a cluster cuts the columns, or shares the weight or
//! x.

use bytemuck::Zeroable;
use tintype_kernels::params::{
    ArrangeParams, GemmParams, GemmWgmmaParams, SHARES_NOTHING, SHARES_WEIGHT, SHARES_X, View,
};
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
/// multiplies for a token of a slot (in a wide tile: it loads the weight for more of them), of a
/// launch, of finishing a tile and each warpgroup's tokens in it, of the same behind a cluster that
/// cuts the columns, of adding up that cluster's sums, and of taking over another block's.
const SLOT: u64 = 52_000;
const BYTE: u64 = 14;
const MEMORY_BYTE: u64 = 22;
const PRODUCT: u64 = 1_330;
const WIDE_PRODUCT: u64 = 1_300;
const START: u64 = 2_000_000;
const FINISH: u64 = 2_400_000;
const FINISH_TOKEN: u64 = 8_000;
const FINISH_CUT_TOKEN: u64 = 13_000;
const MERGE: u64 = 1_100_000;
const TAKE_OVER: u64 = 800_000;

/// What the blocks of a cluster do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cluster {
    /// So many cut the columns; 1: each block is alone.
    Cut(u32),
    /// Two have neighbouring tiles of tokens.
    SharesWeight,
    /// Two have neighbouring chunks of rows.
    SharesX,
}

/// Those to look at.
const CLUSTERS: [Cluster; 5] =
    [Cluster::Cut(1), Cluster::Cut(2), Cluster::Cut(4), Cluster::SharesWeight, Cluster::SharesX];
/// Tokens of a tile above which a warpgroup has few loads of the weight for what it multiplies.
const NARROW_TOKENS: u32 = 128;
/// Groups of columns that blocks which hand over their sums have less than half of: these arrive
/// when they are waited for.
const LEAD: u32 = 2;

impl Cluster {
    const fn size(self) -> u32 {
        match self {
            Self::Cut(size) => size,
            Self::SharesWeight | Self::SharesX => 2,
        }
    }

    /// Blocks that cut the columns.
    const fn cuts(self) -> u32 {
        if let Self::Cut(size) = self { size } else { 1 }
    }

    /// Tiles of tokens of a cluster, and its chunks of rows.
    const fn wide(self) -> u32 {
        if matches!(self, Self::SharesWeight) { 2 } else { 1 }
    }
    const fn high(self) -> u32 {
        if matches!(self, Self::SharesX) { 2 } else { 1 }
    }

    /// The narrowest tile of tokens for which it is worth looking at: with narrower ones reading
    /// out of the cache is not what takes longest. Kernels of tiles below 128 cannot share.
    const fn least_tokens(self) -> u32 {
        match self {
            Self::Cut(_) => 0,
            Self::SharesWeight => 128,
            Self::SharesX => 192,
        }
    }

    const fn tag(self) -> u32 {
        match self {
            Self::Cut(_) => SHARES_NOTHING,
            Self::SharesWeight => SHARES_WEIGHT,
            Self::SharesX => SHARES_X,
        }
    }
}

/// Chunks that cover the rows: the first `tall` of `height` units, the others of `step` less. The
/// last may have fewer.
#[derive(Clone, Copy, Debug)]
struct Chunks {
    count: u32,
    height: u32,
    tall: u32,
    step: u32,
}

impl Chunks {
    /// As even as may be.
    fn even(units: u32, count: u32) -> Self {
        let height = units.div_ceil(count);
        Self { count, height, tall: units - count * (height - 1), step: 1 }
    }

    /// Whole warpgroups, as few as may be for the place that has most: `places` of them take
    /// `tiles` tiles of tokens of each chunk, up to `most` warpgroups high.
    fn whole(units: u32, tiles: u32, places: u32, most: u32) -> Self {
        let (groups, places) = (units.div_ceil(GROUP_UNITS), places.max(1));
        let busiest = (groups * tiles).div_ceil(places);
        let rounds = busiest.div_ceil(most);
        let high = busiest.div_ceil(rounds);
        let tall_rounds = busiest - rounds * (high - 1);
        let tall = (tall_rounds * places / tiles).clamp(1, groups.div_ceil(high));
        let left = groups.saturating_sub(tall * high);
        let (tall, short) = match high {
            1 => (groups, 0),
            _ => (tall, left.div_ceil(high - 1)),
        };
        let [height, step] = [high * GROUP_UNITS, GROUP_UNITS];
        Self { count: tall + short, height, tall, step }
    }
}

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

    /// Ways to look at to have `places` clusters multiply `units` units and `tokens` tokens: the
    /// chunks of rows, and whether half of the clusters hand over their sums.
    fn ways(
        &self,
        cluster: Cluster,
        units: u32,
        tokens: u32,
        places: u32,
    ) -> impl Iterator<Item = (Chunks, bool)> + use<> {
        let token_tiles = tokens.div_ceil(self.tokens);
        let (most, tiles) = (self.groups, token_tiles.div_ceil(cluster.wide()));
        let places = places * cluster.high();
        let shares = cluster.size() > cluster.cuts();
        let looks = self.tokens >= cluster.least_tokens() && token_tiles >= cluster.wide();
        // Where much of the tiles is empty narrower ones, which cut the columns, are faster.
        let is_full = tokens >= self.tokens * token_tiles / 8 * 7;
        let even = self.row_chunks(units, tiles, places).map(move |count| (count, false));
        let halves = (2..=most).map(move |high| (units.div_ceil(high * GROUP_UNITS), true));
        let even = even.chain(halves.filter(move |_| shares && is_full));
        let even = even.map(move |(count, halves)| (Chunks::even(units, count), halves));
        // Where clusters share tensor cores take longest: warpgroups have all their rows.
        let whole = shares.then(|| (Chunks::whole(units, tiles, places, most), false));
        even.chain(whole).filter(move |_| looks)
    }

    /// Into how many chunks to cut `units` units, with `places` that take `token_tiles` tiles of
    /// tokens of each: as many for every place, or as high as may be.
    fn row_chunks(
        &self,
        units: u32,
        token_tiles: u32,
        places: u32,
    ) -> impl Iterator<Item = u32> + use<> {
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
    cluster: Cluster,
    token_tiles: u32,
    chunks: Chunks,
    /// Whether half of the clusters have the first columns, and hand their sums over.
    halves: bool,
    /// Clusters that have the same columns; one for each chunk if they do not have all columns.
    workers: u32,
    /// How many chunks the busiest place for a cluster gets, and how many of these are tall.
    rounds: u32,
    tall_rounds: u32,
    stages: u32,
}

impl Split {
    /// The fastest way for `tokens` tokens and a weight of `rows` by `cols`, as far as
    /// [`Split::cost`] knows, of those that take no more of the workspace than `room` rows of x.
    pub(super) fn best(tokens: u32, [rows, cols]: [u32; 2], room: u64, chip: Chip) -> Option<Self> {
        let (units, groups) = (rows / UNIT_ROWS, cols / SLOT_COLS);
        let bytes = room * 2 * u64::from(cols);
        // A tile beyond the first that holds all tokens only takes longer. This is worth looking
        // at, since the products of every graph come by here.
        let largest = KERNELS.iter().position(|kernel| kernel.tokens >= tokens);
        let kernels = &KERNELS[..=largest.unwrap_or(KERNELS.len() - 1)];
        let ways = kernels.iter().flat_map(|kernel| CLUSTERS.map(|cluster| (kernel, cluster)));
        let splits = ways.flat_map(|(kernel, cluster)| {
            let token_tiles = tokens.div_ceil(kernel.tokens);
            let places = num_clusters(chip, cluster.size());
            let ways = kernel.ways(cluster, units, tokens, places);
            ways.filter_map(move |(chunks, halves)| {
                Self::new(kernel, cluster, token_tiles, chunks, halves, chip)
            })
        });
        let splits = splits.filter(|split| split.fits(groups) && split.bytes(cols) <= bytes);
        splits.min_by_key(|split| split.cost(groups))
    }

    fn new(
        kernel: &'static Kernel,
        cluster: Cluster,
        token_tiles: u32,
        chunks: Chunks,
        halves: bool,
        chip: Chip,
    ) -> Option<Self> {
        let places = num_clusters(chip, cluster.size()) / if halves { 2 } else { 1 };
        let tiles = token_tiles.div_ceil(cluster.wide());
        let all = chunks.count.div_ceil(cluster.high()).checked_mul(tiles)?;
        let tall = chunks.tall.div_ceil(cluster.high()).checked_mul(tiles)?;
        if places == 0 || halves && all > places {
            return None;
        }
        let workers = if cluster.cuts() > 1 { all } else { all.min(places) };
        let [rounds, tall_rounds] = [all, tall].map(|chunks| chunks.div_ceil(places));
        let stages = kernel.stages(chunks.height, chip);
        Some(Self {
            kernel,
            cluster,
            token_tiles,
            chunks,
            halves,
            workers,
            rounds,
            tall_rounds,
            stages,
        })
    }

    /// Tokens of whole tiles, or pairs of tiles.
    pub(super) const fn room(&self) -> u32 {
        self.token_tiles.next_multiple_of(self.cluster.wide()) * self.kernel.tokens
    }

    /// Warpgroups that multiply.
    const fn groups(&self) -> u32 {
        self.chunks.height.div_ceil(GROUP_UNITS)
    }

    /// Warps that hand their sums over.
    const fn handing_over(&self) -> u32 {
        let warps = self.workers * self.cluster.size() * self.groups() * GROUP_UNITS;
        if self.halves { warps } else { 0 }
    }

    /// Bytes of the workspace that it takes: for x, and behind it for what is handed over.
    fn bytes(&self, cols: u32) -> u64 {
        let sums = u64::from(UNIT_ROWS * self.kernel.tokens) * size_of::<f32>() as u64;
        let handover = u64::from(self.handing_over()) * (size_of::<u32>() as u64 + sums);
        self.x_bytes(cols) + handover
    }

    fn x_bytes(&self, cols: u32) -> u64 {
        2 * u64::from(self.room()) * u64::from(cols)
    }

    /// Whether the ring has two slots. Where the columns are cut also whether there are enough, and
    /// whether the sums of a tile go through the ring.
    fn fits(&self, groups: u32) -> bool {
        let ring = self.stages * (self.kernel.slot_bytes(self.chunks.height) - BARRIER_BYTES);
        let sums = self.groups() * GROUP_UNITS * UNIT_ROWS * self.kernel.tokens * 4;
        let cuts = self.cluster.cuts();
        self.stages >= 2
            && (cuts == 1 || cuts <= groups && sums <= ring)
            && (!self.halves || groups >= 2)
    }

    /// Groups of columns of the blocks that hand over their sums.
    fn first_groups(groups: u32) -> u32 {
        (groups / 2).saturating_sub(LEAD).max(1)
    }

    /// Roughly how long it takes, in picoseconds.
    fn cost(&self, groups: u32) -> u64 {
        let (cuts, groups) = match self.halves {
            true => (1, groups - Self::first_groups(groups)),
            false => (self.cluster.cuts(), groups.div_ceil(self.cluster.cuts())),
        };
        let chunk = |height: u32| {
            let group_tokens = u64::from(height.div_ceil(GROUP_UNITS) * self.kernel.tokens);
            let finish_token = if cuts > 1 { FINISH_CUT_TOKEN } else { FINISH_TOKEN };
            let finish = FINISH + group_tokens * finish_token / u64::from(cuts);
            u64::from(groups) * self.slot_cost(height) + finish
        };
        let Chunks { height, step, .. } = self.chunks;
        let short_rounds = self.rounds - self.tall_rounds;
        // Even chunks take as long as the tall ones: they differ only in what memory is read.
        let short = if step > 1 { height - step } else { height };
        let chunks = u64::from(self.tall_rounds) * chunk(height)
            + if short_rounds > 0 { u64::from(short_rounds) * chunk(short) } else { 0 };
        let together = if cuts > 1 { MERGE } else { 0 } + if self.halves { TAKE_OVER } else { 0 };
        START + chunks + together
    }

    /// The same of a slot of a chunk of `height` units.
    fn slot_cost(&self, height: u32) -> u64 {
        let (tokens, row_bytes) = (u64::from(self.kernel.tokens), u64::from(SLOT_ROW_BYTES));
        let weight_bytes = u64::from(height * UNIT_ROWS) * row_bytes;
        let (wide, high) = (u64::from(self.cluster.wide()), u64::from(self.cluster.high()));
        let cache = (weight_bytes / wide + tokens * row_bytes / high) * BYTE;
        let memory = weight_bytes * MEMORY_BYTE / u64::from(self.token_tiles);
        let product = if self.kernel.tokens > NARROW_TOKENS { WIDE_PRODUCT } else { PRODUCT };
        let product = u64::from(height.div_ceil(GROUP_UNITS)) * tokens * product;
        SLOT + cache.max(memory).max(product)
    }

    /// The launch of `product`, whose x is arranged in [`Split::room`] tokens.
    pub(super) fn launch(&self, product: GemmParams, dtype: DType) -> Launch {
        let x = View { stride: self.room(), ..product.x };
        let handover = x.address + self.x_bytes(product.cols);
        let params = GemmWgmmaParams {
            product: GemmParams { x, ..product },
            handover: if self.halves { handover } else { 0 },
            num_row_chunks: self.chunks.count,
            num_tall: self.chunks.tall,
            height: self.chunks.height,
            step: self.chunks.step,
            num_token_tiles: self.token_tiles,
            num_stages: self.stages,
            shares: self.cluster.tag(),
            first_groups: Self::first_groups(product.cols / SLOT_COLS),
        };
        let Kernel { bf16, f16, .. } = self.kernel;
        let name = if dtype == DType::F16 { f16 } else { bf16 };
        let threads = (self.groups() + 1) * GROUP_THREADS;
        let clusters = self.workers * if self.halves { 2 } else { 1 };
        let grid = [clusters * self.cluster.size(), 1, 1];
        let mut launch = Launch::new(name, grid, [threads, 1, 1], &params);
        launch.cluster = self.cluster.size();
        launch.shared_bytes = self.stages * self.kernel.slot_bytes(self.chunks.height);
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
    let params = ArrangeParams {
        out,
        x,
        norm,
        flags: out + split.x_bytes(cols),
        num_flags: split.handing_over(),
        num_tokens,
        room: split.room(),
        cols,
        eps,
        reserved: 0,
    };
    let name = if dtype == DType::F16 { "gemm_arrange_f16" } else { "gemm_arrange_bf16" };
    // A norm needs the sum of a row, which is a block's.
    let pieces = cols.div_ceil(PIECE);
    let parts = pieces.div_ceil(ARRANGE_THREADS);
    let blocks = if params.norm.address == 0 { parts } else { 1 };
    let threads = pieces.div_ceil(parts).next_multiple_of(32);
    Launch::new(name, [num_tokens, blocks, 1], [threads, 1, 1], &params)
}
