//! Sequences with several queries, on tensor cores, in batches with all kinds of others.

use tintype_kernels::params::{BF16, F16};

use crate::batch::{ALONE, Batch, CASE, Case, on_each_chip};
use crate::chip::{Chip, Kernel};
use crate::decode;

/// Sequences of every kind.
const MIXED: &[(u32, u32)] =
    &[(5, 5), (1, 9), (40, 70), (3, 0), (0, 4), (0, 0), (1, 0), (1, 1), (2, 130)];

fn prefill(chip: &Chip, batch: &Batch<'_>) -> Kernel {
    let case = batch.case;
    let (name, shared_bytes) = match (case.head_dim, case.q_dtype == BF16, chip.is_hopper) {
        (..=64, true, _) => ("attention_prefill_64_bf16", 64 << 10),
        (..=64, false, _) => ("attention_prefill_64_f16", 64 << 10),
        (..=128, true, true) => ("attention_prefill_128_bf16", 128 << 10),
        (..=128, true, false) => ("attention_prefill_128_bf16", 96 << 10),
        (..=128, false, true) => ("attention_prefill_128_f16", 128 << 10),
        (..=128, false, false) => ("attention_prefill_128_f16", 96 << 10),
        (_, true, true) => ("attention_prefill_256_bf16", 192 << 10),
        (_, true, false) => ("attention_prefill_256_bf16", 96 << 10),
        (_, false, true) => ("attention_prefill_256_f16", 192 << 10),
        (_, false, false) => ("attention_prefill_256_f16", 96 << 10),
    };
    let tiles = case.num_rows() * case.group / 128 + batch.params.num_seqs + 1;
    let blocks = tiles * case.num_kv_heads;
    Kernel { name, blocks, threads: 256, cluster: 1, shared_bytes, params: batch.params }
}

fn check(chip: &Chip, case: Case<'_>, what: &str) {
    let batch = case.build(chip);
    let mut kernels = decode::kernels(&batch, ALONE);
    kernels.push(prefill(chip, &batch));
    chip.run(&kernels);
    batch.assert_right(chip, what);
}

const CASE_OF_MANY: Case<'static> =
    Case { sequences: MIXED, decode: false, padding: 3, num_kv_heads: 2, ..CASE };

#[test]
fn prompts_chunks_single_tokens_and_padding_in_one_batch() {
    on_each_chip(|chip| {
        for seed in [1, 2] {
            check(chip, Case { seed, gap: 8, ..CASE_OF_MANY }, "mixed");
        }
    });
}

#[test]
fn every_head_size_and_type() {
    on_each_chip(|chip| {
        for head_dim in [8, 80, 128, 256] {
            for dtype in [BF16, F16] {
                let sequences = &[(3, 20), (20, 20)];
                let case = Case { head_dim, sequences, decode: false, ..CASE };
                let what = format!("{head_dim} elements of type {dtype}");
                check(chip, case.with_dtype(dtype), &what);
            }
        }
    });
}

#[test]
fn every_ratio_of_heads() {
    on_each_chip(|chip| {
        for group in [1, 3, 8, 17] {
            let case = Case { group, head_dim: 16, num_kv_heads: 1, ..CASE_OF_MANY };
            check(chip, case, &format!("{group} heads"));
        }
    });
}

#[test]
fn windows_and_blocks_of_any_size() {
    on_each_chip(|chip| {
        for (window, block_size) in [(1, 16), (5, 3), (16, 1), (64, 100), (65, 16), (1000, 5)] {
            let case = Case { window: Some(window), block_size, num_kv_heads: 1, ..CASE_OF_MANY };
            check(chip, case, &format!("window {window}, blocks of {block_size}"));
        }
    });
}

#[test]
fn long_prompts_take_several_tiles_of_queries_and_keys() {
    on_each_chip(|chip| {
        for window in [None, Some(90)] {
            let sequences = &[(150, 290), (1, 200)];
            let case = Case { window, sequences, group: 2, ..CASE_OF_MANY };
            check(chip, Case { num_kv_heads: 1, ..case }, "long");
        }
    });
}

#[test]
fn sequences_are_found_among_many() {
    let mut sequences = vec![(1, 2); 40];
    (sequences[10], sequences[33]) = ((4, 6), (2, 2));
    sequences.extend([(0, 3), (3, 5), (1, 1)]);
    on_each_chip(|chip| {
        let case = Case { sequences: &sequences, num_kv_heads: 1, ..CASE_OF_MANY };
        check(chip, Case { group: 1, head_dim: 16, padding: 1, ..case }, "many");
    });
}

/// A chunk's last tokens have the same bits however many come before them in the chunk.
#[test]
fn a_row_depends_on_its_own_keys() {
    on_each_chip(|chip| {
        let rows_of = |sequences| {
            let batch = Case { sequences, padding: 0, ..CASE_OF_MANY }.build(chip);
            chip.run(&[prefill(chip, &batch)]);
            batch
        };
        let whole = rows_of(&[(100, 100)]);
        let mut tail = Case { sequences: &[(2, 100)], padding: 0, ..CASE_OF_MANY }.build(chip);
        let row_bytes = u64::from(whole.params.q.stride) * 2;
        tail.params.q.address = whole.params.q.address + 98 * row_bytes;
        chip.run(&[prefill(chip, &tail)]);
        assert_eq!(tail.output(chip), whole.output(chip)[98..]);
        let other = rows_of(&[(100, 100), (7, 9)]);
        assert_eq!(other.output(chip)[..100], whole.output(chip)[..]);
    });
}
