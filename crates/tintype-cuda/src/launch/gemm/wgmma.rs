//! How the kernels for very many rows share out a product: which tile of tokens, and whether a
//! cluster cuts the columns. Clusters that share x are slower on an H200 and not used.

use bytemuck::Zeroable;
use tintype_kernels::params::{ArrangeParams, GemmParams, GemmWgmmaParams, View};
use tintype_ops::DType;

use super::super::{Chip, Launch};

/// Threads of a block: 8 warps that multiply and 4 of which three fetch.
const THREADS: u32 = 384;
/// Rows of a block's tile.
const ROWS: u32 = 128;
/// Columns of a slot of the ring, and the bytes that they take in a row or token.
const SLOT_COLS: u32 = 64;
const SLOT_ROW_BYTES: u32 = 2 * SLOT_COLS;
/// Most slots of the ring.
const MAX_STAGES: u32 = 16;
/// Bytes of a slot's barriers.
const BARRIER_BYTES: u32 = 16;
/// What the warps turn their results around in: 32 tokens by 20 floats each.
const SCRATCH_BYTES: u32 = 8 * 32 * 20 * 4;
/// Most threads that arrange a token, and the elements that each takes at a time.
const ARRANGE_THREADS: (u32, u32) = (1024, 8);

/// Fewest tokens for which these kernels are the faster ones.
pub(super) const MIN_TOKENS: u32 = 160;

/// Picoseconds, fitted to an H200: of a byte that comes out of the cache (the products of a slot
/// take less), of finishing a tile and each of its tokens, and of adding up a cluster's sums.
const BYTE: u64 = 13;
const FINISH: u64 = 3_000_000;
const FINISH_TOKEN: u64 = 29_000;
const MERGE: u64 = 6_500_000;

/// Sizes of clusters to look at.
const CLUSTERS: [u32; 4] = [1, 2, 4, 8];

/// A kernel, and the one that arranges x for it.
#[derive(Debug)]
struct Kernel {
    bf16: &'static str,
    f16: &'static str,
    /// Tokens of its tile.
    tokens: u32,
}

const KERNELS: [Kernel; 3] = [
    Kernel { bf16: "gemm_wgmma_n128_bf16", f16: "gemm_wgmma_n128_f16", tokens: 128 },
    Kernel { bf16: "gemm_wgmma_n192_bf16", f16: "gemm_wgmma_n192_f16", tokens: 192 },
    Kernel { bf16: "gemm_wgmma_n256_bf16", f16: "gemm_wgmma_n256_f16", tokens: 256 },
];

impl Kernel {
    /// A slot, with its barriers.
    const fn slot_bytes(&self) -> u32 {
        (ROWS + self.tokens) * SLOT_ROW_BYTES + BARRIER_BYTES
    }

    /// Slots that fit.
    fn stages(&self, chip: Chip) -> u32 {
        let room = chip.max_shared_bytes.saturating_sub(SCRATCH_BYTES);
        (room / self.slot_bytes()).min(MAX_STAGES)
    }
}

/// One way to share out a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    kernel: &'static Kernel,
    /// Blocks of a cluster, which cut the columns.
    cluster: u32,
    token_tiles: u32,
    /// Tiles that cover the rows.
    row_chunks: u32,
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
        let groups = cols / SLOT_COLS;
        let ways = KERNELS.iter().flat_map(|kernel| CLUSTERS.map(|cluster| (kernel, cluster)));
        let splits = ways.filter_map(|(kernel, cluster)| {
            Self::new(kernel, cluster, [tokens, rows], chip).filter(|split| split.fits(groups))
        });
        let splits = splits.filter(|split| u64::from(split.room()) <= room);
        splits.min_by_key(|split| split.cost(groups))
    }

    fn new(
        kernel: &'static Kernel,
        cluster: u32,
        [tokens, rows]: [u32; 2],
        chip: Chip,
    ) -> Option<Self> {
        let token_tiles = tokens.div_ceil(kernel.tokens);
        let row_chunks = rows.div_ceil(ROWS);
        let chunks = row_chunks.checked_mul(token_tiles)?;
        let places = num_clusters(chip, cluster);
        let workers = if cluster > 1 { chunks } else { chunks.min(places) };
        let rounds = chunks.checked_div(places)? + u32::from(!chunks.is_multiple_of(places));
        let stages = kernel.stages(chip);
        Some(Self { kernel, cluster, token_tiles, row_chunks, workers, rounds, stages })
    }

    /// Tokens of whole tiles.
    pub(super) const fn room(&self) -> u32 {
        self.token_tiles * self.kernel.tokens
    }

    /// Whether the ring has two slots. Where the columns are cut also whether there are enough, and
    /// whether the sums of a tile go through the ring.
    fn fits(&self, groups: u32) -> bool {
        let ring = self.stages * (self.kernel.slot_bytes() - BARRIER_BYTES);
        let cuts = self.cluster <= groups && ROWS * self.kernel.tokens * 4 <= ring;
        self.stages >= 2 && (self.cluster == 1 || cuts)
    }

    /// Roughly how long it takes, in picoseconds.
    fn cost(&self, groups: u32) -> u64 {
        let tokens = u64::from(self.kernel.tokens);
        let slot = (u64::from(ROWS) + tokens) * u64::from(SLOT_ROW_BYTES) * BYTE;
        let finish = FINISH + tokens * FINISH_TOKEN / u64::from(self.cluster);
        let chunk = u64::from(groups.div_ceil(self.cluster)) * slot + finish;
        u64::from(self.rounds) * chunk + if self.cluster > 1 { MERGE } else { 0 }
    }

    /// The launch of `product`, whose x is arranged in [`Split::room`] tokens.
    pub(super) fn launch(&self, product: GemmParams, dtype: DType) -> Launch {
        let x = View { stride: self.room(), ..product.x };
        let params = GemmWgmmaParams {
            product: GemmParams { x, ..product },
            num_row_chunks: self.row_chunks,
            num_token_tiles: self.token_tiles,
            num_stages: self.stages,
            shares_x: 0,
        };
        let Kernel { bf16, f16, .. } = self.kernel;
        let name = if dtype == DType::F16 { f16 } else { bf16 };
        let size = self.cluster;
        let mut launch = Launch::new(name, [self.workers * size, 1, 1], [THREADS, 1, 1], &params);
        launch.cluster = size;
        launch.shared_bytes = self.stages * self.kernel.slot_bytes() + SCRATCH_BYTES;
        launch
    }
}

/// Clusters of `size` blocks that run at the same time. Groups of multiprocessors that share
/// clusters are no multiple of a large cluster, so some of them stay idle.
const fn num_clusters(chip: Chip, size: u32) -> u32 {
    let most = chip.num_sms / size;
    if size <= 2 { most } else { most * 7 / 8 }
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
    let (most, each) = ARRANGE_THREADS;
    let pieces = cols.div_ceil(each);
    let threads = pieces.div_ceil(pieces.div_ceil(most)).next_multiple_of(32);
    Launch::new(name, [num_tokens, 1, 1], [threads, 1, 1], &params)
}
