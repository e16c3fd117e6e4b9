//! The float types that activations and caches are stored in.

use bytemuck::{AnyBitPattern, NoUninit};
use half::{bf16, f16};

use crate::simd::Simd;

/// An element that ops compute with in f32.
pub(crate) trait Float: AnyBitPattern + NoUninit {
    /// Converts, exactly. Both slices have the same length.
    fn load(simd: Simd, out: &mut [f32], x: &[Self]);

    /// Rounds to nearest, ties to even. Both slices have the same length.
    fn store(simd: Simd, out: &mut [Self], x: &[f32]);
}

impl Float for f32 {
    fn load(_simd: Simd, out: &mut [f32], x: &[Self]) {
        out.copy_from_slice(x);
    }

    fn store(_simd: Simd, out: &mut [Self], x: &[f32]) {
        out.copy_from_slice(x);
    }
}

impl Float for f16 {
    fn load(simd: Simd, out: &mut [f32], x: &[Self]) {
        simd.f16_to_f32(out, x);
    }

    fn store(simd: Simd, out: &mut [Self], x: &[f32]) {
        simd.f32_to_f16(out, x);
    }
}

impl Float for bf16 {
    fn load(simd: Simd, out: &mut [f32], x: &[Self]) {
        simd.bf16_to_f32(out, x);
    }

    fn store(simd: Simd, out: &mut [Self], x: &[f32]) {
        simd.f32_to_bf16(out, x);
    }
}
