//! Kernels as `nvcc` compiled them, with results that Rust computes.

use ptx_interp::Launch;

use crate::device::{Device, SEEDS, params, pattern};

fn device() -> Device {
    Device::new(include_str!("../ptx/samples.ptx"))
}

/// The bf16 number nearest to a value that has few bits.
fn bf16(value: f32) -> [u8; 2] {
    ((value.to_bits() >> 16) as u16).to_le_bytes()
}

fn bf16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| bf16(*value)).collect()
}

fn u32s(device: &Device, address: u64, len: usize) -> Vec<u32> {
    device.download_f32(address, len).iter().map(|value| value.to_bits()).collect()
}

fn close(found: &[f32], expected: &[f32], relative: f32) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let limit = relative * expected.abs().max(1e-3);
        assert!((found - expected).abs() <= limit, "{at}: {found}, expected {expected}");
    }
}

#[test]
fn rms_norm_of_odd_rows() {
    let (rows, n) = (3, 301);
    let device = device();
    let (x, w) = (pattern(rows * n), pattern(n));
    let (input, weight) = (device.upload(&bf16s(&x)), device.upload(&bf16s(&w)));
    let out = device.upload(&vec![0; 2 * rows * n]);
    let params = params(&[out, input, weight], &[n as i32, 0]);
    for seed in SEEDS {
        device.run(&[device.launch("rms_norm", [rows as u32, 256, 1], &params)], seed).unwrap();
        let mut bytes = vec![0; 2 * rows * n];
        device.memory.read(out, &mut bytes).unwrap();
        let halves = bytes.as_chunks::<2>().0.iter();
        let found: Vec<f32> =
            halves.map(|half| f32::from_bits(u32::from(u16::from_le_bytes(*half)) << 16)).collect();
        let expected: Vec<f32> = x
            .chunks(n)
            .flat_map(|row| {
                let squares: f32 = row.iter().map(|v| v * v).sum();
                let scale = (squares / n as f32 + 1e-5).sqrt().recip();
                row.iter().zip(&w).map(move |(v, w)| v * scale * w)
            })
            .collect();
        close(&found, &expected, 1.0 / 128.0);
    }
}

#[test]
fn a_matrix_times_a_vector() {
    let (rows, columns) = (10, 264);
    let device = device();
    let (w, x) = (pattern(rows * columns), pattern(columns));
    let (weights, input) = (device.upload(&bf16s(&w)), device.upload(&bf16s(&x)));
    let out = device.alloc_f32(rows);
    let params = params(&[out, weights, input], &[rows as i32, columns as i32]);
    device.run(&[device.launch("matvec", [3, 128, 1], &params)], 0).unwrap();
    let dot = |row: &[f32]| row.iter().zip(&x).map(|(w, x)| w * x).sum();
    let expected: Vec<f32> = w.chunks(columns).map(dot).collect();
    assert_eq!(device.download_f32(out, rows), expected);
}

#[test]
fn the_last_block_adds_up() {
    let device = device();
    let x = pattern(5000);
    let (input, out) = (device.upload_f32(&x), device.alloc_f32(9));
    let params = params(&[out, input, 0], &[x.len() as i32, 0]);
    for seed in SEEDS {
        let launch = device.launch("grid_sum", [8, 256, 1], &params);
        let stats = device.run(&[Launch { dynamic_shared_bytes: 1024, ..launch }], seed).unwrap();
        assert_eq!(stats.num_blocks, 8);
        assert_eq!(device.download_f32(out, 1), [x.iter().sum::<f32>()], "seed {seed}");
    }
}

/// The results of a kernel of 64 threads on two inputs.
fn elementwise(kernel: &str, a: &[f32], b: &[f32], outputs: usize) -> Vec<f32> {
    let device = device();
    let inputs = [device.upload_f32(a), device.upload_f32(b)];
    let out = device.alloc_f32(64 * outputs);
    let params = params(&[out, inputs[0], inputs[1]], &[0, 0]);
    device.run(&[device.launch(kernel, [1, 64, 1], &params)], 0).unwrap();
    device.download_f32(out, 64 * outputs)
}

#[test]
fn sines_of_large_angles() {
    let angles: Vec<f32> = (0..64).map(|i| (i as f32 - 20.0) * 3.7f32.powi(i / 2)).collect();
    let found = elementwise("sine_cosine", &angles, &angles, 2);
    for (angle, found) in angles.iter().zip(found.chunks(2)) {
        let (sine, cosine) = f64::from(*angle).sin_cos();
        let error = (f64::from(found[0]) - sine).abs().max((f64::from(found[1]) - cosine).abs());
        assert!(error < 2e-7, "{angle}: {found:?}");
    }
}

#[test]
fn powers_and_exponentials() {
    let a: Vec<f32> = (0..64).map(|i| 0.1 + i as f32 * 0.37).collect();
    let b: Vec<f32> = (0..64).map(|i| (i as f32 - 32.0) / 9.0).collect();
    let powers: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a.powf(*b)).collect();
    close(&elementwise("power", &a, &b, 1), &powers, 1e-6);
    let sigmoid = |x: &f32| (1.0 + (-x).exp()).recip() + x.abs().ln_1p() + x.tanh();
    let expected: Vec<f32> = b.iter().map(sigmoid).collect();
    close(&elementwise("sigmoid", &b, &b, 1), &expected, 1e-5);
}

#[test]
fn the_first_largest_number() {
    let device = device();
    let mut x = pattern(1000);
    (x[700], x[321]) = (50.0, 50.0);
    let (input, out) = (device.upload_f32(&x), device.upload(&[0; 8]));
    let params = params(&[out, input, 0], &[1000, 0]);
    device.run(&[device.launch("arg_max", [2, 128, 1], &params)], 3).unwrap();
    let key = u32s(&device, out, 2);
    assert_eq!((!key[0], key[1]), (321, 50f32.to_bits() | 1 << 31));
}

#[test]
fn counts_of_bytes() {
    let device = device();
    let bytes: Vec<u8> = (0..3000u32).map(|i| (i * i % 251) as u8).collect();
    let (input, out) = (device.upload(&bytes), device.upload(&[0; 1024]));
    let params = params(&[out, input, 0], &[3000, 0]);
    device.run(&[device.launch("histogram", [3, 256, 1], &params)], 5).unwrap();
    let mut expected = [0u32; 256];
    bytes.iter().for_each(|byte| expected[usize::from(*byte)] += 1);
    assert_eq!(u32s(&device, out, 256), expected);
}

#[test]
fn a_transposed_matrix() {
    let (rows, columns) = (45, 70);
    let device = device();
    let x = pattern(rows * columns);
    let (input, out) = (device.upload_f32(&x), device.alloc_f32(rows * columns));
    let params = params(&[out, input, 0], &[rows as i32, columns as i32]);
    let launch = Launch { grid: [3, 2, 1], ..device.launch("transpose", [1, 256, 1], &params) };
    device.run(&[launch], 1).unwrap();
    let expected: Vec<f32> =
        (0..rows * columns).map(|i| x[i % rows * columns + i / rows]).collect();
    assert_eq!(device.download_f32(out, rows * columns), expected);
}

#[test]
fn variables_have_their_initial_values() {
    let device = device();
    let cases: Vec<u8> = (0..32u32).flat_map(|i| (i % 7).to_le_bytes()).collect();
    let (input, out) = (device.upload(&cases), device.alloc_f32(32));
    let params = params(&[out, input, 0], &[0, 0]);
    device.run(&[device.launch("variables", [1, 32, 1], &params)], 0).unwrap();
    let weights = [0.5, -1.0, 2.0, 4.0];
    let table = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
    let expected: Vec<f32> = (0..32)
        .map(|i| match i % 7 {
            0 => weights[0],
            1 => weights[i % 4] * 3.0,
            2 => (i as f32).sqrt(),
            3 => -1.0,
            4 => table[i % 8],
            5 => table[4 + i % 4],
            _ => 100.0,
        })
        .collect();
    assert_eq!(device.download_f32(out, 32), expected);
    let (address, bytes) = device.module.global("table").unwrap();
    assert_eq!((u32s(&device, address, 1)[0], bytes), (3, 32));
}

#[test]
fn lanes_talk() {
    let device = device();
    let values: Vec<u32> = (0..32).map(|i| i * 7 % 12).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let (input, out) = (device.upload(&bytes), device.alloc_f32(6 * 32));
    let params = params(&[out, input, 0], &[0, 0]);
    device.run(&[device.launch("warp_talk", [1, 32, 1], &params)], 0).unwrap();
    let found = u32s(&device, out, 6 * 32);
    let mask = |f: &dyn Fn(usize) -> bool| (0..32).fold(0, |m, i| m | u32::from(f(i)) << i);
    for lane in 0..32 {
        let up = values[if lane < 3 { lane } else { lane - 3 }];
        let down = values[if lane % 16 + 5 > 15 { lane } else { lane + 5 }];
        let indexed = values[lane / 8 * 8 + 1];
        let expected = [
            mask(&|i| values[i] % 2 == 1),
            values.iter().sum(),
            mask(&|i| values[i] == values[lane]),
            1 | u32::from(values.contains(&7)) << 1,
            up ^ down << 8 ^ indexed << 16,
            if lane % 3 == 0 { mask(&|i| i % 3 == 0) } else { 0 },
        ];
        assert_eq!(found[6 * lane..6 * lane + 6], expected, "lane {lane}");
    }
}

#[test]
fn groups_of_warps_have_barriers() {
    let device = device();
    let out = device.alloc_f32(128);
    let params = params(&[out, 0, 0], &[0, 0]);
    let expected: Vec<u32> =
        (0..128).map(|t| t / 64 * 64 + 63 - t % 64 + 1000 * 64 + 100_000).collect();
    for seed in SEEDS {
        device.run(&[device.launch("groups", [1, 128, 1], &params)], seed).unwrap();
        assert_eq!(u32s(&device, out, 128), expected, "seed {seed}");
    }
}
