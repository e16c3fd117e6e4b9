//! `rms_norm` and `head_norm`.

use tintype_kernels::params::NormParams;

use crate::device::{ALIGNED, DTYPES, ODD, Tensor, assert_close, noise, on_each_device};

const ROWS: usize = 3;
const EPS: f32 = 1e-2;

/// Each `weight.len()` elements of `x` normalised.
fn normalized(x: &Tensor, weight: &[f32]) -> Vec<f32> {
    let mut all = Vec::new();
    for part in x.values.chunks_exact(weight.len()) {
        let squares: f64 = part.iter().map(|&x| f64::from(x).powi(2)).sum();
        let scale = 1.0 / (squares / part.len() as f64 + f64::from(EPS)).sqrt();
        all.extend(part.iter().zip(weight).map(|(&x, &w)| (f64::from(x) * scale) as f32 * w));
    }
    all
}

#[test]
fn rms_norm_normalises_each_row() {
    on_each_device("norm", |device| {
        for dtypes in [[0, 0, 0], [1, 1, 1], [2, 2, 2], [2, 0, 1], [0, 2, 2], [1, 2, 0]] {
            let [to, from, of_weight] = dtypes.map(|i| DTYPES[i]);
            for (dim, placing, threads) in
                [(1, ODD, 32), (333, ODD, 96), (512, ALIGNED, 64), (512, ODD, 1024)]
            {
                let x = device.floats(from, [ROWS, dim], placing, noise(1));
                let weight = device.floats(of_weight, [1, dim], placing, noise(2));
                let out = device.alloc(to, [ROWS, dim], placing);
                let params = NormParams {
                    out,
                    x: x.view,
                    weight: weight.view,
                    dim: dim as u32,
                    heads: 1,
                    num_rows: ROWS as u32,
                    eps: EPS,
                };
                device.run("rms_norm", [ROWS as u32, 1], threads, &params);
                let expected = normalized(&x, &weight.values);
                assert_close(to, &device.read(out, [ROWS, dim]), &expected, "rms_norm");
            }
        }
    });
}

#[test]
fn head_norm_normalises_each_head_in_place() {
    const HEADS: usize = 5;
    on_each_device("norm", |device| {
        for [of_x, of_weight] in [[0, 0], [1, 1], [2, 2], [2, 0], [0, 1]] {
            let (of_x, of_weight) = (DTYPES[of_x], DTYPES[of_weight]);
            for (dim, placing) in [(3, ODD), (64, ALIGNED), (128, ODD), (256, ALIGNED)] {
                let x = device.floats(of_x, [ROWS, HEADS * dim], placing, noise(3));
                let weight = device.floats(of_weight, [1, dim], ALIGNED, noise(4));
                let params = NormParams {
                    out: x.view,
                    x: x.view,
                    weight: weight.view,
                    dim: dim as u32,
                    heads: HEADS as u32,
                    num_rows: ROWS as u32,
                    eps: EPS,
                };
                device.run("head_norm", [4, 1], 128, &params);
                let expected = normalized(&x, &weight.values);
                let found = device.read(x.view, [ROWS, HEADS * dim]);
                assert_close(of_x, &found, &expected, "head_norm");
            }
        }
    });
}
