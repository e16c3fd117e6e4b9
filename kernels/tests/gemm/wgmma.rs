//! `gemm_arrange_*` and `gemm_wgmma_*`: packed 16-bit weights and many tokens, on Hopper.

use bytemuck::Zeroable;
use ptx_interp::Launch;
use tintype_kernels::params::{
    ArrangeParams, BF16, EPILOGUE_ADD, EPILOGUE_SILU_MUL, EPILOGUE_STORE, F16, F32, GemmParams,
    GemmWgmmaParams, SHARES_NOTHING, SHARES_WEIGHT, SHARES_X, View,
};

use crate::device::{ALIGNED, Device, ODD, Placing, assert_close, noise};
use crate::product::{Case, EPILOGUES, Layout, Product};

const HOPPER: (u32, u32) = (9, 0);
/// How to share out a product.
#[derive(Clone, Copy)]
struct Split {
    /// Tokens of a tile.
    tile: usize,
    /// Most units of 16 rows of a chunk.
    height: usize,
    /// Units that chunks behind the `tall` first have less; 0: they are as even as may be.
    step: usize,
    tall: usize,
    /// Blocks of a cluster, which cut the columns, or what its two blocks share.
    cluster: u32,
    shares: u32,
    /// Whether half of the blocks hand over their sums.
    halves: bool,
    /// Clusters; 0: one for each chunk.
    workers: u32,
    stages: usize,
}

impl Split {
    /// The same by clusters of two that share.
    const fn sharing(self, shares: u32) -> Self {
        Self { shares, cluster: 2, ..self }
    }

    /// Parameters of `product`, which has `units` units of rows and x in tiles of tokens.
    fn params(self, product: GemmParams, units: usize, tiles: usize) -> GemmWgmmaParams {
        let mut chunks = units.div_ceil(self.height);
        let mut height = units.div_ceil(chunks);
        let (mut step, mut tall) = (1, units - chunks * (height - 1));
        if self.step > 0 {
            (height, step, tall) = (self.height, self.step, self.tall);
            chunks = tall + (units - tall * height).div_ceil(height - step);
        }
        GemmWgmmaParams {
            product,
            handover: 0,
            num_row_chunks: chunks as u32,
            num_tall: tall as u32,
            height: height as u32,
            step: step as u32,
            num_token_tiles: tiles as u32,
            num_stages: self.stages as u32,
            shares: self.shares,
            first_groups: product.cols / 64 / 2,
        }
    }

    /// Clusters for all of the chunks, of one half of the columns.
    fn clusters(self, params: &GemmWgmmaParams) -> u32 {
        let pairs =
            |count: u32, shares| if self.shares == shares { count.div_ceil(2) } else { count };
        let rows = pairs(params.num_row_chunks, SHARES_X);
        let tiles = pairs(params.num_token_tiles, SHARES_WEIGHT);
        if self.workers == 0 { rows * tiles } else { self.workers }
    }
}

const fn tiles_of(tile: usize, height: usize) -> Split {
    let (step, tall, cluster, shares) = (0, 0, 1, SHARES_NOTHING);
    Split { tile, height, step, tall, cluster, shares, halves: false, workers: 0, stages: 2 }
}

fn multiply(device: &Device, case: Case, split: Split, out: Placing) {
    let product = Product::new(device, Case { out, x: Placing { offset: 8, gap: 8 }, ..case });
    let plain = product.gemm_params();
    let tiles = case.tokens.div_ceil(split.tile);
    let even = split.shares == SHARES_WEIGHT;
    let room = if even { tiles.next_multiple_of(2) } else { tiles } * split.tile;
    let arranged = device.contiguous(case.dtypes[2], [case.cols, room]);
    let suffix = if case.dtypes[2] == F16 { "f16" } else { "bf16" };
    let x = View { stride: room as u32, ..arranged };
    let mut params = split.params(GemmParams { x, ..plain }, case.rows / 16, tiles);
    let warps = params.height.next_multiple_of(4);
    let mut blocks = split.cluster * split.clusters(&params);
    let mut arrange = arrangement(arranged, plain.x, View::zeroed(), case, room);
    if split.halves {
        let flags = (blocks * warps) as usize;
        let sums = device.contiguous(F32, [1, flags * (1 + 16 * split.tile)]);
        (params.handover, arrange.flags, arrange.num_flags) =
            (sums.address, sums.address, flags as u32);
        blocks *= 2;
    }

    let name = format!("gemm_arrange_{suffix}");
    let arrange = device.launch(&name, [case.tokens as u32, 2], 32, &arrange);
    let name = format!("gemm_wgmma_n{}_{suffix}", split.tile);
    let launch = device.launch(&name, [blocks, 1], 32 * warps + 128, &params);
    let slot = (params.height as usize * 16 + split.tile) * 128 + 16;
    let launch = Launch {
        cluster: [split.cluster, 1, 1],
        dynamic_shared_bytes: (split.stages * slot) as u32,
        ..launch
    };
    device.run_in_order(&[arrange, launch]);
    product.assert_done(device);
}

fn arrangement(out: View, x: View, norm: View, case: Case, room: usize) -> ArrangeParams {
    ArrangeParams {
        out: out.address,
        x,
        norm,
        flags: 0,
        num_flags: 0,
        num_tokens: case.tokens as u32,
        room: room as u32,
        cols: case.cols as u32,
        eps: 1e-5,
        reserved: 0,
    }
}

fn case(tokens: usize, rows: usize, cols: usize, epilogue: u32) -> Case {
    let layout = Layout::Packed { gate_up: epilogue == EPILOGUE_SILU_MUL };
    let bias = rows.is_multiple_of(32).then_some(BF16);
    Case { epilogue, bias, layout, ..Case::packed(tokens, rows, cols) }
}

fn device(seed: u64) -> Device {
    Device::new("gemm_wgmma_bf16", HOPPER, seed)
}

#[test]
fn epilogues_bias_and_places() {
    for (seed, epilogue) in EPILOGUES.into_iter().enumerate() {
        let device = device(seed as u64);
        multiply(&device, case(67, 80, 192, epilogue), tiles_of(128, 5), ALIGNED);
        multiply(&device, case(30, 160, 128, epilogue), tiles_of(32, 9), ODD);
        let wide = Case { dtypes: [F32, BF16, BF16], ..case(17, 96, 64, epilogue) };
        multiply(&device, wide, tiles_of(64, 6), ALIGNED);
    }
}

#[test]
fn f16() {
    let device = Device::new("gemm_wgmma_f16", HOPPER, 1);
    let half = |case| Case { dtypes: [F16; 3], ..case };
    multiply(&device, half(case(41, 48, 128, EPILOGUE_STORE)), tiles_of(64, 3), ALIGNED);
    multiply(&device, half(case(33, 144, 64, EPILOGUE_ADD)), tiles_of(192, 8), ALIGNED);
    multiply(&device, half(case(9, 48, 64, EPILOGUE_SILU_MUL)), tiles_of(256, 2), ALIGNED);
}

#[test]
fn every_tile_of_tokens_with_every_number_of_warpgroups() {
    for (seed, tile) in [32, 64, 96, 128, 192, 256].into_iter().enumerate() {
        let device = device(seed as u64);
        for groups in 1..=if tile <= 128 { 4 } else { 2 } {
            // The last warpgroup has units for two of its warps; the tile of tokens is not full.
            let units = 4 * groups - 2;
            let epilogue = EPILOGUES[(seed + groups) % 3];
            let case = case(tile - 9, 16 * units, 64, epilogue);
            multiply(&device, case, tiles_of(tile, units), ALIGNED);
        }
    }
}

#[test]
fn a_block_multiplies_several_tiles() {
    let split = Split { workers: 2, stages: 3, ..tiles_of(64, 6) };
    for seed in 0..3 {
        // Two tiles of tokens by three of rows, of 6, 6 and 5 units, and an odd number of groups.
        multiply(&device(seed), case(67, 272, 320, EPILOGUE_ADD), split, ALIGNED);
    }
    let wide = Split { workers: 1, ..tiles_of(192, 2) };
    multiply(&device(1), case(195, 32, 64, EPILOGUE_SILU_MUL), wide, ALIGNED);
    let widest = Split { workers: 1, ..tiles_of(256, 5) };
    multiply(&device(2), case(250, 144, 128, EPILOGUE_STORE), widest, ALIGNED);
}

#[test]
fn a_cluster_cuts_the_columns() {
    for (seed, cluster) in [(0, 2), (1, 4), (2, 8)] {
        let split = Split { cluster, stages: 3, ..tiles_of(96, 5) };
        multiply(&device(seed), case(90, 144, 576, EPILOGUES[seed as usize]), split, ALIGNED);
    }
    let split = Split { cluster: 4, stages: 3, ..tiles_of(192, 3) };
    multiply(&device(3), case(150, 48, 256, EPILOGUE_ADD), split, ALIGNED);
}

#[test]
fn a_cluster_shares_the_weight_or_x() {
    for (seed, shares) in [(0, SHARES_WEIGHT), (1, SHARES_X)] {
        let [first, second, third] = [0, 1, 2].map(|i| EPILOGUES[(seed + i) % 3]);
        let seed = seed as u64;
        // Chunks of 6, 6 and 5 units, and three tiles of tokens: pairs are not full.
        let split = Split { stages: 3, ..tiles_of(128, 6) }.sharing(shares);
        multiply(&device(seed), case(259, 272, 320, first), split, ALIGNED);
        let wide = Split { workers: 1, ..tiles_of(192, 2) }.sharing(shares);
        multiply(&device(seed + 2), case(195, 48, 128, second), wide, ALIGNED);
        let widest = Split { workers: 1, ..tiles_of(256, 2) }.sharing(shares);
        multiply(&device(seed + 4), case(250, 48, 64, third), widest, ODD);
    }
}

#[test]
fn some_chunks_have_a_warpgroup_less() {
    for (seed, shares) in [SHARES_NOTHING, SHARES_WEIGHT, SHARES_X].into_iter().enumerate() {
        // Heights of 8, 4 and 4, of which the last has two units.
        let split = Split { step: 4, tall: 1, workers: 2, stages: 3, ..tiles_of(128, 8) };
        let split = if shares == SHARES_NOTHING { split } else { split.sharing(shares) };
        multiply(&device(seed as u64), case(140, 224, 192, EPILOGUES[seed]), split, ALIGNED);
    }
}

#[test]
fn half_of_the_blocks_hand_over_their_sums() {
    for (seed, shares) in [SHARES_NOTHING, SHARES_WEIGHT, SHARES_X].into_iter().enumerate() {
        let split = Split { halves: true, stages: 3, ..tiles_of(128, 5) };
        let split = if shares == SHARES_NOTHING { split } else { split.sharing(shares) };
        multiply(&device(seed as u64), case(150, 208, 448, EPILOGUES[seed]), split, ALIGNED);
    }
}

#[test]
fn token_tiles_beyond_those_that_run_together() {
    // Nine tiles of tokens: eight share the weight, the ninth comes after all their rows.
    let split = Split { workers: 3, ..tiles_of(32, 5) };
    multiply(&device(1), case(32 * 8 + 5, 144, 64, EPILOGUE_STORE), split, ALIGNED);
}

#[test]
fn rows_are_arranged_and_normalised() {
    let (tokens, cols, room) = (9, 192, 16);
    for (seed, [dtype, weight]) in [[F32, BF16], [BF16, F32], [F16, BF16]].into_iter().enumerate() {
        let device = device(seed as u64);
        let x = device.floats(dtype, [tokens, cols], ALIGNED, noise(1));
        let norm = device.floats(weight, [1, cols], ALIGNED, noise(2));
        let out = device.contiguous(BF16, [cols * room / 64, 64]);
        let case = case(tokens, 16, cols, EPILOGUE_STORE);
        let params = arrangement(out, x.view, norm.view, case, room);
        device.run("gemm_arrange_bf16", [tokens as u32, 1], 32, &params);
        let found = device.read(out, [cols * room / 64, 64]);
        for token in 0..tokens {
            let squares: f32 = x.row(token).iter().map(|x| x * x).sum();
            let scale = 1.0 / (squares / cols as f32 + 1e-5).sqrt();
            let place = |col: usize| {
                let (group, inside) = (col / 64, col % 64);
                let (piece, word) = ((inside % 16 / 2) ^ (token % 8), inside / 16);
                ((group * room + token) * 8 + piece) * 8 + word * 2 + col % 2
            };
            let found: Vec<f32> = (0..cols).map(|col| found[place(col)]).collect();
            let expected = x.row(token).iter().zip(&norm.values).map(|(x, w)| x * scale * w);
            assert_close(BF16, &found, &expected.collect::<Vec<_>>(), "a row");
        }
    }
}
