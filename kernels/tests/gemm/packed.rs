//! `gemm_packed_*`: packed 16-bit weights, on Hopper.

use ptx_interp::Launch;
use tintype_kernels::params::{
    BF16, EPILOGUE_ADD, EPILOGUE_SILU_MUL, EPILOGUE_STORE, F16, F32, GemmPackedParams,
};

use crate::device::{ALIGNED, Device, ODD, Placing};
use crate::product::{Case, EPILOGUES, Layout, Product};

const HOPPER: (u32, u32) = (9, 0);
const THREADS: u32 = 384;

/// A kernel: tokens of its tile, warps along the rows, and most units of 16 rows of a warp.
struct Kernel {
    name: &'static str,
    tokens: usize,
    warps: usize,
    most: usize,
}

const N32: Kernel = bf16("gemm_packed_n32_bf16", 32, 8, 2);
const N64: Kernel = bf16("gemm_packed_n64_bf16", 64, 4, 4);
const N96: Kernel = bf16("gemm_packed_n96_bf16", 96, 4, 4);
const N128: Kernel = bf16("gemm_packed_n128_bf16", 128, 4, 4);
const N192: Kernel = bf16("gemm_packed_n192_bf16", 192, 2, 4);
const N256: Kernel = bf16("gemm_packed_n256_bf16", 256, 2, 4);

const fn bf16(name: &'static str, tokens: usize, warps: usize, most: usize) -> Kernel {
    Kernel { name, tokens, warps, most }
}

/// How to share out a product.
#[derive(Clone, Copy)]
struct Split {
    /// Blocks of a cluster, which cut the columns.
    cluster: u32,
    /// Clusters; 0: one for each chunk.
    workers: u32,
    /// Chunks that cover the rows.
    row_chunks: usize,
    /// Units that a chunk is a multiple of.
    step: usize,
    stages: usize,
}

const WHOLE: Split = Split { cluster: 1, workers: 0, row_chunks: 1, step: 1, stages: 2 };

fn multiply(device: &Device, kernel: &Kernel, case: Case, split: Split, out: Placing) {
    let product = Product::new(device, case, out, Placing { offset: 8, gap: 8 });
    let steps = case.rows.div_ceil(16 * split.step);
    let most = steps.div_ceil(split.row_chunks);
    let height = most * split.step;
    assert!(height <= kernel.most * kernel.warps, "{} takes no {height} units", kernel.name);
    let token_tiles = case.tokens.div_ceil(kernel.tokens);
    let params = GemmPackedParams {
        product: product.params(),
        num_row_chunks: split.row_chunks as u32,
        num_tall: (steps - split.row_chunks * (most - 1)) as u32,
        height: height as u32,
        step: split.step as u32,
        num_token_tiles: token_tiles as u32,
        num_stages: split.stages as u32,
        read_once: u32::from(token_tiles == 1),
        reserved: 0,
    };
    let chunks = (split.row_chunks * token_tiles) as u32;
    let workers = if split.workers == 0 { chunks } else { split.workers };
    let slot = (height * 16 + kernel.tokens) * 128 + 16;
    let scratch = 8 * 8 * (16 * kernel.most + 4) * 4;
    let launch = device.launch(kernel.name, [workers * split.cluster, 1], THREADS, &params);
    device.run_in_order(&[Launch {
        cluster: [split.cluster, 1, 1],
        dynamic_shared_bytes: (split.stages * slot + scratch) as u32,
        ..launch
    }]);
    product.assert_done(device);
}

fn case(tokens: usize, rows: usize, cols: usize, epilogue: u32) -> Case {
    let layout = Layout::Packed { gate_up: epilogue == EPILOGUE_SILU_MUL };
    Case { tokens, rows, cols, epilogue, bias: rows.is_multiple_of(32), dtypes: [BF16; 3], layout }
}

fn device(seed: u64) -> Device {
    Device::new("gemm_packed_bf16", HOPPER, seed)
}

#[test]
fn epilogues_bias_and_places() {
    for (seed, epilogue) in EPILOGUES.into_iter().enumerate() {
        let device = device(seed as u64);
        multiply(&device, &N64, case(21, 80, 192, epilogue), WHOLE, ALIGNED);
        multiply(&device, &N32, case(30, 160, 128, epilogue), WHOLE, ODD);
        let wide = Case { dtypes: [F32, BF16, BF16], ..case(17, 96, 64, epilogue) };
        multiply(&device, &N64, wide, WHOLE, ALIGNED);
    }
}

#[test]
fn f16() {
    let device = Device::new("gemm_packed_f16", HOPPER, 1);
    let f16 = |name, kernel| Kernel { name, ..kernel };
    let half = |case| Case { dtypes: [F16; 3], ..case };
    let (n32, n96) = (f16("gemm_packed_n32_f16", N32), f16("gemm_packed_n96_f16", N96));
    multiply(&device, &n32, half(case(18, 48, 128, EPILOGUE_STORE)), WHOLE, ALIGNED);
    multiply(&device, &n96, half(case(66, 48, 64, EPILOGUE_ADD)), WHOLE, ALIGNED);
    let n256 = f16("gemm_packed_n256_f16", N256);
    multiply(&device, &n256, half(case(40, 48, 64, EPILOGUE_SILU_MUL)), WHOLE, ALIGNED);
}

#[test]
fn every_tile_of_tokens_with_every_number_of_units() {
    for (seed, kernel) in [&N32, &N64, &N96, &N128, &N192, &N256].into_iter().enumerate() {
        let device = device(seed as u64);
        for most in 1..=kernel.most {
            // Some warps have one unit less, and the tile of tokens is not full.
            let units = kernel.warps * (most - 1) + 1;
            let epilogue = EPILOGUES[(seed + most) % 3];
            let case = case(kernel.tokens - 9, 16 * units, 64, epilogue);
            multiply(&device, kernel, case, WHOLE, ALIGNED);
        }
    }
}

#[test]
fn a_block_multiplies_several_chunks() {
    let split = Split { workers: 2, row_chunks: 3, stages: 3, ..WHOLE };
    for seed in 0..3 {
        let device = device(seed);
        // Two tiles of tokens by three chunks of rows, of 13, 12 and 12 units.
        multiply(&device, &N32, case(40, 592, 192, EPILOGUE_ADD), split, ALIGNED);
        // Chunks of 8 and 4 units, of which the weight has 11.
        let one = Split { workers: 1, row_chunks: 2, step: 4, ..split };
        multiply(&device, &N64, case(33, 176, 320, EPILOGUE_SILU_MUL), one, ALIGNED);
    }
}

#[test]
fn a_cluster_cuts_the_columns() {
    for seed in 0..3 {
        let device = device(seed);
        let split = Split { cluster: 2, row_chunks: 2, stages: 4, ..WHOLE };
        // Five groups of 64 columns: the blocks get two and three.
        multiply(&device, &N64, case(20, 176, 320, EPILOGUE_ADD), split, ALIGNED);
        // Warps with two, one and no unit.
        let four = Split { cluster: 4, row_chunks: 2, stages: 6, ..WHOLE };
        multiply(&device, &N32, case(19, 240, 256, EPILOGUE_SILU_MUL), four, ALIGNED);
        // More blocks than tiles of 8 tokens to finish.
        let eight = Split { cluster: 8, row_chunks: 1, stages: 4, ..WHOLE };
        multiply(&device, &N64, case(41, 48, 512, EPILOGUE_STORE), eight, ALIGNED);
    }
}

#[test]
fn token_tiles_beyond_those_that_run_together() {
    // Nine tiles of tokens: eight share the weight, the ninth comes after all their rows.
    let split = Split { workers: 3, row_chunks: 2, ..WHOLE };
    multiply(&device(1), &N32, case(32 * 8 + 5, 160, 64, EPILOGUE_STORE), split, ALIGNED);
}
