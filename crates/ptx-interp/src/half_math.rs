//! Arithmetic of f16 and bf16, scalar and in pairs, each operation rounded once.
//!
//! The operands are exact in f64. Where f64 cannot hold the exact result, its last bit is made odd
//! ("round to odd"): the second rounding, to half precision, then sees that the value was not
//! exactly what it looks like and cannot go wrong on a tie.

use crate::convert::{Conversion, Format, Number, bf16_to_f32, f16_to_f32};

/// A 16-bit floating-point format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

/// The NaN that every operation returns.
const NAN: u16 = 0x7fff;
const SIGN: u16 = 0x8000;

/// An operation on two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    /// `add`.
    Add,
    /// `sub`.
    Sub,
    /// `mul`.
    Mul,
    /// `min`: a number wins over NaN, -0 is less than +0.
    Min,
    /// `max`: a number wins over NaN, -0 is less than +0.
    Max,
    /// `min.NaN`: NaN wins.
    MinNan,
    /// `max.NaN`: NaN wins.
    MaxNan,
}

impl Half {
    /// The value as f32: exact.
    pub(crate) fn to_f32(self, bits: u16) -> f32 {
        f32::from_bits(match self {
            Self::F16 => f16_to_f32(bits),
            Self::Bf16 => bf16_to_f32(bits),
        })
    }

    /// The nearest number to `value`, ties to even.
    pub(crate) fn nearest(self, value: f64) -> u16 {
        let format = match self {
            Self::F16 => Format::F16,
            Self::Bf16 => Format::Bf16,
        };
        let conversion = Conversion::new(Number::Float(Format::F64), Number::Float(format));
        conversion.apply(value.to_bits()) as u16
    }

    fn to_f64(self, bits: u16) -> f64 {
        f64::from(self.to_f32(bits))
    }

    /// `op` on two numbers.
    pub(crate) fn binary(self, op: Binary, a: u16, b: u16) -> u16 {
        let (x, y) = (self.to_f64(a), self.to_f64(b));
        match op {
            Binary::Add => self.nearest(add_to_odd(x, y)),
            Binary::Sub => self.nearest(add_to_odd(x, -y)),
            // At most 22 significant bits, so the product is exact.
            Binary::Mul => self.nearest(x * y),
            Binary::MinNan | Binary::MaxNan if x.is_nan() || y.is_nan() => NAN,
            Binary::Min | Binary::MinNan => self.lesser(a, b),
            // The greater is the negative of the lesser negative.
            Binary::Max | Binary::MaxNan if x.is_nan() || y.is_nan() => self.lesser(a, b),
            Binary::Max | Binary::MaxNan => self.lesser(a ^ SIGN, b ^ SIGN) ^ SIGN,
        }
    }

    /// The lesser of two numbers; a number wins over NaN, two NaNs give the canonical one.
    fn lesser(self, a: u16, b: u16) -> u16 {
        let (x, y) = (self.to_f32(a), self.to_f32(b));
        match (x.is_nan(), y.is_nan()) {
            (true, true) => NAN,
            (true, false) => b,
            (false, true) => a,
            _ if x < y || x == y && a & SIGN != 0 => a,
            _ => b,
        }
    }

    /// `fma.rn`: a × b + c with one rounding.
    pub(crate) fn fma(self, a: u16, b: u16, c: u16) -> u16 {
        self.nearest(add_to_odd(self.to_f64(a) * self.to_f64(b), self.to_f64(c)))
    }

    /// `.relu`: a negative number becomes +0, every NaN the canonical one.
    pub(crate) fn relu(self, bits: u16) -> u16 {
        match self.to_f32(bits) {
            x if x.is_nan() => NAN,
            _ if bits & SIGN != 0 => 0,
            _ => bits,
        }
    }

    /// `.sat`: clamps to [+0, 1], NaN to +0.
    pub(crate) fn saturate(self, bits: u16) -> u16 {
        let x = self.to_f32(bits);
        if x > 1.0 {
            self.nearest(1.0)
        } else if x > 0.0 {
            bits
        } else {
            0
        }
    }

    /// `neg`.
    pub(crate) fn neg(self, bits: u16) -> u16 {
        bits ^ SIGN
    }

    /// `abs`.
    pub(crate) fn abs(self, bits: u16) -> u16 {
        bits & !SIGN
    }

    /// `ex2.approx`: 2^x, here rounded correctly.
    pub(crate) fn ex2(self, bits: u16) -> u16 {
        self.nearest(self.to_f64(bits).exp2())
    }

    /// `tanh.approx`, here rounded correctly.
    pub(crate) fn tanh(self, bits: u16) -> u16 {
        self.nearest(self.to_f64(bits).tanh())
    }
}

/// Applies `op` to both halves of packed pairs.
pub(crate) fn pairwise<const N: usize>(operands: [u32; N], op: impl Fn([u16; N]) -> u16) -> u32 {
    let low = op(operands.map(|pair| pair as u16));
    let high = op(operands.map(|pair| (pair >> 16) as u16));
    u32::from(high) << 16 | u32::from(low)
}

/// a + b; if that is not exact, the neighbour of the exact sum whose last bit is odd.
fn add_to_odd(a: f64, b: f64) -> f64 {
    let sum = a + b;
    if !sum.is_finite() {
        return sum;
    }
    // Knuth's two-sum: sum + error is exactly a + b.
    let b_part = sum - a;
    let error = (a - (sum - b_part)) + (b - b_part);
    if error == 0.0 || sum.to_bits() & 1 == 1 {
        return sum;
    }
    // A larger magnitude has larger bits.
    if (error > 0.0) == (sum > 0.0) {
        f64::from_bits(sum.to_bits() + 1)
    } else {
        f64::from_bits(sum.to_bits() - 1)
    }
}

#[cfg(test)]
mod tests;
