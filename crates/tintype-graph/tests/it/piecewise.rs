//! Graphs between the splitting ops, which run eagerly.

use tintype_graph::{GraphError, GraphOptions, Ran};

use crate::support::{BOTH, Event, Fault, full, piecewise, rig};

/// Two layers cut at `silu_mul`: three graphs around two ops.
const ORDER: [Event; 5] = [
    Event::Replay(2),
    Event::Op("silu_mul"),
    Event::Replay(1),
    Event::Op("silu_mul"),
    Event::Replay(1),
];

#[test]
fn a_replay_is_graph_op_graph_op_graph() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture(piecewise(8)).unwrap();
    let captured = [2, 1, 1].map(|ops| [Event::Capture(ops), Event::Instantiate, Event::Upload]);
    assert_eq!(rig.stream.take_events(), captured.concat());
    for _ in 0..3 {
        rig.run(piecewise(8).into()).unwrap();
        assert_eq!(rig.stream.take_events(), ORDER, "each cut op runs once per replay");
    }
}

#[test]
fn the_whole_op_list_is_kept() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture(piecewise(8)).unwrap();
    let names: Vec<_> = rig.pool.ops(piecewise(8)).unwrap().iter().map(|op| op.name()).collect();
    assert_eq!(names, ["gather", "gather", "silu_mul", "add", "silu_mul", "add"]);
    assert_eq!(rig.pool.ops(full(4)), None);
    assert_eq!(rig.pool.report().graphs[0].num_graphs, 3);
}

#[test]
fn a_cut_op_that_fails_is_named_and_leaves_stream_and_pool_usable() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture_all().unwrap();
    rig.stream.take_events();
    rig.stream.fault = Some(Fault::Op("silu_mul"));
    let error = rig.run(piecewise(8).into()).unwrap_err();
    assert!(matches!(error, GraphError::CutOp { .. }), "{error:?}");
    let message = error.to_string();
    assert!(message.contains("op 2 `silu_mul out=f32[8x4]@"), "{message}");
    assert_eq!(rig.stream.take_events(), ORDER[..1], "nothing runs behind the failed op");

    rig.stream.fault = None;
    assert_eq!(rig.run(piecewise(8).into()), Ok(Ran::Replayed(piecewise(8))));
    assert_eq!(rig.stream.take_events(), ORDER);
    assert_eq!(rig.run(full(4).into()), Ok(Ran::Replayed(full(4))));
}

#[test]
fn a_full_graph_is_not_cut() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture(full(4)).unwrap();
    assert_eq!(rig.stream.take_events()[0], Event::Capture(6));
}
