//! SIMD chosen at run time: the same generic code compiled for each level, and the loops over
//! slices that the ops share.
//!
//! Kernels are written once over [`pulp::Simd`] and entered through [`Simd::run`], which compiles
//! them with the level's instructions switched on. Everything below an entry must be
//! `#[inline(always)]`: a function that is not inlined is compiled without them.

mod convert;
mod exp;
mod slices;

#[cfg(test)]
mod tests;

use std::any::TypeId;

use half::{bf16, f16};
use pulp::{Scalar128b, WithSimd};

#[cfg(target_arch = "x86_64")]
use pulp::x86::{V3, V4};

pub(crate) use convert::{F16_MIN_NORMAL, f16_to_f32};

/// Bytes of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// The level of SIMD instructions that kernels run with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Simd(Level);

#[derive(Clone, Copy, Debug)]
enum Level {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(V3),
    #[cfg(target_arch = "x86_64")]
    Avx512(V4),
}

impl Simd {
    /// The best level of this machine.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let avx512 = V4::try_new().map(Level::Avx512);
            if let Some(level) = avx512.or_else(|| V3::try_new().map(Level::Avx2)) {
                return Self(level);
            }
        }
        Self::portable()
    }

    /// No instructions beyond the target's baseline.
    pub(crate) const fn portable() -> Self {
        Self(Level::Portable)
    }

    /// Every level of this machine.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let mut levels = vec![Self::portable()];
        #[cfg(target_arch = "x86_64")]
        {
            levels.extend(V3::try_new().map(|level| Self(Level::Avx2(level))));
            levels.extend(V4::try_new().map(|level| Self(Level::Avx512(level))));
        }
        levels
    }

    /// `portable`, `avx2` or `avx512`.
    pub(crate) const fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(_) => "avx512",
        }
    }

    /// Elements of a vector of f32.
    pub(crate) fn f32_lanes(self) -> usize {
        struct Lanes;
        impl WithSimd for Lanes {
            type Output = usize;
            #[inline(always)]
            fn with_simd<S: pulp::Simd>(self, _simd: S) -> usize {
                S::F32_LANES
            }
        }
        self.run(Lanes)
    }

    /// Runs `kernel` compiled for this level.
    #[inline]
    pub(crate) fn run<K: WithSimd>(self, kernel: K) -> K::Output {
        match self.0 {
            Level::Portable => pulp::Simd::vectorize(Scalar128b, kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2(level) => pulp::Simd::vectorize(level, kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512(level) => pulp::Simd::vectorize(level, kernel),
        }
    }
}

/// `a * b + c`, in one rounding where the level has such an instruction. The portable level has
/// not, and a fused result in software costs a function call per lane.
#[inline(always)]
pub(crate) fn mul_add<S: pulp::Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if is_portable::<S>() {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_f32s(a, b, c)
    }
}

/// Asks for the cache lines of `data`, where the target has an instruction for it. They come as
/// far as the second-level cache: the first is too small to hold them until they are needed.
#[inline(always)]
pub(crate) fn prefetch<T>(data: &[T]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(sse) = pulp::core_arch::x86::Sse::try_new() {
        for line in data.chunks(LINE_BYTES / size_of::<T>()) {
            sse._mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(line.as_ptr().cast());
        }
    }
}

#[inline(always)]
fn is_portable<S: pulp::Simd>() -> bool {
    TypeId::of::<S>() == TypeId::of::<Scalar128b>()
}

/// Makes a method of [`Simd`] of each generic function over slices.
macro_rules! methods {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) $(-> $out:ty)? = $f:path;)*) => {
        impl Simd {
            $($(#[$doc])*
            pub(crate) fn $name<'a>(self, $($arg: $ty),*) $(-> $out)? {
                struct Kernel<'a>($($ty,)* std::marker::PhantomData<&'a ()>);
                impl WithSimd for Kernel<'_> {
                    #[allow(unused_parens)] // of one type; of none they make `()`
                    type Output = ($($out)?);
                    #[inline(always)]
                    fn with_simd<S: pulp::Simd>(self, simd: S) -> Self::Output {
                        let Self($($arg,)* _) = self;
                        $f(simd, $($arg),*)
                    }
                }
                self.run(Kernel($($arg,)* std::marker::PhantomData))
            })*
        }
    };
}

methods! {
    /// `Σ a[i] * b[i]` over slices of equal length.
    fn dot(a: &'a [f32], b: &'a [f32]) -> f32 = slices::dot;
    /// `y += alpha * x`.
    fn axpy(y: &'a mut [f32], alpha: f32, x: &'a [f32]) = slices::axpy;
    /// `out += Σ weights[i] * rows[i]`, where `rows` is `[weights.len(), out.len()]`.
    fn axpy_rows(out: &'a mut [f32], weights: &'a [f32], rows: &'a [f32]) = slices::axpy_rows;
    /// `out[i] = x[i] * scale * weight[i]`: the second half of RMS normalisation.
    fn scale_mul(out: &'a mut [f32], x: &'a [f32], scale: f32, weight: &'a [f32])
        = slices::scale_mul;
    /// The wrapping sum of `words`, reading as fast as the memory allows.
    fn sum_u32(words: &'a [u32]) -> u32 = slices::sum_u32;
    /// The largest element, −∞ when there is none. What it is among NaNs is not defined.
    fn max(x: &'a [f32]) -> f32 = slices::max;
    /// `x[i] = exp(x[i] - shift)`; returns the sum of the results.
    fn exp_sum(x: &'a mut [f32], shift: f32) -> f32 = exp::exp_sum;
    /// `out[i] = silu(gate[i]) * up[i]`.
    fn silu_mul(out: &'a mut [f32], gate: &'a [f32], up: &'a [f32]) = exp::silu_mul;
    /// Exact.
    fn bf16_to_f32(out: &'a mut [f32], x: &'a [bf16]) = convert::bf16_to_f32s;
    /// Exact.
    fn f16_to_f32(out: &'a mut [f32], x: &'a [f16]) = convert::f16_to_f32s;
    /// Rounds to nearest, ties to even.
    fn f32_to_bf16(out: &'a mut [bf16], x: &'a [f32]) = convert::f32_to_bf16s;
    /// Rounds to nearest, ties to even.
    fn f32_to_f16(out: &'a mut [f16], x: &'a [f32]) = convert::f32_to_f16s;
}
