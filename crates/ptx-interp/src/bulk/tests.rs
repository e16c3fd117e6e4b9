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

#[test]
fn a_load_is_unused_until_one_of_its_registers_is_read() {
    let mut loads = UnusedLoads::default();
    loads.load(vec![register(1), register(2)], vec![piece(0, 64, 16), piece(1, 80, 16)], 7);
    assert_eq!(loads.overlapping(0, 0, 64), None);
    assert_eq!(loads.overlapping(1, 64, 16), None, "another block");
    assert_eq!(loads.overlapping(0, 95, 1), Some(7));
    loads.touch(register(3));
    assert_eq!(loads.overlapping(0, 64, 16), Some(7));
    loads.touch(register(2));
    assert!(loads.is_empty());
}

#[test]
fn a_copied_register_still_waits_for_a_use() {
    let mut loads = UnusedLoads::default();
    loads.load(vec![register(1)], vec![piece(0, 0, 4)], 7);
    loads.rename(&[register(9), register(1)]);
    assert!(!loads.is_empty());
    loads.touch(register(9));
    assert!(loads.is_empty());
}

#[test]
fn ordering_one_lane_does_not_order_the_others() {
    let mut loads = UnusedLoads::default();
    loads.load(vec![register(1)], vec![piece(0, 0, 4), piece(1, 4, 4)], 7);
    loads.order(0b01);
    assert_eq!((loads.overlapping(0, 0, 4), loads.overlapping(0, 4, 4)), (None, Some(7)));
    loads.order(0b10);
    assert!(loads.is_empty());
}
