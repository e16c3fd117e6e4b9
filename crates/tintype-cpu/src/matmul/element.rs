//! The dtypes that weights are stored in, as the kernels read them.

use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};
use pulp::Simd;

use crate::simd::{F16_MIN_NORMAL, f16_to_f32};

/// A stored element. Rows are read in steps of `2 * S::F32_LANES` elements.
pub(super) trait Element: Pod + Send + Sync {
    /// One step, as it lies in memory.
    type Step<S: Simd>: Pod;

    /// Whether [`Self::widen`] gives the elements at even places, then those at odd places,
    /// rather than the first half and the second.
    const INTERLEAVED: bool;

    /// The whole steps of a row, and the elements that are left.
    fn steps<S: Simd>(row: &[Self]) -> (&[Self::Step<S>], &[Self]);

    /// A step whose first elements are `tail`, fewer than a step has; the others are 0.
    #[inline(always)]
    fn last_step<S: Simd>(tail: &[Self]) -> Self::Step<S> {
        let mut step = Self::Step::<S>::zeroed();
        bytemuck::cast_slice_mut(std::slice::from_mut(&mut step))[..tail.len()]
            .copy_from_slice(tail);
        step
    }

    /// The step's values, exact.
    fn widen<S: Simd>(simd: S, step: Self::Step<S>) -> [S::f32s; 2];

    /// The element's value, exact.
    fn to_f32(self) -> f32;
}

impl Element for f32 {
    type Step<S: Simd> = [S::f32s; 2];

    const INTERLEAVED: bool = false;

    #[inline(always)]
    fn steps<S: Simd>(row: &[Self]) -> (&[Self::Step<S>], &[Self]) {
        let (whole, tail) = row.split_at(row.len() - row.len() % (2 * S::F32_LANES));
        (S::as_simd_f32s(whole).0.as_chunks().0, tail)
    }

    #[inline(always)]
    fn widen<S: Simd>(_simd: S, step: Self::Step<S>) -> [S::f32s; 2] {
        step
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
}

#[inline(always)]
fn steps_of_16_bits<S: Simd, E: Pod>(row: &[E]) -> (&[S::u16s], &[E]) {
    let (whole, tail) = row.split_at(row.len() - row.len() % (2 * S::F32_LANES));
    (S::as_simd_u16s(bytemuck::cast_slice(whole)).0, tail)
}

/// Two 16-bit elements in each lane: the even one in the lower half, the odd one in the upper.
#[inline(always)]
fn lanes<S: Simd>(step: S::u16s) -> S::u32s {
    bytemuck::cast(step)
}

impl Element for bf16 {
    type Step<S: Simd> = S::u16s;

    const INTERLEAVED: bool = true;

    #[inline(always)]
    fn steps<S: Simd>(row: &[Self]) -> (&[Self::Step<S>], &[Self]) {
        steps_of_16_bits::<S, Self>(row)
    }

    /// A bf16 is the upper half of an f32.
    #[inline(always)]
    fn widen<S: Simd>(simd: S, step: Self::Step<S>) -> [S::f32s; 2] {
        let lanes = lanes::<S>(step);
        let even = simd.wrapping_dyn_shl_u32s(lanes, simd.splat_u32s(16));
        let odd = simd.and_u32s(lanes, simd.splat_u32s(0xffff_0000));
        [simd.transmute_f32s_u32s(even), simd.transmute_f32s_u32s(odd)]
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Element for f16 {
    type Step<S: Simd> = S::u16s;

    const INTERLEAVED: bool = true;

    #[inline(always)]
    fn steps<S: Simd>(row: &[Self]) -> (&[Self::Step<S>], &[Self]) {
        steps_of_16_bits::<S, Self>(row)
    }

    #[inline(always)]
    fn widen<S: Simd>(simd: S, step: Self::Step<S>) -> [S::f32s; 2] {
        let odd = lanes::<S>(step);
        let even = simd.wrapping_dyn_shl_u32s(odd, simd.splat_u32s(16));
        [widen_upper_f16(simd, even), widen_upper_f16(simd, odd)]
    }

    #[inline(always)]
    fn to_f32(self) -> f32 {
        f16_to_f32(self.to_bits())
    }
}

/// [`f16_to_f32`] of the upper half of each lane.
#[inline(always)]
fn widen_upper_f16<S: Simd>(simd: S, lanes: S::u32s) -> S::f32s {
    let magnitude = simd.wrapping_dyn_shr_u32s(lanes, simd.splat_u32s(3));
    let magnitude = simd.and_u32s(magnitude, simd.splat_u32s(0x0fff_e000));
    let normal = simd.add_u32s(magnitude, simd.splat_u32s(112 << 23));
    let subnormal = simd.add_u32s(magnitude, simd.splat_u32s(113 << 23));
    let subnormal = simd.transmute_f32s_u32s(subnormal);
    let subnormal = simd.sub_f32s(subnormal, simd.splat_f32s(F16_MIN_NORMAL));
    let magnitude = simd.min_f32s(simd.transmute_f32s_u32s(normal), subnormal);
    let is_special = simd.greater_than_or_equal_f32s(magnitude, simd.splat_f32s(65536.0));
    let infinity = simd.splat_f32s(f32::INFINITY);
    let special = simd.select_f32s(is_special, infinity, simd.splat_f32s(0.0));
    let sign = simd.and_u32s(lanes, simd.splat_u32s(0x8000_0000));
    let sign = simd.transmute_f32s_u32s(sign);
    simd.or_f32s(magnitude, simd.or_f32s(special, sign))
}
