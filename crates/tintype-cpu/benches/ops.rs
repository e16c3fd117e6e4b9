//! Speed of the CPU backend's ops at the shapes of a Llama of 1 billion parameters, bf16 weights,
//! through the same calls that a model makes.
//!
//! Products with few tokens are measured in bytes of weights a second: compare them with
//! `read_probe`, the rate at which the same threads read memory. With many tokens arithmetic is
//! what counts: items are multiply-adds.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use tintype_cpu::CpuStream;
use tintype_ops::{
    AttentionMeta, DType, Enqueue, Epilogue, KvCache, Norm, Op, ReadProbe, SharedBytes, Stream,
    Tensor, Weight, WeightPiece, WeightRole, WeightSource,
};

const HIDDEN: u32 = 2048;
const INTERMEDIATE: u32 = 8192;
const NUM_HEADS: u32 = 32;
const NUM_KV_HEADS: u32 = 8;
const HEAD_DIM: u32 = 64;
const VOCAB: u32 = 128_256;
const BLOCK_SIZE: u32 = 16;

const NUM_TOKENS: [u32; 4] = [1, 8, 64, 512];

/// A stream with all of the machine's threads, and ways to put things into it.
struct Fixture {
    stream: CpuStream,
}

impl Fixture {
    fn new() -> Self {
        Self { stream: CpuStream::new(None).expect("threads start") }
    }

    /// A tensor of small values, none of them special.
    fn tensor(&mut self, rows: u32, cols: u32) -> Tensor {
        let values: Vec<f32> = (0..rows * cols).map(|i| (i % 251) as f32 / 251.0 - 0.5).collect();
        self.upload(rows, cols, DType::F32, bytemuck::cast_slice(&values))
    }

    fn column(&mut self, values: &[i32]) -> Tensor {
        self.upload(values.len() as u32, 1, DType::I32, bytemuck::cast_slice(values))
    }

    fn upload(&mut self, rows: u32, cols: u32, dtype: DType, bytes: &[u8]) -> Tensor {
        let buffer = self.stream.alloc(bytes.len() as u64).expect("memory");
        let tensor = Tensor::new(buffer, rows, cols, dtype);
        self.stream.upload(tensor, bytes).expect("sizes agree");
        tensor
    }

    fn weight(&mut self, rows: u32, cols: u32, role: WeightRole) -> Weight {
        let bits = |i: u32| half::bf16::from_f32((i % 241) as f32 / 6000.0 - 0.02).to_bits();
        let bits: Vec<u16> = (0..rows * cols).map(bits).collect();
        let bytes = SharedBytes::new(bytemuck::cast_slice::<u16, u8>(&bits).to_vec());
        let source = WeightSource::new(vec![WeightPiece { rows, bytes }], cols, DType::Bf16, role);
        self.stream.load_weight(source.expect("valid")).expect("loads")
    }

    fn run(&mut self, op: Op) {
        self.stream.enqueue(black_box(op)).expect("a valid op");
        self.stream.synchronize().expect("runs");
    }

    /// A full cache, and sequences of `context_len` tokens of which the
    /// last `query_len` are queries.
    fn context(
        &mut self,
        num_seqs: u32,
        context_len: u32,
        query_len: u32,
    ) -> (KvCache, AttentionMeta) {
        let blocks_each = context_len.div_ceil(BLOCK_SIZE);
        let num_blocks = num_seqs * blocks_each;
        let side = |fixture: &mut Self| {
            fixture.tensor(num_blocks * BLOCK_SIZE, NUM_KV_HEADS * HEAD_DIM).buffer
        };
        let (k, v) = (side(self), side(self));
        let cache = KvCache {
            k,
            v,
            num_blocks,
            block_size: BLOCK_SIZE,
            num_kv_heads: NUM_KV_HEADS,
            head_dim: HEAD_DIM,
            dtype: DType::F32,
        };
        let starts: Vec<i32> = (0..=num_seqs).map(|i| (i * query_len) as i32).collect();
        let blocks: Vec<i32> = (0..num_blocks as i32).collect();
        let blocks = bytemuck::cast_slice(&blocks);
        let meta = AttentionMeta {
            cu_seqlens: self.column(&starts),
            context_lens: self.column(&vec![context_len as i32; num_seqs as usize]),
            block_tables: self.upload(num_seqs, blocks_each, DType::I32, blocks),
            decode: query_len == 1,
        };
        (cache, meta)
    }
}

/// A product of `n` tokens with a `[rows, cols]` weight, with its norm and epilogue.
fn matmul(bencher: Bencher<'_, '_>, n: u32, rows: u32, cols: u32, epilogue: Epilogue) {
    let mut fixture = Fixture::new();
    let gated = epilogue == Epilogue::SiluMul;
    let role = if gated { WeightRole::GateUp } else { WeightRole::Plain };
    let weight = fixture.weight(rows, cols, role);
    let x = fixture.tensor(n, cols);
    let out = fixture.tensor(n, if gated { rows / 2 } else { rows });
    let norm = Norm { weight: fixture.tensor(1, cols), eps: 1e-5 };
    // A product that is added to the residual stream has no norm before it.
    let norm = (epilogue != Epilogue::Add).then_some(norm);
    let op = Op::Matmul { out, x, weight, bias: None, norm, epilogue };
    let multiply_adds = u64::from(n) * u64::from(rows) * u64::from(cols);
    let bencher = bencher
        .counter(BytesCount::new(weight.size_bytes()))
        .counter(ItemsCount::new(multiply_adds));
    bencher.bench_local(|| fixture.run(op));
}

#[divan::bench(args = NUM_TOKENS)]
fn matmul_qkv(bencher: Bencher<'_, '_>, n: u32) {
    let rows = (NUM_HEADS + 2 * NUM_KV_HEADS) * HEAD_DIM;
    matmul(bencher, n, rows, HIDDEN, Epilogue::Store);
}

#[divan::bench(args = NUM_TOKENS)]
fn matmul_gate_up(bencher: Bencher<'_, '_>, n: u32) {
    matmul(bencher, n, 2 * INTERMEDIATE, HIDDEN, Epilogue::SiluMul);
}

#[divan::bench(args = NUM_TOKENS)]
fn matmul_down(bencher: Bencher<'_, '_>, n: u32) {
    matmul(bencher, n, HIDDEN, INTERMEDIATE, Epilogue::Add);
}

#[divan::bench(args = [1, 8])]
fn matmul_lm_head(bencher: Bencher<'_, '_>, n: u32) {
    matmul(bencher, n, VOCAB, HIDDEN, Epilogue::Store);
}

/// Attention of `query_len` new tokens in each of `num_seqs` sequences.
fn attention(bencher: Bencher<'_, '_>, num_seqs: u32, context_len: u32, query_len: u32) {
    let mut fixture = Fixture::new();
    let (cache, meta) = fixture.context(num_seqs, context_len, query_len);
    let n = num_seqs * query_len;
    let q = fixture.tensor(n, NUM_HEADS * HEAD_DIM);
    let out = fixture.tensor(n, NUM_HEADS * HEAD_DIM);
    let op = Op::Attention { out, q, cache, rope_kv: None, meta, scale: 0.125, window: None };
    bencher.counter(ItemsCount::new(n)).bench_local(|| fixture.run(op));
}

/// One token for each of 8 sequences.
#[divan::bench(args = [128, 1024, 4096])]
fn attention_decode(bencher: Bencher<'_, '_>, context_len: u32) {
    attention(bencher, 8, context_len, 1);
}

/// The whole prompt of one sequence.
#[divan::bench(args = [64, 512, 2048])]
fn attention_prefill(bencher: Bencher<'_, '_>, prompt_len: u32) {
    attention(bencher, 1, prompt_len, prompt_len);
}

#[divan::bench(args = NUM_TOKENS)]
fn rms_norm(bencher: Bencher<'_, '_>, n: u32) {
    let mut fixture = Fixture::new();
    let (out, x) = (fixture.tensor(n, HIDDEN), fixture.tensor(n, HIDDEN));
    let norm = Norm { weight: fixture.tensor(1, HIDDEN), eps: 1e-5 };
    bencher.counter(ItemsCount::new(n)).bench_local(|| fixture.run(Op::RmsNorm { out, x, norm }));
}

#[divan::bench(args = NUM_TOKENS)]
fn rope(bencher: Bencher<'_, '_>, n: u32) {
    let mut fixture = Fixture::new();
    let x = fixture.tensor(n, (NUM_HEADS + NUM_KV_HEADS) * HEAD_DIM);
    let positions = fixture.column(&(0..n as i32).collect::<Vec<_>>());
    let table = fixture.tensor(n, HEAD_DIM);
    let op = Op::Rope { x, positions, table, head_dim: HEAD_DIM };
    bencher.counter(ItemsCount::new(n)).bench_local(|| fixture.run(op));
}

/// The yardstick: all threads sum 1 GiB.
#[divan::bench]
fn read_probe(bencher: Bencher<'_, '_>) {
    let mut fixture = Fixture::new();
    let bytes = 1 << 30;
    let buffer = fixture.stream.alloc(bytes).expect("memory");
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| fixture.stream.read_probe(buffer).expect("the buffer is there"));
}

fn main() {
    divan::main();
}
