//! Products with weights, their prologue and their epilogues.

use tintype_ops::{DType, Epilogue, Norm, Op, Tensor, Weight};

use super::FLOATS;
use super::device::{Device, Values};

/// Tokens, output features (even, for the gated epilogue), input features.
const SHAPES: [(u32, u32, u32); 5] =
    [(1, 2, 1), (1, 300, 64), (3, 34, 33), (17, 130, 70), (40, 258, 129)];

/// `x · weightᵀ`.
fn product(x: &Values, weight: &Values) -> Values {
    x.map_rows(|_, x| weight.rows().map(|w| x.iter().zip(w).map(|(x, w)| x * w).sum()).collect())
}

fn plain(out: Tensor, x: Tensor, weight: Weight) -> Op {
    Op::Matmul { out, x, weight, bias: None, norm: None, epilogue: Epilogue::Store }
}

/// All that a matmul may ask for, with its inputs.
struct Case {
    device: Device,
    x: Tensor,
    weight: Weight,
    bias: Tensor,
    norm: Norm,
}

impl Case {
    fn new((n, rows, cols): (u32, u32, u32), dtype: DType, weight_dtype: DType) -> Self {
        let mut device = Device::new();
        let (x, _) = device.floats(n, cols, dtype);
        let (weight, _) = device.weight(rows, cols, weight_dtype);
        let (bias, _) = device.floats(1, rows, dtype);
        let (norm, _) = device.floats(1, cols, DType::F32);
        Self { device, x, weight, bias, norm: Norm { weight: norm, eps: 1e-5 } }
    }
}

#[test]
fn matmul_agrees_with_f64_for_every_dtype() {
    for (n, rows, cols) in SHAPES {
        for (dtype, weight_dtype) in FLOATS.into_iter().flat_map(|a| FLOATS.map(|b| (a, b))) {
            let mut device = Device::new();
            let (x, x_values) = device.floats(n, cols, dtype);
            let (weight, weights) = device.weight(rows, cols, weight_dtype);
            let out = device.tensor(n, rows, dtype);
            device.run(plain(out, x, weight));
            device.assert_close(out, &product(&x_values, &weights), f64::from(cols));
        }
    }
}

#[test]
fn bias_and_residual_are_added_before_the_result_is_rounded() {
    for (n, rows, cols) in SHAPES {
        for dtype in FLOATS {
            let mut device = Device::new();
            let (x, x_values) = device.floats(n, cols, DType::F32);
            let (weight, weights) = device.weight(rows, cols, DType::Bf16);
            let (bias, biases) = device.floats(1, rows, dtype);
            let (out, start) = device.floats(n, rows, dtype);
            let epilogue = Epilogue::Add;
            device.run(Op::Matmul { out, x, weight, bias: Some(bias), norm: None, epilogue });
            let expected = product(&x_values, &weights).map_rows(|i, y| {
                let terms = y.iter().zip(biases.row(0)).zip(start.row(i));
                terms.map(|((y, bias), start)| y + bias + start).collect()
            });
            device.assert_close(out, &expected, f64::from(cols) + 2.0);
        }
    }
}

#[test]
fn a_norm_before_equals_the_op_it_replaces() {
    for shape in SHAPES {
        for dtype in FLOATS {
            let Case { mut device, x, weight, norm, .. } = Case::new(shape, dtype, DType::F16);
            let (n, rows, cols) = shape;
            let [fused, apart] = [(); 2].map(|()| device.tensor(n, rows, DType::F32));
            let normed = device.tensor(n, cols, DType::F32);
            let (bias, epilogue) = (None, Epilogue::Store);
            device.run(Op::Matmul { out: fused, x, weight, bias, norm: Some(norm), epilogue });
            device.run(Op::RmsNorm { out: normed, x, norm });
            device.run(plain(apart, normed, weight));
            assert_eq!(device.bytes(fused), device.bytes(apart), "{shape:?} {dtype}");
        }
    }
}

#[test]
fn the_residual_epilogue_equals_the_ops_it_replaces() {
    for shape in SHAPES {
        for weight_dtype in FLOATS {
            let Case { mut device, x, weight, .. } = Case::new(shape, DType::F32, weight_dtype);
            let (n, rows, _) = shape;
            let (fused, start) = device.floats(n, rows, DType::F32);
            let [apart, product] = [(); 2].map(|()| device.tensor(n, rows, DType::F32));
            let start: Vec<f32> = start.data.iter().map(|&value| value as f32).collect();
            device.write(apart, &start);
            let epilogue = Epilogue::Add;
            device.run(Op::Matmul { out: fused, x, weight, bias: None, norm: None, epilogue });
            device.run(plain(product, x, weight));
            device.run(Op::Add { out: apart, x: product });
            assert_eq!(device.bytes(fused), device.bytes(apart), "{shape:?}");
        }
    }
}

#[test]
fn the_gated_epilogue_equals_the_ops_it_replaces() {
    for shape in SHAPES {
        for out_dtype in FLOATS {
            let Case { mut device, x, weight, bias, .. } =
                Case::new(shape, DType::Bf16, DType::Bf16);
            let (n, rows, _) = shape;
            let [fused, apart] = [(); 2].map(|()| device.tensor(n, rows / 2, out_dtype));
            let gate_up = device.tensor(n, rows, DType::F32);
            let (bias, norm) = (Some(bias), None);
            let epilogue = Epilogue::SiluMul;
            device.run(Op::Matmul { out: fused, x, weight, bias, norm, epilogue });
            let epilogue = Epilogue::Store;
            device.run(Op::Matmul { out: gate_up, x, weight, bias, norm, epilogue });
            device.run(Op::SiluMul { out: apart, gate_up });
            assert_eq!(device.bytes(fused), device.bytes(apart), "{shape:?} {out_dtype}");
        }
    }
}

#[test]
fn a_contiguous_input_gives_the_bits_of_a_strided_one() {
    let Case { mut device, x, weight, .. } = Case::new((5, 12, 33), DType::F32, DType::F32);
    let buffer = device.buffer(5 * 33 * 4);
    let contiguous = Tensor::new(buffer, 5, 33, DType::F32);
    let bytes = device.bytes(x);
    tintype_ops::Stream::upload(&mut device.stream, contiguous, &bytes).unwrap();
    let outs = [x, contiguous].map(|x| {
        let out = device.tensor(5, 12, DType::F32);
        device.run(plain(out, x, weight));
        device.bytes(out)
    });
    assert_eq!(outs[0], outs[1]);
}
