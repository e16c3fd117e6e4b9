//! Warps that only mbarriers order, and bulk stores out of shared memory.

use ptx_interp::{Fault, FaultKind};

use crate::device::{Device, SEEDS, params, pattern};

const CHUNKS: usize = 9;

fn run(kernel: &str, seed: u64) -> Result<Vec<f32>, Fault> {
    let device = Device::new(include_str!("../ptx/producer.ptx"));
    let input = device.upload_f32(&pattern(CHUNKS * 32));
    let out = device.alloc_f32(64);
    let params = params(&[out, input], &[CHUNKS as i32]);
    device.run(&[device.launch(kernel, [1, 64, 1], &params)], seed)?;
    Ok(device.download_f32(out, 64))
}

#[test]
fn full_and_empty_mbarriers_order_producer_and_consumer() {
    let input = pattern(CHUNKS * 32);
    let expected: Vec<f32> =
        (0..32).map(|lane| (0..CHUNKS).map(|chunk| input[chunk * 32 + lane]).sum()).collect();
    for seed in SEEDS {
        assert_eq!(run("pipeline_full_empty", seed).unwrap()[..32], expected, "seed {seed}");
    }
}

#[test]
fn a_producer_that_does_not_wait_for_empty_slots_is_reported() {
    for seed in SEEDS {
        let fault = run("pipeline_no_empty", seed).unwrap_err();
        assert!(
            matches!(
                fault.kind(),
                FaultKind::Race | FaultKind::MissingWait | FaultKind::InvalidUse
            ),
            "seed {seed}: {fault}"
        );
    }
}

#[test]
fn a_bulk_store_takes_what_was_fenced() {
    let expected: Vec<f32> = pattern(64).iter().map(|value| 2.0 * value).collect();
    for seed in SEEDS {
        assert_eq!(run("bulk_store_staged", seed).unwrap(), expected, "seed {seed}");
    }
}

#[test]
fn a_bulk_store_of_unfenced_writes_is_a_missing_fence() {
    for seed in SEEDS {
        let fault = run("bulk_store_no_fence", seed).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::MissingFence, "{fault}");
    }
}

#[test]
fn writing_what_a_bulk_store_still_reads_is_a_missing_wait() {
    for seed in SEEDS {
        let fault = run("bulk_store_no_wait", seed).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::MissingWait, "{fault}");
    }
}
