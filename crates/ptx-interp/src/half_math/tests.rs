//! One rounding: half arithmetic against exact results.

use super::*;

const HALVES: [Half; 2] = [Half::F16, Half::Bf16];

/// A spread of bit patterns that differs for every `i`.
fn pattern(i: u32, salt: u32) -> u16 {
    let mixed = (i ^ salt).wrapping_mul(0x9e37_79b9);
    (mixed ^ mixed >> 15) as u16
}

/// The number of `half` nearest to `x`, by comparing the distances of two neighbours.
fn closest(half: Half, x: f64) -> u16 {
    let guess = half.nearest(x);
    for neighbour in [guess.wrapping_sub(1), guess.wrapping_add(1)] {
        let (near, far) = (half.to_f64(guess), half.to_f64(neighbour));
        if near.is_finite() && far.is_finite() && near * far >= 0.0 {
            assert!((near - x).abs() <= (far - x).abs(), "{half:?} {x:e}: {guess:#06x}");
        }
    }
    guess
}

/// Sums and products that f64 holds exactly have one right answer.
#[test]
fn sums_and_products_are_rounded_once() {
    for half in HALVES {
        for i in 0..100_000 {
            let (a, b) = (pattern(i, 1), pattern(i, 77));
            let (x, y) = (half.to_f64(a), half.to_f64(b));
            for (op, exact) in [(Binary::Add, x + y), (Binary::Sub, x - y), (Binary::Mul, x * y)] {
                let got = half.binary(op, a, b);
                if exact.is_nan() {
                    assert_eq!(got, NAN);
                } else {
                    assert_eq!(got, closest(half, exact), "{half:?} {op:?} {x:e} {y:e}");
                }
            }
        }
    }
}

/// 1 + half a unit is a tie; an addend far too small for f64 must still break it.
#[test]
fn a_tiny_addend_breaks_a_tie_of_the_product() {
    let bf16 = Half::Bf16;
    let bits = |x: f64| bf16.nearest(x);
    // (1 + 2^-4)² = 1 + 2^-3 + 2^-8: exactly between two neighbours.
    let factor = bits(1.0625);
    let even = bf16.fma(factor, factor, bits(0.0));
    assert_eq!(bf16.to_f32(even), 1.125);
    assert_eq!(bf16.fma(factor, factor, bits(2_f64.powi(-100))), even + 1);
    assert_eq!(bf16.fma(factor, factor, bits(-(2_f64.powi(-100)))), even);
    assert_eq!(bf16.binary(Binary::Add, bits(1.0), bits(2_f64.powi(-120))), bits(1.0));
}

#[test]
fn minimum_and_maximum_know_nan_and_the_sign_of_zero() {
    for half in HALVES {
        let (one, two, nan) = (half.nearest(1.0), half.nearest(2.0), 0xffff);
        assert_eq!(half.binary(Binary::Min, one, two), one);
        assert_eq!(half.binary(Binary::Max, one, two), two);
        assert_eq!(half.binary(Binary::Min, SIGN | two, one), SIGN | two);
        assert_eq!(half.binary(Binary::Max, SIGN | two, SIGN | one), SIGN | one);
        for op in [Binary::Min, Binary::Max] {
            assert_eq!(half.binary(op, nan, two), two);
            assert_eq!(half.binary(op, two, nan), two);
            assert_eq!(half.binary(op, nan, nan), NAN);
        }
        assert_eq!(half.binary(Binary::MinNan, nan, two), NAN);
        assert_eq!(half.binary(Binary::MaxNan, two, nan), NAN);
        assert_eq!(half.binary(Binary::Min, 0, SIGN), SIGN);
        assert_eq!(half.binary(Binary::Max, 0, SIGN), 0);
    }
}

#[test]
fn unary_operations_hold_for_every_number() {
    for half in HALVES {
        for bits in 0..=u16::MAX {
            let x = half.to_f32(bits);
            if x.is_nan() {
                assert_eq!(half.relu(bits), NAN);
                assert_eq!(half.saturate(bits), 0);
                continue;
            }
            assert_eq!(half.to_f32(half.neg(bits)).to_bits(), (-x).to_bits());
            assert_eq!(half.to_f32(half.abs(bits)).to_bits(), x.abs().to_bits());
            assert_eq!(half.to_f32(half.relu(bits)), x.max(0.0));
            assert_eq!(half.to_f32(half.saturate(bits)), x.clamp(0.0, 1.0));
            let power = half.to_f32(half.ex2(bits));
            assert!(x.abs() > 8.0 || (power / x.exp2() - 1.0).abs() < 0.004, "{x} {power}");
        }
        assert_eq!(half.to_f32(half.ex2(half.nearest(-3.0))), 0.125);
        assert_eq!(half.to_f32(half.tanh(half.nearest(0.0))), 0.0);
    }
}

#[test]
fn pairs_are_two_independent_operations() {
    let half = Half::Bf16;
    let sum = pairwise([0x3f80_4000, 0x4000_4000], |[a, b]| half.binary(Binary::Add, a, b));
    assert_eq!(sum, 0x4040_4080);
    let fma = pairwise([0x3f80_4000; 3], |[a, b, c]| half.fma(a, b, c));
    assert_eq!(fma, 0x4000_40c0);
}
