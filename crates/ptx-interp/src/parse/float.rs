//! Arithmetic of f32 and f64.
//!
//! Approximate instructions give the correctly rounded (or nearly so) result: a GPU may differ by
//! one or two units in the last place.

use super::Table;
use super::arithmetic::unsupported;
use super::body::Body;
use super::half;
use super::lane_ops::{binary, ternary, unary};
use super::operands::Decoded;
use super::statement::{Modifiers, Statement, Type};
use crate::convert::{Conversion, Format, Number, Rounding};
use crate::float_math::{self, Flush};
use crate::half_math::{Binary, Half};

pub(super) const TABLE: &Table = &[
    ("fma", fma_any),
    ("rcp", rcp),
    ("sqrt", sqrt),
    ("rsqrt", rsqrt),
    ("ex2", ex2),
    ("lg2", lg2),
    ("sin", sin),
    ("cos", cos),
    ("tanh", tanh),
    ("copysign", copysign),
    ("testp", testp),
];

/// How an f32 instruction treats its operands and its result.
#[derive(Clone, Copy)]
struct Rules {
    /// Subnormal numbers become zero.
    flush: Flush,
    /// The result is clamped to [0, 1].
    saturate: bool,
    rounding: Rounding,
}

impl Rules {
    /// Takes the modifiers that say so.
    fn take(modifiers: &mut Modifiers<'_>) -> Self {
        let rounding = modifiers.find(|modifier| match modifier {
            "rn" => Some(Rounding::NearestEven),
            "rz" => Some(Rounding::Zero),
            "rm" => Some(Rounding::Down),
            "rp" => Some(Rounding::Up),
            _ => None,
        });
        Self {
            flush: Flush(modifiers.take("ftz")),
            saturate: modifiers.take("sat"),
            rounding: rounding.unwrap_or(Rounding::NearestEven),
        }
    }

    fn is_plain(self) -> bool {
        !self.flush.0 && !self.saturate && self.rounding == Rounding::NearestEven
    }

    /// The f32 that a result, exact or rounded to odd in f64, becomes.
    fn finish(self, value: f64) -> f32 {
        let (from, to) = (Number::Float(Format::F64), Number::Float(Format::F32));
        let conversion = Conversion { rounding: self.rounding, ..Conversion::new(from, to) };
        let value = f32::from_bits(conversion.apply(value.to_bits()) as u32);
        self.output(value)
    }

    fn output(self, value: f32) -> f32 {
        let value = self.flush.apply(value);
        if !self.saturate {
            return value;
        }
        // NaN and -0 become 0.
        if value > 0.0 { value.min(1.0) } else { 0.0 }
    }

    fn input(self, value: f32) -> f64 {
        f64::from(self.flush.apply(value))
    }

    /// Fails for what f64 instructions do not have.
    fn check_f64(self) -> Result<(), String> {
        if self.is_plain() {
            return Ok(());
        }
        Err("f64 with .ftz, .sat or a directed rounding is not supported".to_owned())
    }
}

pub(super) fn add<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, ty: Type) -> Decoded {
    let rules = Rules::take(&mut s.modifiers);
    match ty {
        Type::F32 if rules.is_plain() => binary(body, s, |a: f32, b: f32| a + b),
        Type::F32 => binary(body, s, move |a, b| {
            rules.finish(float_math::add_to_odd(rules.input(a), rules.input(b)))
        }),
        Type::F64 => {
            rules.check_f64()?;
            binary(body, s, |a: f64, b: f64| a + b)
        }
        ty => half::binary(body, s, ty, Binary::Add, rules.saturate),
    }
}

pub(super) fn sub<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, ty: Type) -> Decoded {
    let rules = Rules::take(&mut s.modifiers);
    match ty {
        Type::F32 if rules.is_plain() => binary(body, s, |a: f32, b: f32| a - b),
        Type::F32 => binary(body, s, move |a, b| {
            rules.finish(float_math::add_to_odd(rules.input(a), -rules.input(b)))
        }),
        Type::F64 => {
            rules.check_f64()?;
            binary(body, s, |a: f64, b: f64| a - b)
        }
        ty => half::binary(body, s, ty, Binary::Sub, rules.saturate),
    }
}

pub(super) fn mul<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, ty: Type) -> Decoded {
    let rules = Rules::take(&mut s.modifiers);
    match ty {
        Type::F32 if rules.is_plain() => binary(body, s, |a: f32, b: f32| a * b),
        // The product of two f32 is exact in f64.
        Type::F32 => binary(body, s, move |a, b| rules.finish(rules.input(a) * rules.input(b))),
        Type::F64 => {
            rules.check_f64()?;
            binary(body, s, |a: f64, b: f64| a * b)
        }
        ty => half::binary(body, s, ty, Binary::Mul, rules.saturate),
    }
}

fn fma_any<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let ty = s.modifiers.ty()?;
    fma(body, s, ty)
}

pub(super) fn fma<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, ty: Type) -> Decoded {
    let rules = Rules::take(&mut s.modifiers);
    match ty {
        Type::F32 if rules.is_plain() => ternary(body, s, float_math::fma),
        Type::F32 => ternary(body, s, move |a, b, c| {
            let product = rules.input(a) * rules.input(b);
            rules.finish(float_math::add_to_odd(product, rules.input(c)))
        }),
        Type::F64 => {
            rules.check_f64()?;
            ternary(body, s, f64::mul_add)
        }
        ty => half::fma(body, s, ty, rules.saturate),
    }
}

pub(super) fn div<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, ty: Type) -> Decoded {
    let _ = s.modifiers.take("approx") || s.modifiers.take("full");
    let rules = Rules::take(&mut s.modifiers);
    if rules.rounding != Rounding::NearestEven {
        return Err("a division with a directed rounding is not supported".to_owned());
    }
    match ty {
        Type::F32 if rules.is_plain() => binary(body, s, |a: f32, b: f32| a / b),
        Type::F32 => binary(body, s, move |a: f32, b: f32| {
            rules.output(rules.flush.apply(a) / rules.flush.apply(b))
        }),
        Type::F64 => {
            rules.check_f64()?;
            binary(body, s, |a: f64, b: f64| a / b)
        }
        ty => unsupported(ty),
    }
}

pub(super) fn abs<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, ty: Type) -> Decoded {
    let flush = Flush(s.modifiers.take("ftz"));
    match ty {
        Type::F32 => unary(body, s, move |a: f32| flush.apply(a).abs()),
        Type::F64 => unary(body, s, f64::abs),
        ty => half::unary(body, s, ty, Half::abs),
    }
}

pub(super) fn neg<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, ty: Type) -> Decoded {
    let flush = Flush(s.modifiers.take("ftz"));
    match ty {
        Type::F32 => unary(body, s, move |a: f32| -flush.apply(a)),
        Type::F64 => unary(body, s, |a: f64| -a),
        ty => half::unary(body, s, ty, Half::neg),
    }
}

pub(super) fn min<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, ty: Type) -> Decoded {
    let (flush, nan) = (Flush(s.modifiers.take("ftz")), s.modifiers.take("NaN"));
    match ty {
        Type::F32 if nan => binary(body, s, move |a, b| {
            float_math::or_nan(a, b, float_math::min(flush.apply(a), flush.apply(b)))
        }),
        Type::F32 => binary(body, s, move |a, b| float_math::min(flush.apply(a), flush.apply(b))),
        Type::F64 => binary(body, s, float_math::min_f64),
        ty if nan => half::binary(body, s, ty, Binary::MinNan, false),
        ty => half::binary(body, s, ty, Binary::Min, false),
    }
}

pub(super) fn max<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, ty: Type) -> Decoded {
    let (flush, nan) = (Flush(s.modifiers.take("ftz")), s.modifiers.take("NaN"));
    match ty {
        Type::F32 if nan => binary(body, s, move |a, b| {
            float_math::or_nan(a, b, -float_math::min(-flush.apply(a), -flush.apply(b)))
        }),
        Type::F32 => {
            binary(body, s, move |a, b| -float_math::min(-flush.apply(a), -flush.apply(b)))
        }
        Type::F64 => binary(body, s, |a: f64, b: f64| -float_math::min_f64(-a, -b)),
        ty if nan => half::binary(body, s, ty, Binary::MaxNan, false),
        ty => half::binary(body, s, ty, Binary::Max, false),
    }
}

/// A function of one f32, approximate or not, and of one f64 if there is one.
fn function<'a>(
    body: &mut Body<'a, '_>,
    s: &mut Statement<'a>,
    f: impl Fn(f32) -> f32 + Send + Sync + 'static,
    wide: Option<fn(f64) -> f64>,
    narrow: Option<fn(Half, u16) -> u16>,
) -> Decoded {
    s.modifiers.drop(&["approx"]);
    let ty = s.modifiers.ty()?;
    let rules = Rules::take(&mut s.modifiers);
    if rules.rounding != Rounding::NearestEven {
        return Err("a directed rounding is not supported".to_owned());
    }
    match (ty, wide, narrow) {
        (Type::F32, ..) => unary(body, s, move |a: f32| rules.output(f(rules.flush.apply(a)))),
        (Type::F64, Some(wide), _) => unary(body, s, wide),
        (ty, _, Some(narrow)) => half::unary(body, s, ty, narrow),
        (ty, ..) => unsupported(ty),
    }
}

fn rcp<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    function(body, s, f32::recip, Some(f64::recip), None)
}

fn sqrt<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    function(body, s, f32::sqrt, Some(f64::sqrt), None)
}

/// Computed in f64, so that only the result is rounded.
fn rsqrt<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let wide = |a: f64| a.sqrt().recip();
    function(body, s, move |a| wide(f64::from(a)) as f32, Some(wide), None)
}

fn ex2<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    function(body, s, f32::exp2, None, Some(Half::ex2))
}

fn lg2<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    function(body, s, f32::log2, None, None)
}

fn sin<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    function(body, s, f32::sin, None, None)
}

fn cos<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    function(body, s, f32::cos, None, None)
}

fn tanh<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    function(body, s, f32::tanh, None, Some(Half::tanh))
}

/// `copysign d, a, b`: the sign of a, the magnitude of b.
fn copysign<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::F32 => binary(body, s, |a: f32, b: f32| b.copysign(a)),
        Type::F64 => binary(body, s, |a: f64, b: f64| b.copysign(a)),
        ty => unsupported(ty),
    }
}

fn testp<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let ty = s.modifiers.ty()?;
    let test = s.modifiers.find(|modifier| {
        let test: fn(f64, bool) -> bool = match modifier {
            "finite" => |a, _| a.is_finite(),
            "infinite" => |a, _| a.is_infinite(),
            "number" => |a, _| !a.is_nan(),
            "notanumber" => |a, _| a.is_nan(),
            "normal" => |_, normal| normal,
            "subnormal" => |a, normal| !normal && a.is_finite() && a != 0.0,
            _ => return None,
        };
        Some(test)
    });
    let test = test.ok_or("no known test")?;
    match ty {
        Type::F32 => unary(body, s, move |a: f32| test(f64::from(a), a.is_normal())),
        Type::F64 => unary(body, s, move |a: f64| test(a, a.is_normal())),
        ty => unsupported(ty),
    }
}
