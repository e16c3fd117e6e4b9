//! Groups, marks and unused loads, without an executor.

use super::*;

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
    assert_eq!(groups.due_for_reading(1).count(), 1);
    groups.set_landed(1);
    let landed: Vec<_> = groups.wait(0).iter().map(|copy| copy.landed).collect();
    assert_eq!(landed, [true, false]);
}

#[test]
fn marks_cover_every_word_that_a_range_touches() {
    let mut marks = Marks::new(64);
    marks.set(6, 6, Marks::WRITTEN);
    assert_eq!(marks.of(0, 4), 0);
    assert_eq!(marks.of(4, 1), Marks::WRITTEN);
    assert_eq!(marks.of(11, 1), Marks::WRITTEN);
    assert_eq!(marks.of(12, 52), 0);
    marks.set(8, 4, Marks::SLOT);
    marks.clear(4, 8, Marks::WRITTEN);
    assert_eq!(marks.of(0, 64), Marks::SLOT);
}

#[test]
fn a_load_is_unused_until_one_of_its_registers_is_read() {
    let mut loads = UnusedLoads::default();
    loads.load(vec![1, 2], vec![(0, 64, 16), (0, 80, 16)], 0b11, 7);
    assert_eq!(loads.overlapping(0, 0, 64), None);
    assert_eq!(loads.overlapping(1, 64, 16), None, "another block");
    assert_eq!(loads.overlapping(0, 95, 1), Some(7));
    loads.touch(3);
    assert_eq!(loads.overlapping(0, 64, 16), Some(7));
    loads.touch(2);
    assert!(loads.is_empty());
}

#[test]
fn a_copied_register_still_waits_for_a_use() {
    let mut loads = UnusedLoads::default();
    loads.load(vec![1], vec![(0, 0, 4)], 1, 7);
    loads.copy(1, 9);
    assert!(!loads.is_empty());
    loads.touch(9);
    assert!(loads.is_empty());
}

#[test]
fn ordering_one_lane_does_not_order_the_others() {
    let mut loads = UnusedLoads::default();
    loads.load(vec![1], vec![(0, 0, 4), (0, 4, 4)], 0b11, 7);
    loads.order(0b01);
    assert_eq!(loads.overlapping(0, 4, 4), Some(7));
    loads.order(0b10);
    assert!(loads.is_empty());
}

#[test]
fn program_order_lands_late_and_seeds_do_both() {
    assert_eq!(Landing::choose(None), Landing::Late);
    assert_eq!(Landing::choose(Some(2)), Landing::Late);
    assert_eq!(Landing::choose(Some(3)), Landing::Early);
}
