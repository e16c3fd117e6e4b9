//! `gemm_rows_*`: row-major 16-bit weights.

use ptx_interp::Launch;
use tintype_kernels::params::{BF16, F16, F32};

use crate::device::{ALIGNED, Device, ODD, Placing, on_each_device};
use crate::product::{Case, EPILOGUES, Layout, Product};

/// Rows of a block's tile, and slots of its ring.
const TILE: usize = 128;
const STAGES: usize = 3;

fn multiply(device: &Device, kernel: &str, tile: usize, case: Case, out: Placing) {
    let x = Placing { offset: 8, gap: if case.cols.is_multiple_of(16) { 8 } else { 0 } };
    let product = Product::new(device, Case { out, x, ..case });
    let grid = [case.rows.div_ceil(TILE) as u32, case.tokens.div_ceil(tile) as u32];
    let params = product.gemm_params();
    let launch = device.launch(kernel, grid, 256, &params);
    let shared = (STAGES * (TILE + tile) * 128) as u32;
    device.run_in_order(&[Launch { dynamic_shared_bytes: shared, ..launch }]);
    product.assert_done(device);
}

fn case(tokens: usize, rows: usize, cols: usize, epilogue: u32, dtype: u32) -> Case {
    let bias = (rows + cols).is_multiple_of(3).then_some(dtype);
    let (dtypes, layout) = ([dtype; 3], Layout::RowMajor);
    Case { epilogue, bias, dtypes, layout, ..Case::packed(tokens, rows, cols) }
}

#[test]
fn sizes_need_not_fit_the_tiles() {
    on_each_device("gemm_rows", |device| {
        for epilogue in EPILOGUES {
            multiply(device, "gemm_rows_n64_bf16", 64, case(21, 34, 72, epilogue, BF16), ODD);
            multiply(device, "gemm_rows_n128_f16", 128, case(70, 146, 264, epilogue, F16), ALIGNED);
        }
    });
}

#[test]
fn several_tiles_of_rows_and_tokens() {
    on_each_device("gemm_rows", |device| {
        let wide = Case { dtypes: [F32, BF16, BF16], ..case(131, 300, 8, EPILOGUES[0], BF16) };
        multiply(device, "gemm_rows_n128_bf16", 128, wide, ALIGNED);
        multiply(device, "gemm_rows_n64_f16", 64, case(65, 272, 40, EPILOGUES[2], F16), ALIGNED);
    });
}
