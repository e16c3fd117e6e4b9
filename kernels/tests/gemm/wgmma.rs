//! `gemm_arrange_*` and `gemm_wgmma_*`: packed 16-bit weights and very many tokens, on Hopper.

use bytemuck::Zeroable;
use ptx_interp::Launch;
use tintype_kernels::params::{
    ArrangeParams, BF16, EPILOGUE_ADD, EPILOGUE_SILU_MUL, EPILOGUE_STORE, F16, F32, GemmParams,
    GemmWgmmaParams, View,
};

use crate::device::{ALIGNED, Device, ODD, Placing, assert_close, noise};
use crate::product::{Case, EPILOGUES, Layout, Product};

const HOPPER: (u32, u32) = (9, 0);
const THREADS: u32 = 384;
/// Rows of a block's tile.
const ROWS: usize = 128;
/// Bytes in which the warps turn their results around.
const SCRATCH: usize = 8 * 32 * 20 * 4;

/// What the blocks of a cluster do together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cluster {
    Alone,
    SharesX,
    Cuts(u32),
}

/// How to share out a product.
#[derive(Clone, Copy)]
struct Split {
    /// Tokens of a tile.
    tile: usize,
    cluster: Cluster,
    /// Clusters; 0: one for each chunk.
    workers: u32,
    stages: usize,
}

const fn tiles_of(tile: usize) -> Split {
    Split { tile, cluster: Cluster::Alone, workers: 0, stages: 2 }
}

fn multiply(device: &Device, case: Case, split: Split, out: Placing) {
    let product = Product::new(device, case, out, Placing { offset: 8, gap: 8 });
    let plain = product.params();
    let tiles = case.tokens.div_ceil(split.tile);
    let room = tiles * split.tile;
    let arranged = device.contiguous(case.dtypes[2], [case.cols, room]);
    let (suffix, norm) = (if case.dtypes[2] == F16 { "f16" } else { "bf16" }, View::zeroed());
    let arrange = arrangement(arranged, plain.x, norm, case, room);
    let name = format!("gemm_arrange_{suffix}");
    let arrange = device.launch(&name, [case.tokens as u32, 1], 64, &arrange);

    let (size, shares_x) = match split.cluster {
        Cluster::Alone => (1, 0),
        Cluster::SharesX => (2, 1),
        Cluster::Cuts(size) => (size, 0),
    };
    let chunks = case.rows.div_ceil(ROWS * (1 + shares_x as usize));
    let x = View { stride: room as u32, ..arranged };
    let params = GemmWgmmaParams {
        product: GemmParams { x, ..plain },
        num_row_chunks: chunks as u32,
        num_token_tiles: tiles as u32,
        num_stages: split.stages as u32,
        shares_x,
    };
    let all = (chunks * tiles) as u32;
    let workers = if split.workers == 0 { all } else { split.workers };
    let name = format!("gemm_wgmma_n{}_{suffix}", split.tile);
    let launch = device.launch(&name, [workers * size, 1], THREADS, &params);
    let slot = (ROWS + split.tile) * 128 + 16;
    let launch = Launch {
        cluster: [size, 1, 1],
        dynamic_shared_bytes: (split.stages * slot + SCRATCH) as u32,
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
        num_tokens: case.tokens as u32,
        room: room as u32,
        cols: case.cols as u32,
        eps: 1e-5,
    }
}

fn case(tokens: usize, rows: usize, cols: usize, epilogue: u32) -> Case {
    let layout = Layout::Packed { gate_up: epilogue == EPILOGUE_SILU_MUL };
    Case { tokens, rows, cols, epilogue, bias: rows.is_multiple_of(32), dtypes: [BF16; 3], layout }
}

fn device(seed: u64) -> Device {
    Device::new("gemm_wgmma_bf16", HOPPER, seed)
}

#[test]
fn epilogues_bias_and_places() {
    for (seed, epilogue) in EPILOGUES.into_iter().enumerate() {
        let device = device(seed as u64);
        multiply(&device, case(67, 80, 192, epilogue), tiles_of(128), ALIGNED);
        multiply(&device, case(30, 160, 128, epilogue), tiles_of(128), ODD);
        let wide = Case { dtypes: [F32, BF16, BF16], ..case(17, 96, 64, epilogue) };
        multiply(&device, wide, tiles_of(128), ALIGNED);
    }
}

#[test]
fn f16() {
    let device = Device::new("gemm_wgmma_f16", HOPPER, 1);
    let half = |case| Case { dtypes: [F16; 3], ..case };
    multiply(&device, half(case(41, 48, 128, EPILOGUE_STORE)), tiles_of(128), ALIGNED);
    multiply(&device, half(case(33, 144, 64, EPILOGUE_ADD)), tiles_of(192), ALIGNED);
    multiply(&device, half(case(9, 48, 64, EPILOGUE_SILU_MUL)), tiles_of(256), ALIGNED);
}

#[test]
fn a_block_multiplies_several_tiles() {
    let split = Split { workers: 2, stages: 3, ..tiles_of(128) };
    for seed in 0..3 {
        // Two tiles of tokens by three of rows, and an odd number of groups of columns.
        multiply(&device(seed), case(131, 272, 320, EPILOGUE_ADD), split, ALIGNED);
    }
    let wide = Split { workers: 1, ..tiles_of(192) };
    multiply(&device(1), case(195, 32, 64, EPILOGUE_SILU_MUL), wide, ALIGNED);
    let widest = Split { workers: 1, ..tiles_of(256) };
    multiply(&device(2), case(250, 144, 128, EPILOGUE_STORE), widest, ALIGNED);
}

#[test]
fn a_cluster_cuts_the_columns() {
    for (seed, blocks) in [(0, 2), (1, 4), (2, 8)] {
        let split = Split { cluster: Cluster::Cuts(blocks), stages: 3, ..tiles_of(128) };
        let epilogue = EPILOGUES[seed as usize];
        multiply(&device(seed), case(99, 144, 576, epilogue), split, ALIGNED);
    }
    let split = Split { cluster: Cluster::Cuts(4), stages: 3, ..tiles_of(192) };
    multiply(&device(3), case(150, 48, 256, EPILOGUE_ADD), split, ALIGNED);
}

#[test]
fn a_cluster_shares_x() {
    for seed in 0..3 {
        let split = Split { cluster: Cluster::SharesX, workers: 2, stages: 2, ..tiles_of(128) };
        // The last cluster has rows for one of its blocks alone.
        let epilogue = EPILOGUES[seed as usize];
        multiply(&device(seed), case(131, 304, 320, epilogue), split, ALIGNED);
    }
}

#[test]
fn token_tiles_beyond_those_that_run_together() {
    // Nine tiles of tokens: eight share the weight, the ninth comes after all their rows.
    let split = Split { workers: 3, ..tiles_of(128) };
    multiply(&device(1), case(128 * 8 + 5, 144, 64, EPILOGUE_STORE), split, ALIGNED);
}

#[test]
fn rows_are_arranged_and_normalised() {
    let (tokens, cols, room) = (9, 192, 16);
    for (seed, [dtype, weight]) in [[F32, BF16], [BF16, F32], [F16, BF16]].into_iter().enumerate() {
        let device = device(seed as u64);
        let x = device.floats(dtype, [tokens, cols], ALIGNED, noise(1));
        let norm = device.floats(weight, [1, cols], ODD, noise(2));
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
