//! The kernel for every mix of types, row by row.

use tintype_kernels::params::{BF16, F16, F32};

use crate::batch::{ALONE, CASE, Case, Split, on_each_chip};
use crate::chip::Chip;

const F32_CASE: Case<'static> = Case { q_dtype: F32, cache_dtype: F32, out_dtype: F32, ..CASE };

const MIXED: &[(u32, u32)] =
    &[(5, 5), (1, 9), (4, 70), (3, 0), (0, 4), (0, 0), (1, 0), (1, 1), (2, 33)];

fn check(chip: &Chip, case: Case<'_>, split: Split, what: &str) {
    let batch = case.build(chip);
    chip.run(&split.kernels("attention_any", &batch, case.num_rows(), 4));
    batch.assert_right(chip, what);
}

#[test]
fn every_mix_of_types() {
    on_each_chip(|chip| {
        for q_dtype in [F32, F16, BF16] {
            for cache_dtype in [F32, F16, BF16] {
                for (out_dtype, head_dim) in [(F32, 24), (F16, 5), (BF16, 24)] {
                    let case = Case { q_dtype, cache_dtype, out_dtype, head_dim, ..CASE };
                    let what = format!("{q_dtype} {cache_dtype} {out_dtype}");
                    check(chip, case, ALONE, &what);
                }
            }
        }
    });
}

#[test]
fn every_head_size_and_ratio_of_heads() {
    on_each_chip(|chip| {
        for head_dim in [1, 2, 7, 16, 33, 64, 255, 256] {
            check(chip, Case { head_dim, ..F32_CASE }, ALONE, &format!("{head_dim} elements"));
        }
        for group in [1, 2, 3, 5, 9] {
            let case = Case { group, num_kv_heads: 2, head_dim: 6, gap: 1, ..F32_CASE };
            check(chip, case, ALONE, &format!("{group} heads"));
        }
    });
}

#[test]
fn sequences_of_every_kind() {
    let mut many = vec![(1, 2); 40];
    (many[10], many[33]) = ((4, 6), (0, 0));
    on_each_chip(|chip| {
        for sequences in [MIXED, &many] {
            let case = Case { sequences, decode: false, padding: 2, head_dim: 8, ..F32_CASE };
            check(chip, case, ALONE, "sequences");
            check(chip, Case { window: Some(3), block_size: 3, ..case }, ALONE, "windows");
        }
    });
}

#[test]
fn keys_are_split_over_warps_blocks_and_clusters() {
    let sequences = &[(1, 130), (1, 3), (1, 0), (1, 33)];
    on_each_chip(|chip| {
        for (cluster, partitions, warps) in
            [(1, 1, 1), (1, 1, 4), (1, 3, 2), (2, 1, 1), (8, 1, 2), (3, 2, 1)]
        {
            if cluster > 1 && !chip.is_hopper {
                continue;
            }
            let split = Split { cluster, partitions, warps };
            let case = Case { sequences, group: 5, head_dim: 10, ..F32_CASE };
            check(chip, case, split, &format!("{cluster} x {partitions} x {warps}"));
        }
    });
}
