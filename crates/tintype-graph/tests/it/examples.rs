//! The examples, run and checked.

use tintype_graph::Ran;

use crate::support::full;

#[path = "../../examples/own_ops.rs"]
#[allow(dead_code, reason = "the example's main")]
mod own_ops;

#[path = "../../examples/own_stream.rs"]
#[allow(dead_code, reason = "the example's main")]
mod own_stream;

#[test]
fn own_ops_replays_padded_batches() {
    let outcome = own_ops::run().unwrap();
    let replayed = |size| (Ran::Replayed(full(size)), Some(size));
    assert_eq!(outcome.ran, [replayed(1), replayed(4), replayed(8), replayed(8)]);
    assert_eq!(outcome.num_verified, 8, "four sizes, each for decode and for mixed batches");
    assert!(outcome.report.contains("decode"), "{}", outcome.report);
}

#[test]
fn own_stream_is_called_once_for_a_replay() {
    let outcome = own_stream::run().unwrap();
    assert_eq!((outcome.eager_calls, outcome.replay_calls), (100, 1));
    assert_eq!(outcome.sum, 100.0);
}
