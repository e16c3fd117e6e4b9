//! Capture through cudarc: what becomes a node, what cudarc itself gets wrong.

use cudarc::driver::{CudaContext, sys};

use crate::{Turn, code};

const RELAXED: sys::CUstreamCaptureMode =
    sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
const NO_FLAGS: sys::CUgraphInstantiate_flags = sys::CUgraphInstantiate_flags(0);

#[test]
fn a_captured_fill_runs_at_each_replay_and_not_before() {
    let turn = Turn::take();
    let stream = turn.context().new_stream().unwrap();
    let mut device = stream.clone_htod(&[7u8; 64]).unwrap();
    stream.synchronize().unwrap();
    stream.begin_capture(RELAXED).unwrap();
    stream.memset_zeros(&mut device).unwrap();
    let graph = stream.end_capture(NO_FLAGS).unwrap().unwrap();
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [7; 64]);
    graph.launch().unwrap();
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [0; 64]);
    stream.memcpy_htod(&[9u8; 64], &mut device).unwrap();
    graph.launch().unwrap();
    assert_eq!(stream.clone_dtoh(&device).unwrap(), [0; 64]);
}

#[test]
fn an_illegal_call_invalidates_and_the_stream_recovers() {
    let turn = Turn::take();
    let stream = turn.context().new_stream().unwrap();
    stream.begin_capture(RELAXED).unwrap();
    use sys::CUresult as R;
    assert_eq!(code(stream.synchronize()), R::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    let end = stream.end_capture(NO_FLAGS);
    assert_eq!(code(end), R::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    stream.synchronize().unwrap();
    stream.alloc_zeros::<u8>(4).unwrap();
}

#[test]
fn events_of_cudarc_break_a_capture() {
    let turn = Turn::take();
    let context = CudaContext::new(0).unwrap();
    let (first, second) = (context.new_stream().unwrap(), context.new_stream().unwrap());
    let slice = first.clone_htod(&[1u8; 4]).unwrap();
    let mut copy = second.alloc_zeros::<u8>(4).unwrap();
    context.synchronize().unwrap();
    second.begin_capture(RELAXED).unwrap();
    assert!(second.memcpy_dtod(&slice, &mut copy).is_err());
    let calls = turn.driver.report("calls").unwrap();
    assert!(calls.contains("cuStreamWaitEvent"), "{calls}");
    assert!(second.end_capture(NO_FLAGS).is_err());
}

#[test]
fn an_unfreed_allocation_in_a_graph_forbids_a_second_launch() {
    let turn = Turn::take();
    let stream = turn.context().new_stream().unwrap();
    stream.begin_capture(RELAXED).unwrap();
    // SAFETY: nothing accesses the memory.
    let slice = unsafe { stream.alloc::<u8>(4096) }.unwrap();
    let graph = stream.end_capture(NO_FLAGS).unwrap().unwrap();
    graph.launch().unwrap();
    assert_eq!(code(graph.launch()), sys::CUresult::CUDA_ERROR_INVALID_VALUE);
    drop(slice);
    stream.synchronize().unwrap();
    graph.launch().unwrap();
    stream.synchronize().unwrap();
    assert!(turn.driver.report("living").unwrap().contains("graph memory"));
}
