//! A device that is full or fails: every failure is an error that says so, and a fault is final.

use tintype_cuda::CudaStream;
use tintype_ops::{DType, Enqueue, Error, Op, Result, Stream, Tensor};

use super::fake::{Driver, tensor, weight};

/// A short run of everything, which ends in an error or in the right result.
fn run(stream: &mut CudaStream) -> Result<()> {
    let shape = |buffer| Tensor::new(buffer, 1, 300, DType::F32);
    let (sum, step) = (shape(stream.alloc(1200)?), shape(stream.alloc(1200)?));
    stream.upload(sum, bytemuck::cast_slice(&[1f32; 300]))?;
    stream.upload(step, bytemuck::cast_slice(&[2f32; 300]))?;
    let op = Op::Add { out: sum, x: step };
    stream.enqueue(op)?;
    stream.load_weight(weight(64))?;
    let graph = stream.capture(&mut |queue| (0..2).try_for_each(|_| queue.enqueue(op)))?;
    let exec = stream.instantiate(graph)?;
    stream.upload_graph(&exec)?;
    stream.replay(&exec)?;
    let mut values = [0f32; 300];
    stream.download(bytemuck::cast_slice_mut(&mut values), sum)?;
    assert_eq!(values, [7.0; 300]);
    Ok(())
}

/// What comes of a short run with a setting of the driver changed: nothing, or a message.
fn outcome_with(setting: &str, value: u64) -> Option<String> {
    let driver = Driver::with(setting, value);
    let outcome = match driver.open(0) {
        Ok(mut stream) => run(&mut stream).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if setting == "device_lost" {
        // Nothing can be freed on it.
        driver.fake.reset();
    }
    outcome
}

/// What comes of runs in which the `first` of something fails, the next, and so on up to the first
/// run in which all goes well.
fn failures(setting: &str, first: usize) -> Vec<String> {
    (first..first + 40).map_while(|n| outcome_with(setting, n as u64)).collect()
}

#[test]
fn every_allocation_may_fail() {
    // Modules come first, all in the same way.
    let num_modules = tintype_kernels::images((9, 0)).unwrap().len();
    let mut failures = failures("fail_alloc", num_modules + 1);
    assert!(failures.len() > 5, "{failures:#?}");
    failures.extend(outcome_with("fail_alloc", 1));
    for message in failures {
        assert!(message.contains("memory"), "{message}");
    }
}

#[test]
fn every_launch_may_fail() {
    let failures = failures("fail_launch", 1);
    // One op, two in a graph, one replay.
    assert_eq!(failures.len(), 4, "{failures:#?}");
    for message in &failures {
        assert!(message.contains("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES (701)"), "{message}");
    }
    assert!(failures[0].contains("add out=f32[1x300]"), "{}", failures[0]);
    assert!(failures[0].contains("launching add with grid"), "{}", failures[0]);
}

/// How many calls of the driver it takes to open a stream.
fn num_calls_to_open() -> u64 {
    let driver = Driver::get();
    let calls = || driver.fake.get("calls").unwrap();
    let before = calls();
    let _stream = driver.stream();
    calls() - before
}

#[test]
fn a_device_may_be_lost_at_any_call() {
    // From somewhere in the opening, most of which is the same for each kernel, to the end.
    let first = num_calls_to_open() * 3 / 4;
    let lost = |n| outcome_with("device_lost", n);
    let messages: Vec<_> = (first..).step_by(7).map_while(lost).collect();
    assert!(messages.len() > 5, "{messages:#?}");
    for message in messages {
        assert!(message.contains("CUDA_ERROR_DEVICE_UNAVAILABLE (46)"), "{message}");
    }
}

#[test]
fn what_does_not_fit_is_refused_with_what_is_free() {
    let driver = Driver::with("memory_bytes", 64 << 20);
    let mut stream = driver.stream();
    // With the first weight come the threads that load, and what they need.
    stream.load_weight(weight(64)).unwrap();
    let free_bytes = stream.memory_info().unwrap().free_bytes;
    for requested_bytes in [free_bytes + 1, u64::MAX] {
        let expected = Error::OutOfMemory { requested_bytes, available_bytes: free_bytes };
        assert_eq!(stream.alloc(requested_bytes), Err(expected));
    }
    stream.alloc(free_bytes - (1 << 20)).unwrap();
    let error = stream.load_weight(weight(1 << 20)).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { requested_bytes: 0x40_0000, .. }), "{error}");
}

/// Else it would count as loaded, and be read.
#[test]
fn a_first_weight_that_cannot_be_loaded_is_not_left_behind() {
    let driver = Driver::with("memory_bytes", 64 << 20);
    let mut stream = driver.stream();
    let free_bytes = stream.memory_info().unwrap().free_bytes;
    stream.alloc(free_bytes - (1 << 20)).unwrap();
    let left_bytes = stream.memory_info().unwrap().free_bytes;
    let error = stream.load_weight(weight(64)).unwrap_err();
    let Error::OutOfMemory { requested_bytes, available_bytes } = error else { panic!("{error}") };
    assert!(requested_bytes > 1 << 20, "{error}");
    assert_eq!(available_bytes, left_bytes);
    assert_eq!(stream.memory_info().unwrap().free_bytes, left_bytes);
}

#[test]
fn a_fault_is_final_and_every_method_says_so() {
    let driver = Driver::with("fault_kernel", 1);
    let mut stream = driver.stream();
    let x = tensor(&mut stream, (1, 4, DType::F32), &[0f32; 4]);
    let out = tensor(&mut stream, (1, 4, DType::F32), &[0f32; 4]);
    stream.enqueue(Op::Add { out, x }).unwrap();
    let fault = stream.synchronize().unwrap_err();
    let message = fault.to_string();
    assert!(message.contains("CUDA_ERROR_LAUNCH_FAILED (719)"), "{message}");
    assert!(message.contains("start it again"), "{message}");
    let num_calls = stream.counters().num_driver_calls;
    assert_eq!(stream.enqueue(Op::Add { out, x }), Err(fault.clone()));
    assert_eq!(stream.upload(x, &[0; 16]), Err(fault.clone()));
    assert_eq!(stream.download(&mut [0; 16], x), Err(fault.clone()));
    assert_eq!(stream.alloc(4), Err(fault.clone()));
    assert_eq!(stream.synchronize(), Err(fault));
    let num_calls_after = stream.counters().num_driver_calls;
    assert_eq!(num_calls_after, num_calls, "the driver is not asked again");
    drop(stream);
    // Nothing can be freed on it.
    driver.fake.reset();
}
