//! Groups and unused loads, without an executor.

use super::*;
use crate::lanes::Kind;

fn copy(line: u32) -> Copy {
    Copy {
        source: Place::Global(4096),
        destination: Place::Shared { rank: 0, offset: 64 },
        bytes: 16,
        source_bytes: 16,
        line,
        landed: false,
    }
}

fn lines(copies: &[Copy]) -> Vec<u32> {
    copies.iter().map(|copy| copy.line).collect()
}

#[test]
fn a_wait_takes_all_groups_but_the_youngest() {
    let mut groups = Groups::default();
    for line in 1..=4 {
        groups.issue(copy(line));
        groups.issue(copy(10 * line));
        groups.commit();
    }
    groups.issue(copy(5));
    assert_eq!(lines(&groups.wait(2)), [1, 10, 2, 20]);
    assert_eq!(lines(&groups.wait(2)), [0; 0], "waiting twice takes nothing new");
    assert_eq!(lines(&groups.wait(0)), [3, 30, 4, 40]);
    assert_eq!(lines(&groups.take_all()), [5], "an open group is taken by wait_all only");
}

#[test]
fn empty_groups_count() {
    let mut groups = Groups::default();
    groups.issue(copy(1));
    groups.commit();
    groups.commit();
    assert_eq!(lines(&groups.wait(1)), [1]);
}

#[test]
fn waiting_for_the_reads_leaves_the_copies() {
    let mut groups = Groups::default();
    groups.issue(copy(1));
    groups.commit();
    groups.issue(copy(2));
    groups.commit();
    groups.due(1).for_each(|copy| copy.landed = true);
    let landed: Vec<_> = groups.wait(0).iter().map(|copy| copy.landed).collect();
    assert_eq!(landed, [true, false]);
}

fn register(index: u32) -> Register {
    Register { kind: Kind::Word, bits: 32, index }
}

fn piece(lane: u32, offset: u32, bytes: u32) -> Piece {
    Piece { lane, rank: 0, offset, bytes }
}

/// Registers 1 and 2 loaded from bytes 64 to 96 by two lanes in line 7.
fn loaded() -> UnusedLoads {
    let mut loads = UnusedLoads::default();
    loads.load(vec![register(1), register(2)], vec![piece(0, 64, 16), piece(1, 80, 16)], 7);
    loads
}

const OVERTAKEN: Result<(), Overtaken> = Err(Overtaken { load: 7, refill: 9 });

#[test]
fn a_refill_before_the_first_use_overtakes_the_load() {
    let mut loads = loaded();
    loads.refill(0, 95, 1, 9);
    assert_eq!(loads.read(register(3)), Ok(()));
    assert_eq!(loads.read(register(2)), OVERTAKEN);
}

#[test]
fn a_refill_elsewhere_overtakes_nothing() {
    let mut loads = loaded();
    loads.refill(0, 0, 64, 9);
    loads.refill(1, 64, 32, 9);
    assert_eq!(loads.read(register(1)), Ok(()));
}

#[test]
fn a_use_of_one_register_settles_all() {
    let mut loads = loaded();
    assert_eq!(loads.read(register(2)), Ok(()));
    assert!(loads.is_empty());
    loads.refill(0, 64, 32, 9);
    assert_eq!(loads.read(register(1)), Ok(()));
}

#[test]
fn a_value_that_is_overwritten_unused_is_no_concern() {
    let mut loads = loaded();
    loads.refill(0, 64, 32, 9);
    loads.overwrite(register(1));
    assert_eq!(loads.read(register(1)), Ok(()));
    assert_eq!(loads.read(register(2)), OVERTAKEN);
}

#[test]
fn a_copied_register_is_as_new_as_its_source() {
    let mut loads = loaded();
    loads.rename(&[register(1)], &[register(5)]);
    loads.refill(0, 64, 32, 9);
    loads.rename(&[register(5)], &[register(6)]);
    assert_eq!(loads.read(register(6)), OVERTAKEN);
    loads.rename(&[register(8)], &[register(6)]);
    assert_eq!(loads.read(register(6)), Ok(()));
}

#[test]
fn ordering_one_lane_does_not_order_the_others() {
    let mut loads = loaded();
    loads.order(0b01);
    loads.refill(0, 64, 16, 8);
    loads.refill(0, 80, 16, 9);
    assert_eq!(loads.read(register(1)), OVERTAKEN);
    let mut loads = loaded();
    loads.order(0b11);
    assert!(loads.is_empty());
}
