//! Products: any number of rows, any size, with everything that is fused into them.

use tintype_ops::{Epilogue, Norm, Op, Tensor, WeightRole};

use super::pair::{Pair, Rows};
use super::{Dtypes, MIXES};
use crate::streams::{TestStream, on_cuda};

on_cuda! {
    products_of_few_rows,
    products_of_many_rows,
    a_row_has_the_same_bits_whatever_stands_beside_it,
}

/// Rows and columns of weights, even so that each can be a gate over an up projection: multiples
/// that fast kernels take, a tall and a wide one, then odd ones.
const SHAPES: [[u32; 2]; 7] =
    [[16, 64], [64, 256], [48, 192], [528, 128], [32, 1088], [34, 33], [2, 5]];

/// What a product is fused with.
#[derive(Clone, Copy)]
struct Fusion {
    norm: bool,
    bias: bool,
    epilogue: Epilogue,
}

/// Each epilogue with and without the rest.
fn fusions() -> Vec<Fusion> {
    let epilogues = [Epilogue::Store, Epilogue::Add, Epilogue::SiluMul];
    let others = [(false, false), (true, false), (false, true), (true, true)];
    let with = |(norm, bias)| epilogues.map(|epilogue| Fusion { norm, bias, epilogue });
    others.into_iter().flat_map(with).collect()
}

/// A product of `n` rows of random numbers.
fn product<S: TestStream>(
    pair: &mut Pair<S>,
    n: u32,
    [rows, cols]: [u32; 2],
    dtypes: Dtypes,
    Fusion { norm, bias, epilogue }: Fusion,
) -> Op {
    let gated = epilogue == Epilogue::SiluMul;
    let role = if gated { WeightRole::GateUp } else { WeightRole::Plain };
    let weight = pair.weight([rows, cols], dtypes.weight, role);
    let x = pair.floats(n, cols, dtypes.x);
    let norm = norm.then(|| Norm { weight: pair.floats(1, cols, dtypes.weight), eps: 1e-5 });
    let bias = bias.then(|| pair.floats(1, rows, dtypes.weight));
    let out = pair.floats(n, if gated { rows / 2 } else { rows }, dtypes.out);
    Op::Matmul { out, x, weight, bias, norm, epilogue }
}

/// Every shape with some of the mixes and fusions: they take turns.
fn compare_all<S: TestStream>(counts: &[u32]) {
    let mut fusions = fusions().into_iter().cycle();
    for (rows, mixes) in [(Rows::Packed, &MIXES[..]), (Rows::Gapped, &MIXES[..3])] {
        for &dtypes in mixes {
            let mut pair = Pair::<S>::new(rows);
            for shape in SHAPES {
                // Turns must not fall into step with the counts.
                let turns = fusions.by_ref().skip(1);
                for (&n, fusion) in counts.iter().zip(turns) {
                    let op = product(&mut pair, n, shape, dtypes, fusion);
                    pair.compare(op);
                }
            }
        }
    }
}

fn products_of_few_rows<S: TestStream>() {
    compare_all::<S>(&[1, 2, 8, 9, 16]);
}

fn products_of_many_rows<S: TestStream>() {
    compare_all::<S>(&[17, 64, 100]);
}

/// What stands in the other rows changes no bit.
fn a_row_has_the_same_bits_whatever_stands_beside_it<S: TestStream>() {
    let fusion = Fusion { norm: true, bias: false, epilogue: Epilogue::Store };
    for dtypes in [MIXES[0], MIXES[2]] {
        for n in [2, 9, 24, 64] {
            let mut pair = Pair::<S>::new(Rows::Packed);
            let op = product(&mut pair, n, [64, 256], dtypes, fusion);
            let Op::Matmul { out, x, .. } = op else { unreachable!("it is a product") };
            let first_row = |pair: &mut Pair<S>| {
                pair.compare(op);
                pair.download(out.first_rows(1))
            };
            let before = first_row(&mut pair);
            let others = Tensor { offset: u64::from(x.stride), rows: n - 1, ..x };
            let zeros = vec![0; others.size_bytes() as usize];
            pair.upload(others, &zeros);
            assert_eq!(first_row(&mut pair), before, "{dtypes:?}, {n} rows");
        }
    }
}
