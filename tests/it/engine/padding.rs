//! Padding: real rows have the same bits whatever stands beside them, and no foreign slot of the
//! KV cache is written.

use tintype_cpu::CpuStream;
use tintype_runner::{Completion, SamplingParams};

use super::*;

on_each_stream! {
    a_padded_batch_has_the_bits_of_a_full_one,
}

/// Every step, prefill or decode, runs at exactly eight tokens: full or padded.
fn always_eight() -> EngineConfig {
    let compilation = r#"{"simple_cuda_graph": true, "cudagraph_capture_sizes": [8]}"#;
    EngineConfig { max_num_batched_tokens: 8, ..config(compilation) }
}

/// A request that reports the log-probability of every token, so that no bit hides.
fn all_logprobs(prompt_ids: Vec<u32>, max_tokens: usize) -> Request {
    let mut request = greedy(prompt_ids, max_tokens);
    request.params = SamplingParams { logprobs: Some(320), ..request.params };
    request
}

fn a_padded_batch_has_the_bits_of_a_full_one<S: TestStream>() {
    full_and_padded::<S>(1, S::size(20, 5));
}

/// Where other sequences share a step, a prompt is cut elsewhere. On the CPU that changes no bit
/// either; tensor cores take the tokens of a piece together.
#[test]
fn on_the_cpu_it_has_them_wherever_prompts_are_cut() {
    full_and_padded::<CpuStream>(14, 6);
}

/// Eight sequences together, then fewer at a time.
fn full_and_padded<S: TestStream>(max_prompt_len: usize, output_len: usize) {
    for (name, _) in crate::model::FIXTURES {
        let mut engine = engine::<S>(name, &always_eight());
        let prompts = prompts(8, max_prompt_len).into_iter();
        let requests: Vec<_> = prompts.map(|prompt| all_logprobs(prompt, output_len)).collect();
        let full = engine.generate(requests.clone()).unwrap();
        for &size in &[3, 1, 5][..S::size(3, 1)] {
            let some: Vec<Completion> = requests
                .chunks(size)
                .flat_map(|chunk| engine.generate(chunk.to_vec()).unwrap())
                .collect();
            assert!(some == full, "{name}: batches of {size} differ from a batch of 8");
        }
        assert_eq!(engine.stats().steps.total_eager(), 0, "{name}");
    }
}

mod slots {
    //! The KV cache itself, around the model's forward pass.

    use bytemuck::{cast_slice, cast_slice_mut};
    use tintype_cpu::CpuStream;
    use tintype_model::{BatchIo, Limits, Model, load};
    use tintype_ops::{AttentionMeta, Buffer, DType, KvCache, Stream, Tensor};

    use super::super::{LLAMA, files};

    const NUM_BLOCKS: u32 = 8;
    const BLOCK_SIZE: u32 = 4;
    /// What stands in the cache before the step.
    const BEFORE: f32 = 42.0;

    /// A step of three tokens of one sequence in block 5, padded to `num_tokens` tokens and
    /// `num_seqs` sequences.
    struct Step {
        num_tokens: usize,
        num_seqs: usize,
    }

    fn column(stream: &mut CpuStream, values: &[i32]) -> Tensor {
        let buffer = stream.alloc(4 * values.len() as u64).unwrap();
        let tensor = Tensor::new(buffer, values.len() as u32, 1, DType::I32);
        stream.upload(tensor, cast_slice(values)).unwrap();
        tensor
    }

    fn padded(real: &[i32], len: usize, padding: i32) -> Vec<i32> {
        let mut values = real.to_vec();
        values.resize(len, padding);
        values
    }

    fn whole(cache: &KvCache, buffer: Buffer) -> Tensor {
        let width = BLOCK_SIZE * cache.num_kv_heads * cache.head_dim;
        Tensor::new(buffer, NUM_BLOCKS, width, cache.dtype)
    }

    fn caches(stream: &mut CpuStream, model: &dyn Model) -> Vec<KvCache> {
        let config = model.config();
        let (num_kv_heads, head_dim) = (config.num_key_value_heads, config.head_dim);
        let len = (NUM_BLOCKS * BLOCK_SIZE) as usize * num_kv_heads * head_dim;
        let mut layer = || {
            let mut side = || stream.alloc(4 * len as u64).unwrap();
            let cache = KvCache {
                k: side(),
                v: side(),
                num_blocks: NUM_BLOCKS,
                block_size: BLOCK_SIZE,
                num_kv_heads: num_kv_heads as u32,
                head_dim: head_dim as u32,
                dtype: DType::F32,
            };
            for buffer in [cache.k, cache.v] {
                stream.upload(whole(&cache, buffer), cast_slice(&vec![BEFORE; len])).unwrap();
            }
            cache
        };
        (0..config.num_hidden_layers).map(|_| layer()).collect()
    }

    /// Elements of the cache of all layers, `[block][head][position][dim]`, after the step; and
    /// the logits of its last real token.
    fn run(step: &Step) -> (Vec<Vec<f32>>, Vec<f32>) {
        let mut stream = CpuStream::new(Some(1)).unwrap();
        let limits = Limits { max_num_tokens: 16, max_num_logit_rows: 1, max_model_len: 16 };
        let model = load(&files(LLAMA), &mut stream, &limits, &mut |_| ()).unwrap();
        let caches = caches(&mut stream, &*model);
        let Step { num_tokens, num_seqs } = *step;
        let first_slot = (5 * BLOCK_SIZE) as i32;
        let slots = [first_slot, first_slot + 1, first_slot + 2];
        let tables = stream.alloc(4 * num_seqs as u64).unwrap();
        let tables = Tensor::new(tables, num_seqs as u32, 1, DType::I32);
        stream.upload(tables, cast_slice(&vec![5i32; num_seqs])).unwrap();
        let vocab_size = model.config().vocab_size as u32;
        let logits = stream.alloc(4 * u64::from(vocab_size)).unwrap();
        let io = BatchIo {
            ids: column(&mut stream, &padded(&[7, 8, 9], num_tokens, 7)),
            positions: column(&mut stream, &padded(&[0, 1, 2], num_tokens, 0)),
            slots: column(&mut stream, &padded(&slots, num_tokens, -1)),
            meta: AttentionMeta {
                cu_seqlens: column(&mut stream, &padded(&[0, 3], num_seqs + 1, 3)),
                context_lens: column(&mut stream, &padded(&[3], num_seqs, 0)),
                block_tables: tables,
                decode: false,
            },
            caches: &caches,
            logit_rows: Some(column(&mut stream, &[2])),
            logits: Tensor::new(logits, 1, vocab_size, DType::F32),
        };
        model.forward(&mut stream, &io).unwrap();
        let mut download = |tensor: Tensor| {
            let mut values = vec![0f32; tensor.num_elements() as usize];
            stream.download(cast_slice_mut(&mut values), tensor).unwrap();
            values
        };
        let sides = caches.iter().flat_map(|cache| [(cache, cache.k), (cache, cache.v)]);
        let sides = sides.map(|(cache, buffer)| download(whole(cache, buffer))).collect();
        (sides, download(io.logits))
    }

    #[test]
    fn padding_writes_no_slot() {
        for step in [
            Step { num_tokens: 3, num_seqs: 1 },
            Step { num_tokens: 4, num_seqs: 1 },
            Step { num_tokens: 8, num_seqs: 4 },
            Step { num_tokens: 16, num_seqs: 16 },
        ] {
            let (sides, logits) = run(&step);
            assert!(logits.iter().all(|logit| logit.is_finite()));
            for side in sides {
                let block_len = side.len() / NUM_BLOCKS as usize;
                for (block, values) in side.chunks(block_len).enumerate() {
                    let heads = values.chunks(block_len / 2);
                    for (position, slot) in heads.flat_map(|head| head.chunks(16)).enumerate() {
                        let is_own = block == 5 && position % BLOCK_SIZE as usize != 3;
                        let untouched = slot.iter().all(|&value| value == BEFORE);
                        assert_eq!(untouched, !is_own, "block {block}, position {position}");
                    }
                }
            }
        }
    }
}
