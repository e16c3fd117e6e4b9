//! `gemm_arrange_*` and `gemm_wgmma_*`: packed 16-bit weights and very many tokens, on Hopper.

use bytemuck::Zeroable;
use ptx_interp::Launch;
use tintype_kernels::params::{
    ArrangeParams, BF16, EPILOGUE_ADD, EPILOGUE_SILU_MUL, EPILOGUE_STORE, F16, F32, GemmParams,
    GemmWgmmaParams, View,
};

use crate::device::{ALIGNED, Device, ODD, Placing};
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
