//! The list of ops that a forward pass queues.

use tintype_model::{BatchIo, Limits, LoadProgress, Model, ModelFiles, ModelSource, load};
use tintype_ops::{AttentionMeta, Buffer, DType, KvCache, Op, Tensor};

use super::fixture;
use super::recorder::Recorder;

/// Where the test's own buffers start, so that they stand out in a list.
const FIRST_IO_BUFFER: u32 = 900;
const LIMITS: Limits = Limits { max_num_tokens: 8, max_num_logit_rows: 2, max_model_len: 32 };

/// A loaded fixture, the caches for it, and the stream that it was loaded into.
struct Recorded {
    stream: Recorder,
    model: Box<dyn Model>,
    caches: Vec<KvCache>,
}

impl Recorded {
    fn open(name: &str) -> Self {
        let files = ModelFiles::open(ModelSource::Folder(fixture(name))).unwrap();
        let mut stream = Recorder::default();
        let model = load(&files, &mut stream, &LIMITS, &mut |_| ()).unwrap();
        let cache = |layer: u32| KvCache {
            k: Buffer::from_index(800 + 2 * layer),
            v: Buffer::from_index(801 + 2 * layer),
            num_blocks: 4,
            block_size: 16,
            num_kv_heads: model.config().num_key_value_heads as u32,
            head_dim: model.config().head_dim as u32,
            dtype: model.activation_dtype(),
        };
        let caches = (0..model.config().num_hidden_layers as u32).map(cache).collect();
        Self { stream, model, caches }
    }

    /// A mixed batch of `num_tokens` tokens in two sequences, of which two rows of logits are
    /// wanted.
    fn io(&self, num_tokens: u32) -> BatchIo<'_> {
        let tensor = |idx, rows, cols, dtype| {
            Tensor::new(Buffer::from_index(FIRST_IO_BUFFER + idx), rows, cols, dtype)
        };
        let column = |idx, rows| tensor(idx, rows, 1, DType::I32);
        BatchIo {
            ids: column(0, num_tokens),
            positions: column(1, num_tokens),
            slots: column(2, num_tokens),
            meta: AttentionMeta {
                cu_seqlens: column(3, 3),
                context_lens: column(4, 2),
                block_tables: tensor(5, 2, 2, DType::I32),
                decode: false,
            },
            caches: &self.caches,
            logit_rows: Some(column(6, 2)),
            logits: tensor(7, 2, 320, DType::F32),
        }
    }

    /// The ops of a batch of three tokens.
    fn ops(&self) -> Vec<Op> {
        let mut ops = Vec::new();
        self.model.forward(&mut ops, &self.io(3)).unwrap();
        ops
    }
}

/// One op after the other, broken where a line would get too long to read.
fn print(ops: &[Op]) -> String {
    let mut text = String::new();
    for op in ops {
        let mut line_len = 0;
        for word in op.to_string().split_inclusive(' ') {
            if line_len + word.len() > 88 {
                text.push_str("\n    ");
                line_len = 4;
            }
            text.push_str(word);
            line_len += word.len();
        }
        text.push('\n');
    }
    text.replace(" \n", "\n")
}

#[test]
fn a_forward_pass_of_llama() {
    insta::assert_snapshot!(print(&Recorded::open("llama-gqa-f32").ops()), @"
    embed out=f32[3x64]@b1 ids=i32[3x1]@b900 table=f32[320x64]@w0
    matmul out=f32[3x128]@b4 x=f32[3x64]@b1 weight=f32[128x64]@w1 norm.weight=f32[1x64]@b3
        eps=1e-6
    attention out=f32[3x64]@b5 q=f32[3x128]@b4 cache=kv f32[4x2x16x16]@b800,b801
        positions=i32[3x1]@b901 table=f32[32x16]@b2 slots=i32[3x1]@b902
        meta.cu_seqlens=i32[3x1]@b903 meta.context_lens=i32[2x1]@b904
        meta.block_tables=i32[2x2]@b905 mixed scale=0.25
    matmul out=f32[3x64]@b1 x=f32[3x64]@b5 weight=f32[64x64]@w2 +=
    matmul out=f32[3x96]@b7 x=f32[3x64]@b1 weight=f32[192x64]@w3 norm.weight=f32[1x64]@b6
        eps=1e-6 silu_mul
    matmul out=f32[3x64]@b1 x=f32[3x96]@b7 weight=f32[64x96]@w4 +=
    matmul out=f32[3x128]@b4 x=f32[3x64]@b1 weight=f32[128x64]@w5 norm.weight=f32[1x64]@b8
        eps=1e-6
    attention out=f32[3x64]@b5 q=f32[3x128]@b4 cache=kv f32[4x2x16x16]@b802,b803
        positions=i32[3x1]@b901 table=f32[32x16]@b2 slots=i32[3x1]@b902
        meta.cu_seqlens=i32[3x1]@b903 meta.context_lens=i32[2x1]@b904
        meta.block_tables=i32[2x2]@b905 mixed scale=0.25
    matmul out=f32[3x64]@b1 x=f32[3x64]@b5 weight=f32[64x64]@w6 +=
    matmul out=f32[3x96]@b7 x=f32[3x64]@b1 weight=f32[192x64]@w7 norm.weight=f32[1x64]@b9
        eps=1e-6 silu_mul
    matmul out=f32[3x64]@b1 x=f32[3x96]@b7 weight=f32[64x96]@w8 +=
    gather out=f32[2x64]@b0 x=f32[3x64]@b1 rows=i32[2x1]@b906
    matmul out=f32[2x320]@b907 x=f32[2x64]@b0 weight=f32[320x64]@w9
        norm.weight=f32[1x64]@b10 eps=1e-6
    ");
}

#[test]
fn a_forward_pass_of_qwen3_moe() {
    insta::assert_snapshot!(print(&Recorded::open("qwen3moe-bf16").ops()), @"
    embed out=bf16[3x64]@b1 ids=i32[3x1]@b900 table=bf16[320x64]@w0
    matmul out=bf16[3x256]@b6 x=bf16[3x64]@b1 weight=bf16[256x64]@w1
        norm.weight=bf16[1x64]@b3 eps=1e-6
    attention out=bf16[3x128]@b7 q=bf16[3x256]@b6 cache=kv bf16[4x2x16x32]@b800,b801
        norms.q.weight=bf16[1x32]@b4 norms.k.weight=bf16[1x32]@b5 positions=i32[3x1]@b901
        table=f32[32x32]@b2 slots=i32[3x1]@b902 meta.cu_seqlens=i32[3x1]@b903
        meta.context_lens=i32[2x1]@b904 meta.block_tables=i32[2x2]@b905 eps=1e-6 eps=1e-6
        mixed scale=0.17677669
    matmul out=bf16[3x64]@b1 x=bf16[3x128]@b7 weight=bf16[64x128]@w2 +=
    rms_norm out=bf16[3x64]@b9 x=bf16[3x64]@b1 norm.weight=bf16[1x64]@b8 eps=1e-6
    matmul out=f32[3x8]@b10 x=bf16[3x64]@b9 weight=bf16[8x64]@w3
    moe_route ids=i32[3x2]@b11 weights=f32[3x2]@b12 logits=f32[3x8]@b10 renormalize=true
    moe_gate_up out=bf16[6x48]@b13 x=bf16[3x64]@b9 weight=bf16[768x64]@w4 ids=i32[3x2]@b11
        num_experts=8
    moe_down out=bf16[3x64]@b1 x=bf16[6x48]@b13 weight=bf16[512x48]@w5 ids=i32[3x2]@b11
        weights=f32[3x2]@b12 num_experts=8
    matmul out=bf16[3x256]@b6 x=bf16[3x64]@b1 weight=bf16[256x64]@w6
        norm.weight=bf16[1x64]@b14 eps=1e-6
    attention out=bf16[3x128]@b7 q=bf16[3x256]@b6 cache=kv bf16[4x2x16x32]@b802,b803
        norms.q.weight=bf16[1x32]@b15 norms.k.weight=bf16[1x32]@b16 positions=i32[3x1]@b901
        table=f32[32x32]@b2 slots=i32[3x1]@b902 meta.cu_seqlens=i32[3x1]@b903
        meta.context_lens=i32[2x1]@b904 meta.block_tables=i32[2x2]@b905 eps=1e-6 eps=1e-6
        mixed scale=0.17677669
    matmul out=bf16[3x64]@b1 x=bf16[3x128]@b7 weight=bf16[64x128]@w7 +=
    rms_norm out=bf16[3x64]@b9 x=bf16[3x64]@b1 norm.weight=bf16[1x64]@b17 eps=1e-6
    matmul out=f32[3x8]@b10 x=bf16[3x64]@b9 weight=bf16[8x64]@w8
    moe_route ids=i32[3x2]@b11 weights=f32[3x2]@b12 logits=f32[3x8]@b10 renormalize=true
    moe_gate_up out=bf16[6x48]@b13 x=bf16[3x64]@b9 weight=bf16[768x64]@w9 ids=i32[3x2]@b11
        num_experts=8
    moe_down out=bf16[3x64]@b1 x=bf16[6x48]@b13 weight=bf16[512x48]@w10 ids=i32[3x2]@b11
        weights=f32[3x2]@b12 num_experts=8
    gather out=bf16[2x64]@b0 x=bf16[3x64]@b1 rows=i32[2x1]@b906
    matmul out=f32[2x320]@b907 x=bf16[2x64]@b0 weight=bf16[320x64]@w11
        norm.weight=bf16[1x64]@b18 eps=1e-6
    ");
}

#[test]
fn a_forward_pass_queues_the_same_ops_every_time() {
    let recorded = Recorded::open("mistral-window-f16");
    assert_eq!(recorded.ops(), recorded.ops());
}

#[test]
fn all_layers_share_their_activations() {
    let one_layer = |ops: &[Op], layer: usize| {
        let layer = &ops[1 + layer * 5..1 + (layer + 1) * 5];
        layer.iter().map(|op| op.operands()[0].memory).collect::<Vec<_>>()
    };
    let ops = Recorded::open("llama-gqa-f32").ops();
    assert_eq!(ops.len(), 1 + 2 * 5 + 2);
    assert_eq!(one_layer(&ops, 0), one_layer(&ops, 1));
}

#[test]
fn tied_embeddings_are_stored_once() {
    let table = |ops: &[Op]| match (ops.first(), ops.last()) {
        (Some(Op::Embed { table, .. }), Some(Op::Matmul { weight, .. })) => (*table, *weight),
        other => unreachable!("a forward pass is embed … matmul, found {other:?}"),
    };
    let tied = Recorded::open("llama31-rope-tied-bf16");
    let (embedding, lm_head) = table(&tied.ops());
    assert_eq!(embedding, lm_head);
    let (embedding, lm_head) = table(&Recorded::open("llama-d64-bf16").ops());
    assert_ne!(embedding, lm_head);
}

#[test]
fn weights_are_parts_of_the_mapped_file_and_no_copies() {
    let name = "llama-d64-bf16";
    let file = std::fs::read(fixture(name).join("model.safetensors")).unwrap();
    let stream = Recorded::open(name).stream;
    let pieces: Vec<_> = stream.weights.iter().flat_map(|w| w.pieces()).collect();
    let starts = pieces.iter().map(|piece| piece.bytes.as_slice().as_ptr() as usize);
    let (first, last) = (starts.clone().min().unwrap(), starts.max().unwrap());
    assert!(last - first < file.len(), "pieces lie further apart than the file is long");
    assert_eq!(pieces.len(), 2 * (4 + 3) + 2, "per layer q, k, v, o, gate, up, down; two tables");
}

#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let recorded = Recorded::open("llama-gqa-f32");
    let refused =
        |io: &BatchIo<'_>| recorded.model.forward(&mut Vec::new(), io).unwrap_err().to_string();
    let message = refused(&recorded.io(9));
    assert_eq!(message, "forward: 9 tokens, room for 8");
    let message = refused(&BatchIo { caches: &recorded.caches[1..], ..recorded.io(3) });
    assert_eq!(message, "forward: 1 KV caches for 2 layers");
    let logit_rows = recorded.io(3).ids;
    let message = refused(&BatchIo { logit_rows: Some(logit_rows), ..recorded.io(3) });
    assert_eq!(message, "forward: 3 rows of logits, room for 2");
    let other = [KvCache { head_dim: 8, ..recorded.caches[0] }, recorded.caches[1]];
    let message = refused(&BatchIo { caches: &other, ..recorded.io(3) });
    assert!(message.ends_with("expected 2 KV heads of 16"), "{message}");
}

#[test]
fn progress_ends_at_the_bytes_of_the_files() {
    let files = ModelFiles::open(ModelSource::Folder(fixture("qwen2-bias-bf16"))).unwrap();
    let mut seen: Vec<LoadProgress> = Vec::new();
    let mut report = |progress| seen.push(progress);
    load(&files, &mut Recorder::default(), &LIMITS, &mut report).unwrap();
    assert!(seen.len() > 2 && seen.is_sorted_by_key(|progress| progress.loaded_bytes));
    let last = seen.last().unwrap();
    assert_eq!(last.loaded_bytes, last.total_bytes);
}

#[test]
fn limits_without_room_or_without_end_are_refused() {
    let files = ModelFiles::open(ModelSource::Folder(fixture("llama-gqa-f32"))).unwrap();
    let refused = |limits: Limits| {
        let loaded = load(&files, &mut Recorder::default(), &limits, &mut |_| ());
        loaded.err().unwrap().to_string()
    };
    let message = refused(Limits { max_num_tokens: 0, ..LIMITS });
    assert_eq!(message, "max_num_tokens is 0, expected 1 to 16777216");
    let message = refused(Limits { max_model_len: u32::MAX, ..LIMITS });
    assert_eq!(message, "max_model_len is 4294967295, expected 1 to 16777216");
}
