//! One valid op of each kind, for tests.

use crate::{AttentionMeta, Buffer, DType, Epilogue, KvCache, Norm, Op, RopeKv, Tensor, Weight};

/// A contiguous f32 matrix in a buffer of its own.
pub(crate) const fn floats(buffer: u32, rows: u32, cols: u32) -> Tensor {
    Tensor::new(Buffer::from_index(buffer), rows, cols, DType::F32)
}

/// A contiguous i32 matrix in a buffer of its own.
pub(crate) const fn ints(buffer: u32, rows: u32, cols: u32) -> Tensor {
    Tensor::new(Buffer::from_index(buffer), rows, cols, DType::I32)
}

pub(crate) const fn weight(rows: u32, cols: u32) -> Weight {
    Weight { buffer: Buffer::from_index(0), rows, cols, dtype: DType::Bf16 }
}

pub(crate) const CACHE: KvCache = KvCache {
    k: Buffer::from_index(20),
    v: Buffer::from_index(21),
    num_blocks: 10,
    block_size: 16,
    num_kv_heads: 2,
    head_dim: 8,
    dtype: DType::F16,
};

/// Two sequences of at most four blocks.
pub(crate) const META: AttentionMeta = AttentionMeta {
    cu_seqlens: ints(30, 3, 1),
    context_lens: ints(31, 2, 1),
    block_tables: ints(32, 2, 4),
    decode: false,
};

pub(crate) const fn norm_of(dim: u32) -> Norm {
    Norm { weight: floats(9, 1, dim), eps: 1e-5 }
}

pub(crate) const EMBED: Op =
    Op::Embed { out: floats(1, 3, 8), ids: ints(2, 3, 1), table: weight(100, 8) };

pub(crate) const RMS_NORM: Op =
    Op::RmsNorm { out: floats(1, 3, 8), x: floats(2, 3, 8), norm: norm_of(8) };

pub(crate) const HEAD_NORM: Op = Op::HeadNorm { x: floats(1, 3, 32), norm: norm_of(8) };

pub(crate) const MATMUL: Op = Op::Matmul {
    out: floats(1, 3, 12),
    x: floats(2, 3, 8),
    weight: weight(12, 8),
    bias: None,
    norm: None,
    epilogue: Epilogue::Store,
};

pub(crate) const GATED_MATMUL: Op = Op::Matmul {
    out: floats(1, 3, 6),
    x: floats(2, 3, 8),
    weight: weight(12, 8),
    bias: Some(floats(3, 1, 12)),
    norm: Some(norm_of(8)),
    epilogue: Epilogue::SiluMul,
};

pub(crate) const RESIDUAL_MATMUL: Op = Op::Matmul {
    out: floats(1, 3, 12),
    x: floats(2, 3, 8),
    weight: weight(12, 8),
    bias: None,
    norm: None,
    epilogue: Epilogue::Add,
};

pub(crate) const ROPE: Op = Op::Rope {
    x: floats(1, 3, 32),
    positions: ints(2, 3, 1),
    table: floats(3, 100, 6),
    head_dim: 8,
};

pub(crate) const WRITE_KV: Op =
    Op::WriteKv { cache: CACHE, k: floats(2, 3, 16), v: floats(3, 3, 16), slots: ints(4, 3, 1) };

pub(crate) const ROPE_KV: Op = Op::RopeKv {
    qkv: floats(1, 3, 64),
    cache: CACHE,
    norms: None,
    positions: ints(2, 3, 1),
    table: floats(3, 100, 6),
    slots: ints(4, 3, 1),
};

pub(crate) const NORMED_ROPE_KV: Op = Op::RopeKv {
    qkv: floats(1, 3, 64),
    cache: CACHE,
    norms: Some([norm_of(8), norm_of(8)]),
    positions: ints(2, 3, 1),
    table: floats(3, 100, 6),
    slots: ints(4, 3, 1),
};

pub(crate) const ATTENTION: Op = Op::Attention {
    out: floats(1, 5, 64),
    q: floats(2, 5, 64),
    cache: CACHE,
    rope_kv: None,
    meta: META,
    scale: 0.125,
    window: Some(64),
};

pub(crate) const DECODE_ATTENTION: Op = Op::Attention {
    out: floats(1, 2, 64),
    q: floats(2, 2, 64),
    cache: CACHE,
    rope_kv: None,
    meta: AttentionMeta { decode: true, ..META },
    scale: 0.125,
    window: None,
};

pub(crate) const ROPE_ATTENTION: Op = Op::Attention {
    out: floats(1, 5, 64),
    q: floats(2, 5, 96),
    cache: CACHE,
    rope_kv: Some(RopeKv {
        norms: Some([norm_of(8), norm_of(8)]),
        positions: ints(3, 5, 1),
        table: floats(4, 100, 6),
        slots: ints(5, 5, 1),
    }),
    meta: META,
    scale: 0.125,
    window: Some(64),
};

pub(crate) const SILU_MUL: Op = Op::SiluMul { out: floats(1, 3, 8), gate_up: floats(2, 3, 16) };

pub(crate) const ADD: Op = Op::Add { out: floats(1, 3, 8), x: floats(2, 3, 8) };

pub(crate) const GATHER: Op =
    Op::Gather { out: floats(1, 2, 8), x: floats(2, 3, 8), rows: ints(3, 2, 1) };

pub(crate) const MOE_ROUTE: Op = Op::MoeRoute {
    ids: ints(1, 3, 2),
    weights: floats(2, 3, 2),
    logits: floats(3, 3, 4),
    renormalize: true,
};

pub(crate) const MOE_GATE_UP: Op = Op::MoeGateUp {
    out: floats(1, 6, 5),
    x: floats(2, 3, 8),
    weight: weight(40, 8),
    ids: ints(3, 3, 2),
    num_experts: 4,
};

pub(crate) const MOE_DOWN: Op = Op::MoeDown {
    out: floats(1, 3, 8),
    x: floats(2, 6, 5),
    weight: weight(32, 5),
    ids: ints(3, 3, 2),
    weights: floats(4, 3, 2),
    num_experts: 4,
};

pub(crate) const SAMPLE: Op = Op::Sample {
    out: ints(1, 3, 1),
    logits: floats(2, 3, 100),
    params: Tensor::new(Buffer::from_index(3), 3, 8, DType::U32),
};

/// All of them; an op that takes options is there more than once.
pub(crate) const EVERY_OP: [Op; 20] = [
    EMBED,
    RMS_NORM,
    HEAD_NORM,
    MATMUL,
    GATED_MATMUL,
    RESIDUAL_MATMUL,
    ROPE,
    WRITE_KV,
    ROPE_KV,
    NORMED_ROPE_KV,
    ATTENTION,
    DECODE_ATTENTION,
    ROPE_ATTENTION,
    SILU_MUL,
    ADD,
    GATHER,
    MOE_ROUTE,
    MOE_GATE_UP,
    MOE_DOWN,
    SAMPLE,
];
