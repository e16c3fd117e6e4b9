//! How the kernels for packed weights share out a product: which tile of tokens, how many units of
//! 16 rows a block takes at a time, and whether a cluster cuts the columns.

use tintype_kernels::params::{GemmPackedParams, GemmParams};
use tintype_ops::DType;

use super::super::{Chip, Launch};
use super::UNIT_ROWS;

/// Threads of a block: 8 warps that multiply and 4 that fetch.
const THREADS: u32 = 384;
/// Warps that multiply.
const WARPS: u32 = 8;
/// Columns of a slot of the ring, and the bytes that they take in a row or token.
const SLOT_COLS: u32 = 64;
const SLOT_ROW_BYTES: u32 = 2 * SLOT_COLS;
/// Most slots of the ring.
const MAX_STAGES: u32 = 16;
/// Bytes of a slot's barriers.
const BARRIER_BYTES: u32 = 16;

/// Sizes of clusters to look at.
const CLUSTERS: [u32; 4] = [1, 2, 4, 8];

/// Picoseconds, fitted to an H200: of a slot in itself, of one of its products of a row and a
/// token, of a byte that comes out of the cache (of a weight, when others read it too, more), from
/// the moment that a slot is free until it is full, of finishing a chunk and each of its outputs,
/// and of adding up a cluster's sums.
const SLOT: u64 = 30_000;
const PRODUCT: u64 = 36;
const BYTE: u64 = 16;
const SHARED_BYTE: u64 = 28;
const REFILL: u64 = 2_300_000;
const FINISH: u64 = 1_000_000;
const OUTPUT: u64 = 70;
const MERGE: u64 = 2_000_000;

/// A kernel: the tokens of its tile and how its warps share the tile.
#[derive(Debug)]
struct Kernel {
    bf16: &'static str,
    f16: &'static str,
    /// 8 tokens each, of a warp.
    tiles: u32,
    /// Warps along the tokens.
    warps_n: u32,
    /// Most units of 16 rows of a warp.
    max_units: u32,
}

const KERNELS: [Kernel; 6] = [
    kernel(["gemm_packed_n32_bf16", "gemm_packed_n32_f16"], 4, 1, 2),
    kernel(["gemm_packed_n64_bf16", "gemm_packed_n64_f16"], 4, 2, 4),
    kernel(["gemm_packed_n96_bf16", "gemm_packed_n96_f16"], 6, 2, 4),
    kernel(["gemm_packed_n128_bf16", "gemm_packed_n128_f16"], 8, 2, 4),
    kernel(["gemm_packed_n192_bf16", "gemm_packed_n192_f16"], 6, 4, 4),
    kernel(["gemm_packed_n256_bf16", "gemm_packed_n256_f16"], 8, 4, 4),
];

const fn kernel(names: [&'static str; 2], tiles: u32, warps_n: u32, max_units: u32) -> Kernel {
    Kernel { bf16: names[0], f16: names[1], tiles, warps_n, max_units }
}

impl Kernel {
    const fn tokens(&self) -> u32 {
        8 * self.tiles * self.warps_n
    }

    /// Warps along the rows.
    const fn warps_m(&self) -> u32 {
        WARPS / self.warps_n
    }

    /// Most units of a chunk.
    const fn max_height(&self) -> u32 {
        self.max_units * self.warps_m()
    }

    /// Whether tiles of this many tokens are worth a look for `num_tokens`.
    fn suits(&self, num_tokens: u32) -> bool {
        self.tokens() >= num_tokens.min(128) && self.tokens() < 2 * num_tokens.max(32)
    }

    /// Units that a chunk is a multiple of, and how many times as many it has at most: chunks that
    /// give every warp as much, or the rows evenly to the chip.
    fn shares(&self) -> impl Iterator<Item = [u32; 2]> {
        let step = self.warps_m();
        let even = (1..=self.max_units).map(move |most| [step, most]);
        even.chain([[1, self.max_height()]])
    }

    /// A slot of `height` units and of the tokens, with its barriers.
    const fn slot_bytes(&self, height: u32) -> u32 {
        (height * UNIT_ROWS + self.tokens()) * SLOT_ROW_BYTES + BARRIER_BYTES
    }

    /// What the warps turn their results around in.
    const fn scratch_bytes(&self) -> u32 {
        WARPS * 8 * (UNIT_ROWS * self.max_units + 4) * 4
    }

    /// Slots of `height` units that fit into `shared_bytes`.
    fn stages(&self, height: u32, shared_bytes: u32) -> u32 {
        let room = shared_bytes.saturating_sub(self.scratch_bytes());
        (room / self.slot_bytes(height)).min(MAX_STAGES)
    }
}

/// One way to share out a product.
#[derive(Clone, Copy, Debug)]
struct Split {
    kernel: &'static Kernel,
    /// Blocks of a cluster, which cut the columns.
    cluster: u32,
    token_tiles: u32,
    /// Chunks that cover the rows.
    row_chunks: u32,
    /// Units of the first `tall` chunks; the others have `step` less.
    height: u32,
    tall: u32,
    step: u32,
    /// Clusters that run at the same time.
    workers: u32,
}

impl Split {
    /// The rows in chunks of up to `most` times `step` units, for clusters of `cluster` blocks;
    /// `None` where clusters would get more than one chunk each.
    fn new(
        kernel: &'static Kernel,
        product: &GemmParams,
        chip: Chip,
        [cluster, step, most]: [u32; 3],
    ) -> Option<Self> {
        let room = num_clusters(chip, cluster);
        let blocks = product.rows.div_ceil(UNIT_ROWS * step);
        let token_tiles = product.num_tokens.div_ceil(kernel.tokens());
        let fewest = blocks.div_ceil(most);
        // A single tile of tokens: every cluster gets its share of the rows.
        let even = fewest.next_multiple_of(room).min(blocks);
        let row_chunks = if token_tiles == 1 { even } else { fewest };
        let most = blocks.div_ceil(row_chunks);
        let tall = blocks - row_chunks * (most - 1);
        let height = most * step;
        let chunks = row_chunks.checked_mul(token_tiles)?;
        let split = Self {
            kernel,
            cluster,
            token_tiles,
            row_chunks,
            height,
            tall,
            step,
            workers: chunks.min(room),
        };
        (cluster == 1 || chunks <= room).then_some(split)
    }

    /// The fastest way, as far as [`Split::cost`] knows.
    fn best(product: &GemmParams, chip: Chip) -> Option<Self> {
        let groups = product.cols / SLOT_COLS;
        let kernels = KERNELS.iter().filter(|kernel| kernel.suits(product.num_tokens));
        let ways = kernels.flat_map(|kernel| {
            let clusters = CLUSTERS.into_iter();
            let clusters = clusters.filter(|&n| groups >= n && num_clusters(chip, n) > 0);
            clusters.flat_map(move |n| {
                kernel.shares().map(move |[step, most]| (kernel, [n, step, most]))
            })
        });
        let splits = ways.filter_map(|(kernel, way)| Self::new(kernel, product, chip, way));
        splits.filter(|split| split.fits(chip)).min_by_key(|split| split.cost(groups, chip))
    }

    /// Whether the ring has two slots, and room for the sums that a cluster exchanges through it.
    fn fits(&self, chip: Chip) -> bool {
        let Self { kernel, height, .. } = *self;
        let stages = kernel.stages(height, chip.max_shared_bytes);
        let sums = height.next_multiple_of(kernel.warps_m()) * UNIT_ROWS * kernel.tokens() * 4;
        let ring = stages * (kernel.slot_bytes(height) - BARRIER_BYTES);
        stages >= 2 && (self.cluster == 1 || sums <= ring)
    }

    /// Roughly how long it takes, in picoseconds.
    fn cost(&self, groups: u32, chip: Chip) -> u64 {
        let cut = u64::from(groups.div_ceil(self.cluster));
        let refill = REFILL / u64::from(self.kernel.stages(self.height, chip.max_shared_bytes));
        // The first cluster has the tallest chunks.
        let mine = (0..self.row_chunks * self.token_tiles).step_by(self.workers as usize);
        let chunks = mine.map(|chunk| {
            let short = chunk / self.token_tiles >= self.tall;
            self.chunk_cost(self.height - if short { self.step } else { 0 }, cut, refill)
        });
        chunks.sum::<u64>() + if self.cluster > 1 { MERGE } else { 0 }
    }

    /// The same, of a chunk of `groups` slots: what takes longest of products, bytes and refilling.
    fn chunk_cost(&self, height: u32, groups: u64, refill: u64) -> u64 {
        let tokens = u64::from(self.kernel.tokens());
        // All warps take as long as the one with the most units.
        let rows = height.next_multiple_of(self.kernel.warps_m()) * UNIT_ROWS;
        let outputs = u64::from(rows) * tokens;
        let weight_byte = if self.token_tiles == 1 { BYTE } else { SHARED_BYTE };
        let row_cost = u64::from(height * UNIT_ROWS) * weight_byte + tokens * BYTE;
        let bytes = row_cost * u64::from(SLOT_ROW_BYTES);
        let slot = SLOT + (outputs * PRODUCT).max(bytes).max(refill);
        groups * slot + FINISH + outputs * OUTPUT
    }
}

/// Clusters of `size` blocks that run at the same time. Groups of multiprocessors that share
/// clusters are no multiple of a large cluster, so some of them stay idle.
const fn num_clusters(chip: Chip, size: u32) -> u32 {
    let most = chip.num_sms / size;
    if size <= 2 { most } else { most * 7 / 8 }
}

/// The launch of `product`, whose weight is packed; `None` where the chip has too little memory.
pub(super) fn launch(product: GemmParams, dtype: DType, chip: Chip) -> Option<Launch> {
    let split = Split::best(&product, chip)?;
    let kernel = split.kernel;
    let num_stages = kernel.stages(split.height, chip.max_shared_bytes);
    let params = GemmPackedParams {
        product,
        num_row_chunks: split.row_chunks,
        num_tall: split.tall,
        height: split.height,
        step: split.step,
        num_token_tiles: split.token_tiles,
        num_stages,
        read_once: u32::from(split.token_tiles == 1),
        reserved: 0,
    };
    let name = if dtype == DType::F16 { kernel.f16 } else { kernel.bf16 };
    let grid = [split.workers * split.cluster, 1, 1];
    let mut launch = Launch::new(name, grid, [THREADS, 1, 1], &params);
    launch.cluster = split.cluster;
    launch.shared_bytes = num_stages * kernel.slot_bytes(split.height) + kernel.scratch_bytes();
    Some(launch)
}
