//! Launches of attention.

use tintype_kernels::params::RopeAttentionParams;
use tintype_ops::{AttentionMeta, Buffer, DType, KvCache, Norm, RopeKv, Tensor, Weight};

use super::super::sample_chips::{AMPERE, HOPPER};
use super::super::{Layout, Placed, Workspace};
use super::*;

/// As an emulated chip.
const SMALL: Chip = Chip { num_sms: 4, ..HOPPER };

/// Buffer `i` lies at `i << 32`.
struct Fake {
    chip: Chip,
    workspace_bytes: u64,
}

impl Placement for Fake {
    fn chip(&self) -> Chip {
        self.chip
    }

    fn buffer(&self, buffer: Buffer) -> u64 {
        u64::from(buffer.index()) << 32
    }

    fn weight(&self, _weight: Weight) -> Placed {
        Placed { address: 0, layout: Layout::RowMajor }
    }

    fn workspace(&self) -> Workspace {
        Workspace { address: 1 << 60, bytes: self.workspace_bytes }
    }
}

/// The shape of Llama-3.1-8B.
#[derive(Clone, Copy)]
struct Case {
    chip: Chip,
    dtype: DType,
    cache_dtype: DType,
    num_tokens: u32,
    num_seqs: u32,
    num_heads: u32,
    num_kv_heads: u32,
    head_dim: u32,
    block_size: u32,
    max_blocks: u32,
    decode: bool,
    offset: u64,
    workspace_bytes: u64,
    scale: f32,
}

const DECODE: Case = Case {
    chip: HOPPER,
    dtype: DType::Bf16,
    cache_dtype: DType::Bf16,
    num_tokens: 1,
    num_seqs: 1,
    num_heads: 32,
    num_kv_heads: 8,
    head_dim: 128,
    block_size: 16,
    max_blocks: 512,
    decode: true,
    offset: 0,
    workspace_bytes: 16 << 20,
    scale: 0.5,
};

const PROMPT: Case = Case { num_tokens: 2048, decode: false, ..DECODE };

impl Case {
    fn batch(num_seqs: u32) -> Self {
        Self { num_tokens: num_seqs, num_seqs, ..DECODE }
    }

    fn op(self) -> Op {
        let tensor =
            |buffer, rows, cols, dtype| Tensor::new(Buffer::from_index(buffer), rows, cols, dtype);
        let q = tensor(1, self.num_tokens, self.num_heads * self.head_dim, self.dtype);
        let cache = KvCache {
            k: Buffer::from_index(3),
            v: Buffer::from_index(4),
            num_blocks: 1000,
            block_size: self.block_size,
            num_kv_heads: self.num_kv_heads,
            head_dim: self.head_dim,
            dtype: self.cache_dtype,
        };
        let meta = AttentionMeta {
            cu_seqlens: tensor(5, self.num_seqs + 1, 1, DType::I32),
            context_lens: tensor(6, self.num_seqs, 1, DType::I32),
            block_tables: tensor(7, self.num_seqs, self.max_blocks, DType::I32),
            decode: self.decode,
        };
        let out = tensor(2, self.num_tokens, q.cols, self.dtype);
        let q = Tensor { offset: self.offset, ..q };
        Op::Attention { out, q, cache, rope_kv: None, meta, scale: self.scale, window: None }
    }

    fn plan(self) -> Vec<Launch> {
        plan_of(self, &self.op())
    }

    /// The same from q, k and v as a projection leaves them.
    fn fused(self, rotary: u32, norm_dtype: Option<DType>) -> Vec<Launch> {
        let tensor =
            |buffer, rows, cols, dtype| Tensor::new(Buffer::from_index(buffer), rows, cols, dtype);
        let mut op = self.op();
        let Op::Attention { ref mut q, ref mut rope_kv, .. } = op else { unreachable!() };
        let cols = (self.num_heads + 2 * self.num_kv_heads) * self.head_dim;
        *q = tensor(1, self.num_tokens, cols, self.dtype);
        let norm = |dtype| Norm { weight: tensor(11, 1, self.head_dim, dtype), eps: 0.5 };
        *rope_kv = Some(RopeKv {
            norms: norm_dtype.map(|dtype| [norm(dtype), norm(dtype)]),
            positions: tensor(8, self.num_tokens, 1, DType::I32),
            table: tensor(9, 100, rotary, DType::F32),
            slots: tensor(10, self.num_tokens, 1, DType::I32),
        });
        plan_of(self, &op)
    }

    /// Kernels, blocks, cluster and threads.
    fn shapes(self) -> Vec<(&'static str, u32, u32, u32)> {
        let shape = |launch: &Launch| {
            assert_eq!((launch.grid[1], launch.grid[2]), (1, 1));
            assert_eq!(launch.grid[0] % launch.cluster, 0);
            assert!(launch.shared_bytes <= self.chip.max_shared_bytes);
            (launch.kernel, launch.grid[0], launch.cluster, launch.block[0])
        };
        self.plan().iter().map(shape).collect()
    }
}

fn plan_of(case: Case, op: &Op) -> Vec<Launch> {
    tintype_ops::check::check(op).unwrap();
    let fake = Fake { chip: case.chip, workspace_bytes: case.workspace_bytes };
    let mut launches = Vec::new();
    plan(op, &fake, &mut launches).unwrap();
    launches
}

fn params(launch: &Launch) -> AttentionParams {
    bytemuck::pod_read_unaligned(&launch.params)
}

#[test]
fn few_sequences_spread_over_clusters_and_many_take_few_warps() {
    let kernel = "attention_decode_128_bf16";
    assert_eq!(Case::batch(1).shapes(), [(kernel, 64, 8, 384)]);
    assert_eq!(Case::batch(2).shapes(), [(kernel, 64, 4, 384)]);
    assert_eq!(Case::batch(4).shapes(), [(kernel, 64, 2, 384)]);
    assert_eq!(Case::batch(8).shapes(), [(kernel, 128, 2, 320)]);
    assert_eq!(Case::batch(16).shapes(), [(kernel, 128, 1, 320)]);
    assert_eq!(Case::batch(64).shapes(), [(kernel, 512, 1, 96)]);
    assert_eq!(Case::batch(80).shapes(), [(kernel, 640, 1, 64)]);
    assert_eq!(Case::batch(256).shapes(), [(kernel, 2048, 1, 96)]);
}

#[test]
fn splits_do_not_outnumber_the_tiles_of_the_longest_context() {
    let kernel = "attention_decode_128_bf16";
    let short = |max_blocks| Case { max_blocks, ..DECODE }.shapes();
    assert_eq!(short(1), [(kernel, 8, 1, 32)]);
    assert_eq!(short(3), [(kernel, 16, 2, 64)]);
    assert_eq!(short(9), [(kernel, 64, 8, 64)]);
    let small = Case { chip: SMALL, num_heads: 8, num_kv_heads: 2, max_blocks: 8, ..DECODE };
    assert_eq!(small.shapes(), [(kernel, 4, 2, 128)]);
}

#[test]
fn without_clusters_partitions_go_through_the_workspace() {
    let case = Case { chip: AMPERE, ..DECODE };
    let kernel = "attention_decode_128_bf16";
    assert_eq!(case.shapes(), [(kernel, 8 * 27, 1, 192), ("attention_combine", 8, 1, 128)]);
    let launches = case.plan();
    assert_eq!(params(&launches[0]), params(&launches[1]));
    assert_eq!((params(&launches[0]).partitions, params(&launches[0]).partials), (27, 1 << 60));
    assert!(launches.iter().all(|launch| !launch.programmatic));
    // Each of 8 heads of keys leaves 4 heads of 128 values, 8 maxima and 8 sums.
    let workspace_bytes = 8 * (4 * 128 + 16) * 4 * 5 + 1;
    assert_eq!(params(&Case { workspace_bytes, ..case }.plan()[0]).partitions, 5);
    // As many warps as their rings fit into shared memory.
    assert_eq!(Case { workspace_bytes: 100, ..case }.shapes(), [(kernel, 8, 1, 288)]);
}

#[test]
fn heads_of_a_group_are_packed_evenly() {
    let heads = |num_heads| {
        let launch = Case { num_heads, num_kv_heads: 1, num_seqs: 64, num_tokens: 64, ..DECODE }
            .plan()
            .remove(0);
        (params(&launch).heads, launch.grid[0] / launch.cluster / 64)
    };
    assert_eq!([1, 8, 9, 12, 17].map(heads), [(1, 1), (8, 1), (5, 2), (6, 2), (6, 3)]);
}

#[test]
fn mixed_batches_go_to_both_kernels() {
    let [decode, prefill] = PROMPT.plan().try_into().unwrap();
    assert_eq!(decode.kernel, "attention_decode_128_bf16");
    assert_eq!(prefill.kernel, "attention_prefill_128_bf16");
    // 2048 tokens of 4 heads are 64 tiles; one more for the sequence and one for padding.
    assert_eq!((prefill.grid[0], prefill.block[0]), (8 * 66, 256));
    assert_eq!(prefill.shared_bytes, 2 * 2 * 128 * 128 * 2);
    assert!(decode.programmatic && prefill.programmatic);
    let kernels = |case: Case| case.shapes().iter().map(|shape| shape.0).collect::<Vec<_>>();
    let f16 = Case { dtype: DType::F16, cache_dtype: DType::F16, ..PROMPT };
    for (head_dim, names) in [
        (64, ["attention_decode_64_f16", "attention_prefill_64_f16"]),
        (80, ["attention_decode_128_f16", "attention_prefill_128_f16"]),
        (256, ["attention_decode_256_f16", "attention_prefill_256_f16"]),
    ] {
        assert_eq!(kernels(Case { head_dim, ..f16 }), names);
        assert_eq!(kernels(Case { head_dim, chip: AMPERE, ..f16 })[0], names[0]);
    }
}

#[test]
fn prefill_fits_the_smallest_chips_of_its_build() {
    let max_shared_bytes = 99 << 10;
    let chip = Chip { compute_capability: (8, 6), max_shared_bytes, ..AMPERE };
    for head_dim in [64, 128, 256] {
        let shapes = Case { chip, head_dim, ..PROMPT }.shapes();
        assert!(shapes.iter().any(|shape| shape.0.starts_with("attention_prefill")));
    }
    let chip = Chip { max_shared_bytes: 48 << 10, ..chip };
    assert_eq!(Case { chip, ..PROMPT }.shapes()[0].0, "attention_any");
}

#[test]
fn whatever_tensor_cores_do_not_take_goes_row_by_row() {
    let f32 = Case { dtype: DType::F32, cache_dtype: DType::F32, ..PROMPT };
    let others = [
        f32,
        Case { cache_dtype: DType::F32, ..PROMPT },
        Case { cache_dtype: DType::F16, ..PROMPT },
        Case { head_dim: 36, ..PROMPT },
        Case { offset: 4, ..PROMPT },
        Case { scale: -1.0, ..PROMPT },
        Case { scale: 0.0, ..PROMPT },
    ];
    for case in others {
        assert_eq!(case.shapes(), [("attention_any", 2048 * 8, 1, 128)]);
    }
    // Groups of 8 take two blocks; a few rows are split.
    let few = Case { num_heads: 64, num_tokens: 3, num_seqs: 2, ..f32 };
    assert_eq!(few.shapes(), [("attention_any", 3 * 8 * 2 * 2, 2, 128)]);
}

#[test]
fn rows_are_not_merged_as_sequences() {
    let batch = Case { num_seqs: 4, num_tokens: 4, cache_dtype: DType::F32, ..DECODE };
    let ampere = Case { chip: AMPERE, ..batch };
    assert_eq!(ampere.shapes()[1].0, "attention_combine");
    let mixed = Case { decode: false, ..ampere };
    assert_eq!(mixed.shapes(), [("attention_any", 32, 1, 128)]);
}

#[test]
fn parameters_follow_the_op() {
    let launch = &Case::batch(3).plan()[0];
    let AttentionParams { q, out, cache, num_rows, num_seqs, max_blocks, decode, .. } =
        params(launch);
    assert_eq!((q.address, q.stride, q.dtype), (1 << 32, 4096, BF16));
    assert_eq!(out.address, 2 << 32);
    assert_eq!((cache.k, cache.v, cache.group, cache.block_size), (3 << 32, 4 << 32, 4, 16));
    assert_eq!((num_rows, num_seqs, max_blocks, decode), (3, 3, 512, 1));
    assert_eq!(params(launch).window, u32::MAX);
    assert_eq!(params(launch).scale_log2, 0.5 * std::f32::consts::LOG2_E);
}

#[test]
fn caches_that_kernels_cannot_index_are_refused() {
    let mut op = Case { num_heads: 8, head_dim: 8, ..DECODE }.op();
    let Op::Attention { ref mut cache, .. } = op else { unreachable!() };
    cache.num_blocks = 1 << 26;
    let fake = Fake { chip: HOPPER, workspace_bytes: 16 << 20 };
    let error = plan(&op, &fake, &mut Vec::new()).unwrap_err().to_string();
    assert!(error.contains("at most 4294967295"), "{error}");
}

#[test]
fn decode_batches_rotate_and_attend_in_one_launch() {
    for (case, kernel) in [
        (Case::batch(3), "attention_rope_128_bf16"),
        (Case { head_dim: 64, ..Case::batch(3) }, "attention_rope_64_bf16"),
    ] {
        for norm_dtype in [None, Some(DType::Bf16)] {
            let [launch] = case.fused(case.head_dim, norm_dtype).try_into().unwrap();
            let [alone] = case.plan().try_into().unwrap();
            assert_eq!((launch.kernel, launch.programmatic), (kernel, true));
            assert_eq!((launch.grid, launch.block), (alone.grid, alone.block));
            assert_eq!((launch.cluster, launch.shared_bytes), (alone.cluster, alone.shared_bytes));
            let RopeAttentionParams { attention, rope } =
                bytemuck::pod_read_unaligned(&launch.params);
            assert_eq!((attention.q, attention.cache.group), (rope.qkv, 4));
            assert_eq!((rope.num_heads, rope.num_kv_heads, rope.max_positions), (32, 8, 100));
            assert_eq!(rope.k_norm.address != 0, norm_dtype.is_some());
        }
    }
    let case = Case { chip: AMPERE, dtype: DType::F16, cache_dtype: DType::F16, ..DECODE };
    let kernels = case.fused(128, None).iter().map(|launch| launch.kernel).collect::<Vec<_>>();
    assert_eq!(kernels, ["attention_rope_128_f16", "attention_combine"]);
}

#[test]
fn whatever_the_fused_kernel_does_not_take_is_done_in_turn() {
    let f32 = Case { dtype: DType::F32, cache_dtype: DType::F32, ..DECODE };
    for (case, rotary, norm_dtype, attention) in [
        (DECODE, 64, None, "attention_decode_128_bf16"),
        (DECODE, 128, Some(DType::F32), "attention_decode_128_bf16"),
        (Case { head_dim: 80, ..DECODE }, 80, None, "attention_decode_128_bf16"),
        (Case { decode: false, ..DECODE }, 128, None, "attention_decode_128_bf16"),
        (f32, 128, None, "attention_any"),
    ] {
        let launches = case.fused(rotary, norm_dtype);
        let kernels: Vec<_> = launches.iter().map(|launch| launch.kernel).collect();
        assert_eq!(kernels[..2], ["rope_kv", attention]);
        assert_eq!(params(&launches[1]).q.stride, 48 * case.head_dim);
        assert!(launches.iter().all(|launch| launch.programmatic));
    }
}
