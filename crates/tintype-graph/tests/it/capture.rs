//! When graphs are captured, in which order, and what a step does until then.

use tintype_graph::{
    BatchDescriptor, CapturePolicy, Dispatch, EagerReason, GraphError, GraphKey, GraphOptions, Ran,
};
use tintype_ops::Enqueue;

use crate::support::{BOTH, DECODE, Event, full, piecewise, rig};

fn policy(policy: CapturePolicy) -> GraphOptions {
    GraphOptions { policy, ..GraphOptions::default() }
}

const WARMUPS: &str = r#"{
    "cudagraph_mode": "FULL_DECODE_ONLY", "cudagraph_capture_sizes": [1, 4],
    "cudagraph_num_of_warmups": 2
}"#;

#[test]
fn start_up_captures_all_in_order_and_runs_nothing() {
    let mut rig = rig(BOTH, GraphOptions::default());
    let poison = rig.forward.poison(&mut rig.stream);
    let mut seen = Vec::new();
    let forward = rig.forward;
    let mut queue = |batch, queue: &mut dyn Enqueue| forward.queue(batch, queue);
    let mut progress = |progress: tintype_graph::CaptureProgress| {
        seen.push(progress.key);
        assert_eq!((progress.num_done, progress.num_total), (seen.len(), 5));
    };
    rig.pool.capture_all(&mut rig.stream, &mut queue, &mut progress).unwrap();

    assert_eq!(seen, [piecewise(8), piecewise(4), piecewise(1), full(4), full(1)]);
    assert!(seen.iter().all(|&key| rig.pool.has(key)));
    assert!(!rig.stream.events.iter().any(|event| matches!(event, Event::Op(_))));
    assert_eq!(rig.forward.result(&mut rig.stream, 8), poison, "a capture ran something");
}

#[test]
fn capturing_again_does_nothing() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture_all().unwrap();
    rig.stream.take_events();
    rig.capture_all().unwrap();
    rig.capture(full(4)).unwrap();
    assert_eq!(rig.stream.take_events(), []);
}

#[test]
fn mode_none_captures_nothing() {
    let mut rig = rig(r#"{"cudagraph_mode": "NONE"}"#, policy(CapturePolicy::Lazy));
    rig.capture_all().unwrap();
    let dispatch = rig.pool.dispatcher().dispatch(1, 1, true);
    assert_eq!(rig.run(dispatch), Ok(Ran::Eager(EagerReason::ModeNone)));
    assert!(rig.stream.events.iter().all(|event| matches!(event, Event::Op(_))));
}

#[test]
fn a_lazy_step_captures_then_replays_so_that_it_has_results() {
    let mut rig = rig(DECODE, policy(CapturePolicy::Lazy));
    let poison = rig.forward.poison(&mut rig.stream);
    assert_eq!(rig.run(full(4).into()), Ok(Ran::Captured(full(4))));
    let expected = [Event::Capture(6), Event::Instantiate, Event::Upload, Event::Replay(6)];
    assert_eq!(rig.stream.take_events(), expected);
    assert_ne!(rig.forward.result(&mut rig.stream, 4), poison[..64], "the step has no results");

    assert_eq!(rig.run(full(4).into()), Ok(Ran::Replayed(full(4))));
    assert_eq!(rig.stream.take_events(), [Event::Replay(6)], "captured twice");

    assert_eq!(rig.run(full(2).into()), Ok(Ran::Captured(full(2))), "each size has its own");
}

#[test]
fn nothing_is_captured_inside_a_step_unless_lazy() {
    for other in [CapturePolicy::Startup, CapturePolicy::Background] {
        let mut rig = rig(DECODE, policy(other));
        let ran = rig.run(full(4).into());
        assert_eq!(ran, Ok(Ran::Eager(EagerReason::NotCaptured)), "{other}");
        assert!(!rig.pool.has(full(4)));
    }
}

#[test]
fn warmups_run_eagerly_and_are_counted() {
    let mut rig = rig(WARMUPS, policy(CapturePolicy::Lazy));
    for _ in 0..2 {
        assert_eq!(rig.run(full(4).into()), Ok(Ran::Eager(EagerReason::Warmup)));
    }
    assert_eq!(rig.run(full(4).into()), Ok(Ran::Captured(full(4))));
    assert_eq!(rig.pool.counters().eager_steps(EagerReason::Warmup), 2);
    assert_eq!(rig.run(full(1).into()), Ok(Ran::Eager(EagerReason::Warmup)), "its own count");
}

#[test]
fn warmups_at_start_up_come_before_each_capture() {
    let mut rig = rig(WARMUPS, GraphOptions::default());
    rig.capture(full(4)).unwrap();
    let events = rig.stream.take_events();
    let ops = events.iter().take_while(|event| matches!(event, Event::Op(_))).count();
    assert_eq!(ops, 2 * 6, "two eager runs of six ops");
    assert_eq!(events[ops..], [Event::Capture(6), Event::Instantiate, Event::Upload]);
    assert_eq!(rig.pool.counters().total_eager(), 0, "they are no steps");
}

#[test]
fn the_background_captures_one_at_a_time_in_order() {
    let mut rig = rig(BOTH, policy(CapturePolicy::Background));
    let mut captured = Vec::new();
    while let Some(key) = rig.capture_next().unwrap() {
        captured.push(key);
        assert_eq!(rig.run(key.into()), Ok(Ran::Replayed(key)));
    }
    assert_eq!(captured, [full(1), full(4), piecewise(1), piecewise(4), piecewise(8)]);
    assert!(rig.pool.is_complete());
    rig.pool.seal();
    assert_eq!(rig.capture_next(), Ok(None));
}

#[test]
fn a_background_capture_only_records() {
    let mut rig = rig(DECODE, policy(CapturePolicy::Background));
    assert!(!rig.pool.warms_up());
    rig.capture_next().unwrap();
    assert_eq!(rig.stream.take_events(), [Event::Capture(6), Event::Instantiate, Event::Upload]);
    assert!(rig.pool.capture_time() > std::time::Duration::ZERO);
}

#[test]
fn what_a_step_lacked_is_captured_first() {
    let mut rig = rig(BOTH, policy(CapturePolicy::Background));
    for lacked in [piecewise(4), piecewise(8), piecewise(4)] {
        assert_eq!(rig.run(lacked.into()), Ok(Ran::Eager(EagerReason::NotCaptured)));
    }
    rig.run(Dispatch::Eager(EagerReason::Shape)).unwrap();
    let mut next = || rig.capture_next().unwrap();
    let captured = [(); 3].map(|()| next());
    let latest_first = [piecewise(4), piecewise(8), full(1)].map(Some);
    assert_eq!(captured, latest_first);
}

#[test]
fn what_is_wanted_is_captured_before_what_was_lacked() {
    let mut rig = rig(BOTH, policy(CapturePolicy::Background));
    rig.run(piecewise(8).into()).unwrap();
    rig.pool.want(full(4).into());
    assert_eq!(rig.capture_next(), Ok(Some(full(4))));
    // It is there, so it can be wanted no more.
    rig.pool.want(full(4).into());
    assert_eq!(rig.capture_next(), Ok(Some(piecewise(8))));
    assert_eq!(rig.pool.num_missing(), 3);
}

#[test]
fn sealing_ends_background_captures_early() {
    let mut rig = rig(BOTH, policy(CapturePolicy::Background));
    rig.capture_next().unwrap();
    rig.pool.seal();
    assert_eq!(rig.capture_next(), Ok(None));
    assert!(!rig.pool.has(full(4)));
}

#[test]
fn a_sealed_pool_refuses_captures() {
    let mut rig = rig(DECODE, policy(CapturePolicy::Lazy));
    rig.capture(full(4)).unwrap();
    assert!(!rig.pool.is_sealed());
    rig.pool.seal();
    assert!(rig.pool.is_sealed());
    let error = rig.capture(full(2)).unwrap_err();
    assert_eq!(error, GraphError::Sealed { key: full(2) });
    assert!(error.to_string().contains("sealed"), "{error}");
    assert!(matches!(rig.capture_all(), Err(GraphError::Sealed { .. })));
}

#[test]
fn a_sealed_pool_runs_what_it_lacks_eagerly_and_counts_it() {
    let mut rig = rig(DECODE, policy(CapturePolicy::Lazy));
    rig.capture(full(4)).unwrap();
    rig.pool.seal();
    assert_eq!(rig.run(full(2).into()), Ok(Ran::Eager(EagerReason::NotCaptured)));
    let dispatch = rig.pool.dispatcher().dispatch(2, 2, true);
    assert_eq!(dispatch, Dispatch::Eager(EagerReason::NotCaptured), "it need not even be padded");
    assert_eq!(rig.run(dispatch), Ok(Ran::Eager(EagerReason::NotCaptured)));
    assert_eq!(rig.run(full(4).into()), Ok(Ran::Replayed(full(4))));
    assert_eq!(rig.pool.counters().eager_steps(EagerReason::NotCaptured), 2);
}

#[test]
fn a_decode_batch_takes_the_pieces_when_its_graph_is_missing() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture(piecewise(4)).unwrap();
    rig.pool.seal();
    let dispatch = rig.pool.dispatcher().dispatch(3, 3, true);
    assert_eq!(dispatch, piecewise(4).into());
    assert_eq!(rig.run(dispatch), Ok(Ran::Replayed(piecewise(4))));
}

#[test]
fn an_unknown_descriptor_is_an_error_to_capture_and_eager_to_run() {
    let mut rig = rig(DECODE, policy(CapturePolicy::Lazy));
    let descriptor = BatchDescriptor::decode(3);
    let key = GraphKey { descriptor, ..full(4) };
    assert_eq!(rig.capture(key), Err(GraphError::Unknown { key }));
    assert_eq!(rig.run(key.into()), Ok(Ran::Eager(EagerReason::NotCaptured)));
}
