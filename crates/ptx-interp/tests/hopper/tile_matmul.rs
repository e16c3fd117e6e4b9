//! One warp and its tensor core: every shape of `mma.sync`, `ldmatrix`, `stmatrix`.

use crate::device::{Device, SEEDS, params};

/// Small integers: exact in every element type, and so are their products' sums.
fn integer(row: usize, column: usize, salt: usize) -> f32 {
    ((row * 13 + column * 7 + row * column + salt) % 9) as f32 - 4.0
}

/// The bits of a small integer as bf16 or f16.
fn half(kernel: &str, value: f32) -> u16 {
    let bits = value.to_bits();
    match value {
        0.0 => 0,
        _ if kernel.contains("bf16") => (bits >> 16) as u16,
        _ => ((bits >> 16 & 0x8000) | ((bits >> 13 & 0x3_ffff) - ((127 - 15) << 10))) as u16,
    }
}

/// A matrix by rows, as the kernel takes it.
fn matrix(kernel: &str, [rows, columns]: [usize; 2], salt: usize) -> Vec<u8> {
    let values = (0..rows * columns).map(|i| integer(i / columns, i % columns, salt));
    match kernel {
        "product_tf32" => values.flat_map(f32::to_le_bytes).collect(),
        _ => values.flat_map(|value| half(kernel, value).to_le_bytes()).collect(),
    }
}

#[test]
fn every_shape_and_type_gives_the_product() {
    for (kernel, depth) in [
        ("product_bf16_k16", 32),
        ("product_f16_k16", 32),
        ("product_bf16_k8", 32),
        ("product_tf32", 8),
    ] {
        for seed in SEEDS {
            let device = Device::new(include_str!("../ptx/tile_matmul.ptx"));
            let a = device.upload(&matrix(kernel, [16, depth], 1));
            let b = device.upload(&matrix(kernel, [depth, 8], 2));
            let out = device.alloc_f32(16 * 8);
            let params = params(&[out, a, b], &[]);
            device.run(&[device.launch(kernel, [1, 32, 1], &params)], seed).unwrap();
            let product = |row, column| -> f32 {
                (0..depth).map(|k| integer(row, k, 1) * integer(k, column, 2)).sum()
            };
            let expected: Vec<f32> = (0..16 * 8).map(|i| product(i / 8, i % 8)).collect();
            assert_eq!(device.download_f32(out, 16 * 8), expected, "{kernel} seed {seed}");
        }
    }
}

#[test]
fn matrices_are_transposed_on_the_way_back() {
    let device = Device::new(include_str!("../ptx/tile_matmul.ptx"));
    let bytes: Vec<u8> = (0..64_u16).flat_map(u16::to_le_bytes).collect();
    let a = device.upload(&bytes);
    let out = device.alloc_f32(64);
    let params = params(&[out, a, a], &[]);
    device.run(&[device.launch("transpose", [1, 32, 1], &params)], 1).unwrap();
    let expected: Vec<f32> = (0..64).map(|i| (i % 8 * 8 + i / 8) as f32).collect();
    assert_eq!(device.download_f32(out, 64), expected);
}
