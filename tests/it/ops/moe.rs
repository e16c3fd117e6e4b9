//! Routing and experts.

use tintype_ops::{DType, Op, WeightRole};

use super::MIXES;
use super::pair::{Pair, Rows};
use crate::streams::{TestStream, on_cuda};

on_cuda! {
    routes_agree,
    experts_agree,
}

fn routes_agree<S: TestStream>() {
    for rows in [Rows::Packed, Rows::Gapped] {
        let mut pair = Pair::<S>::new(rows);
        for (n, num_experts, k, renormalize) in
            [(1, 1, 1, true), (3, 8, 2, true), (5, 60, 4, false), (30, 128, 8, true)]
        {
            let logits = pair.floats(n, num_experts, DType::F32);
            let (ids, weights) = (pair.tensor(n, k, DType::I32), pair.tensor(n, k, DType::F32));
            pair.compare(Op::MoeRoute { ids, weights, logits, renormalize });
        }
    }
}

/// Both halves of a mixture: `n` tokens, `k` of `experts` each.
fn experts_agree<S: TestStream>() {
    for (n, experts, k, hidden, intermediate) in
        [(1, 2, 1, 5, 3), (4, 8, 2, 64, 48), (20, 3, 2, 32, 24), (2, 4, 4, 136, 130)]
    {
        for (mix, rows) in MIXES.into_iter().zip([Rows::Packed, Rows::Gapped].into_iter().cycle()) {
            let mut pair = Pair::<S>::new(rows);
            let ids: Vec<i32> = (0..n * k).map(|i| (i * 5 % experts) as i32).collect();
            let (ids, weights) = (pair.ints(k, &ids), pair.floats(n, k, DType::F32));
            let role = |gate_up| WeightRole::Experts { num_experts: experts, gate_up };
            let gate_up = pair.weight([experts * 2 * intermediate, hidden], mix.weight, role(true));
            let down = pair.weight([experts * hidden, intermediate], mix.weight, role(false));
            let (x, out) = (pair.floats(n, hidden, mix.x), pair.tensor(n * k, intermediate, mix.x));
            let num_experts = experts;
            pair.compare(Op::MoeGateUp { out, x, weight: gate_up, ids, num_experts });
            let (x, out) =
                (pair.floats(n * k, intermediate, mix.x), pair.floats(n, hidden, mix.out));
            pair.compare(Op::MoeDown { out, x, weight: down, ids, weights, num_experts });
        }
    }
}
