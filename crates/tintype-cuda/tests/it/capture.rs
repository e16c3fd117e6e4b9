//! Capture and replay: what is recorded, what runs, and that nothing spoils the stream.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tintype_cuda::CudaStream;
use tintype_ops::{DType, Enqueue, Error, Op, Stream, Tensor};

use super::fake::{Driver, NO_BUFFER, read, tensor, weight};

const LEN: u32 = 1000;

/// `sum += step`, several times.
struct Sum {
    sum: Tensor,
    step: Tensor,
}

impl Sum {
    fn new(stream: &mut CudaStream) -> Self {
        let shape = (1, LEN, DType::F32);
        let sum = tensor(stream, shape, &[0f32; LEN as usize]);
        Self { sum, step: tensor(stream, shape, &[1f32; LEN as usize]) }
    }

    fn queue(&self, queue: &mut dyn Enqueue, times: usize) -> tintype_ops::Result<()> {
        (0..times).try_for_each(|_| queue.enqueue(Op::Add { out: self.sum, x: self.step }))
    }

    /// The sum, which is the same everywhere.
    fn value(&self, stream: &mut CudaStream) -> f32 {
        let values = read::<f32>(stream, self.sum);
        assert!(values.iter().all(|value| value == &values[0]));
        values[0]
    }
}

#[test]
fn ops_run_when_they_are_queued() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let sum = Sum::new(&mut stream);
    sum.queue(&mut stream, 3).unwrap();
    assert_eq!(sum.value(&mut stream), 3.0);
    let counters = stream.counters();
    assert_eq!((counters.num_launches, counters.num_kernels), (3, 1));
    assert!(counters.num_driver_calls > 3);
}

#[test]
fn capture_runs_nothing_and_replay_runs_all_of_it() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let sum = Sum::new(&mut stream);
    let graph = stream.capture(&mut |queue| sum.queue(queue, 5)).unwrap();
    let exec = stream.instantiate(graph).unwrap();
    stream.upload_graph(&exec).unwrap();
    assert_eq!(sum.value(&mut stream), 0.0);
    stream.replay(&exec).unwrap();
    stream.replay(&exec).unwrap();
    assert_eq!(sum.value(&mut stream), 10.0);
    let info = stream.graph_info(&exec);
    assert_eq!((info.num_ops, info.num_launches), (5, 5));
    assert_eq!(stream.counters().num_launches, 10);
}

/// So the host can capture while the device is busy. The driver runs what is queued as late as it
/// can, so a call that waits would show.
#[test]
fn a_graph_is_made_without_waiting_for_what_is_queued() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let sum = Sum::new(&mut stream);
    stream.synchronize().unwrap();
    let before = driver.fake.get("kernels").unwrap();
    sum.queue(&mut stream, 3).unwrap();
    let graph = stream.capture(&mut |queue| sum.queue(queue, 5)).unwrap();
    let exec = stream.instantiate(graph).unwrap();
    stream.upload_graph(&exec).unwrap();
    assert_eq!(driver.fake.get("kernels").unwrap(), before, "something waited");
    stream.replay(&exec).unwrap();
    assert_eq!(sum.value(&mut stream), 8.0);
    assert_eq!(driver.fake.get("kernels").unwrap(), before + 8);
}

#[test]
fn replay_reads_what_the_addresses_hold_now() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let sum = Sum::new(&mut stream);
    let graph = stream.capture(&mut |queue| sum.queue(queue, 1)).unwrap();
    let exec = stream.instantiate(graph).unwrap();
    stream.replay(&exec).unwrap();
    stream.upload(sum.step, bytemuck::cast_slice(&[10f32; LEN as usize])).unwrap();
    stream.replay(&exec).unwrap();
    assert_eq!(sum.value(&mut stream), 11.0);
}

#[test]
fn an_empty_capture_is_a_graph_that_does_nothing() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let graph = stream.capture(&mut |_| Ok(())).unwrap();
    let exec = stream.instantiate(graph).unwrap();
    stream.replay(&exec).unwrap();
    stream.synchronize().unwrap();
    assert_eq!(stream.graph_info(&exec).num_launches, 0);
}

#[test]
fn an_error_while_recording_ends_the_capture() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let sum = Sum::new(&mut stream);
    let error = stream.capture(&mut |queue| {
        sum.queue(queue, 2)?;
        Err(Error::CaptureUnsupported)
    });
    assert_eq!(error.err(), Some(Error::CaptureUnsupported));
    sum.queue(&mut stream, 1).unwrap();
    assert_eq!(sum.value(&mut stream), 1.0);
}

#[test]
fn an_op_that_is_refused_leaves_no_graph_even_if_the_caller_carries_on() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let sum = Sum::new(&mut stream);
    let elsewhere = Tensor { buffer: NO_BUFFER, ..sum.step };
    let error = stream.capture(&mut |queue| {
        let _ = queue.enqueue(Op::Add { out: sum.sum, x: elsewhere });
        sum.queue(queue, 1)
    });
    assert!(matches!(error, Err(Error::OutOfBounds { .. })), "{error:?}");
    sum.queue(&mut stream, 1).unwrap();
    assert_eq!(sum.value(&mut stream), 1.0);
}

#[test]
fn a_panic_while_recording_ends_the_capture() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let sum = Sum::new(&mut stream);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        stream.capture(&mut |queue| {
            sum.queue(queue, 2)?;
            resume_unwind(Box::new("stop"))
        })
    }));
    assert!(panicked.is_err());
    let graph = stream.capture(&mut |queue| sum.queue(queue, 2)).unwrap();
    let exec = stream.instantiate(graph).unwrap();
    stream.replay(&exec).unwrap();
    assert_eq!(sum.value(&mut stream), 2.0);
}

/// Not every graph is measured, so there are enough of them that each way to count is tried.
#[test]
fn a_weight_between_two_graphs_does_not_count_as_theirs() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let sum = Sum::new(&mut stream);
    let make_graphs = |stream: &mut CudaStream| -> u64 {
        let mut size_of_one = || {
            let graph = stream.capture(&mut |queue| sum.queue(queue, 1)).unwrap();
            let exec = stream.instantiate(graph).unwrap();
            stream.graph_info(&exec).size_bytes
        };
        (0..40).map(|_| size_of_one()).sum()
    };
    let size_bytes = make_graphs(&mut stream);
    let weight = weight(1 << 20);
    let weight_bytes = 4 << 20;
    assert!(size_bytes < weight_bytes);
    stream.load_weight(weight).unwrap();
    assert!(make_graphs(&mut stream) < weight_bytes);
}

#[test]
fn a_graph_is_replayed_on_its_own_stream_only() {
    let driver = Driver::get();
    let [mut stream, mut other] = [driver.stream(), driver.stream()];
    let sum = Sum::new(&mut stream);
    let graph = stream.capture(&mut |queue| sum.queue(queue, 1)).unwrap();
    let exec = stream.instantiate(graph).unwrap();
    let message = other.replay(&exec).unwrap_err().to_string();
    assert!(message.contains("belongs to another stream"), "{message}");
    assert_eq!(other.upload_graph(&exec).unwrap_err().to_string(), message);
}

#[test]
fn a_graph_is_made_runnable_on_its_own_stream_only() {
    let driver = Driver::get();
    let [mut stream, mut other] = [driver.stream(), driver.stream()];
    let sum = Sum::new(&mut stream);
    let graph = stream.capture(&mut |queue| sum.queue(queue, 1)).unwrap();
    // Its memory and its kernels would be gone.
    drop(stream);
    let message = other.instantiate(graph).unwrap_err().to_string();
    assert!(message.contains("belongs to another stream"), "{message}");
}

#[test]
fn a_graph_may_outlive_its_stream() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let sum = Sum::new(&mut stream);
    let graph = stream.capture(&mut |queue| sum.queue(queue, 1)).unwrap();
    let exec = stream.instantiate(graph).unwrap();
    stream.replay(&exec).unwrap();
    drop(stream);
    drop(exec);
    let mut stream = driver.stream();
    let sum = Sum::new(&mut stream);
    assert_eq!(sum.value(&mut stream), 0.0);
}

#[test]
fn a_stream_works_on_whatever_thread_it_is() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let sum = Sum::new(&mut stream);
    let graph = stream.capture(&mut |queue| sum.queue(queue, 1)).unwrap();
    let exec = stream.instantiate(graph).unwrap();
    let value = std::thread::spawn(move || {
        stream.replay(&exec).unwrap();
        sum.queue(&mut stream, 1).unwrap();
        sum.value(&mut stream)
    });
    assert_eq!(value.join().unwrap(), 2.0);
}
