//! `gemm_any`: every mix of types, sizes, strides and layouts.

use tintype_kernels::params::{
    EPILOGUE_SILU_MUL, F32, GemmAnyParams, PACKING_GATE_UP, PACKING_NONE, PACKING_PLAIN,
};

use crate::device::{ALIGNED, DTYPES, Device, ODD, on_each_device};
use crate::product::{Case, EPILOGUES, Layout, Product};

fn multiply(device: &Device, case: Case) {
    let x = if case.bias.is_some() { ODD } else { ALIGNED };
    let product = Product::new(device, Case { out: ODD, x, ..case });
    let packing = match case.layout {
        Layout::RowMajor => PACKING_NONE,
        Layout::Packed { gate_up: false } => PACKING_PLAIN,
        Layout::Packed { gate_up: true } => PACKING_GATE_UP,
    };
    let weight_dtype = case.dtypes[2];
    let params = GemmAnyParams { product: product.gemm_params(), weight_dtype, packing };
    let grid = [units(&case).div_ceil(4) as u32, case.tokens.div_ceil(64) as u32];
    device.run("gemm_any", grid, 256, &params);
    product.assert_done(device);
}

/// How many units of 16 rows there are.
fn units(case: &Case) -> usize {
    let paired = case.epilogue == EPILOGUE_SILU_MUL;
    if paired { (case.rows / 2).div_ceil(8) } else { case.rows.div_ceil(16) }
}

#[test]
fn every_mix_of_types() {
    on_each_device("gemm_any", |device| {
        for (i, epilogue) in EPILOGUES.into_iter().enumerate() {
            for to in DTYPES {
                for (j, from) in DTYPES.into_iter().enumerate() {
                    let of = DTYPES[(i + j) % 3];
                    let (dtypes, layout) = ([to, from, of], Layout::RowMajor);
                    let bias = (i == j).then_some(from);
                    let case = Case { epilogue, bias, dtypes, layout, ..Case::packed(5, 22, 19) };
                    multiply(device, case);
                }
            }
        }
    });
}

#[test]
fn several_tiles_of_rows_and_tokens() {
    on_each_device("gemm_any", |device| {
        for epilogue in EPILOGUES {
            let (dtypes, layout, bias) = ([F32; 3], Layout::RowMajor, Some(F32));
            let case = Case { epilogue, bias, dtypes, layout, ..Case::packed(67, 134, 33) };
            multiply(device, case);
        }
    });
}

#[test]
fn packed_weights_of_both_kinds_with_every_epilogue() {
    on_each_device("gemm_any", |device| {
        for epilogue in EPILOGUES {
            for gate_up in [false, true] {
                let layout = Layout::Packed { gate_up };
                let dtypes = [F32, F32, DTYPES[1 + usize::from(gate_up)]];
                let bias = gate_up.then_some(F32);
                multiply(
                    device,
                    Case { epilogue, bias, dtypes, layout, ..Case::packed(3, 80, 64) },
                );
            }
        }
    });
}
