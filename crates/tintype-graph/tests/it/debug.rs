//! The same steps, one op at a time.

use tintype_graph::{Dispatch, EagerReason, GraphOptions, Ran};

use crate::support::{BOTH, Event, Fault, full, piecewise, rig};

fn debugging() -> GraphOptions {
    GraphOptions { debug: true, ..GraphOptions::default() }
}

#[test]
fn every_op_runs_eagerly_with_a_synchronise_after_it() {
    for key in [full(4), piecewise(8)] {
        let mut rig = rig(BOTH, debugging());
        rig.capture_all().unwrap();
        rig.stream.take_events();
        assert_eq!(rig.run(key.into()), Ok(Ran::Eager(EagerReason::Debug)));
        let names = ["gather", "gather", "silu_mul", "add", "silu_mul", "add"];
        let expected = names.map(|name| [Event::Op(name), Event::Synchronize]);
        assert_eq!(rig.stream.take_events(), expected.concat());
    }
}

#[test]
fn results_are_those_of_a_replay() {
    let result = |options| {
        let mut rig = rig(BOTH, options);
        rig.capture_all().unwrap();
        rig.run(piecewise(8).into()).unwrap();
        rig.forward.result(&mut rig.stream, 8)
    };
    assert_eq!(result(debugging()), result(GraphOptions::default()));
}

#[test]
fn a_late_fault_names_layer_op_and_tensors() {
    for dispatch in [full(4).into(), Dispatch::Eager(EagerReason::ModeNone)] {
        let mut rig = rig(BOTH, debugging());
        rig.stream.fault = Some(Fault::Late("add"));
        let message = rig.run(dispatch).unwrap_err().to_string();
        assert!(message.starts_with("layer 0: op 3 `add out=f32["), "{message}");
        assert!(message.ends_with("the device is broken"), "{message}");
    }
}

#[test]
fn without_it_the_same_fault_shows_too_late_to_be_named() {
    let mut rig = rig(BOTH, GraphOptions::default());
    rig.stream.fault = Some(Fault::Late("add"));
    assert_eq!(rig.run(full(4).into()), Ok(Ran::Eager(EagerReason::NotCaptured)));
}
