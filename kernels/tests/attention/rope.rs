//! Decode attention on q, k and v as a projection leaves them, against `rope_kv` and decode
//! attention one after the other. Both do the same arithmetic, so without norms, which are summed
//! in another order, and split alike, they give the same bits.

use tintype_kernels::params::{BF16, F16, F32, I32, RopeKvParams, View};

use crate::batch::{ALONE, Batch, CASE, Case, Split, on_each_chip};
use crate::chip::{Chip, decode};
use crate::decode::kernels;

/// Rows of the table of angles; longer contexts are not rotated.
const POSITIONS: u32 = 120;
const NO_NORM: View = View { address: 0, stride: 0, dtype: F32 };

/// A batch whose rows have k and v of the newest tokens behind q.
struct Fused<'a> {
    batch: Batch<'a>,
    rope: RopeKvParams,
    qkv: Vec<u8>,
}

impl<'a> Fused<'a> {
    fn new(chip: &Chip, case: Case<'a>, normed: bool) -> Self {
        let heads = case.num_kv_heads * (case.group + 2);
        let width = 2 * case.num_kv_heads * case.head_dim;
        let batch = Case { gap: width + case.gap, ..case }.build(chip);
        let params = &batch.params;
        let wave = |row: u32, i: u32| ((row * 37 + i) as f32 * 0.7).sin();
        let qkv = chip.alloc(case.q_dtype, params.num_rows, heads * case.head_dim, params.q.stride);
        for row in 0..params.num_rows {
            let values: Vec<_> = (0..heads * case.head_dim).map(|i| 2.0 * wave(row, i)).collect();
            chip.write_row(qkv, row, &values);
        }
        let table = chip.alloc(F32, POSITIONS, case.head_dim, case.head_dim);
        for row in 0..POSITIONS {
            let values: Vec<_> = (0..case.head_dim).map(|i| wave(row + 1000, i)).collect();
            chip.write_row(table, row, &values);
        }
        let norm = |seed| {
            let norm = chip.alloc(case.q_dtype, 1, case.head_dim, case.head_dim);
            let values: Vec<_> = (0..case.head_dim).map(|i| 1.0 + 0.5 * wave(seed, i)).collect();
            chip.write_row(norm, 0, &values);
            norm
        };
        let (positions, slots) = places(chip, &batch);
        let rope = RopeKvParams {
            k_cache: params.cache.k,
            v_cache: params.cache.v,
            qkv,
            positions: chip_ints(chip, &positions),
            slots: chip_ints(chip, &slots),
            table,
            q_norm: if normed { norm(1) } else { NO_NORM },
            k_norm: if normed { norm(2) } else { NO_NORM },
            q_eps: 1e-2,
            k_eps: 1e-3,
            num_heads: heads - 2 * case.num_kv_heads,
            num_kv_heads: case.num_kv_heads,
            head_dim: case.head_dim,
            rotary: case.head_dim,
            max_positions: POSITIONS,
            cache_dtype: case.cache_dtype,
            block_size: case.block_size,
            num_slots: params.cache.num_blocks * case.block_size,
        };
        let mut fused = Self { batch, rope, qkv: Vec::new() };
        fused.batch.params.q = qkv;
        fused.qkv = fused.bytes(chip, qkv.address, fused.qkv_bytes());
        fused
    }

    fn qkv_bytes(&self) -> usize {
        let rows = self.batch.params.num_rows - 1;
        let width = (self.rope.num_heads + 2 * self.rope.num_kv_heads) * self.rope.head_dim;
        (rows * self.rope.qkv.stride + width) as usize * 2
    }

    fn cache_bytes(&self) -> usize {
        (self.rope.num_slots * self.rope.num_kv_heads * self.rope.head_dim) as usize * 2
    }

    fn bytes(&self, chip: &Chip, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        chip.memory.read(address, &mut bytes).unwrap();
        bytes
    }

    /// The output's rows and both sides of the cache.
    fn results(&self, chip: &Chip) -> [Vec<u8>; 3] {
        let side = |address| self.bytes(chip, address, self.cache_bytes());
        [self.batch.output(chip).concat(), side(self.rope.k_cache), side(self.rope.v_cache)]
    }

    /// Results of the fused kernel, then of both kernels in turn, from the same memory.
    fn both(&self, chip: &Chip, split: Split) -> [[Vec<u8>; 3]; 2] {
        let before = [self.rope.k_cache, self.rope.v_cache]
            .map(|side| self.bytes(chip, side, self.cache_bytes()));
        chip.run_fused(&kernels(&self.batch, split), self.rope);
        let fused = self.results(chip);
        chip.memory.write(self.rope.qkv.address, &self.qkv).unwrap();
        chip.memory.write(self.rope.k_cache, &before[0]).unwrap();
        chip.memory.write(self.rope.v_cache, &before[1]).unwrap();
        chip.run_rope_kv(self.batch.params.num_rows, &self.rope);
        chip.run(&kernels(&self.batch, split));
        [fused, self.results(chip)]
    }
}

fn chip_ints(chip: &Chip, values: &[i32]) -> View {
    View { address: chip.hold(bytemuck::cast_slice(values)), stride: 1, dtype: I32 }
}

/// Position and slot of each sequence's newest token.
fn places(chip: &Chip, batch: &Batch<'_>) -> (Vec<i32>, Vec<i32>) {
    let (params, block_size) = (&batch.params, batch.case.block_size);
    let place = |(sequence, &(_, len)): (u64, &(u32, u32))| {
        let Some(newest) = len.checked_sub(1) else { return (0, -1) };
        let entry = sequence * u64::from(params.max_blocks) + u64::from(newest / block_size);
        let mut block = [0; 4];
        chip.memory.read(params.block_tables.address + 4 * entry, &mut block).unwrap();
        let slot = i32::from_le_bytes(block) as u32 * block_size + newest % block_size;
        (newest as i32, slot as i32)
    };
    (0..).zip(batch.case.sequences).map(place).unzip()
}

fn check(chip: &Chip, case: Case<'_>, split: Split, what: &str) {
    let [fused, in_turn] = Fused::new(chip, case, false).both(chip, split);
    assert!(fused[1..] == in_turn[1..], "{what}: caches");
    assert_close(case.q_dtype, &fused[0], &in_turn[0], what);
    assert_ne!(fused[0], vec![0xff; fused[0].len()], "{what}: nothing was written");
}

/// Up to the rounding of the weights, whose order the split decides.
fn assert_close(dtype: u32, found: &[u8], expected: &[u8], what: &str) {
    let tolerance = if dtype == BF16 { 2.0 / 128.0 } else { 2.0 / 1024.0 };
    for (found, expected) in decode(dtype, found).iter().zip(decode(dtype, expected)) {
        assert!((found - expected).abs() <= tolerance, "{what}: {found}, expected {expected}");
    }
}

#[test]
fn every_type_and_size_that_there_is() {
    let sequences = &[(1, 40), (1, 1), (1, 0), (1, 17), (1, 16), (1, 130)];
    on_each_chip(|chip| {
        for head_dim in [64, 128] {
            for dtype in [BF16, F16] {
                let case = Case { head_dim, sequences, ..CASE }.with_dtype(dtype);
                check(chip, case, ALONE, &format!("{head_dim} elements of type {dtype}"));
            }
        }
    });
}

#[test]
fn keys_are_split_over_warps_blocks_and_clusters() {
    let sequences = &[(1, 130), (1, 3), (1, 0), (1, 33)];
    on_each_chip(|chip| {
        for (cluster, partitions, warps) in
            [(1, 1, 1), (1, 3, 2), (2, 1, 1), (4, 1, 2), (8, 1, 12), (3, 2, 1)]
        {
            if cluster > 1 && !chip.is_hopper {
                continue;
            }
            let split = Split { cluster, partitions, warps };
            let what = format!("{cluster} x {partitions} x {warps}");
            check(chip, Case { sequences, group: 3, num_kv_heads: 2, ..CASE }, split, &what);
            // Blocks of 5 and of 4 heads, of which the first stores the key.
            check(chip, Case { sequences, group: 9, gap: 8, ..CASE }, split, &what);
        }
    });
}

#[test]
fn windows_and_blocks_of_any_size() {
    let sequences = &[(1, 70), (1, 3), (1, 64), (1, 65)];
    on_each_chip(|chip| {
        for (window, block_size) in [(1, 16), (2, 3), (16, 1), (17, 100), (64, 16)] {
            let case = Case { window: Some(window), sequences, block_size, ..CASE };
            check(chip, case, ALONE, &format!("window {window}, blocks of {block_size}"));
        }
    });
}

#[test]
fn heads_of_q_and_k_are_normalised() {
    on_each_chip(|chip| {
        for (head_dim, dtype) in [(64, F16), (128, BF16)] {
            let case = Case { head_dim, num_kv_heads: 2, ..CASE }.with_dtype(dtype);
            let [fused, in_turn] = Fused::new(chip, case, true).both(chip, ALONE);
            assert_close(dtype, &fused[0], &in_turn[0], "norms");
            assert_eq!(fused[2], in_turn[2]);
            let differ = fused[1].iter().zip(&in_turn[1]).filter(|(a, b)| a != b).count();
            assert!(differ * 100 < fused[1].len(), "{differ} bytes of keys differ");
        }
    });
}

/// Padding has no slot, and a slot outside the cache is none.
#[test]
fn padding_is_zeros_and_leaves_the_cache_alone() {
    on_each_chip(|chip| {
        let fused = Fused::new(chip, Case { sequences: &[(1, 0), (1, 0)], ..CASE }, false);
        let before = fused.results(chip);
        chip.run_fused(&kernels(&fused.batch, ALONE), fused.rope);
        let after = fused.results(chip);
        assert_eq!(after[1..], before[1..]);
        assert!(after[0].iter().all(|&byte| byte == 0));
    });
}

/// The bits of a row do not follow from other rows, nor from how many of them are real.
#[test]
fn a_row_depends_on_its_own_sequence() {
    on_each_chip(|chip| {
        let split = Split { cluster: if chip.is_hopper { 4 } else { 1 }, ..ALONE };
        let case = Case { sequences: &[(1, 70), (1, 40), (1, 9)], ..CASE };
        let fused = Fused::new(chip, case, false);
        chip.run_fused(&kernels(&fused.batch, split), fused.rope);
        let first = fused.batch.output(chip);
        let nan = vec![f32::NAN; (6 * case.head_dim) as usize];
        for row in [0, 2] {
            chip.write_row(fused.rope.qkv, row, &nan);
        }
        chip.memory.write(fused.batch.params.context_lens.address + 8, &[0; 4]).unwrap();
        chip.run_fused(&kernels(&fused.batch, split), fused.rope);
        let second = fused.batch.output(chip);
        assert_eq!(first[1], second[1]);
        assert_ne!(first[0], second[0]);
        assert!(second[2].iter().all(|&byte| byte == 0));
    });
}
