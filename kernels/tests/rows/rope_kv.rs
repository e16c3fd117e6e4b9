//! `rope` and `write_kv`.

use tintype_kernels::params::{F32, RopeParams, WriteKvParams};

use crate::device::{
    ALIGNED, DTYPES, Device, ODD, Placing, Tensor, assert_close, noise, on_each_device, round,
};

const HEADS: usize = 3;

/// Rotates by the angles of `positions`; a position outside the table leaves the row as it is.
fn rotated(x: &Tensor, head_dim: usize, table: &Tensor, positions: &[i32]) -> Vec<f32> {
    let mut values = x.values.clone();
    let half = table.cols / 2;
    for (row, &position) in values.chunks_exact_mut(x.cols).zip(positions) {
        if !(0..table.rows as i32).contains(&position) {
            continue;
        }
        let (cos, sin) = table.row(position as usize).split_at(half);
        for head in row.chunks_exact_mut(head_dim) {
            for j in 0..half {
                let (a, b) = (head[j], head[half + j]);
                head[j] = a * cos[j] - b * sin[j];
                head[half + j] = b * cos[j] + a * sin[j];
            }
        }
    }
    values
}

#[test]
fn rope_rotates_the_first_elements_of_each_head() {
    let positions = [0, 6, 3, 7, -1];
    on_each_device("rope_kv", |device| {
        for dtype in DTYPES {
            for (head_dim, rotary, placing) in
                [(64, 64, ALIGNED), (64, 32, ALIGNED), (10, 6, ODD), (64, 64, ODD)]
            {
                let cols = HEADS * head_dim;
                let x = device.floats(dtype, [positions.len(), cols], placing, noise(1));
                let table = device.floats(F32, [7, rotary], ALIGNED, noise(2));
                let params = RopeParams {
                    x: x.view,
                    positions: device.ints(1, &positions),
                    table: table.view,
                    heads: HEADS as u32,
                    head_dim: head_dim as u32,
                    rotary: rotary as u32,
                    max_positions: 7,
                };
                device.run("rope", [positions.len() as u32, 2], 32, &params);
                let expected = rotated(&x, head_dim, &table, &positions);
                let found = device.read(x.view, [positions.len(), cols]);
                assert_close(dtype, &found, &expected, "rope");
            }
        }
    });
}

const BLOCKS: usize = 4;
const BLOCK_SIZE: usize = 5;
const SLOTS: [i32; 5] = [13, -1, 0, 19, 20];

/// Writes `k` and `v` and returns both caches.
fn write(
    device: &Device,
    cache_dtype: u32,
    head_dim: usize,
    [k, v]: [&Tensor; 2],
) -> [Vec<f32>; 2] {
    let shape = [BLOCKS * HEADS * BLOCK_SIZE, head_dim];
    let caches = [(); 2].map(|()| device.contiguous(cache_dtype, shape));
    let zeros = vec![0; shape[0] * head_dim * if cache_dtype == F32 { 4 } else { 2 }];
    caches.iter().for_each(|&cache| device.write_bytes(cache, &zeros));
    let params = WriteKvParams {
        k_cache: caches[0].address,
        v_cache: caches[1].address,
        k: k.view,
        v: v.view,
        slots: device.ints(1, &SLOTS),
        cache_dtype,
        num_kv_heads: HEADS as u32,
        head_dim: head_dim as u32,
        block_size: BLOCK_SIZE as u32,
        num_slots: (BLOCKS * BLOCK_SIZE) as u32,
        reserved: 0,
    };
    device.run("write_kv", [SLOTS.len() as u32, 1], 32, &params);
    caches.map(|cache| device.read(cache, shape))
}

/// A cache of zeros with the rows of `x` in their slots.
fn written(x: &Tensor, cache_dtype: u32, head_dim: usize) -> Vec<f32> {
    let mut cache = vec![0.0; BLOCKS * HEADS * BLOCK_SIZE * head_dim];
    for (row, &slot) in SLOTS.iter().enumerate() {
        let Some(slot) = usize::try_from(slot).ok().filter(|&slot| slot < BLOCKS * BLOCK_SIZE)
        else {
            continue;
        };
        for (head, values) in x.row(row).chunks_exact(head_dim).enumerate() {
            let place = (slot / BLOCK_SIZE * HEADS + head) * BLOCK_SIZE + slot % BLOCK_SIZE;
            for (i, &value) in values.iter().enumerate() {
                cache[place * head_dim + i] = round(cache_dtype, value);
            }
        }
    }
    cache
}

#[test]
fn write_kv_stores_each_token_in_its_slot_and_padding_nowhere() {
    on_each_device("rope_kv", |device| {
        for [cache, of_k, of_v] in [[0, 0, 0], [1, 1, 1], [2, 2, 2], [1, 2, 0], [2, 0, 1]] {
            let [cache, of_k, of_v] = [cache, of_k, of_v].map(|i| DTYPES[i]);
            for (head_dim, placing) in [(16, ALIGNED), (16, ODD), (5, ODD)] {
                let floats = |dtype, placing: Placing, seed| {
                    device.floats(dtype, [SLOTS.len(), HEADS * head_dim], placing, noise(seed))
                };
                let (k, v) = (floats(of_k, placing, 1), floats(of_v, placing, 2));
                let found = write(device, cache, head_dim, [&k, &v]);
                let expected = [&k, &v].map(|x| written(x, cache, head_dim));
                assert_eq!(found, expected, "head_dim {head_dim}");
            }
        }
    });
}
