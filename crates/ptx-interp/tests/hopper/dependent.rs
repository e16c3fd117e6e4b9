//! Programmatic dependent launch: a chain of kernels that each add 1.

use crate::device::{Device, SEEDS, params, pattern};
use ptx_interp::Launch;

const LEN: usize = 256;
const DEPTH: usize = 5;

/// What the last of five launches of `kernel` wrote.
fn chain(kernel: &str, programmatic: bool, seed: u64) -> Vec<f32> {
    let device = Device::new(include_str!("../ptx/dependent.ptx"));
    let mut buffers = vec![device.upload_f32(&pattern(LEN))];
    buffers.extend((0..DEPTH).map(|_| device.alloc_f32(LEN)));
    let params: Vec<_> = buffers.windows(2).map(|pair| params(&[pair[1], pair[0]], &[])).collect();
    let launches: Vec<_> = params
        .iter()
        .map(|params| Launch { programmatic, ..device.launch(kernel, [4, 64, 1], params) })
        .collect();
    let stats = device.run(&launches, seed).unwrap();
    assert_eq!(stats.num_blocks, 4 * DEPTH as u64);
    device.download_f32(buffers[DEPTH], LEN)
}

fn expected() -> Vec<f32> {
    pattern(LEN).iter().map(|value| value + DEPTH as f32).collect()
}

#[test]
fn kernels_that_wait_see_what_the_one_before_wrote() {
    for seed in SEEDS {
        for kernel in ["add_one_early", "add_one_at_end", "add_one_plain"] {
            for programmatic in [false, true] {
                let out = chain(kernel, programmatic, seed);
                assert_eq!(out, expected(), "{kernel} {programmatic} seed {seed}");
            }
        }
    }
}

/// The read before the wait finds memory that nothing has written yet.
#[test]
fn reading_before_the_wait_reads_unfinished_data() {
    for seed in SEEDS {
        for kernel in ["add_one_late_wait", "add_one_no_wait"] {
            let out = chain(kernel, true, seed);
            assert!(out.iter().all(|value| value.is_nan()), "{kernel} seed {seed}: {out:?}");
        }
    }
}

/// Without the attribute a launch starts after the one before has finished, whatever it does.
#[test]
fn plain_launches_need_no_wait() {
    for kernel in ["add_one_late_wait", "add_one_no_wait"] {
        assert_eq!(chain(kernel, false, 0), expected(), "{kernel}");
    }
}
