//! A device that is full or fails: every failure is an error that says so, and a fault is final.

use std::sync::atomic::{AtomicU32, Ordering};

use tintype_cuda::CudaStream;
use tintype_ops::{
    DType, Enqueue, Error, Op, Result, SharedBytes, Stream, Tensor, WeightPiece, WeightRole,
    WeightSource,
};

use super::fake::{self, Child, is_child, tensor};

/// A short run of everything; `Ok` holds the right result.
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

/// `[num_rows, 1]` zeros.
fn weight(num_rows: u32) -> WeightSource {
    let bytes = SharedBytes::new(vec![0; num_rows as usize * 4]);
    let piece = WeightPiece { rows: num_rows, bytes };
    WeightSource::new(vec![piece], 1, DType::F32, WeightRole::Plain).unwrap()
}

/// Run by the other tests in their circumstances.
#[test]
fn outcome() {
    match fake::open(0) {
        Ok(mut stream) => println!("outcome: {:?}", run(&mut stream).map_err(|e| e.to_string())),
        Err(error) => println!("outcome: no stream: {error}"),
    }
}

/// What comes of a short run in which the first of something fails, in one in which the second
/// does, and so on up to the first run in which all goes well. Whatever came of it, nothing may be
/// left behind on the device.
fn outcomes(setting: &str) -> Vec<String> {
    let mut failures = Vec::new();
    for n in 1..40 {
        let output = run_without_leaks(|child| child.with(setting, &n.to_string()));
        if output.contains("outcome: Ok(())") {
            return failures;
        }
        failures.push(output);
    }
    panic!("it never goes well: {failures:#?}")
}

/// A short run as a child, changed by `change`. Gives what it printed.
fn run_without_leaks(change: impl FnOnce(Child) -> Child) -> String {
    static NUM_REPORTS: AtomicU32 = AtomicU32::new(0);
    let index = NUM_REPORTS.fetch_add(1, Ordering::Relaxed);
    let name = format!("fake-cuda-{}-{index}.txt", std::process::id());
    let report = std::env::temp_dir().join(name);
    let child = Child::new("errors::outcome").with("REPORT", report.to_str().unwrap());
    let output = change(child).output();
    let text = std::fs::read_to_string(&report).unwrap();
    std::fs::remove_file(&report).unwrap();
    assert!(!text.contains("leak"), "{output}\n{text}");
    output
}

#[test]
fn nothing_leaks() {
    let output = run_without_leaks(|child| child);
    assert!(output.contains("outcome: Ok(())"), "{output}");
}

#[test]
fn every_allocation_may_fail() {
    let failures = outcomes("FAIL_ALLOC");
    assert!(failures.len() > 5, "{failures:#?}");
    for output in failures {
        assert!(output.contains("memory"), "{output}");
    }
}

#[test]
fn every_launch_may_fail() {
    let failures = outcomes("FAIL_LAUNCH");
    // One op, two in a graph, one replay.
    assert_eq!(failures.len(), 4, "{failures:#?}");
    for output in &failures {
        assert!(output.contains("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES (701)"), "{output}");
    }
    assert!(failures[0].contains("add out=f32[1x300]"), "{}", failures[0]);
    assert!(failures[0].contains("launching add with grid"), "{}", failures[0]);
}

#[test]
fn a_device_may_be_lost_at_any_call() {
    for n in (1..120).step_by(11) {
        let child = Child::new("errors::outcome").with("DEVICE_LOST", &n.to_string());
        let output = child.output();
        let is_told = output.contains("CUDA_ERROR_DEVICE_UNAVAILABLE (46)");
        assert!(is_told || output.contains("outcome: Ok(())"), "{output}");
    }
}

/// Run on a device that nothing else uses.
#[test]
fn what_does_not_fit() {
    if !is_child() {
        return;
    }
    let mut stream = fake::stream();
    let free_bytes = stream.memory_info().unwrap().free_bytes;
    for requested_bytes in [free_bytes + 1, u64::MAX] {
        let expected = Error::OutOfMemory { requested_bytes, available_bytes: free_bytes };
        assert_eq!(stream.alloc(requested_bytes), Err(expected));
    }
    stream.alloc(free_bytes - (1 << 20)).unwrap();
    let error = stream.load_weight(weight(1 << 20)).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { requested_bytes: 0x40_0000, .. }), "{error}");
    println!("checked");
}

#[test]
fn a_buffer_or_weight_that_does_not_fit_is_refused_with_what_is_free() {
    let output = Child::new("errors::what_does_not_fit").output();
    assert!(output.contains("checked"), "{output}");
}

/// Run with a kernel that faults.
#[test]
fn after_a_fault() {
    if !is_child() {
        return;
    }
    let mut stream = fake::stream();
    let x = tensor(&mut stream, (1, 4, DType::F32), &[0f32; 4]);
    let out = tensor(&mut stream, (1, 4, DType::F32), &[0f32; 4]);
    stream.enqueue(Op::Add { out, x }).unwrap();
    let fault = stream.synchronize().unwrap_err();
    let message = fault.to_string();
    assert!(message.contains("CUDA_ERROR_LAUNCH_FAILED (719)"), "{message}");
    assert!(message.contains("start it again"), "{message}");
    let calls = stream.counters().num_driver_calls;
    assert_eq!(stream.enqueue(Op::Add { out, x }), Err(fault.clone()));
    assert_eq!(stream.upload(x, &[0; 16]), Err(fault.clone()));
    assert_eq!(stream.download(&mut [0; 16], x), Err(fault.clone()));
    assert_eq!(stream.alloc(4).err(), Some(fault.clone()));
    assert_eq!(stream.synchronize(), Err(fault));
    assert_eq!(stream.counters().num_driver_calls, calls, "the driver is not asked again");
    drop(stream);
    println!("checked");
}

#[test]
fn a_fault_is_final_and_every_method_says_so() {
    let output = Child::new("errors::after_a_fault").with("FAULT_KERNEL", "1").output();
    assert!(output.contains("checked"), "{output}");
}
