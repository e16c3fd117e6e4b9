//! The fast decode matmul: bulk-copy rings, tensor cores, clusters and programmatic launch at once.

use ptx_interp::{Fault, FaultKind, Launch};

use crate::device::{Device, SEEDS, params};

const K: usize = 512;
const ROWS: usize = 96;
const TOKENS: usize = 5;
/// Rings, partial sums, results of four units, mbarriers.
const SHARED_BYTES: u32 = 4 * 3 * 2 * 512 + 2 * 4 * 512 + 4 * 512 + 4 * 3 * 8;

/// Small integers: exact in bf16, and so are their sums in f32.
fn integer(row: usize, column: usize, salt: usize) -> f32 {
    ((row * 29 + column * 13 + row * column + salt) % 7) as f32 - 3.0
}

/// The bf16 nearest to an f32 that is finite.
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

fn matrix(rows: usize, columns: usize, salt: usize) -> Vec<u8> {
    let value = |i: usize| bf16(integer(i / columns, i % columns, salt));
    (0..rows * columns).flat_map(|i| value(i).to_le_bytes()).collect()
}

/// The weights in the order of the kernel: unit of 16 rows, tile of 16 columns, lane, fragment.
fn packed_weights() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ROWS * K * 2);
    for unit in 0..ROWS / 16 {
        for tile in 0..K / 16 {
            for lane in 0..32 {
                let (g, t) = (lane / 4, lane % 4);
                let first = tile / 4 * 64 + t * 16 + tile % 4 * 4;
                for (row, column) in [(g, 0), (g + 8, 0), (g, 2), (g + 8, 2)] {
                    for k in 0..2 {
                        let value = integer(16 * unit + row, first + column + k, 1);
                        bytes.extend(bf16(value).to_le_bytes());
                    }
                }
            }
        }
    }
    bytes
}

/// W x + residual, rounded to bf16, by plain loops.
fn expected() -> Vec<u16> {
    let value = |i: usize| {
        let (token, row) = (i / ROWS, i % ROWS);
        let products = (0..K).map(|k| integer(row, k, 1) * integer(token, k, 2));
        bf16(products.sum::<f32>() + integer(token, row, 3))
    };
    (0..TOKENS * ROWS).map(value).collect()
}

fn run(kernel: &str, cluster: u32, seed: u64) -> Result<Vec<u16>, Fault> {
    let device = Device::new(include_str!("../ptx/ring_matmul.ptx"));
    let weights = device.upload(&packed_weights());
    let x = device.upload(&matrix(TOKENS, K, 2));
    let residual = device.upload(&matrix(TOKENS, ROWS, 3));
    let out = device.memory.alloc(2 * (TOKENS * ROWS) as u64).unwrap();
    let params = params(&[out, weights, x, residual], &[ROWS as i32, TOKENS as i32]);
    let launch = Launch {
        dynamic_shared_bytes: SHARED_BYTES,
        programmatic: true,
        ..device.launch(kernel, [2 * cluster, 128, cluster], &params)
    };
    device.run(&[launch], seed)?;
    let mut bytes = vec![0; 2 * TOKENS * ROWS];
    device.memory.read(out, &mut bytes).unwrap();
    Ok(bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect())
}

#[test]
fn products_are_right_with_every_seed() {
    for seed in SEEDS {
        assert_eq!(run("ring_matmul", 1, seed).unwrap(), expected(), "seed {seed}");
        assert_eq!(run("ring_matmul_cluster", 2, seed).unwrap(), expected(), "seed {seed}");
    }
}

#[test]
fn a_slot_refilled_before_its_fragments_are_multiplied_is_reported() {
    for seed in SEEDS {
        let fault = run("ring_matmul_early_refill", 2, seed).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::EarlyRefill, "seed {seed}: {fault}");
    }
}
