//! A device that is full or fails: every failure is an error that says so, and a fault is final.

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
    let graph = stream.capture(&mut |queue| (0..2).try_for_each(|_| queue.enqueue(op)))?;
    let exec = stream.instantiate(graph)?;
    stream.upload_graph(&exec)?;
    stream.replay(&exec)?;
    let mut values = [0f32; 300];
    stream.download(bytemuck::cast_slice_mut(&mut values), sum)?;
    assert_eq!(values, [7.0; 300]);
    Ok(())
}

/// Run by the other tests in their circumstances.
#[test]
fn outcome() {
    match fake::open(0) {
        Ok(mut stream) => println!("outcome: {:?}", run(&mut stream).map_err(|e| e.to_string())),
        Err(error) => println!("outcome: no stream: {error}"),
    }
}

/// Whatever fails in a short run, it ends in an error message or in the right result.
fn outcomes(setting: &str, at: impl Iterator<Item = u32>) -> Vec<String> {
    let run = |n: u32| Child::new("errors::outcome").with(setting, &n.to_string()).output();
    at.map(run).collect()
}

#[test]
fn every_allocation_may_fail() {
    for output in outcomes("FAIL_ALLOC", 1..8) {
        let is_told = output.contains("outcome: Ok(())")
            || output.contains("memory")
            || output.contains("CUDA_ERROR_OUT_OF_MEMORY");
        assert!(is_told, "{output}");
    }
}

#[test]
fn every_launch_may_fail() {
    let outputs = outcomes("FAIL_LAUNCH", 1..6);
    for output in &outputs[..4] {
        assert!(output.contains("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES (701)"), "{output}");
    }
    assert!(outputs[0].contains("launching add"), "{}", outputs[0]);
    assert!(outputs[4].contains("outcome: Ok(())"), "{}", outputs[4]);
}

#[test]
fn a_device_may_be_lost_at_any_call() {
    for output in outcomes("DEVICE_LOST", (1..100).step_by(9)) {
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
    let piece = WeightPiece { rows: 1 << 20, bytes: SharedBytes::new(vec![0; 4 << 20]) };
    let source = WeightSource::new(vec![piece], 1, DType::F32, WeightRole::Plain).unwrap();
    let error = stream.load_weight(source).unwrap_err();
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

#[test]
fn nothing_leaks() {
    let report = std::env::temp_dir().join(format!("fake-cuda-{}.txt", std::process::id()));
    let child = Child::new("errors::outcome").with("REPORT", report.to_str().unwrap());
    let output = child.output();
    assert!(output.contains("outcome: Ok(())"), "{output}");
    let text = std::fs::read_to_string(&report).unwrap();
    std::fs::remove_file(&report).unwrap();
    assert!(!text.contains("leak"), "{text}");
}
