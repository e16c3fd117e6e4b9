//! The state machine, driven by hand.

use super::*;

const SMALL: BatchDescriptor = BatchDescriptor::decode(1);
const LARGE: BatchDescriptor = BatchDescriptor::decode(8);

fn full(num_of_warmups: u32) -> Wrapper<&'static str> {
    Wrapper::new(GraphMode::Full, num_of_warmups, [SMALL, LARGE])
}

fn action(wrapper: &Wrapper<&str>, descriptor: BatchDescriptor) -> Action {
    wrapper.action(Dispatch::Full(descriptor), Seal::Open)
}

#[test]
fn captures_once_and_replays_after() {
    let mut wrapper = full(0);
    assert_eq!(action(&wrapper, SMALL), Action::Capture);
    assert_eq!(wrapper.graph(SMALL), None);
    wrapper.captured(SMALL, "graph");
    assert_eq!(action(&wrapper, SMALL), Action::Replay);
    assert_eq!(wrapper.graph(SMALL), Some(&"graph"));
}

#[test]
fn each_size_has_a_state_of_its_own() {
    let mut wrapper = full(0);
    wrapper.captured(SMALL, "small");
    assert_eq!(action(&wrapper, LARGE), Action::Capture);
    wrapper.captured(LARGE, "large");
    assert_eq!((wrapper.graph(SMALL), wrapper.graph(LARGE)), (Some(&"small"), Some(&"large")));
}

#[test]
fn warms_up_as_often_as_asked() {
    let mut wrapper = full(2);
    for _ in 0..2 {
        assert_eq!(action(&wrapper, SMALL), Action::Warmup);
        wrapper.warmed(SMALL);
    }
    assert_eq!(action(&wrapper, SMALL), Action::Capture);
    assert_eq!(action(&wrapper, LARGE), Action::Warmup, "the other size is still cold");
}

#[test]
fn a_warmup_changes_nothing_that_is_captured() {
    let mut wrapper = full(0);
    wrapper.captured(SMALL, "graph");
    wrapper.warmed(SMALL);
    assert_eq!(action(&wrapper, SMALL), Action::Replay);
}

#[test]
fn other_modes_pass_through() {
    let mut wrapper = full(0);
    wrapper.captured(SMALL, "graph");
    let bypassed = [
        Dispatch::Piecewise(SMALL),
        Dispatch::Piecewise(LARGE),
        Dispatch::Eager(crate::EagerReason::ModeNone),
    ];
    for dispatch in bypassed {
        assert_eq!(wrapper.action(dispatch, Seal::Open), Action::Bypass);
    }
}

#[test]
fn an_unknown_size_runs_eagerly_and_leaves_no_trace() {
    let mut wrapper = full(1);
    let unknown = BatchDescriptor::decode(3);
    assert_eq!(action(&wrapper, unknown), Action::Eager);
    wrapper.warmed(unknown);
    assert!(!wrapper.knows(unknown));
    assert!(wrapper.knows(SMALL));
}

#[test]
fn a_sealed_pool_replays_and_captures_no_more() {
    let mut wrapper = full(1);
    wrapper.captured(SMALL, "graph");
    wrapper.warmed(LARGE);
    let sealed = |descriptor| wrapper.action(Dispatch::Full(descriptor), Seal::Sealed);
    assert_eq!(sealed(SMALL), Action::Replay);
    assert_eq!(sealed(LARGE), Action::Eager);
}

#[test]
fn a_failed_capture_is_not_tried_again() {
    let mut wrapper = full(1);
    wrapper.failed(SMALL);
    assert_eq!(action(&wrapper, SMALL), Action::Eager);
    wrapper.warmed(SMALL);
    assert_eq!(action(&wrapper, SMALL), Action::Eager);
}
