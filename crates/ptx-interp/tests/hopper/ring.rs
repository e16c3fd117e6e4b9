//! A ring of slots filled by bulk copies.

use ptx_interp::{Fault, FaultKind};

use crate::device::{Device, SEEDS, params, pattern};

const CHUNKS: usize = 11;

/// The sums that the kernel gives.
fn run(kernel: &str, seed: u64) -> Result<Vec<f32>, Fault> {
    let device = Device::new(include_str!("../ptx/ring.ptx"));
    let input = device.upload_f32(&pattern(CHUNKS * 32));
    let out = device.alloc_f32(32);
    let params = params(&[out, input], &[CHUNKS as i32]);
    device.run(&[device.launch(kernel, [1, 32, 1], &params)], seed)?;
    Ok(device.download_f32(out, 32))
}

fn kinds(kernel: &str) -> Vec<FaultKind> {
    SEEDS.map(|seed| run(kernel, seed).unwrap_err().kind()).collect()
}

#[test]
fn a_right_ring_gives_the_sums_with_every_seed() {
    let input = pattern(CHUNKS * 32);
    let expected: Vec<f32> =
        (0..32).map(|lane| (0..CHUNKS).map(|chunk| input[chunk * 32 + lane]).sum()).collect();
    for seed in SEEDS {
        assert_eq!(run("ring", seed).unwrap(), expected, "seed {seed}");
    }
}

#[test]
fn reading_a_slot_without_waiting_is_a_missing_wait() {
    assert!(kinds("ring_no_wait").iter().all(|kind| *kind == FaultKind::MissingWait));
}

/// If the copy has landed, the wrong parity waits for a phase that never completes; if not, it
/// does not wait at all.
#[test]
fn waiting_for_the_wrong_parity_is_reported() {
    for kind in kinds("ring_wrong_parity") {
        assert!(matches!(kind, FaultKind::MissingWait | FaultKind::Deadlock), "{kind:?}");
    }
    assert!(kinds("ring_wrong_parity").contains(&FaultKind::MissingWait));
}

#[test]
fn refilling_a_slot_whose_loads_are_unused_is_reported() {
    assert!(kinds("ring_early_refill").iter().all(|kind| *kind == FaultKind::EarlyRefill));
    let fault = run("ring_early_refill", 0).unwrap_err();
    assert!(fault.message().contains("before any use"), "{fault}");
}

#[test]
fn an_mbarrier_that_the_copies_may_not_see_initialised_is_reported() {
    assert!(kinds("ring_no_fence").iter().all(|kind| *kind == FaultKind::MissingFence));
}

#[test]
fn announcing_more_bytes_than_come_is_a_deadlock_that_names_the_mbarrier() {
    for seed in SEEDS {
        let fault = run("ring_wrong_bytes", seed).unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Deadlock, "{fault}");
        assert!(fault.message().contains("mbarrier at shared byte 512"), "{fault}");
        assert!(fault.message().contains("16 bytes"), "{fault}");
    }
}

#[test]
fn an_arrival_too_many_is_an_invalid_use() {
    for seed in SEEDS {
        let result = run("ring_two_arrivals", seed);
        // If the bytes land at once, the second arrival completes the next phase instead.
        let kind = result.unwrap_err().kind();
        assert!(matches!(kind, FaultKind::InvalidUse | FaultKind::MissingWait), "{kind:?}");
    }
}

#[test]
fn a_copy_that_nobody_waits_for_before_the_end_is_reported() {
    let fault = run("ring_left_in_flight", 0).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::MissingWait, "{fault}");
}
