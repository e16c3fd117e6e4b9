//! `cp.async` with groups and with an mbarrier.

use ptx_interp::{Fault, FaultKind};

use crate::device::{Device, SEEDS, params, pattern};

/// The sums that the kernel gives; floats from `valid` on count as zero.
fn run(kernel: &str, valid: usize, seed: u64) -> Result<Vec<f32>, Fault> {
    let device = Device::new(include_str!("../ptx/async_copy.ptx"));
    let input = device.upload_f32(&pattern(512));
    let out = device.alloc_f32(64);
    let params = params(&[out, input], &[valid as i32]);
    device.run(&[device.launch(kernel, [1, 64, 1], &params)], seed)?;
    Ok(device.download_f32(out, 64))
}

/// Thread t adds the four floats that thread 63 - t copied, of each of `groups` groups.
fn expected(valid: usize, groups: usize) -> Vec<f32> {
    let input = pattern(512);
    let value = |i: usize| if i < valid { input[i] } else { 0.0 };
    let sum = |t: usize| -> f32 {
        (0..groups)
            .flat_map(|group| (0..4).map(move |i| (group * 64 + 63 - t) * 4 + i))
            .map(value)
            .sum()
    };
    (0..64).map(sum).collect()
}

#[test]
fn groups_land_before_the_wait_ends_and_zeros_fill_the_rest() {
    for seed in SEEDS {
        for valid in [512, 333] {
            assert_eq!(run("copy_sum", valid, seed).unwrap(), expected(valid, 2), "seed {seed}");
        }
    }
}

#[test]
fn an_mbarrier_tracks_the_copies_of_every_thread() {
    for seed in SEEDS {
        assert_eq!(run("copy_sum_mbarrier", 512, seed).unwrap(), expected(512, 1), "seed {seed}");
    }
}

#[test]
fn a_group_left_in_flight_is_a_missing_wait() {
    for seed in SEEDS {
        let fault = run("copy_sum_no_wait", 512, seed).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::MissingWait, "{fault}");
    }
}

#[test]
fn a_wait_alone_does_not_order_the_copies_of_other_threads() {
    for seed in SEEDS {
        let kind = run("copy_sum_no_barrier", 512, seed).unwrap_err().kind();
        assert!(matches!(
            kind,
            FaultKind::Race | FaultKind::MissingWait | FaultKind::Uninitialized
        ));
    }
}
