//! Operands of any type, size and place.

use tintype_kernels::params::{BF16, EPILOGUE_ADD, EPILOGUE_SILU_MUL, EPILOGUE_STORE, F16, F32};

use crate::device::{DTYPES, Device, on_each_device};
use crate::product::{Case, Layout, Product};

fn check(device: &Device, case: Case) {
    let is_packed = case.layout != Layout::RowMajor;
    let (kernel, warp_rows) = match (case.dtypes[2], is_packed, case.tokens) {
        (F32, _, 1) => ("matvec_f32_n1", 2),
        (F32, ..) => ("matvec_f32_n16", 2),
        (F16, true, _) => ("matvec_packed_any_f16", 4),
        (F16, _, 1) => ("matvec_f16_n1", 2),
        (F16, ..) => ("matvec_f16_n16", 4),
        (_, true, _) => ("matvec_packed_any_bf16", 4),
        (_, _, 1) => ("matvec_bf16_n1", 2),
        _ => ("matvec_bf16_n16", 4),
    };
    let product = Product::new(device, case);
    let blocks = case.rows.div_ceil(8 * warp_rows) as u32;
    device.run(kernel, [blocks, 1], 256, &product.params());
    product.assert_done(device);
}

/// A row-major product in f32.
fn row_major(tokens: usize, rows: usize, cols: usize) -> Case {
    let layout = Layout::RowMajor;
    Case { layout, dtypes: [F32; 3], ..Case::packed(tokens, rows, cols) }
}

#[test]
fn every_mix_of_types() {
    on_each_device("matvec", |device| {
        for (i, to) in DTYPES.into_iter().enumerate() {
            for (j, from) in DTYPES.into_iter().enumerate() {
                for of in DTYPES {
                    let tokens = if (i + j) % 2 == 0 { 1 } else { 3 };
                    let (norm, bias) = (Some(DTYPES[(i + 1) % 3]), Some(DTYPES[(j + 1) % 3]));
                    let case = Case { dtypes: [to, from, of], ..row_major(tokens, 18, 72) };
                    check(device, case);
                    let case = if j > 0 { case.apart(j) } else { case };
                    check(device, Case { norm, bias, ..case });
                }
            }
        }
    });
}

#[test]
fn every_size() {
    on_each_device("matvec", |device| {
        for (rows, cols) in [(1, 1), (3, 5), (17, 129), (33, 1030), (40, 2056)] {
            for of in DTYPES {
                for tokens in [1, 2, 16] {
                    let norm = (cols % 2 == 0).then_some(BF16);
                    let dtypes = [F32, F32, of];
                    check(device, Case { dtypes, norm, ..row_major(tokens, rows, cols) });
                }
            }
        }
    });
}

#[test]
fn every_epilogue() {
    on_each_device("matvec", |device| {
        for epilogue in [EPILOGUE_STORE, EPILOGUE_ADD, EPILOGUE_SILU_MUL] {
            for (tokens, rows) in [(1, 2), (5, 34), (16, 70)] {
                for of in DTYPES {
                    let dtypes = [F32, of, of];
                    let case = Case { epilogue, dtypes, ..row_major(tokens, rows, 40) };
                    check(device, case);
                    check(device, Case { bias: Some(of), ..case.apart(3) });
                }
            }
        }
    });
}

#[test]
fn packed_weights_with_operands_that_do_not_suit_them() {
    let device = Device::new("matvec", (9, 0), 1);
    for of in [F16, BF16] {
        for gate_up in [false, true] {
            for epilogue in [EPILOGUE_STORE, EPILOGUE_ADD, EPILOGUE_SILU_MUL] {
                let layout = Layout::Packed { gate_up };
                let case = Case { layout, epilogue, ..Case::packed(3, 48, 320) };
                let dtypes = [F32, F32, of];
                check(&device, Case { dtypes, norm: Some(F32), ..case });
                check(&device, Case { dtypes: [of; 3], tokens: 16, ..case.apart(1) });
            }
        }
    }
}
