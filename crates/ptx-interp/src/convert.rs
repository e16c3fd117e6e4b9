//! `cvt`: conversions between PTX's number types, on raw bits.
//!
//! Every conversion goes through one exact intermediate value ([`Value`]) and is rounded once, so
//! that each rounding mode is right for each pair of types by construction. The few pairs that
//! kernels execute all the time have shortcuts, which the tests compare with the general path.

mod value;

#[cfg(test)]
mod tests;

pub(crate) use value::Format;
use value::Value;

/// A type that `cvt` converts from or to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// A binary floating-point format.
    Float(Format),
    /// A signed integer of that many bits (8, 16, 32 or 64).
    Signed(u32),
    /// An unsigned integer of that many bits (8, 16, 32 or 64).
    Unsigned(u32),
}

/// How a value that the target cannot hold is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rounding {
    /// `.rn`, `.rni`: to the nearest, ties to even.
    NearestEven,
    /// `.rna`: to the nearest, ties away from zero.
    NearestAway,
    /// `.rz`, `.rzi`: towards zero.
    Zero,
    /// `.rm`, `.rmi`: towards negative infinity.
    Down,
    /// `.rp`, `.rpi`: towards positive infinity.
    Up,
}

/// One `cvt` instruction, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conversion {
    /// The source type.
    pub(crate) from: Number,
    /// The destination type.
    pub(crate) to: Number,
    /// How to round.
    pub(crate) rounding: Rounding,
    /// `.rni`, `.rzi`, `.rmi`, `.rpi`: round to an integral value even if the target is a float.
    pub(crate) integral: bool,
    /// `.sat`: clamp floats to [0, 1] (NaN to 0) and integers to the target's range.
    pub(crate) saturate: bool,
    /// `.ftz`: flush subnormal f32 inputs and results to zero.
    pub(crate) flush: bool,
    /// `.relu`: negative results become zero.
    pub(crate) relu: bool,
}

impl Conversion {
    /// A conversion that rounds to the nearest even and has no modifier.
    pub(crate) fn new(from: Number, to: Number) -> Self {
        let rounding = Rounding::NearestEven;
        Self { from, to, rounding, integral: false, saturate: false, flush: false, relu: false }
    }

    /// Converts the low bits of `bits`. A float or an unsigned result has zeros above its width, a
    /// signed result is sign-extended: the caller cuts it to the width of its register.
    pub(crate) fn apply(&self, bits: u64) -> u64 {
        if let Some(result) = self.shortcut(bits) {
            return result;
        }
        match (self.from, self.to) {
            (Number::Float(from), Number::Float(to)) => self.float_to_float(from, to, bits),
            (Number::Float(from), _) => self.float_to_integer(from, bits),
            (_, Number::Float(to)) => {
                let value = Value::from_integer(self.integer_source(bits));
                self.finish(value, to)
            }
            _ => self.integer_to_integer(bits),
        }
    }

    /// The conversions that dominate a kernel's run time.
    fn shortcut(&self, bits: u64) -> Option<u64> {
        let plain = !(self.integral || self.saturate || self.flush || self.relu);
        let (Number::Float(from), Number::Float(to)) = (self.from, self.to) else { return None };
        match (from, to) {
            (Format::Bf16, Format::F32) if plain => Some(u64::from(bf16_to_f32(bits as u16))),
            (Format::F16, Format::F32) if plain => Some(u64::from(f16_to_f32(bits as u16))),
            (Format::F32, Format::Bf16) if plain && self.rounding == Rounding::NearestEven => {
                Some(u64::from(f32_to_bf16(bits as u32)))
            }
            _ => None,
        }
    }

    fn float_to_float(&self, from: Format, to: Format, bits: u64) -> u64 {
        let mut value = self.flushed(from, Value::from_bits(bits, from));
        if self.integral {
            value = value.to_integral(self.rounding);
        }
        self.finish(value, to)
    }

    /// Saturates, clamps and rounds a value to a float type.
    fn finish(&self, mut value: Value, to: Format) -> u64 {
        if self.saturate {
            value = value.clamp_to_unit();
        }
        if self.relu && value.is_negative() {
            value = Value::ZERO;
        }
        let bits = value.to_bits(to, self.rounding);
        if !self.flush {
            return bits;
        }
        self.flushed(to, Value::from_bits(bits, to)).to_bits(to, self.rounding)
    }

    fn flushed(&self, format: Format, value: Value) -> Value {
        if self.flush && format == Format::F32 { value.flush_subnormal(format) } else { value }
    }

    /// NaN gives 0, or the top bit if a 64-bit type takes part; what lies outside the target's
    /// range gives its nearest end.
    fn float_to_integer(&self, from: Format, bits: u64) -> u64 {
        let value = self.flushed(from, Value::from_bits(bits, from));
        let wide = from == Format::F64 || self.integer_bits() == 64;
        match value.to_integer(self.rounding) {
            None if wide => 1 << (self.integer_bits() - 1),
            None => 0,
            Some(integer) => self.clamped(integer),
        }
    }

    fn integer_to_integer(&self, bits: u64) -> u64 {
        let source = self.integer_source(bits);
        if self.saturate { self.clamped(source) } else { self.cut(source) }
    }

    fn integer_source(&self, bits: u64) -> i128 {
        match self.from {
            Number::Signed(width) => i128::from(sign_extend(bits, width)),
            Number::Unsigned(width) => i128::from(zero_extend(bits, width)),
            Number::Float(_) => unreachable!("the source is an integer"),
        }
    }

    /// Width of the integer target in bits.
    fn integer_bits(&self) -> u32 {
        match self.to {
            Number::Signed(width) | Number::Unsigned(width) => width,
            Number::Float(_) => unreachable!("the target is an integer"),
        }
    }

    fn clamped(&self, value: i128) -> u64 {
        let width = self.integer_bits();
        match self.to {
            Number::Signed(_) => {
                let limit = 1_i128 << (width - 1);
                value.clamp(-limit, limit - 1) as i64 as u64
            }
            _ => value.clamp(0, (1_i128 << width) - 1) as u64,
        }
    }

    fn cut(&self, value: i128) -> u64 {
        match self.to {
            Number::Signed(width) => sign_extend(value as u64, width) as u64,
            _ => zero_extend(value as u64, self.integer_bits()),
        }
    }
}

/// `cvt.rn.bf16x2.f32 d, a, b` and its f16 twin: `high` (a) lands in the upper half of the result,
/// `low` (b) in the lower. `conversion` converts one element.
pub(crate) fn pack_pair(conversion: &Conversion, high: u64, low: u64) -> u64 {
    conversion.apply(high) << 16 | conversion.apply(low)
}

/// The f32 bits of a bf16 number: exact.
pub(crate) fn bf16_to_f32(bits: u16) -> u32 {
    u32::from(bits) << 16
}

/// The f32 bits of an f16 number: exact; a NaN keeps its payload.
pub(crate) fn f16_to_f32(bits: u16) -> u32 {
    let (sign, magnitude) = (u32::from(bits & 0x8000) << 16, u32::from(bits & 0x7fff));
    let rebias = (127 - 15) << 23;
    sign | match magnitude {
        // Subnormals are whole multiples of 2^-24.
        0..0x0400 => (magnitude as f32 * f32::from_bits((127 - 24) << 23)).to_bits(),
        0x0400..0x7c00 => (magnitude << 13) + rebias,
        _ => (magnitude << 13) + 2 * rebias,
    }
}

/// The bf16 number nearest to f32 `bits`, ties to even; every NaN becomes 0x7fff.
pub(crate) fn f32_to_bf16(bits: u32) -> u16 {
    if bits & 0x7fff_ffff > 0x7f80_0000 {
        return 0x7fff;
    }
    // An overflow carries into the exponent and gives infinity, as it should.
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

fn sign_extend(bits: u64, width: u32) -> i64 {
    (bits << (64 - width)) as i64 >> (64 - width)
}

fn zero_extend(bits: u64, width: u32) -> u64 {
    bits << (64 - width) >> (64 - width)
}
