//! Routing and the experts' products.

use tintype_kernels::params::{
    BF16, ExpertsParams, F16, F32, I32, MoeCombineParams, MoeRouteParams, View,
};

use crate::device::{
    ALIGNED, DTYPES, Device, ODD, Placing, Tensor, assert_close, noise, on_each_device,
};

const NONE: View = View { address: 0, stride: 0, dtype: F32 };

/// The `k` largest of a row, lowest index first among equals, and their softmax.
fn routed(logits: &[f32], k: usize, renormalize: bool) -> (Vec<i32>, Vec<f32>) {
    let key = |id: usize| if logits[id].is_nan() { f32::NEG_INFINITY } else { logits[id] };
    let mut order: Vec<_> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| key(b).total_cmp(&key(a)).then(a.cmp(&b)));
    let exp = |id: usize| f64::from(logits[id] - key(order[0])).exp();
    let all = if renormalize { &order[..k] } else { &order[..] };
    let sum: f64 = all.iter().map(|&id| exp(id)).sum();
    let weights = order[..k].iter().map(|&id| (exp(id) / sum) as f32).collect();
    (order[..k].iter().map(|&id| id as i32).collect(), weights)
}

fn check_routing(device: &Device, logits: &Tensor, k: usize, renormalize: bool) {
    let shape = [logits.rows, k];
    let (ids, weights) = (device.alloc(I32, shape, ODD), device.alloc(F32, shape, ODD));
    let params = MoeRouteParams {
        ids,
        weights,
        logits: logits.view,
        num_rows: logits.rows as u32,
        num_experts: logits.cols as u32,
        k: k as u32,
        renormalize: renormalize.into(),
    };
    device.run("moe_route", [(logits.rows as u32).div_ceil(8), 1], 256, &params);
    let rows = (0..logits.rows).map(|row| routed(logits.row(row), k, renormalize));
    let (expected_ids, expected_weights): (Vec<_>, Vec<_>) = rows.unzip();
    assert_eq!(device.read_ints(ids, shape), expected_ids.concat());
    assert_close(F32, &device.read(weights, shape), &expected_weights.concat(), "weights");
}

#[test]
fn routing_takes_the_k_largest_and_the_lowest_of_equals() {
    on_each_device("moe", |device| {
        for dtype in DTYPES {
            for (num_experts, k) in [(1, 1), (8, 2), (8, 8), (40, 7), (128, 8)] {
                let scattered = |row, col| 5.0 * noise(1)(row, col);
                let logits = device.floats(dtype, [9, num_experts], ODD, scattered);
                check_routing(device, &logits, k, true);
                check_routing(device, &logits, k, false);
                let tied = |row, col| ((row + col) % 3) as f32;
                let logits = device.floats(dtype, [9, num_experts], ALIGNED, tied);
                check_routing(device, &logits, k, true);
            }
        }
    });
}

#[test]
fn a_nan_is_chosen_last_and_ids_stay_valid() {
    on_each_device("moe", |device| {
        let value = |row: usize, col: usize| {
            if row == 0 || col == 1 { f32::NAN } else { -(col as f32) }
        };
        let logits = device.floats(F32, [2, 4], ODD, value);
        let ids = device.alloc(I32, [2, 4], ODD);
        let params = MoeRouteParams {
            ids,
            weights: device.alloc(F32, [2, 4], ODD),
            logits: logits.view,
            num_rows: 2,
            num_experts: 4,
            k: 4,
            renormalize: 1,
        };
        device.run("moe_route", [1, 1], 256, &params);
        assert_eq!(device.read_ints(ids, [2, 4]), [0, 1, 2, 3, 0, 2, 3, 1]);
    });
}

/// A mixture of experts and the tokens that go through it.
struct Mixture {
    num_tokens: usize,
    k: usize,
    num_experts: usize,
    rows: usize,
    cols: usize,
    weight_dtype: u32,
    x_dtype: u32,
    placing: Placing,
}

impl Mixture {
    fn ids(&self) -> Vec<i32> {
        let id = |i: usize| (i * i * 7 + i / 3) % self.num_experts;
        (0..self.num_tokens * self.k).map(|i| id(i) as i32).collect()
    }

    /// Slots as the launch plan counts them.
    fn num_slots(&self) -> u32 {
        self.num_experts.min(self.num_tokens * self.k) as u32
    }

    /// `height` rows for each expert.
    fn weight(&self, device: &Device, height: usize) -> Tensor {
        let shape = [self.num_experts * height, self.cols];
        device.floats(self.weight_dtype, shape, Placing { offset: 0, gap: 0 }, noise(5))
    }

    fn params(&self, device: &Device, out: View, x: View, weight: &Tensor) -> ExpertsParams {
        ExpertsParams {
            out,
            x,
            ids: device.ints(self.k, &self.ids()),
            weights: NONE,
            weight: weight.view.address,
            num_tokens: self.num_tokens as u32,
            k: self.k as u32,
            num_experts: self.num_experts as u32,
            rows: self.rows as u32,
            cols: self.cols as u32,
            row_blocks: 2,
        }
    }

    fn kernel(&self, name: &str) -> String {
        let suffix = match self.weight_dtype {
            F16 => "f16",
            BF16 => "bf16",
            _ => "f32",
        };
        format!("{name}_{suffix}")
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
}

fn silu(x: f32) -> f32 {
    x / (1.0 + (-x).exp())
}

/// Few and many choices, more of one expert than a group takes, odd and even sizes, and mixes of
/// types.
fn for_each_mixture(mut test: impl FnMut(&Mixture)) {
    let sizes = [(1, 2, 8, 19, 40), (3, 2, 8, 19, 21), (13, 3, 4, 17, 64), (30, 1, 1, 5, 16)];
    for (num_tokens, k, num_experts, rows, cols) in sizes {
        for [weight, x] in [[F32, F32], [F16, F16], [BF16, BF16], [BF16, F32], [F32, F16]] {
            for placing in [ALIGNED, ODD] {
                let (weight_dtype, x_dtype) = (weight, x);
                test(&Mixture {
                    num_tokens,
                    k,
                    num_experts,
                    rows,
                    cols,
                    weight_dtype,
                    x_dtype,
                    placing,
                });
            }
        }
    }
}

#[test]
fn gate_up_runs_each_token_through_its_experts() {
    on_each_device("moe", |device| {
        for_each_mixture(|mixture| {
            let &Mixture { num_tokens, k, rows, cols, x_dtype, placing, .. } = mixture;
            let x = device.floats(x_dtype, [num_tokens, cols], placing, noise(6));
            let weight = mixture.weight(device, 2 * rows);
            let out = device.alloc(x_dtype, [num_tokens * k, rows], placing);
            let params = mixture.params(device, out, x.view, &weight);
            let grid = [mixture.num_slots() * params.row_blocks, 1];
            device.run(&mixture.kernel("moe_gate_up"), grid, 256, &params);

            let element = |choice: usize, row: usize| {
                let first = mixture.ids()[choice] as usize * 2 * rows;
                let x = x.row(choice / k);
                let gate = dot(weight.row(first + row), x);
                silu(gate) * dot(weight.row(first + rows + row), x)
            };
            let choices = 0..num_tokens * k;
            let expected: Vec<_> =
                choices.flat_map(|c| (0..rows).map(move |row| (c, row))).collect();
            let expected: Vec<_> = expected.into_iter().map(|(c, row)| element(c, row)).collect();
            let found = device.read(out, [num_tokens * k, rows]);
            assert_close(x_dtype, &found, &expected, "gate_up");
        });
    });
}

/// What `moe_down` adds to `out`.
fn added(
    mixture: &Mixture,
    out: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    shares: &Tensor,
) -> Vec<f32> {
    let (ids, k, rows) = (mixture.ids(), mixture.k, mixture.rows);
    let mut values = out.values.clone();
    for (choice, &id) in ids.iter().enumerate() {
        for row in 0..rows {
            let y = dot(weight.row(id as usize * rows + row), x.row(choice));
            values[choice / k * rows + row] += shares.row(choice / k)[choice % k] * y;
        }
    }
    values
}

#[test]
fn down_adds_the_weighted_sum_of_the_experts() {
    on_each_device("moe", |device| {
        for_each_mixture(|mixture| {
            let &Mixture { num_tokens, k, rows, cols, x_dtype, placing, .. } = mixture;
            let x = device.floats(x_dtype, [num_tokens * k, cols], placing, noise(7));
            let weight = mixture.weight(device, rows);
            let shares = device.floats(F32, [num_tokens, k], ODD, noise(8));
            let sizes = [num_tokens, rows];
            let [direct, summed] =
                [(); 2].map(|()| device.floats(x_dtype, sizes, placing, noise(9)));
            let expected = added(mixture, &direct, &x, &weight, &shares);

            let params = mixture.params(device, direct.view, x.view, &weight);
            let params = ExpertsParams { weights: shares.view, ..params };
            let grid = [num_tokens as u32 * params.row_blocks, 1];
            device.run(&mixture.kernel("moe_down"), grid, 256, &params);
            assert_close(x_dtype, &device.read(direct.view, sizes), &expected, "down");

            let parts = device.contiguous(F32, [num_tokens * k, rows]);
            let params = ExpertsParams { out: parts, ..params };
            let grid = [mixture.num_slots() * params.row_blocks, 1];
            device.run(&mixture.kernel("moe_parts"), grid, 256, &params);
            let (out, weights) = (summed.view, shares.view);
            let (cols, k) = (rows as u32, k as u32);
            let sum = MoeCombineParams { out, parts, weights, cols, k };
            device.run("moe_combine", [num_tokens as u32, 1], 32, &sum);
            assert_close(x_dtype, &device.read(summed.view, sizes), &expected, "parts");
        });
    });
}
