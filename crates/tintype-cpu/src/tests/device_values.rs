//! Values that ops read from memory and that are out of range: an error that names them, and
//! nothing written.

use tintype_ops::{AttentionMeta, DType, KvCache, Op, Tensor};

use super::device::Device;

const BLOCK_SIZE: u32 = 4;
const NUM_BLOCKS: u32 = 6;

/// A poisoned cache of one KV head of 8 elements.
fn cache(device: &mut Device) -> KvCache {
    let bytes = u64::from(NUM_BLOCKS * BLOCK_SIZE * 8 * 4);
    KvCache {
        k: device.buffer(bytes),
        v: device.buffer(bytes),
        num_blocks: NUM_BLOCKS,
        block_size: BLOCK_SIZE,
        num_kv_heads: 1,
        head_dim: 8,
        dtype: DType::F32,
    }
}

/// A side of the cache as a tensor with a row per slot.
fn slots_of(cache: KvCache, side: tintype_ops::Buffer) -> Tensor {
    Tensor::new(side, cache.num_slots() as u32, cache.head_dim, cache.dtype)
}

#[test]
fn slots_outside_the_cache_are_refused_before_anything_is_stored() {
    for slot in [24, -2, i32::MAX, i32::MIN] {
        let mut device = Device::new();
        let cache = cache(&mut device);
        let [k, v] = [(); 2].map(|()| device.floats(3, 8, DType::F32).0);
        let slots = device.ints(1, &[0, -1, slot]);
        let error = device.error(Op::WriteKv { cache, k, v, slots });
        let expected = format!("write_kv: row 2 has slot {slot}, expected one in 0..24");
        assert_eq!(error, expected);
        assert!(device.is_poisoned(slots_of(cache, cache.k)));
        assert!(device.is_poisoned(slots_of(cache, cache.v)));
    }
}

#[test]
fn padded_tokens_store_nothing_and_others_store_in_their_slot() {
    let mut device = Device::new();
    let cache = cache(&mut device);
    let [(k, keys), (v, values)] = [(); 2].map(|()| device.floats(3, 8, DType::F32));
    let slots = device.ints(1, &[23, -1, 5]);
    device.run(Op::WriteKv { cache, k, v, slots });
    for (side, rows) in [(cache.k, keys), (cache.v, values)] {
        let stored = device.read(slots_of(cache, side));
        assert_eq!(stored.row(23), rows.row(0));
        assert_eq!(stored.row(5), rows.row(2));
        let written = stored.rows().filter(|row| !row[0].is_nan()).count();
        assert_eq!(written, 2, "slots written");
    }
}

#[test]
fn positions_outside_the_table_are_refused_before_anything_is_rotated() {
    for position in [10, -1, i32::MIN] {
        let mut device = Device::new();
        let (x, before) = device.floats(2, 8, DType::F32);
        let (table, _) = device.floats(10, 4, DType::F32);
        let positions = device.ints(1, &[3, position]);
        let error = device.error(Op::Rope { x, positions, table, head_dim: 8 });
        let expected = format!("rope: row 1 has position {position}, expected one in 0..10");
        assert_eq!(error, expected);
        assert_eq!(device.read(x), before);
    }
}

#[test]
fn unknown_experts_are_refused() {
    for id in [2, -1] {
        let mut device = Device::new();
        let (x, _) = device.floats(2, 3, DType::F32);
        let (weight, _) = device.weight(2 * 4, 3, DType::F32);
        let ids = device.ints(1, &[1, id]);
        let out = device.tensor(2, 2, DType::F32);
        let error = device.error(Op::MoeGateUp { out, x, weight, ids, num_experts: 2 });
        let expected = "expected one in 0..2";
        assert_eq!(error, format!("moe_gate_up: row 1 has expert {id}, {expected}"));
        let (out, _) = device.floats(2, 4, DType::F32);
        let weights = device.tensor(2, 1, DType::F32);
        let error = device.error(Op::MoeDown { out, x, weight, ids, weights, num_experts: 2 });
        assert_eq!(error, format!("moe_down: row 1 has expert {id}, {expected}"));
    }
}

/// Runs attention over two sequences and returns its error.
fn attention_error(cu_seqlens: [i32; 3], context_lens: [i32; 2], tables: [i32; 4]) -> String {
    let mut device = Device::new();
    let cache = cache(&mut device);
    let (q, _) = device.floats(5, 16, DType::F32);
    let out = device.tensor(5, 16, DType::F32);
    let meta = AttentionMeta {
        cu_seqlens: device.ints(1, &cu_seqlens),
        context_lens: device.ints(1, &context_lens),
        block_tables: device.ints(2, &tables),
        decode: false,
    };
    let error = device.error(Op::Attention {
        out,
        q,
        cache,
        rope_kv: None,
        meta,
        scale: 1.0,
        window: None,
    });
    assert!(device.is_poisoned(out), "an attention that fails writes nothing");
    error
}

#[test]
fn attention_refuses_values_that_would_read_elsewhere() {
    let (cu_seqlens, lens, tables) = ([0, 2, 5], [2, 8], [0, 1, 2, 3]);
    let errors = [
        (attention_error([0, 2, 6], lens, tables), "row 2 has cu_seqlens 6, expected one in 0..6"),
        (attention_error([0, -1, 5], lens, tables), "row 1 has cu_seqlens -1"),
        (attention_error([0, 4, 3], [4, 8], tables), "cu_seqlens has 4, 3 at row 1"),
        (attention_error([1, 2, 5], lens, tables), "cu_seqlens has 1, 2 at row 0"),
        (attention_error(cu_seqlens, [2, 9], tables), "row 1 has context length 9"),
        (attention_error(cu_seqlens, [-1, 8], tables), "row 0 has context length -1"),
        (
            attention_error(cu_seqlens, [1, 8], tables),
            "row 0 has 2 tokens but a context length of 1",
        ),
        (attention_error(cu_seqlens, lens, [0, 1, 2, 6]), "row 1 has block_tables[1] = 6"),
        (attention_error(cu_seqlens, lens, [-1, 1, 2, 3]), "row 0 has block_tables[0] = -1"),
    ];
    for (found, expected) in errors {
        assert!(found.starts_with("attention: ") && found.contains(expected), "{found}");
    }
}

#[test]
fn entries_that_attention_does_not_need_may_hold_anything() {
    let mut device = Device::new();
    let cache = cache(&mut device);
    let (q, _) = device.floats(1, 8, DType::F32);
    let out = device.tensor(1, 8, DType::F32);
    let [k, v] = [(); 2].map(|()| device.floats(1, 8, DType::F32).0);
    let slots = device.ints(1, &[8]);
    device.run(Op::WriteKv { cache, k, v, slots });
    let meta = AttentionMeta {
        cu_seqlens: device.ints(1, &[0, 1]),
        context_lens: device.ints(1, &[1]),
        block_tables: device.ints(3, &[2, -7, i32::MAX]),
        decode: true,
    };
    device.run(Op::Attention { out, q, cache, rope_kv: None, meta, scale: 1.0, window: None });
    let expected = device.read(v);
    device.assert_close(out, &expected, 1.0);
}
