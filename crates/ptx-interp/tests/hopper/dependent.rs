//! Programmatic dependent launch: a chain of kernels that each add 1.

use crate::device::{Device, SEEDS, params, pattern};
use ptx_interp::Launch;

const DEPTH: usize = 5;

/// What the last of five launches of `kernel` wrote, each of `blocks` blocks.
fn chain(kernel: &str, blocks: usize, programmatic: bool, seed: u64) -> Vec<f32> {
    let device = Device::new(include_str!("../ptx/dependent.ptx"));
    let len = 64 * blocks;
    let mut buffers = vec![device.upload_f32(&pattern(len))];
    buffers.extend((0..DEPTH).map(|_| device.alloc_f32(len)));
    let params: Vec<_> = buffers.windows(2).map(|pair| params(&[pair[1], pair[0]], &[])).collect();
    let shape = [blocks as u32, 64, 1];
    let launches: Vec<_> = params
        .iter()
        .map(|params| Launch { programmatic, ..device.launch(kernel, shape, params) })
        .collect();
    let stats = device.run(&launches, seed).unwrap();
    assert_eq!(stats.num_blocks, (blocks * DEPTH) as u64);
    device.download_f32(buffers[DEPTH], len)
}

/// What the chain gives if nothing goes wrong.
fn expected(blocks: usize) -> Vec<f32> {
    pattern(64 * blocks).iter().map(|value| value + DEPTH as f32).collect()
}

#[test]
fn kernels_that_wait_see_what_the_one_before_wrote() {
    for seed in SEEDS {
        for kernel in ["add_one_early", "add_one_at_end", "add_one_plain"] {
            for programmatic in [false, true] {
                let out = chain(kernel, 4, programmatic, seed);
                assert_eq!(out, expected(4), "{kernel} {programmatic} seed {seed}");
            }
        }
    }
}

/// More blocks than may wait at a time: the rest starts when the launch in front has finished.
#[test]
fn grids_of_any_size_take_part() {
    for kernel in ["add_one_early", "add_one_at_end"] {
        assert_eq!(chain(kernel, 1100, true, 3), expected(1100), "{kernel}");
    }
}

/// The read before the wait finds memory that nothing has written yet.
#[test]
fn reading_before_the_wait_reads_unfinished_data() {
    for seed in SEEDS {
        for kernel in ["add_one_late_wait", "add_one_no_wait"] {
            let out = chain(kernel, 4, true, seed);
            assert!(out.iter().all(|value| value.is_nan()), "{kernel} seed {seed}: {out:?}");
        }
    }
}

/// A kernel that does not wait may complete before the one in front of it: whoever waits for it
/// does not wait for that one.
#[test]
fn a_wait_covers_the_launch_in_front_only() {
    let device = Device::new(include_str!("../ptx/dependent.ptx"));
    let input = device.upload_f32(&pattern(256));
    let [first, unrelated, last] = std::array::from_fn(|_| device.alloc_f32(256));
    let params = [[first, input], [unrelated, input], [last, first]].map(|p| params(&p, &[]));
    let kernels = ["add_one_early", "add_one_no_wait", "add_one_early"];
    let launches: Vec<_> = kernels
        .iter()
        .zip(&params)
        .map(|(kernel, params)| Launch {
            programmatic: true,
            ..device.launch(kernel, [4, 64, 1], params)
        })
        .collect();
    device.run(&launches, 0).unwrap();
    let out = device.download_f32(last, 256);
    assert!(out.iter().all(|value| value.is_nan()), "{out:?}");
}

/// Without the attribute a launch starts after the one before has finished, whatever it does.
#[test]
fn plain_launches_need_no_wait() {
    for kernel in ["add_one_late_wait", "add_one_no_wait"] {
        assert_eq!(chain(kernel, 4, false, 0), expected(4), "{kernel}");
    }
}
