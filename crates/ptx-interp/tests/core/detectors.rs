//! Kernels with one mistake each, as `nvcc` compiled them.

use ptx_interp::{Fault, FaultKind};

use crate::device::{Device, SEEDS, params, pattern};

/// What a kernel of `threads` threads writes, or its fault.
fn run(kernel: &str, threads: u32, n: i32, seed: u64) -> Result<Vec<f32>, Fault> {
    let device = Device::new(include_str!("../ptx/bugs.ptx"));
    let input = device.upload_f32(&pattern(64));
    let out = device.alloc_f32(64);
    let params = params(&[out, input], &[n, 0]);
    device.run(&[device.launch(kernel, [1, threads, 1], &params)], seed)?;
    Ok(device.download_f32(out, threads as usize))
}

/// The fault that a kernel has with every seed.
fn fault(kernel: &str, threads: u32, n: i32, kind: FaultKind) -> Fault {
    let faults: Vec<Fault> = SEEDS.map(|seed| run(kernel, threads, n, seed).unwrap_err()).collect();
    for (seed, fault) in faults.iter().enumerate() {
        assert_eq!(fault.kind(), kind, "seed {seed}: {fault}");
        assert!(fault.line().is_some() && fault.warp().is_some(), "{fault}");
        assert_eq!((fault.kernel(), fault.block()), (kernel, Some([0; 3])));
    }
    faults[0].clone()
}

/// The result of a right kernel, the same with every seed.
fn result(kernel: &str, threads: u32) -> Vec<f32> {
    let first = run(kernel, threads, 0, 0).unwrap();
    for seed in SEEDS {
        assert_eq!(run(kernel, threads, 0, seed).unwrap(), first, "seed {seed}");
    }
    first
}

#[test]
fn missing_barriers_are_races() {
    let input = pattern(64);
    let reversed: Vec<f32> = input.iter().rev().copied().collect();
    assert_eq!(result("reversed", 64), reversed);
    fault("race_read_after_write", 64, 0, FaultKind::Race);
    let rounds: Vec<f32> = reversed.iter().map(|x| 2.0 * x + 1.0).collect();
    assert_eq!(result("rounds", 64), rounds);
    fault("race_write_after_read", 64, 0, FaultKind::Race);
    fault("race_write_after_write", 64, 0, FaultKind::Race);
}

#[test]
fn lanes_of_a_warp_need_a_barrier_too() {
    let reversed: Vec<f32> = pattern(32).iter().rev().copied().collect();
    assert_eq!(result("warp_reversed", 32), reversed);
    fault("race_in_warp", 32, 0, FaultKind::Race);
    let mut rotated = pattern(32);
    rotated.rotate_left(1);
    assert_eq!(result("rotated", 32), rotated);
    fault("race_in_loop_of_warp", 32, 0, FaultKind::Race);
}

#[test]
fn halves_of_one_word_do_not_race() {
    assert_eq!(result("halves_of_a_word", 32)[..3], [1.0, 2.0, 3.0]);
}

#[test]
fn bytes_of_one_word_do_not_race() {
    let bytes = pattern(64).iter().rev().map(|x| f32::from(*x as i32 as u8)).collect::<Vec<_>>();
    // A conversion of a negative float to an unsigned byte is not defined in C++.
    let defined = |(at, _): &(usize, &f32)| pattern(64)[63 - at] >= 0.0;
    let found = result("bytes_of_a_word", 64);
    for (at, byte) in bytes.iter().enumerate().filter(defined) {
        assert_eq!(found[at], *byte);
    }
}

#[test]
fn accesses_outside_of_memory_are_found() {
    let past = fault("past_the_end", 65, 64, FaultKind::OutOfBounds);
    assert_eq!((past.warp(), past.lane()), (Some(2), Some(0)));
    assert!(past.message().contains("the closest allocation is"), "{past}");
    fault("past_shared", 64, 1, FaultKind::OutOfBounds);
    assert_eq!(run("past_shared", 64, 0, 0).unwrap(), [1.0; 64]);
    fault("misaligned", 1, 1, FaultKind::Misaligned);
    run("misaligned", 1, 0, 0).unwrap();
}

#[test]
fn freed_memory_is_not_used() {
    let device = Device::new(include_str!("../ptx/bugs.ptx"));
    let (input, out) = (device.upload_f32(&pattern(32)), device.alloc_f32(32));
    let params = params(&[out, input], &[0, 0]);
    let launch = device.launch("read_one", [1, 32, 1], &params);
    device.run(&[launch], 0).unwrap();
    device.memory.free(input).unwrap();
    let fault = device.run(&[launch], 0).unwrap_err();
    assert_eq!(fault.kind(), FaultKind::UseAfterFree);
}

#[test]
fn lanes_that_a_shuffle_names_must_come() {
    let shuffle = fault("divergent_shuffle", 32, 0, FaultKind::DivergentSync);
    assert!(shuffle.message().contains("wait in line"), "{shuffle}");
    let input = pattern(32);
    let expected: Vec<f32> = (0..32)
        .map(|i| if i < 16 { input[i] + input[i ^ 8] } else { input[i] - input[i ^ 4] })
        .collect();
    assert_eq!(result("halves_shuffle", 32), expected);
}

#[test]
fn barriers_that_never_open_are_found() {
    let deadlock = fault("deadlock", 64, 0, FaultKind::Deadlock);
    assert!(deadlock.message().contains("barrier 1, where 32 of 64 threads are"), "{deadlock}");
    assert!(deadlock.message().contains("barrier 2, where 32 of 64 threads are"), "{deadlock}");
    fault("divergent_barrier", 32, 0, FaultKind::DivergentSync);
}

#[test]
fn what_nothing_wrote_is_not_used() {
    fault("unwritten_shared", 64, 0, FaultKind::Uninitialized);
    let mut expected = [1.0; 64];
    expected[32..].fill(0.0);
    assert_eq!(result("unwritten_but_unused", 64), expected);
}

#[test]
fn an_endless_loop_ends() {
    fault("endless", 64, 0, FaultKind::StepLimit);
}

#[test]
fn traps_name_their_lane() {
    let trap = fault("trapped", 32, 0, FaultKind::Trap);
    assert_eq!(trap.lane(), Some(5));
    assert!(trap.to_string().contains("trapped block (0, 0, 0) warp 0 lane 5 line"), "{trap}");
}
