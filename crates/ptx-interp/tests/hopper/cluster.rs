//! Distributed shared memory and the cluster barrier.

use ptx_interp::{Fault, FaultKind};

use crate::device::{Device, SEEDS, params, pattern};

const BLOCKS: usize = 8;
const CLUSTER: usize = 4;

/// Two clusters of four blocks.
fn run(kernel: &str, seed: u64) -> Result<Vec<f32>, Fault> {
    let device = Device::new(include_str!("../ptx/cluster.ptx"));
    let input = device.upload_f32(&pattern(BLOCKS * 32));
    let out = device.alloc_f32(BLOCKS * 32);
    let params = params(&[out, input], &[CLUSTER as i32]);
    let shape = [BLOCKS as u32, 32, CLUSTER as u32];
    device.run(&[device.launch(kernel, shape, &params)], seed)?;
    Ok(device.download_f32(out, BLOCKS * 32))
}

/// out[block][lane] = f(values of the lane in all blocks of the cluster, rank of the block).
fn expected(f: impl Fn([f32; CLUSTER], usize) -> f32) -> Vec<f32> {
    let input = pattern(BLOCKS * 32);
    let value = |i: usize| {
        let (block, lane) = (i / 32, i % 32);
        let first = block / CLUSTER * CLUSTER;
        f(std::array::from_fn(|rank| input[(first + rank) * 32 + lane]), block % CLUSTER)
    };
    (0..BLOCKS * 32).map(value).collect()
}

#[test]
fn blocks_read_each_other_between_cluster_barriers() {
    let sums = expected(|values, _| values.iter().sum());
    for seed in SEEDS {
        assert_eq!(run("cluster_sum", seed).unwrap(), sums, "seed {seed}");
    }
}

#[test]
fn blocks_write_into_each_other() {
    let shifted = expected(|values, rank| values[(rank + CLUSTER - 1) % CLUSTER]);
    for seed in SEEDS {
        assert_eq!(run("cluster_shift", seed).unwrap(), shifted, "seed {seed}");
    }
}

#[test]
fn generic_addresses_reach_other_blocks() {
    let mut shifted = expected(|values, rank| values[(rank + 1) % CLUSTER]);
    // Thread 0 of each cluster's first block tells how many threads counted.
    for cluster in 0..BLOCKS / CLUSTER {
        shifted[cluster * CLUSTER * 32] = (CLUSTER * 32) as f32;
    }
    for seed in SEEDS {
        assert_eq!(run("cluster_generic", seed).unwrap(), shifted, "seed {seed}");
    }
}

#[test]
fn an_mbarrier_of_another_block_takes_arrivals_and_bytes() {
    let sums = expected(|values, _| values.iter().sum());
    for kernel in ["cluster_send_bulk", "cluster_send_stores"] {
        for seed in SEEDS {
            let out = run(kernel, seed).unwrap();
            for first in (0..BLOCKS * 32).step_by(CLUSTER * 32) {
                assert_eq!(out[first..][..32], sums[first..][..32], "{kernel} seed {seed}");
            }
        }
    }
}

#[test]
fn reading_an_inbox_before_its_mbarrier_completes_is_reported() {
    for seed in SEEDS {
        let kind = run("cluster_send_no_wait", seed).unwrap_err().kind();
        assert!(matches!(kind, FaultKind::Race | FaultKind::Uninitialized), "{kind:?}");
    }
}

#[test]
fn waiting_at_the_cluster_barrier_without_arriving_is_reported() {
    for seed in SEEDS {
        let kind = run("cluster_missing_arrival", seed).unwrap_err().kind();
        assert_eq!(kind, FaultKind::InvalidUse);
    }
}

#[test]
fn without_a_barrier_before_it_a_remote_read_is_a_race() {
    for kernel in ["cluster_sum_unordered", "cluster_relaxed"] {
        for seed in SEEDS {
            let fault = run(kernel, seed).unwrap_err();
            let kind = fault.kind();
            assert!(
                matches!(kind, FaultKind::Race | FaultKind::Uninitialized),
                "{kernel} seed {seed}: {fault}"
            );
        }
    }
}

#[test]
fn reading_a_block_that_may_have_exited_is_reported() {
    for seed in SEEDS {
        let fault = run("cluster_sum_early_exit", seed).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::BlockExited, "seed {seed}: {fault}");
    }
}
