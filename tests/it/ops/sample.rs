//! Sampling: the same token for the same seed.

use tintype_ops::sampling::SampleParams;
use tintype_ops::{DType, Op};

use super::pair::{Pair, Rows};
use crate::streams::{TestStream, on_cuda};

on_cuda! {
    seeds_draw_the_same_tokens,
    odd_logits_draw_the_same_tokens,
}

/// Filters of all kinds, alone and together.
fn params(num_rows: u32) -> Vec<SampleParams> {
    let row = |i: u32| SampleParams {
        temperature: [0.0, 0.3, 1.0, 2.5][i as usize % 4],
        top_p: [1.0, 0.9, 0.2][i as usize % 3],
        min_p: [0.0, 0.05][i as usize % 2],
        top_k: [0, 1, 5, 40, 100_000][i as usize % 5],
        seed: [i, 7],
        step: i / 3,
        reserved: 0,
    };
    (0..num_rows).map(row).collect()
}

fn seeds_draw_the_same_tokens<S: TestStream>() {
    for rows in [Rows::Packed, Rows::Gapped] {
        for vocab in [1, 7, 320, 3001] {
            let mut pair = Pair::<S>::new(rows);
            let params_tensor = pair.tensor(40, 8, DType::U32);
            pair.upload(params_tensor, bytemuck::cast_slice(&params(40)));
            for _ in 0..3 {
                let (out, logits) =
                    (pair.tensor(40, 1, DType::I32), pair.floats(40, vocab, DType::F32));
                pair.compare(Op::Sample { out, logits, params: params_tensor });
            }
        }
    }
}

/// Ties, NaNs and infinities.
fn odd_logits_draw_the_same_tokens<S: TestStream>() {
    let mut pair = Pair::<S>::new(Rows::Packed);
    let params_tensor = pair.tensor(40, 8, DType::U32);
    pair.upload(params_tensor, bytemuck::cast_slice(&params(40)));
    let (out, logits) = (pair.tensor(40, 1, DType::I32), pair.tensor(40, 50, DType::F32));
    let odd = [1.0, 1.0, f32::NAN, f32::NEG_INFINITY, 0.5, -3.0, 1.0, -0.0];
    let values: Vec<f32> = (0..40 * 50).map(|i| odd[(i * 7 + i / 50) % odd.len()]).collect();
    pair.upload(logits, bytemuck::cast_slice(&values));
    pair.compare(Op::Sample { out, logits, params: params_tensor });
    pair.upload(logits, &vec![0xFF; 40 * 50 * 4]);
    pair.compare(Op::Sample { out, logits, params: params_tensor });
}
