//! Operands before a replay, and bits after one.

use tintype_graph::{GraphError, GraphOptions};
use tintype_ops::{Enqueue, Stream, Tensor};

use crate::support::{BOTH, DECODE, Fault, MAX_TOKENS, Rig, TapeStream, full, piecewise, rig};

fn verifying() -> GraphOptions {
    GraphOptions { verify: true, ..GraphOptions::default() }
}

/// A captured rig whose forward pass reads its ids elsewhere since.
fn moved() -> Rig<TapeStream> {
    let mut rig = rig(BOTH, verifying());
    rig.capture_all().unwrap();
    let buffer = rig.stream.alloc(u64::from(MAX_TOKENS) * 4).unwrap();
    rig.forward.ids = Tensor { buffer, ..rig.forward.ids };
    rig
}

#[test]
fn a_step_on_other_memory_is_refused_before_it_replays() {
    for key in [full(4), piecewise(4)] {
        let mut rig = moved();
        rig.stream.take_events();
        let error = rig.run(key.into()).unwrap_err();
        assert!(matches!(error, GraphError::Stale { .. }), "{error:?}");
        let message = error.to_string();
        let expected = "op 0 (gather): rows is i32[4x1]@b5, but i32[4x1]@b0 was captured";
        assert!(message.contains(expected), "{message}");
        assert!(message.contains("must pass the same tensors"), "{message}");
        assert_eq!(rig.stream.take_events(), [], "nothing ran");
        assert_eq!(rig.pool.counters().total_replays(), 0);
    }
}

#[test]
fn a_step_of_another_shape_is_refused() {
    let mut rig = rig(DECODE, verifying());
    rig.capture_all().unwrap();
    let forward = rig.forward;
    let mut queue = |queue: &mut dyn Enqueue| forward.queue(full(2).descriptor, queue);
    let error = rig.pool.run(&mut rig.stream, full(4).into(), &mut queue).unwrap_err().to_string();
    assert!(error.contains("out is f32[2x8]@b2, but f32[4x8]@b2 was captured"), "{error}");
}

#[test]
fn every_graph_is_verified_against_eager() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture_all().unwrap();
    assert_eq!(rig.verify_all(), Ok(5));
    assert_eq!(rig.pool.counters().total_replays(), 0, "they are no steps");
}

#[test]
fn only_what_is_captured_is_verified() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture(full(4)).unwrap();
    assert_eq!(rig.verify_all(), Ok(1));
    let (forward, mut batch) = (rig.forward, rig.forward);
    let mut queue = |batch, queue: &mut dyn Enqueue| forward.queue(batch, queue);
    let outcome = rig.pool.verify_graph(&mut rig.stream, full(1), &mut queue, &mut batch);
    assert_eq!(outcome, Err(GraphError::Unknown { key: full(1) }));
}

#[test]
fn a_replay_that_writes_nothing_does_not_pass() {
    let mut rig = rig(DECODE, GraphOptions::default());
    rig.capture_all().unwrap();
    rig.stream.fault = Some(Fault::SkipReplay);
    let error = rig.verify_all().unwrap_err();
    let GraphError::Mismatch { key, ref mismatch } = error else { panic!("{error:?}") };
    assert_eq!((key, mismatch.row, mismatch.col), (full(4), 0, 0));
    assert_eq!(mismatch.replay, [0xff; 4], "the poison is still there");
    let message = error.to_string();
    assert!(message.contains("replay and eager differ: f32[4x4]@b4 row 0 column 0"), "{message}");
}

#[test]
fn a_graph_of_other_memory_does_not_pass() {
    let error = moved().verify_all().unwrap_err();
    assert!(matches!(error, GraphError::Stale { .. }), "{error:?}");
}
