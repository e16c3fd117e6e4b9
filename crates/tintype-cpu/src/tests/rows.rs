//! The ops that turn each row by itself.

use tintype_ops::{DType, Norm, Op};

use super::FLOATS;
use super::device::{Device, Values};

/// Rows and columns, odd ones among them; the last is large enough to run on all threads.
const SHAPES: [(u32, u32); 4] = [(1, 1), (3, 7), (5, 64), (33, 2050)];

fn normalized(x: &[f64], weight: &[f64], eps: f64) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(weight).map(|(x, w)| x / (mean + eps).sqrt() * w).collect()
}

fn silu_mul(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
}

#[test]
fn embed_copies_rows_and_clears_those_of_unknown_ids() {
    for dtype in FLOATS {
        for weight_dtype in FLOATS {
            let mut device = Device::new();
            let (table, values) = device.weight(9, 13, weight_dtype);
            let ids = [8, 0, 9, -1, 4, i32::MAX, i32::MIN];
            let (ids_tensor, out) = (device.ints(1, &ids), device.tensor(7, 13, dtype));
            device.run(Op::Embed { out, ids: ids_tensor, table });
            let row = |&id: &i32| match id {
                0..9 => values.row(id as usize).to_vec(),
                _ => vec![0.0; 13],
            };
            let expected = ids.iter().flat_map(row).collect();
            device.assert_close(out, &Values::new(13, expected), 0.0);
        }
    }
}

#[test]
fn gather_copies_rows_and_clears_unknown_ones() {
    for dtype in FLOATS {
        let mut device = Device::new();
        let (x, values) = device.floats(5, 9, DType::F32);
        let rows = [4, 4, 0, 5, -1, 2];
        let (rows_tensor, out) = (device.ints(1, &rows), device.tensor(6, 9, dtype));
        device.run(Op::Gather { out, x, rows: rows_tensor });
        let row = |&row: &i32| match row {
            0..5 => values.row(row as usize).to_vec(),
            _ => vec![0.0; 9],
        };
        let expected = rows.iter().flat_map(row).collect();
        device.assert_close(out, &Values::new(9, expected), 0.0);
    }
}

#[test]
fn rms_norm_agrees_with_f64() {
    for (rows, cols) in SHAPES {
        for dtype in FLOATS {
            let mut device = Device::new();
            let (x, values) = device.floats(rows, cols, dtype);
            let (weight, weights) = device.floats(1, cols, dtype);
            let out = device.tensor(rows, cols, dtype);
            device.run(Op::RmsNorm { out, x, norm: Norm { weight, eps: 1e-5 } });
            let expected =
                values.map_rows(|_, x| normalized(x, weights.row(0), f64::from(1e-5f32)));
            device.assert_close(out, &expected, 2.0);
        }
    }
}

#[test]
fn head_norm_normalizes_each_head() {
    for (heads, head_dim) in [(1, 1), (3, 5), (4, 64)] {
        for dtype in FLOATS {
            let mut device = Device::new();
            let (x, values) = device.floats(3, heads * head_dim, dtype);
            let (weight, weights) = device.floats(1, head_dim, DType::F32);
            device.run(Op::HeadNorm { x, norm: Norm { weight, eps: 1e-6 } });
            let expected = values.map_rows(|_, x| {
                let heads = x.chunks(head_dim as usize);
                heads.flat_map(|x| normalized(x, weights.row(0), f64::from(1e-6f32))).collect()
            });
            device.assert_close(x, &expected, 2.0);
        }
    }
}

#[test]
fn rope_rotates_the_first_elements_of_each_head() {
    for (heads, head_dim, rotary) in [(1, 2, 2), (3, 8, 8), (2, 10, 6), (5, 64, 64)] {
        for dtype in FLOATS {
            let mut device = Device::new();
            let (x, values) = device.floats(4, heads * head_dim, dtype);
            let (table, angles) = device.floats(11, rotary, DType::F32);
            let at = [10, 0, 3, 3];
            let positions = device.ints(1, &at);
            device.run(Op::Rope { x, positions, table, head_dim });
            let half = rotary as usize / 2;
            let expected = values.map_rows(|i, x| {
                let angles = angles.row(at[i] as usize);
                let rotate = |head: &[f64]| {
                    let mut out = head.to_vec();
                    for j in 0..half {
                        let (cos, sin) = (angles[j], angles[half + j]);
                        out[j] = head[j] * cos - head[half + j] * sin;
                        out[half + j] = head[half + j] * cos + head[j] * sin;
                    }
                    out
                };
                x.chunks(head_dim as usize).flat_map(rotate).collect()
            });
            device.assert_close(x, &expected, 2.0);
        }
    }
}

#[test]
fn silu_mul_agrees_with_f64() {
    for (rows, cols) in SHAPES {
        for dtype in FLOATS {
            let mut device = Device::new();
            let (gate_up, values) = device.floats(rows, 2 * cols, dtype);
            let out = device.tensor(rows, cols, dtype);
            device.run(Op::SiluMul { out, gate_up });
            let expected = values.map_rows(|_, x| {
                let (gate, up) = x.split_at(cols as usize);
                silu_mul(gate, up)
            });
            device.assert_close(out, &expected, 1.0);
        }
    }
}

#[test]
fn add_adds_in_place() {
    for (rows, cols) in SHAPES {
        for dtype in FLOATS {
            let mut device = Device::new();
            let (out, values) = device.floats(rows, cols, dtype);
            let (x, terms) = device.floats(rows, cols, DType::Bf16);
            device.run(Op::Add { out, x });
            let expected = values
                .map_rows(|i, row| row.iter().zip(terms.row(i)).map(|(a, b)| a + b).collect());
            device.assert_close(out, &expected, 1.0);
        }
    }
}
