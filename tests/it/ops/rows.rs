//! The ops that turn each row by itself, and those that move rows.

use tintype_ops::{Buffer, DType, KvCache, Norm, Op, WeightRole};

use super::MIXES;
use super::pair::{Pair, Rows};
use crate::streams::{TestStream, on_cuda};

on_cuda! {
    embeddings_are_rows_of_the_table,
    gathered_rows_are_the_rows_asked_for,
    norms_agree,
    head_norms_agree,
    rotations_agree,
    elementwise_ops_agree,
    the_cache_holds_what_was_written,
    fused_rotation_is_the_sequence_it_replaces,
}

/// Rows and columns, odd ones among them.
const SHAPES: [(u32, u32); 4] = [(1, 1), (3, 7), (5, 64), (17, 1090)];

/// Runs `body` with both kinds of rows.
fn each<S: TestStream>(body: impl Fn(&mut Pair<S>)) {
    for rows in [Rows::Packed, Rows::Gapped] {
        body(&mut Pair::new(rows));
    }
}

fn embeddings_are_rows_of_the_table<S: TestStream>() {
    each::<S>(|pair| {
        let ids = [31, 0, 32, -1, 4, i32::MAX, i32::MIN, 17];
        let ids_tensor = pair.ints(1, &ids);
        for mix in MIXES {
            for cols in [64, 13] {
                let table = pair.weight([32, cols], mix.weight, WeightRole::Plain);
                let out = pair.tensor(ids.len() as u32, cols, mix.out);
                let error = pair.compare(Op::Embed { out, ids: ids_tensor, table });
                assert_eq!(error, 0.0, "{mix:?}");
            }
        }
    });
}

fn gathered_rows_are_the_rows_asked_for<S: TestStream>() {
    each::<S>(|pair| {
        let rows = pair.ints(1, &[4, 4, 0, 5, -1, 2]);
        for mix in MIXES {
            for cols in [64, 9] {
                let x = pair.floats(5, cols, mix.x);
                let out = pair.tensor(6, cols, mix.out);
                assert_eq!(pair.compare(Op::Gather { out, x, rows }), 0.0, "{mix:?}");
            }
        }
    });
}

fn norms_agree<S: TestStream>() {
    each::<S>(|pair| {
        for (rows, cols) in SHAPES {
            for mix in MIXES {
                let (x, weight) =
                    (pair.floats(rows, cols, mix.x), pair.floats(1, cols, mix.weight));
                let out = pair.tensor(rows, cols, mix.out);
                pair.compare(Op::RmsNorm { out, x, norm: Norm { weight, eps: 1e-5 } });
            }
        }
    });
}

fn head_norms_agree<S: TestStream>() {
    each::<S>(|pair| {
        for (heads, head_dim) in [(1, 1), (3, 5), (4, 64), (2, 128)] {
            for mix in MIXES {
                let x = pair.floats(3, heads * head_dim, mix.x);
                let weight = pair.floats(1, head_dim, mix.weight);
                pair.compare(Op::HeadNorm { x, norm: Norm { weight, eps: 1e-6 } });
            }
        }
    });
}

fn rotations_agree<S: TestStream>() {
    each::<S>(|pair| {
        for (heads, head_dim, rotary) in [(1, 2, 2), (3, 7, 4), (4, 64, 64), (2, 128, 96)] {
            let table = pair.floats(40, rotary, DType::F32);
            let positions = pair.ints(1, &[0, 39, 7]);
            for mix in MIXES {
                let x = pair.floats(3, heads * head_dim, mix.x);
                pair.compare(Op::Rope { x, positions, table, head_dim });
            }
        }
    });
}

fn elementwise_ops_agree<S: TestStream>() {
    each::<S>(|pair| {
        for (rows, cols) in SHAPES {
            for mix in MIXES {
                let gate_up = pair.floats(rows, 2 * cols, mix.x);
                let out = pair.tensor(rows, cols, mix.out);
                pair.compare(Op::SiluMul { out, gate_up });
                let (out, x) = (pair.floats(rows, cols, mix.out), pair.floats(rows, cols, mix.x));
                pair.compare(Op::Add { out, x });
            }
        }
    });
}

/// A cache of three blocks, of two heads.
fn cache_shape(head_dim: u32, dtype: DType) -> KvCache {
    let none = Buffer::from_index(0);
    let (num_blocks, block_size, num_kv_heads) = (3, 4, 2);
    KvCache { k: none, v: none, num_blocks, block_size, num_kv_heads, head_dim, dtype }
}

fn the_cache_holds_what_was_written<S: TestStream>() {
    each::<S>(|pair| {
        // Slots of several blocks, in no order; −1 stores nothing.
        let slots = pair.ints(1, &[0, 11, -1, 7, 3]);
        for mix in MIXES {
            for head_dim in [5, 16, 64] {
                let cache = pair.cache(cache_shape(head_dim, mix.out));
                let [k, v] = [(); 2].map(|()| pair.floats(5, 2 * head_dim, mix.x));
                let error = pair.compare(Op::WriteKv { cache, k, v, slots });
                assert_eq!(error, 0.0, "{mix:?}");
            }
        }
    });
}

/// The CPU runs the sequence, so the comparison is with that.
fn fused_rotation_is_the_sequence_it_replaces<S: TestStream>() {
    each::<S>(|pair| {
        let slots = pair.ints(1, &[0, 11, -1, 7, 3]);
        let positions = pair.ints(1, &[0, 39, 7, 1, 12]);
        for mix in MIXES {
            for (heads, head_dim, rotary) in [(1, 5, 4), (3, 16, 16), (2, 64, 64), (2, 128, 96)] {
                let cache = pair.cache(cache_shape(head_dim, mix.out));
                let table = pair.floats(40, rotary, DType::F32);
                for normed in [false, true] {
                    let qkv = pair.floats(5, (heads + 4) * head_dim, mix.x);
                    let mut norm =
                        || Norm { weight: pair.floats(1, head_dim, mix.weight), eps: 1e-6 };
                    let norms = normed.then(|| [norm(), norm()]);
                    pair.compare(Op::RopeKv { qkv, cache, norms, positions, table, slots });
                }
            }
        }
    });
}
