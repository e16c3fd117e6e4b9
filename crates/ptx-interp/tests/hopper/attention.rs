//! Decode attention whose partial results a cluster merges.

use ptx_interp::{Fault, FaultKind, Launch};

use crate::device::{Device, SEEDS, params};

const DIM: usize = 64;
const KV_HEADS: usize = 2;
const GROUP: usize = 2;
const MAX_LEN: usize = 40;
const LEN: usize = 37;

/// Numbers in [-1, 1] that are exact in bf16.
fn number(i: usize, salt: usize) -> f32 {
    ((i * 31 + i / 64 * 7 + salt * 11) % 17) as f32 / 8.0 - 1.0
}

fn tensor(len: usize, salt: usize) -> Vec<u8> {
    (0..len).flat_map(|i| ((number(i, salt).to_bits() >> 16) as u16).to_le_bytes()).collect()
}

fn run(kernel: &str, seed: u64) -> Result<Vec<f32>, Fault> {
    let device = Device::new(include_str!("../ptx/cluster_attention.ptx"));
    let len = KV_HEADS * GROUP * DIM;
    let out = device.memory.alloc(2 * len as u64).unwrap();
    let q = device.upload(&tensor(len, 1));
    let k = device.upload(&tensor(KV_HEADS * MAX_LEN * DIM, 2));
    let v = device.upload(&tensor(KV_HEADS * MAX_LEN * DIM, 3));
    let length = device.upload(&(LEN as u32).to_le_bytes());
    let params = params(&[out, q, k, v, length], &[MAX_LEN as i32]);
    let launch = device.launch(kernel, [4 * KV_HEADS as u32, 64, 4], &params);
    device.run(&[Launch { programmatic: true, ..launch }], seed)?;
    let mut bytes = vec![0; 2 * len];
    device.memory.read(out, &mut bytes).unwrap();
    let pairs = bytes.as_chunks::<2>().0.iter();
    Ok(pairs.map(|pair| f32::from_bits(u32::from(u16::from_le_bytes(*pair)) << 16)).collect())
}

fn expected(head: usize) -> Vec<f64> {
    let row = |salt, at| {
        let first = (head / GROUP * MAX_LEN + at) * DIM;
        (0..DIM).map(move |d| f64::from(number(first + d, salt)))
    };
    let query: Vec<f64> = (0..DIM).map(|d| f64::from(number(head * DIM + d, 1))).collect();
    let score = |at| query.iter().zip(row(2, at)).map(|(q, k)| q * k).sum::<f64>() / 8.0;
    let weights: Vec<f64> = (0..LEN).map(|at| f64::exp(score(at))).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; DIM];
    for (at, weight) in weights.iter().enumerate() {
        for (out, v) in out.iter_mut().zip(row(3, at)) {
            *out += weight / total * v;
        }
    }
    out
}

#[test]
fn merged_attention_is_right_with_every_seed() {
    for seed in SEEDS {
        let out = run("cluster_attention", seed).unwrap();
        for head in 0..KV_HEADS * GROUP {
            for (got, want) in out[head * DIM..][..DIM].iter().zip(expected(head)) {
                assert!((f64::from(*got) - want).abs() < 0.01, "seed {seed}: {got} {want}");
            }
        }
    }
}

#[test]
fn merging_before_the_blocks_are_ready_is_reported() {
    for seed in SEEDS {
        let fault = run("cluster_attention_no_sync", seed).unwrap_err();
        assert!(
            matches!(fault.kind(), FaultKind::Race | FaultKind::Uninitialized),
            "seed {seed}: {fault}"
        );
    }
}
