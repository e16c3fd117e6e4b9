//! A replay does what an eager run would, on the inputs of now.

use tintype_graph::{EagerReason, GraphKey, GraphOptions, Ran};
use tintype_ops::Stream;

use crate::support::{BOTH, Event, Rig, full, piecewise, rig};

fn forced() -> GraphOptions {
    GraphOptions { force_eager: true, ..GraphOptions::default() }
}

/// The result of one step on the inputs of `seed`.
fn step<S: Stream>(rig: &mut Rig<S>, key: GraphKey, seed: u64) -> Vec<u8> {
    rig.forward.poison(&mut rig.stream);
    rig.forward.set_ids(&mut rig.stream, seed);
    rig.run(key.into()).unwrap();
    rig.forward.result(&mut rig.stream, 8)
}

#[test]
fn a_replay_gives_the_bits_of_an_eager_run_of_the_same_shape() {
    let (mut replayed, mut eager) = (rig(BOTH, GraphOptions::default()), rig(BOTH, forced()));
    replayed.capture_all().unwrap();
    for key in [full(1), full(4), piecewise(1), piecewise(4), piecewise(8)] {
        for seed in 0..3 {
            // All eight rows: those past the batch stay as they were.
            assert_eq!(step(&mut replayed, key, seed), step(&mut eager, key, seed), "{key}");
        }
    }
    assert_eq!(replayed.pool.counters().total_replays(), 15);
    assert_eq!(eager.pool.counters().eager_steps(EagerReason::Forced), 15);
}

#[test]
fn other_inputs_at_the_same_addresses_change_the_result() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture_all().unwrap();
    for key in [full(4), piecewise(8)] {
        assert_ne!(step(&mut rig, key, 0), step(&mut rig, key, 1), "{key}");
    }
}

#[test]
fn forced_eager_runs_the_padded_shape_and_replays_nothing() {
    let mut rig = rig(BOTH, forced());
    rig.capture_all().unwrap();
    rig.stream.take_events();
    assert_eq!(rig.run(piecewise(8).into()), Ok(Ran::Eager(EagerReason::Forced)));
    let names = ["gather", "gather", "silu_mul", "add", "silu_mul", "add"];
    assert_eq!(rig.stream.take_events(), names.map(Event::Op));
}

#[test]
fn a_pool_says_whether_its_options_forbid_replays() {
    let debug = GraphOptions { debug: true, ..GraphOptions::default() };
    let found = [GraphOptions::default(), forced(), debug]
        .map(|options| rig(BOTH, options).pool.replays_nothing());
    assert_eq!(found, [false, true, true]);
}

#[test]
fn each_mode_replays_its_own_graphs_and_leaves_the_others_alone() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture(full(4)).unwrap();
    rig.stream.take_events();
    assert_eq!(rig.run(full(4).into()), Ok(Ran::Replayed(full(4))));
    assert_eq!(rig.stream.take_events(), [Event::Replay(6)]);
    assert_eq!(rig.run(piecewise(4).into()), Ok(Ran::Eager(EagerReason::NotCaptured)));

    rig.capture(piecewise(4)).unwrap();
    rig.stream.take_events();
    assert_eq!(rig.run(piecewise(4).into()), Ok(Ran::Replayed(piecewise(4))));
    assert!(!rig.stream.take_events().contains(&Event::Replay(6)));
    assert_eq!(rig.pool.counters().replays(full(4)), 1);
}

#[test]
fn a_step_without_a_graph_touches_nothing() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.capture_all().unwrap();
    let before = rig.pool.report();
    let dispatch = rig.pool.dispatcher().dispatch(9, 2, false);
    assert_eq!(rig.run(dispatch), Ok(Ran::Eager(EagerReason::AboveLargest)));
    assert_eq!(rig.pool.report(), before);
}
