//! Sequences with one query, on tensor cores.

use tintype_kernels::params::{BF16, F16};

use crate::batch::{ALONE, Batch, CASE, Case, Split, on_each_chip};
use crate::chip::{Chip, Kernel};

/// The kernels that decode `batch`.
pub(crate) fn kernels(batch: &Batch<'_>, split: Split) -> Vec<Kernel> {
    let name = match (batch.case.head_dim, batch.case.q_dtype == BF16) {
        (..=64, true) => "attention_decode_64_bf16",
        (..=64, false) => "attention_decode_64_f16",
        (..=128, true) => "attention_decode_128_bf16",
        (..=128, false) => "attention_decode_128_f16",
        (_, true) => "attention_decode_256_bf16",
        (_, false) => "attention_decode_256_f16",
    };
    split.kernels(name, batch, batch.params.num_seqs, 8)
}

fn check(chip: &Chip, case: Case<'_>, split: Split, what: &str) {
    let batch = case.build(chip);
    chip.run(&kernels(&batch, split));
    batch.assert_right(chip, what);
}

#[test]
fn every_head_size_and_type() {
    on_each_chip(|chip| {
        for head_dim in [8, 16, 40, 64, 72, 80, 96, 128, 136, 256] {
            for dtype in [BF16, F16] {
                let case = Case { head_dim, ..CASE }.with_dtype(dtype);
                check(chip, case, ALONE, &format!("{head_dim} elements of type {dtype}"));
            }
        }
    });
}

#[test]
fn every_ratio_of_heads() {
    on_each_chip(|chip| {
        for group in [1, 2, 3, 5, 7, 8, 9, 12, 17] {
            let case = Case { group, num_kv_heads: 2, head_dim: 32, gap: 8, ..CASE };
            check(chip, case, ALONE, &format!("{group} heads"));
        }
    });
}

#[test]
fn keys_are_split_over_warps_blocks_and_clusters() {
    let sequences = &[(1, 130), (1, 3), (1, 0), (1, 33)];
    on_each_chip(|chip| {
        for (cluster, partitions, warps) in [
            (1, 1, 1),
            (1, 1, 12),
            (1, 3, 2),
            (2, 1, 1),
            (4, 1, 2),
            (8, 1, 3),
            (3, 2, 1),
            (2, 4, 1),
        ] {
            if cluster > 1 && !chip.is_hopper {
                continue;
            }
            let split = Split { cluster, partitions, warps };
            let what = format!("{cluster} x {partitions} x {warps}");
            check(chip, Case { sequences, group: 3, ..CASE }, split, &what);
            // Blocks of 5 and of 4 heads, slices that are not whole heads.
            check(chip, Case { sequences, group: 9, head_dim: 24, ..CASE }, split, &what);
        }
    });
}

#[test]
fn windows_hide_old_keys_and_their_blocks() {
    let sequences = &[(1, 150), (1, 3), (1, 64)];
    on_each_chip(|chip| {
        for window in [1, 2, 5, 16, 17, 64, 1000] {
            let case = Case { window: Some(window), sequences, block_size: 4, ..CASE };
            let split = Split { cluster: 1 + u32::from(chip.is_hopper), ..ALONE };
            check(chip, case, split, &format!("window {window}"));
        }
    });
}

#[test]
fn blocks_of_any_size() {
    on_each_chip(|chip| {
        for block_size in [1, 3, 16, 100] {
            let sequences = &[(1, 101), (1, 16), (1, 17), (1, 1)];
            check(chip, Case { block_size, sequences, ..CASE }, ALONE, "blocks");
        }
    });
}

#[test]
fn sequences_with_several_queries_are_left_alone() {
    on_each_chip(|chip| {
        let sequences = &[(1, 20), (2, 9), (0, 4), (1, 0), (3, 3)];
        let batch = Case { sequences, decode: false, padding: 1, ..CASE }.build(chip);
        let before = batch.output(chip);
        for kernel in kernels(&batch, Split { partitions: 2, ..ALONE }) {
            chip.run(&[kernel]);
        }
        let (after, expected) = (batch.output(chip), batch.expected());
        for row in [1, 2, 4, 5, 6, 7] {
            assert_eq!(after[row], before[row], "row {row}");
        }
        for row in [0, 3] {
            let found = crate::chip::decode(BF16, &after[row]);
            let close = |(found, expected): (f32, &f64)| (f64::from(found) - expected).abs() < 0.02;
            assert!(found.into_iter().zip(&expected[row]).all(close), "row {row}");
        }
    });
}

/// The bits of a row do not follow from other rows, nor from how many of them are real.
#[test]
fn a_row_depends_on_its_own_sequence() {
    on_each_chip(|chip| {
        let split = Split { cluster: if chip.is_hopper { 4 } else { 1 }, ..ALONE };
        let batch = Case { sequences: &[(1, 70), (1, 40), (1, 9)], ..CASE }.build(chip);
        chip.run(&kernels(&batch, split));
        let first = batch.output(chip);
        batch.poison_queries(chip, &[0, 2]);
        chip.memory.write(batch.params.context_lens.address + 8, &[0; 4]).unwrap();
        chip.run(&kernels(&batch, split));
        let second = batch.output(chip);
        assert_eq!(first[1], second[1]);
        assert_ne!(first[0], second[0]);
        assert!(second[2].iter().all(|&byte| byte == 0));
    });
}

/// A launch that starts early reads what the one in front writes only after its end.
#[test]
fn queries_may_come_from_the_launch_in_front() {
    on_each_chip(|chip| {
        let split = Split { cluster: if chip.is_hopper { 2 } else { 1 }, ..ALONE };
        let batch = CASE.build(chip);
        let again = chip.alloc(BF16, 2, batch.params.out.stride, batch.params.out.stride);
        let front = kernels(&batch, split)[0];
        let mut behind = front;
        (behind.params.q, behind.params.out) = (front.params.out, again);
        let read = || [0, 1].map(|row| chip.read_row(again, row, again.stride));
        chip.run(&[front]);
        chip.run(&[behind]);
        let one_by_one = read();
        for row in 0..2 {
            chip.write_row(again, row, &vec![f32::NAN; again.stride as usize]);
            chip.write_row(front.params.out, row, &vec![f32::NAN; again.stride as usize]);
        }
        chip.run(&[front, behind]);
        assert_eq!(read(), one_by_one);
    });
}
