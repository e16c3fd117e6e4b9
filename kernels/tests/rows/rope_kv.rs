//! `rope` and `write_kv`.

use tintype_kernels::params::{F32, RopeKvParams, RopeParams, View, WriteKvParams};

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

/// Caches of zeros, as matrices with a row for each head of each slot.
fn empty_caches(device: &Device, dtype: u32, shape: [usize; 2]) -> [View; 2] {
    let zeros = vec![0; shape[0] * shape[1] * if dtype == F32 { 4 } else { 2 }];
    [(); 2].map(|()| {
        let cache = device.contiguous(dtype, shape);
        device.write_bytes(cache, &zeros);
        cache
    })
}

/// Writes `k` and `v` and returns both caches.
fn write(
    device: &Device,
    cache_dtype: u32,
    head_dim: usize,
    [k, v]: [&Tensor; 2],
) -> [Vec<f32>; 2] {
    let shape = [BLOCKS * HEADS * BLOCK_SIZE, head_dim];
    let caches = empty_caches(device, cache_dtype, shape);
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

const NO_NORM: View = View { address: 0, stride: 0, dtype: F32 };
const Q_HEADS: usize = 4;
const Q_EPS: f32 = 1e-2;
const K_EPS: f32 = 1e-3;

/// q, k and v side by side, and what is done to them.
struct Fused<'a> {
    device: &'a Device,
    head_dim: usize,
    cache_dtype: u32,
    qkv: Tensor,
    table: Tensor,
    /// Of the heads of q and of k.
    norms: Option<[Tensor; 2]>,
}

const POSITIONS: [i32; SLOTS.len()] = [0, 6, 3, 7, -1];

impl Fused<'_> {
    /// Runs the kernel and returns qkv and both caches.
    fn run(&self) -> [Vec<f32>; 3] {
        let Self { device, head_dim, cache_dtype, ref qkv, ref table, .. } = *self;
        let shape = [BLOCKS * HEADS * BLOCK_SIZE, head_dim];
        let caches = empty_caches(device, cache_dtype, shape);
        let [q_norm, k_norm] =
            self.norms.as_ref().map_or([NO_NORM; 2], |norms| norms.each_ref().map(|n| n.view));
        let params = RopeKvParams {
            k_cache: caches[0].address,
            v_cache: caches[1].address,
            qkv: qkv.view,
            positions: device.ints(1, &POSITIONS),
            slots: device.ints(1, &SLOTS),
            table: table.view,
            q_norm,
            k_norm,
            q_eps: Q_EPS,
            k_eps: K_EPS,
            num_heads: Q_HEADS as u32,
            num_kv_heads: HEADS as u32,
            head_dim: head_dim as u32,
            rotary: table.cols as u32,
            max_positions: table.rows as u32,
            cache_dtype,
            block_size: BLOCK_SIZE as u32,
            num_slots: (BLOCKS * BLOCK_SIZE) as u32,
        };
        device.run("rope_kv", [SLOTS.len() as u32, 3], 128, &params);
        let [k, v] = caches.map(|cache| device.read(cache, shape));
        [device.read(qkv.view, [qkv.rows, qkv.cols]), k, v]
    }

    /// The same by the ops that it stands for.
    fn expected(&self) -> [Vec<f32>; 3] {
        let (q_width, kv_width) = (Q_HEADS * self.head_dim, HEADS * self.head_dim);
        let part = |first: usize, cols: usize, norm: Option<(&Tensor, f32)>| {
            let rows = (0..self.qkv.rows).map(|row| &self.qkv.row(row)[first..][..cols]);
            let mut x =
                Tensor { cols, values: rows.collect::<Vec<_>>().concat(), ..self.qkv.clone() };
            if let Some((weight, eps)) = norm {
                normalize(&mut x.values, &weight.values, eps);
            }
            x
        };
        let norm = |which: usize, eps| self.norms.as_ref().map(|norms| (&norms[which], eps));
        let rotate = |x: &Tensor| rotated(x, self.head_dim, &self.table, &POSITIONS);
        let q = part(0, q_width, norm(0, Q_EPS));
        let k = part(q_width, kv_width, norm(1, K_EPS));
        let v = part(q_width + kv_width, kv_width, None);
        let q = Tensor { values: rotate(&q), ..q };
        let k = Tensor { values: rotate(&k), ..k };
        let row = |row| [q.row(row), k.row(row), v.row(row)].concat();
        let qkv = (0..self.qkv.rows).flat_map(row).collect();
        let [k, v] = [&k, &v].map(|x| written(x, self.cache_dtype, self.head_dim));
        [qkv, k, v]
    }
}

fn normalize(values: &mut [f32], weight: &[f32], eps: f32) {
    for head in values.chunks_exact_mut(weight.len()) {
        let mean = head.iter().map(|&x| x * x).sum::<f32>() / head.len() as f32;
        let scale = 1.0 / (mean + eps).sqrt();
        head.iter_mut().zip(weight).for_each(|(x, weight)| *x *= scale * weight);
    }
}

#[test]
fn rope_kv_does_what_norms_rope_and_write_kv_do() {
    on_each_device("qkv", |device| {
        for [of_x, cache, of_norm] in [[0, 0, 0], [1, 1, 1], [2, 2, 2], [2, 1, 0], [0, 2, 1]] {
            let [of_x, cache_dtype, of_norm] = [of_x, cache, of_norm].map(|i| DTYPES[i]);
            for (head_dim, rotary, placing) in
                [(16, 16, ALIGNED), (64, 32, ODD), (9, 6, ODD), (128, 128, ALIGNED), (256, 64, ODD)]
            {
                let cols = (Q_HEADS + 2 * HEADS) * head_dim;
                let norm = |seed| device.floats(of_norm, [1, head_dim], placing, noise(seed));
                for norms in [None, Some([norm(2), norm(3)])] {
                    let fused = Fused {
                        device,
                        head_dim,
                        cache_dtype,
                        qkv: device.floats(of_x, [SLOTS.len(), cols], placing, noise(1)),
                        table: device.floats(F32, [7, rotary], placing, noise(4)),
                        norms,
                    };
                    let (found, expected) = (fused.run(), fused.expected());
                    assert_close(of_x, &found[0], &expected[0], "qkv");
                    assert_close(cache_dtype, &found[1], &expected[1], "k");
                    assert_eq!(found[2], expected[2]);
                }
            }
        }
    });
}
