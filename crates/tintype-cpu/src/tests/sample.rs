//! Sampling against the reference sampler.

use tintype_ops::sampling::{SampleParams, sample};
use tintype_ops::{DType, Op, Stream};

use super::device::Device;

#[test]
fn each_row_is_drawn_with_its_own_parameters() {
    for vocab in [1, 7, 3000] {
        let mut device = Device::new();
        let (logits, values) = device.floats(9, vocab, DType::F32);
        let params: Vec<SampleParams> = (0..9)
            .map(|i| SampleParams {
                temperature: i as f32 * 0.4,
                top_k: i % 3 * 2,
                top_p: if i % 2 == 0 { 0.9 } else { 1.0 },
                seed: [i, 7],
                step: 3,
                ..SampleParams::GREEDY
            })
            .collect();
        let params_tensor = device.tensor(9, 8, DType::U32);
        device.stream.upload(params_tensor, bytemuck::cast_slice(&params)).unwrap();
        let out = device.tensor(9, 1, DType::I32);
        device.run(Op::Sample { out, logits, params: params_tensor });
        let rows = values.rows().zip(&params).map(|(row, params)| {
            let row: Vec<f32> = row.iter().map(|&logit| logit as f32).collect();
            sample(&row, params) as i32
        });
        assert_eq!(device.read_ints(out), rows.collect::<Vec<_>>(), "vocabulary of {vocab}");
    }
}

#[test]
fn rows_of_nan_still_give_a_token() {
    let mut device = Device::new();
    let logits = device.tensor(1, 5, DType::F32);
    let params = device.tensor(1, 8, DType::U32);
    device.stream.upload(params, bytemuck::bytes_of(&SampleParams::GREEDY)).unwrap();
    let out = device.tensor(1, 1, DType::I32);
    device.run(Op::Sample { out, logits, params });
    assert_eq!(device.read_ints(out), [0]);
}
