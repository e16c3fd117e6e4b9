//! Routing and experts.

use tintype_ops::{DType, Op};

use super::FLOATS;
use super::device::{Device, Values};

fn softmax(logits: &[f64]) -> Vec<f64> {
    let sum: f64 = logits.iter().map(|l| l.exp()).sum();
    logits.iter().map(|l| l.exp() / sum).collect()
}

/// Ids and weights of the `k` most likely experts of each token.
fn route(logits: &Values, k: usize, renormalize: bool) -> (Vec<i32>, Values) {
    let (mut ids, mut weights) = (Vec::new(), Vec::new());
    for logits in logits.rows() {
        let likely = softmax(logits);
        let mut order: Vec<usize> = (0..likely.len()).collect();
        order.sort_by(|&a, &b| likely[b].total_cmp(&likely[a]));
        let chosen = &order[..k];
        let sum: f64 = chosen.iter().map(|&id| likely[id]).sum();
        let scale = if renormalize { sum } else { 1.0 };
        ids.extend(chosen.iter().map(|&id| id as i32));
        weights.extend(chosen.iter().map(|&id| likely[id] / scale));
    }
    (ids, Values::new(k, weights))
}

#[test]
fn routing_takes_the_most_likely_experts() {
    for dtype in FLOATS {
        for (n, num_experts, k, renormalize) in
            [(1, 1, 1, true), (3, 8, 2, true), (5, 60, 4, false), (300, 128, 8, true)]
        {
            let mut device = Device::new();
            let (logits, values) = device.floats(n, num_experts, dtype);
            let ids = device.tensor(n, k, DType::I32);
            let weights = device.tensor(n, k, DType::F32);
            device.run(Op::MoeRoute { ids, weights, logits, renormalize });
            let (expected_ids, expected) = route(&values, k as usize, renormalize);
            assert_eq!(device.read_ints(ids), expected_ids);
            device.assert_close(weights, &expected, 1.0);
        }
    }
}

#[test]
fn the_lower_expert_wins_a_tie_and_nan_comes_last() {
    let mut device = Device::new();
    let logits = device.tensor(2, 4, DType::F32);
    device.write(logits, &[1.0, 3.0, 3.0, 1.0, f32::NAN, 0.0, f32::NEG_INFINITY, 0.0]);
    let (ids, weights) = (device.tensor(2, 3, DType::I32), device.tensor(2, 3, DType::F32));
    device.run(Op::MoeRoute { ids, weights, logits, renormalize: false });
    assert_eq!(device.read_ints(ids), [1, 2, 0, 1, 3, 0]);
    assert!(device.read(weights).row(1).iter().all(|weight| weight.is_nan()));
}

/// Shapes of a mixture: tokens, experts, choices, hidden size, intermediate size.
const SHAPES: [(u32, u32, u32, u32, u32); 4] =
    [(1, 2, 1, 5, 3), (4, 8, 2, 33, 20), (70, 3, 2, 16, 24), (9, 4, 4, 40, 130)];

/// Each token's experts, all different, by a rule that leaves some expert without tokens.
fn choices(n: u32, num_experts: u32, k: u32) -> Vec<i32> {
    let pick = |i: u32, j: u32| (i * i + j) % num_experts;
    (0..n).flat_map(|i| (0..k).map(move |j| pick(i, j) as i32)).collect()
}

fn rows_of_expert(weight: &Values, expert: i32, height: u32) -> Values {
    let size = height as usize * weight.cols;
    Values::new(weight.cols, weight.data[expert as usize * size..][..size].to_vec())
}

fn times(weight: &Values, x: &[f64]) -> Vec<f64> {
    weight.rows().map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum()).collect()
}

#[test]
fn gate_up_agrees_with_f64() {
    for (n, num_experts, k, hidden, intermediate) in SHAPES {
        for dtype in FLOATS {
            let mut device = Device::new();
            let (x, xs) = device.floats(n, hidden, dtype);
            let height = 2 * intermediate;
            let (weight, weights) = device.weight(num_experts * height, hidden, dtype);
            let chosen = choices(n, num_experts, k);
            let ids = device.ints(k, &chosen);
            let out = device.tensor(n * k, intermediate, dtype);
            device.run(Op::MoeGateUp { out, x, weight, ids, num_experts });
            let row = |(choice, &expert): (usize, &i32)| {
                let expert = rows_of_expert(&weights, expert, height);
                let y = times(&expert, xs.row(choice / k as usize));
                let (gate, up) = y.split_at(intermediate as usize);
                let pairs = gate.iter().zip(up);
                pairs.map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect::<Vec<_>>()
            };
            let expected = chosen.iter().enumerate().flat_map(row).collect();
            let expected = Values::new(intermediate as usize, expected);
            device.assert_close(out, &expected, f64::from(hidden * hidden));
        }
    }
}

#[test]
fn down_adds_the_weighted_experts() {
    for (n, num_experts, k, hidden, intermediate) in SHAPES {
        for dtype in FLOATS {
            let mut device = Device::new();
            let (x, xs) = device.floats(n * k, intermediate, dtype);
            let (out, start) = device.floats(n, hidden, dtype);
            let (weight, matrix) = device.weight(num_experts * hidden, intermediate, dtype);
            let chosen = choices(n, num_experts, k);
            let ids = device.ints(k, &chosen);
            let (weights, factors) = device.floats(n, k, DType::F32);
            device.run(Op::MoeDown { out, x, weight, ids, weights, num_experts });
            let expected = start.map_rows(|i, start| {
                let mut sum = start.to_vec();
                for j in 0..k as usize {
                    let choice = i * k as usize + j;
                    let expert = rows_of_expert(&matrix, chosen[choice], hidden);
                    let y = times(&expert, xs.row(choice));
                    sum.iter_mut().zip(y).for_each(|(sum, y)| *sum += factors.row(i)[j] * y);
                }
                sum
            });
            device.assert_close(out, &expected, f64::from(k * intermediate + 1));
        }
    }
}

/// Token 0 takes expert 0; how many others do decides how many rows are multiplied together.
#[test]
fn a_row_does_not_depend_on_what_other_rows_chose() {
    for n in [20, 70] {
        let mut device = Device::new();
        let (x, _) = device.floats(n, 33, DType::F32);
        let (weight, _) = device.weight(2 * 2 * 17, 33, DType::Bf16);
        let first_rows = [0, 1].map(|others| {
            let mut ids = vec![others; n as usize];
            ids[0] = 0;
            let ids = device.ints(1, &ids);
            let out = device.tensor(n, 17, DType::F32);
            device.run(Op::MoeGateUp { out, x, weight, ids, num_experts: 2 });
            device.bytes(out.first_rows(1))
        });
        assert_eq!(first_rows[0], first_rows[1], "{n} tokens");
    }
}
