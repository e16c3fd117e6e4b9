//! `gemm_any`: every mix of types, sizes, strides and layouts.

use tintype_kernels::params::{F32, GemmAnyParams, PACKING_GATE_UP, PACKING_NONE, PACKING_PLAIN};

use crate::device::{ALIGNED, DTYPES, Device, ODD, on_each_device};
use crate::product::{Case, EPILOGUES, Layout, Product};

fn multiply(device: &Device, case: Case) {
    let product = Product::new(device, case, ODD, if case.bias { ODD } else { ALIGNED });
    let packing = match case.layout {
        Layout::RowMajor => PACKING_NONE,
        Layout::Packed { gate_up: false } => PACKING_PLAIN,
        Layout::Packed { gate_up: true } => PACKING_GATE_UP,
    };
    let weight_dtype = case.dtypes[2];
    let params = GemmAnyParams { product: product.params(), weight_dtype, packing };
    let grid = [case.units().div_ceil(4) as u32, case.tokens.div_ceil(64) as u32];
    device.run("gemm_any", grid, 256, &params);
    product.assert_done(device);
}

#[test]
fn every_mix_of_types() {
    on_each_device("gemm_any", |device| {
        for (i, epilogue) in EPILOGUES.into_iter().enumerate() {
            for to in DTYPES {
                for (j, from) in DTYPES.into_iter().enumerate() {
                    let of = DTYPES[(i + j) % 3];
                    let dtypes = [to, from, of];
                    let layout = Layout::RowMajor;
                    let bias = i == j;
                    let shape =
                        Case { tokens: 5, rows: 22, cols: 19, epilogue, bias, dtypes, layout };
                    multiply(device, shape);
                }
            }
        }
    });
}

#[test]
fn several_tiles_of_rows_and_tokens() {
    on_each_device("gemm_any", |device| {
        for epilogue in EPILOGUES {
            let layout = Layout::RowMajor;
            let dtypes = [F32; 3];
            let bias = true;
            multiply(
                device,
                Case { tokens: 67, rows: 134, cols: 33, epilogue, bias, dtypes, layout },
            );
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
                let bias = gate_up;
                let shape = Case { tokens: 3, rows: 80, cols: 64, epilogue, bias, dtypes, layout };
                multiply(device, shape);
            }
        }
    });
}
