//! The pool on the CPU stream: what it computes, and the shape of padded mixed batches.

use tintype_config::{CompilationConfig, EngineConfig, resolve};
use tintype_cpu::CpuStream;
use tintype_graph::{BatchDescriptor, GraphOptions, GraphPool, Ran, backend_of};
use tintype_ops::{AttentionMeta, DType, Enqueue, KvCache, Op, Result, Stream, Tensor};

use crate::support::{BOTH, MAX_SEQS, MAX_TOKENS, full, piecewise, rig_on};

fn cpu() -> CpuStream {
    CpuStream::new(Some(1)).unwrap()
}

#[test]
fn captures_run_nothing_and_replays_are_eager_to_the_bit() {
    let mut rig = rig_on(cpu(), BOTH, GraphOptions::default());
    let poison = rig.forward.poison(&mut rig.stream);
    rig.capture_all().unwrap();
    assert_eq!(rig.forward.result(&mut rig.stream, MAX_TOKENS), poison);
    assert_eq!(rig.verify_all(), Ok(5));
    for key in [full(4), piecewise(8)] {
        assert_eq!(rig.run(key.into()), Ok(Ran::Replayed(key)));
    }
}

const HEAD_DIM: u32 = 4;
const BLOCK_SIZE: u32 = 4;

/// One attention layer with one head: `write_kv`, `attention`, and an add after it.
#[derive(Clone, Copy)]
struct Layer {
    qkv: Tensor,
    out: Tensor,
    slots: Tensor,
    cu_seqlens: Tensor,
    context_lens: Tensor,
    block_tables: Tensor,
    cache: KvCache,
}

impl Layer {
    fn new(stream: &mut CpuStream) -> Self {
        let mut alloc = |rows, cols, dtype| {
            let buffer = stream.alloc(u64::from(rows * cols) * 4).unwrap();
            Tensor::new(buffer, rows, cols, dtype)
        };
        let (num_blocks, dtype) = (MAX_SEQS, DType::F32);
        // A decode batch of MAX_SEQS pads to MAX_TOKENS where that is the only capture size.
        Self {
            qkv: alloc(MAX_TOKENS, 3 * HEAD_DIM, dtype),
            out: alloc(MAX_TOKENS, HEAD_DIM, dtype),
            slots: alloc(MAX_TOKENS, 1, DType::I32),
            cu_seqlens: alloc(MAX_TOKENS + 1, 1, DType::I32),
            context_lens: alloc(MAX_TOKENS, 1, DType::I32),
            block_tables: alloc(MAX_TOKENS, 1, DType::I32),
            cache: KvCache {
                k: alloc(num_blocks * BLOCK_SIZE, HEAD_DIM, dtype).buffer,
                v: alloc(num_blocks * BLOCK_SIZE, HEAD_DIM, dtype).buffer,
                num_blocks,
                block_size: BLOCK_SIZE,
                num_kv_heads: 1,
                head_dim: HEAD_DIM,
                dtype,
            },
        }
    }

    fn queue(&self, batch: BatchDescriptor, queue: &mut dyn Enqueue) -> Result<()> {
        let tokens = |tensor: Tensor| tensor.first_rows(batch.num_tokens);
        let part = |index| tokens(self.qkv).columns(index * HEAD_DIM, HEAD_DIM);
        let (q, k, v, out) = (part(0), part(1), part(2), tokens(self.out));
        let meta = AttentionMeta {
            cu_seqlens: self.cu_seqlens.first_rows(batch.num_seqs + 1),
            context_lens: self.context_lens.first_rows(batch.num_seqs),
            block_tables: self.block_tables.first_rows(batch.num_seqs),
            decode: batch.uniform,
        };
        let cache = self.cache;
        queue.enqueue(Op::WriteKv { cache, k, v, slots: tokens(self.slots) })?;
        queue.enqueue(Op::Attention {
            out,
            q,
            cache,
            rope_kv: None,
            meta,
            scale: 0.5,
            window: None,
        })?;
        queue.enqueue(Op::Add { out, x: q })
    }

    /// Two new sequences, of three tokens and of two, as a batch of five tokens; all that lies
    /// past them is padding: slot −1, and sequences that are empty.
    fn set_batch(&self, stream: &mut CpuStream) {
        let mut ints = |tensor: Tensor, values: &[i32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            stream.upload(tensor.first_rows(values.len() as u32), &bytes).unwrap();
        };
        ints(self.slots, &[0, 1, 2, BLOCK_SIZE as i32, BLOCK_SIZE as i32 + 1, -1, -1, -1]);
        ints(self.cu_seqlens, &[0, 3, 5, 5, 5]);
        ints(self.context_lens, &[3, 2, 0, 0]);
        ints(self.block_tables, &[0, 1, 0, 0]);
        let values = (0..MAX_TOKENS * 3 * HEAD_DIM).map(|index| (index % 11) as f32 - 5.0);
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        stream.upload(self.qkv, &bytes).unwrap();
    }

    fn result(&self, stream: &mut CpuStream) -> Vec<u8> {
        let tensor = self.out.first_rows(5);
        let mut bytes = vec![0; tensor.size_bytes() as usize];
        stream.download(&mut bytes, tensor).unwrap();
        bytes
    }
}

/// The real rows of the batch of five tokens, run as the mode in `config` runs it.
fn mixed_batch(config: &str, expected: &str) -> Vec<u8> {
    let mut stream = cpu();
    let layer = Layer::new(&mut stream);
    let engine = EngineConfig {
        max_num_seqs: MAX_SEQS as usize,
        compilation: CompilationConfig::from_json(config).unwrap(),
        ..EngineConfig::default()
    };
    let (compilation, _) = resolve(&engine, &backend_of(&stream)).unwrap();
    let mut pool = GraphPool::new(&compilation, MAX_SEQS, GraphOptions::default());
    let mut forward = |batch, queue: &mut dyn Enqueue| layer.queue(batch, queue);
    pool.capture_all(&mut stream, &mut forward, &mut |_| {}).unwrap();

    layer.set_batch(&mut stream);
    let dispatch = pool.dispatcher().dispatch(5, 2, false);
    let unpadded = BatchDescriptor { num_tokens: 5, num_seqs: 2, uniform: false };
    let batch = dispatch.descriptor().unwrap_or(unpadded);
    let ran = pool.run(&mut stream, dispatch, &mut |queue| layer.queue(batch, queue)).unwrap();
    assert_eq!(format!("{ran:?}").split('(').next(), Some(expected));
    layer.result(&mut stream)
}

#[test]
fn a_padded_mixed_batch_gives_the_rows_of_the_unpadded_one() {
    let eager = mixed_batch(r#"{"cudagraph_mode": "NONE"}"#, "Eager");
    let full = r#"{"cudagraph_mode": "FULL", "cudagraph_capture_sizes": [8]}"#;
    assert_eq!(mixed_batch(full, "Replayed"), eager);
    let pieces = r#"{"cudagraph_mode": "PIECEWISE", "cudagraph_capture_sizes": [8]}"#;
    assert_eq!(mixed_batch(pieces, "Replayed"), eager);
    assert!(eager.chunks(4).any(|value| value != [0; 4]), "the batch computes something");
}
