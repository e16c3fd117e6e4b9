//! What is counted and what is reported.

use tintype_graph::{EagerReason, GraphMode, GraphOptions, to_dot};

use crate::support::{BOTH, full, piecewise, rig};

#[test]
fn every_step_is_counted_once() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture_all().unwrap();
    rig.pool.seal();
    let batches =
        [(1, 1, true), (3, 3, true), (4, 4, true), (7, 2, false), (9, 2, false), (0, 0, true)];
    for (num_tokens, num_seqs, uniform) in batches {
        let dispatch = rig.pool.dispatcher().dispatch(num_tokens, num_seqs, uniform);
        rig.run(dispatch).unwrap();
    }
    let counters = rig.pool.counters();
    let replays: Vec<_> = counters.iter_replays().collect();
    assert_eq!(replays, [(piecewise(8), 1), (full(1), 1), (full(4), 2)]);
    let eager: Vec<_> = counters.iter_eager().collect();
    assert_eq!(eager, [(EagerReason::AboveLargest, 1), (EagerReason::Shape, 1)]);
    assert_eq!(counters.total_replays() + counters.total_eager(), batches.len() as u64);
    let json = serde_json::to_value(counters).unwrap();
    let expected = serde_json::json!({
        "graph_replays": 4, "eager_steps": { "above-largest": 1, "shape": 1 }
    });
    assert_eq!(json, expected);
}

#[test]
fn every_graph_is_reported_with_what_it_holds() {
    let mut rig = rig(BOTH, GraphOptions::default());
    assert_eq!(rig.pool.report().graphs, []);
    rig.capture_all().unwrap();
    rig.run(full(4).into()).unwrap();
    let report = rig.pool.report();
    let keys: Vec<_> = report.graphs.iter().map(|graph| graph.key).collect();
    assert_eq!(keys, rig.pool.dispatcher().capture_keys());
    let (pieces, whole) = (&report.graphs[0], &report.graphs[3]);
    assert_eq!((pieces.num_ops, pieces.num_graphs, pieces.num_launches), (6, 3, 4));
    assert_eq!((whole.num_ops, whole.num_graphs, whole.num_launches), (6, 1, 6));
    assert_eq!((pieces.size_bytes, whole.size_bytes), (400, 600));
    assert_eq!((pieces.replays, whole.replays), (0, 1));
    assert!(pieces.capture_ms > 0.0);
    let modes: Vec<_> = report.modes.iter().map(|mode| (mode.mode, mode.num_graphs)).collect();
    assert_eq!(modes, [(GraphMode::Piecewise, 9), (GraphMode::Full, 2)]);
}

#[test]
fn what_was_captured_can_be_drawn() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture(full(4)).unwrap();
    let dot = to_dot(rig.pool.ops(full(4)).unwrap());
    assert!(dot.contains("op0 -> op2 [label=\"gate_up\"];"), "{dot}");
    assert!(dot.contains("op1 -> op3 [label=\"out\"];"), "{dot}");
    assert!(!dot.contains("op1 -> op2"), "{dot}");
}
