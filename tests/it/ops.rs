//! Every op on CUDA against the CPU backend, which has tests of its own against f64.
//!
//! Sizes are small, since kernels may run on an interpreter, and odd ones are among them.

mod attention;
mod matmul;
mod moe;
mod pair;
mod rows;
mod sample;

use tintype_ops::DType;

/// Dtypes of the operands of one op.
#[derive(Clone, Copy, Debug)]
struct Dtypes {
    weight: DType,
    x: DType,
    out: DType,
}

/// What real models use, then mixes that are only allowed.
const MIXES: [Dtypes; 8] = [
    Dtypes { weight: DType::Bf16, x: DType::Bf16, out: DType::Bf16 },
    Dtypes { weight: DType::F16, x: DType::F16, out: DType::F16 },
    Dtypes { weight: DType::F32, x: DType::F32, out: DType::F32 },
    Dtypes { weight: DType::Bf16, x: DType::Bf16, out: DType::F32 },
    Dtypes { weight: DType::F16, x: DType::F16, out: DType::F32 },
    Dtypes { weight: DType::Bf16, x: DType::F32, out: DType::F16 },
    Dtypes { weight: DType::F32, x: DType::Bf16, out: DType::F32 },
    Dtypes { weight: DType::F16, x: DType::Bf16, out: DType::Bf16 },
];
