//! Results do not depend on the number of threads, nor a row's on what other rows hold.

use tintype_ops::{AttentionMeta, DType, Epilogue, KvCache, Norm, Op, Tensor};

use super::device::Device;

const N: u32 = 37;
const HIDDEN: u32 = 512;

/// Ops large enough to be split, and what they write.
fn large_ops(device: &mut Device) -> (Vec<Op>, Vec<Tensor>) {
    let (x, _) = device.floats(N, HIDDEN, DType::F32);
    let (weight, _) = device.weight(2 * HIDDEN, HIDDEN, DType::Bf16);
    let (norm, _) = device.floats(1, HIDDEN, DType::F32);
    let norm = Norm { weight: norm, eps: 1e-5 };
    let [normed, gated, attended] = [(); 3].map(|()| device.tensor(N, HIDDEN, DType::F32));
    let (cache, meta) = cache(device);
    let slots: Vec<i32> = (0..N as i32).collect();
    let ops = vec![
        Op::RmsNorm { out: normed, x, norm },
        Op::Matmul {
            out: gated,
            x,
            weight,
            bias: None,
            norm: Some(norm),
            epilogue: Epilogue::SiluMul,
        },
        Op::WriteKv { cache, k: x, v: normed, slots: device.ints(1, &slots) },
        Op::Attention {
            out: attended,
            q: gated,
            cache,
            rope_kv: None,
            meta,
            scale: 0.1,
            window: None,
        },
    ];
    (ops, vec![normed, gated, attended])
}

/// A cache of 8 heads of 64 elements, and one sequence of `N` tokens in it.
fn cache(device: &mut Device) -> (KvCache, AttentionMeta) {
    let mut cache = KvCache {
        k: device.buffer(0),
        v: device.buffer(0),
        num_blocks: 10,
        block_size: 4,
        num_kv_heads: 8,
        head_dim: 64,
        dtype: DType::F32,
    };
    cache.k = device.buffer(cache.side_bytes());
    cache.v = device.buffer(cache.side_bytes());
    let blocks: Vec<i32> = (0..10).collect();
    let meta = AttentionMeta {
        cu_seqlens: device.ints(1, &[0, N as i32]),
        context_lens: device.ints(1, &[N as i32]),
        block_tables: device.ints(10, &blocks),
        decode: false,
    };
    (cache, meta)
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let results = [1, 2, 5].map(|threads| {
        let mut device = Device::with_threads(threads);
        let (ops, outputs) = large_ops(&mut device);
        ops.iter().for_each(|op| device.run(*op));
        outputs.into_iter().map(|output| device.bytes(output)).collect::<Vec<_>>()
    });
    assert_eq!(results[0], results[1]);
    assert_eq!(results[0], results[2]);
}

/// Matmul at sizes of both kernels, its other rows real in one run and NaN in the other.
#[test]
fn a_row_does_not_depend_on_what_the_other_rows_hold() {
    for n in [2, 8, 16, 17, 64] {
        let mut device = Device::new();
        let (x, _) = device.floats(n, 70, DType::F32);
        let (weight, _) = device.weight(50, 70, DType::F16);
        let out = device.tensor(n, 50, DType::F32);
        let (bias, norm, epilogue) = (None, None, Epilogue::Store);
        let op = Op::Matmul { out, x, weight, bias, norm, epilogue };
        device.run(op);
        let real = device.bytes(out.first_rows(1));
        let others = Tensor { offset: x.offset + u64::from(x.stride), rows: n - 1, ..x };
        device.write(others, &vec![f32::NAN; (n as usize - 1) * 70]);
        device.run(op);
        assert_eq!(device.bytes(out.first_rows(1)), real, "{n} tokens");
    }
}
