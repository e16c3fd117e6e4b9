//! The exact value between a conversion's source and its target.

use super::Rounding;

/// A binary floating-point format of at most 64 bits with infinities and NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// An f32 whose mantissa has 10 bits; the 13 bits below are zero.
    Tf32,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
}

impl Format {
    fn exponent_bits(self) -> u32 {
        match self {
            Self::F16 => 5,
            Self::F64 => 11,
            _ => 8,
        }
    }

    fn mantissa_bits(self) -> u32 {
        match self {
            Self::F16 | Self::Tf32 => 10,
            Self::Bf16 => 7,
            Self::F32 => 23,
            Self::F64 => 52,
        }
    }

    /// Bits below the mantissa that the register has and the format lacks.
    fn padding_bits(self) -> u32 {
        if self == Self::Tf32 { 13 } else { 0 }
    }

    fn bias(self) -> i32 {
        (1 << (self.exponent_bits() - 1)) - 1
    }

    /// Exponent of the smallest normal number.
    fn min_exponent(self) -> i32 {
        1 - self.bias()
    }

    /// The bits of infinity, without padding.
    fn infinity(self) -> u64 {
        ((1 << self.exponent_bits()) - 1) << self.mantissa_bits()
    }

    fn sign_bit(self) -> u32 {
        self.exponent_bits() + self.mantissa_bits()
    }
}

/// A number without rounding.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Nan,
    Infinite {
        negative: bool,
    },
    /// significand × 2^exponent; zero has a zero significand.
    Finite {
        negative: bool,
        significand: u64,
        exponent: i32,
    },
}

impl Value {
    pub(super) const ZERO: Self = Self::Finite { negative: false, significand: 0, exponent: 0 };
    const ONE: Self = Self::Finite { negative: false, significand: 1, exponent: 0 };

    pub(super) fn from_bits(bits: u64, format: Format) -> Self {
        let bits = bits >> format.padding_bits();
        let mantissa_bits = format.mantissa_bits();
        let negative = bits >> format.sign_bit() & 1 == 1;
        let mantissa = bits & ((1 << mantissa_bits) - 1);
        let biased = bits >> mantissa_bits & ((1 << format.exponent_bits()) - 1);
        if bits & format.infinity() == format.infinity() {
            return if mantissa == 0 { Self::Infinite { negative } } else { Self::Nan };
        }
        let hidden = u64::from(biased != 0) << mantissa_bits;
        let exponent = (biased as i32).max(1) - format.bias() - mantissa_bits as i32;
        Self::Finite { negative, significand: mantissa | hidden, exponent }
    }

    /// Exact for every integer of up to 64 bits and its sign.
    pub(super) fn from_integer(integer: i128) -> Self {
        let significand = integer.unsigned_abs() as u64;
        Self::Finite { negative: integer < 0, significand, exponent: 0 }
    }

    pub(super) fn is_negative(self) -> bool {
        match self {
            Self::Nan => false,
            Self::Infinite { negative } | Self::Finite { negative, .. } => negative,
        }
    }

    /// `.sat` of a float: to [+0, 1], NaN to +0.
    pub(super) fn clamp_to_unit(self) -> Self {
        match self {
            Self::Nan => Self::ZERO,
            value if value.is_negative() => Self::ZERO,
            Self::Finite { significand: 0, .. } => Self::ZERO,
            Self::Finite { significand, exponent, .. }
                if significand.ilog2() as i32 + exponent < 0 =>
            {
                self
            }
            _ => Self::ONE,
        }
    }

    pub(super) fn flush_subnormal(self, format: Format) -> Self {
        match self {
            Self::Finite { negative, significand, exponent }
                if significand != 0
                    && significand.ilog2() as i32 + exponent < format.min_exponent() =>
            {
                Self::Finite { negative, significand: 0, exponent: 0 }
            }
            value => value,
        }
    }

    /// Rounds to a whole number, still as a float: infinities and the sign of zero stay.
    pub(super) fn to_integral(self, rounding: Rounding) -> Self {
        match self {
            Self::Finite { negative, significand, exponent } if exponent < 0 => {
                let shift = exponent.unsigned_abs();
                let significand = shift_right(significand, shift, rounding, negative);
                Self::Finite { negative, significand, exponent: 0 }
            }
            value => value,
        }
    }

    /// Rounds to an integer; what exceeds 64 bits gives something that exceeds 64 bits. `None` for
    /// NaN.
    pub(super) fn to_integer(self, rounding: Rounding) -> Option<i128> {
        let (negative, magnitude) = match self.to_integral(rounding) {
            Self::Nan => return None,
            Self::Infinite { negative } => (negative, 1_i128 << 100),
            Self::Finite { negative, significand, exponent } => {
                (negative, i128::from(significand) << exponent.clamp(0, 60))
            }
        };
        Some(if negative { -magnitude } else { magnitude })
    }

    /// Rounds to `format`; NaN becomes the canonical NaN (all ones but the sign).
    pub(super) fn to_bits(self, format: Format, rounding: Rounding) -> u64 {
        let (negative, magnitude) = match self {
            Self::Nan => (false, (1 << format.sign_bit()) - 1),
            Self::Infinite { negative } => (negative, format.infinity()),
            Self::Finite { negative, significand, exponent } => {
                let magnitude = finite_bits(negative, significand, exponent, format, rounding);
                (negative, magnitude)
            }
        };
        (magnitude | u64::from(negative) << format.sign_bit()) << format.padding_bits()
    }
}

/// The bits, without sign and padding, of significand × 2^exponent in `format`.
fn finite_bits(
    negative: bool,
    significand: u64,
    exponent: i32,
    format: Format,
    rounding: Rounding,
) -> u64 {
    if significand == 0 {
        return 0;
    }
    let mantissa_bits = format.mantissa_bits() as i32;
    let leading = significand.ilog2() as i32 + exponent;
    // Weight of the result's last bit; below the smallest normal number it stays there.
    let last = leading.max(format.min_exponent()) - mantissa_bits;
    let mantissa = match last - exponent {
        shift @ ..=0 => significand << -shift,
        shift => shift_right(significand, shift as u32, rounding, negative),
    };
    // The hidden bit adds one to the exponent field; so does a carry out of the mantissa.
    let field = (last + mantissa_bits - format.min_exponent()) as u64;
    let bits = (field << mantissa_bits) + mantissa;
    if bits >= format.infinity() { overflow(negative, format, rounding) } else { bits }
}

/// What a number beyond the largest finite one rounds to.
fn overflow(negative: bool, format: Format, rounding: Rounding) -> u64 {
    let to_infinity = match rounding {
        Rounding::NearestEven | Rounding::NearestAway => true,
        Rounding::Zero => false,
        Rounding::Down => negative,
        Rounding::Up => !negative,
    };
    format.infinity() - u64::from(!to_infinity)
}

/// `value` / 2^`shift`, rounded; `shift` > 0.
fn shift_right(value: u64, shift: u32, rounding: Rounding, negative: bool) -> u64 {
    // 127 is far enough: the value is then less than half a unit, as for any larger shift.
    let (value, shift) = (u128::from(value), shift.min(127));
    let quotient = value >> shift;
    let rest = value & ((1 << shift) - 1);
    let half = 1_u128 << (shift - 1);
    let up = match rounding {
        Rounding::NearestEven => rest > half || rest == half && quotient & 1 == 1,
        Rounding::NearestAway => rest >= half,
        Rounding::Zero => false,
        Rounding::Down => negative && rest != 0,
        Rounding::Up => !negative && rest != 0,
    };
    quotient as u64 + u64::from(up)
}
