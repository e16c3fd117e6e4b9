//! Float arithmetic where Rust's differs from PTX's or is slow.

/// `.ftz`, if set: subnormal numbers become zeros of the same sign.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flush(pub(crate) bool);

impl Flush {
    #[inline(always)]
    pub(crate) fn apply(self, value: f32) -> f32 {
        if self.0 && value.abs() < f32::MIN_POSITIVE { 0f32.copysign(value) } else { value }
    }
}

/// `a + b` in f64, rounded to odd: where the sum is not exact, its last bit is 1. Rounding it
/// again, to f32, then gives what rounding the exact sum once would.
#[inline(always)]
pub(crate) fn add_to_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    // What the sum lost, exactly (Knuth's two-sum); NaN where the sum is not finite.
    let b_part = sum - a;
    let error = (a - (sum - b_part)) + (b - b_part);
    // No branches: compilers make vector code of this.
    let bits = sum.to_bits();
    let move_last_bit = u64::from(error.abs() > 0.0) & !bits;
    let towards_zero = (error.to_bits() ^ bits) >> 63;
    let moved = bits.wrapping_add(move_last_bit);
    f64::from_bits(moved.wrapping_sub((move_last_bit & towards_zero) << 1))
}

/// `a * b + c` rounded once. The compiler turns it into vector code, which it cannot do with a
/// call of the C library's function.
#[inline(always)]
pub(crate) fn fma(a: f32, b: f32, c: f32) -> f32 {
    // The product has 48 significant bits: it is exact.
    add_to_odd(f64::from(a) * f64::from(b), f64::from(c)) as f32
}

/// The lesser number: NaN only if both are, and -0 is less than +0.
#[inline(always)]
pub(crate) fn min(a: f32, b: f32) -> f32 {
    let lesser = if a < b || (a == b && a.is_sign_negative()) { a } else { b };
    if b.is_nan() { a } else { lesser }
}

/// [`min`] of f64.
#[inline(always)]
pub(crate) fn min_f64(a: f64, b: f64) -> f64 {
    let lesser = if a < b || (a == b && a.is_sign_negative()) { a } else { b };
    if b.is_nan() { a } else { lesser }
}

/// NaN if `a` or `b` is, else `value`.
#[inline(always)]
pub(crate) fn or_nan(a: f32, b: f32, value: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::from_bits(0x7fff_ffff) } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::order::mix;

    #[test]
    fn fma_rounds_once() {
        for i in 0..300_000u64 {
            let bits = mix(i);
            // Half of the cases have exponents close to each other, where sums cancel.
            let near = |bits: u64| f32::from_bits((bits as u32 & 0x83ff_ffff) | 0x3c00_0000);
            let any = |bits: u64| f32::from_bits(bits as u32);
            let number = if i % 2 == 0 { near } else { any };
            let (a, b, c) = (number(bits), number(mix(bits)), number(bits >> 32));
            let c = if i % 8 == 0 { -(a * b) } else { c };
            let (found, expected) = (fma(a, b, c), a.mul_add(b, c));
            let same =
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(same, "{a:e} * {b:e} + {c:e}: {found:e}, expected {expected:e}");
        }
    }

    #[test]
    fn zeros_are_ordered_and_nan_loses() {
        assert!(min(0.0, -0.0).is_sign_negative() && min(-0.0, 0.0).is_sign_negative());
        assert_eq!((min(f32::NAN, 2.0), min(2.0, f32::NAN)), (2.0, 2.0));
        assert!(min(f32::NAN, f32::NAN).is_nan());
        assert!(or_nan(1.0, f32::NAN, 1.0).is_nan());
        assert_eq!(Flush(true).apply(-1e-40).to_bits(), (-0f32).to_bits());
        assert_eq!(Flush(false).apply(-1e-40), -1e-40);
    }
}
