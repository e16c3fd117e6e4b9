//! Moves and conversions.

use super::Table;
use super::arithmetic::unsupported;
use super::body::Body;
use super::lane_ops::{binary, lanes, predicates, unary};
use super::operands::Decoded;
use super::statement::{Modifiers, Operand, Statement, Type};
use crate::convert::{self, Conversion, Format, Number, Rounding};
use crate::exec::space::Space;
use crate::exec::special::{ReadSpecial, Special};
use crate::instruction::Op;
use crate::lane_op::{Map1, Map2};
use crate::lanes::{Kind, Register, Slot};

pub(super) const TABLE: &Table =
    &[("mov", mov), ("cvta", cvta), ("isspacep", isspacep), ("cvt", cvt)];

fn mov<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let ty = s.modifiers.ty()?;
    let [d, a] = s.operands()?;
    match (d, a) {
        (Operand::Vector(parts), a) => return unpack(body, parts, a, ty.bits()),
        (d, Operand::Vector(parts)) => return pack(body, d, parts, ty.bits()),
        _ => {}
    }
    if let (Operand::Name(name, 0), Operand::Name(special, 0)) = (d, a)
        && let Some(source) = Special::parse(special)
        && let Some(dst) = body.register(name)
    {
        return Ok(Op::Special(ReadSpecial { dst, source }));
    }
    match ty.bits() {
        1 => predicates(body, s, |a, _| a),
        16 => unary(body, s, |a: u16| a),
        32 => unary(body, s, |a: u32| a),
        64 => unary(body, s, |a: u64| a),
        _ => unsupported(ty),
    }
}

/// `mov.b32 d, {a, b}`: the first part is the lowest.
fn pack<'a>(body: &mut Body<'a, '_>, d: &Operand<'a>, parts: &[Operand<'a>], bits: u32) -> Decoded {
    let dst = body.written(d, bits)?;
    let width = bits / parts.len() as u32;
    if dst.bits != bits {
        return Err(format!("the result has {} bits, expected {bits}", dst.bits));
    }
    let parts: Vec<Register> =
        parts.iter().map(|part| body.operand(part, width)).collect::<Result<_, _>>()?;
    if parts.iter().any(|part| part.bits != width) {
        return Err(format!("parts of other than {width} bits"));
    }
    let word = |register: &Register| Slot::<u32>::new(register.index);
    match (bits, parts.as_slice()) {
        (32, [a, b]) => {
            let (a, b, dst) = (word(a), word(b), Slot::new(dst.index));
            lanes(Map2::<_, u32, u16, u16> { f: |a, b| join16(a, b), dst, a, b })
        }
        (64, [a, b]) => {
            let (a, b, dst) = (word(a), word(b), Slot::new(dst.index));
            lanes(Map2::<_, u64, u32, u32> { f: join32, dst, a, b })
        }
        (64, [a, b, c, e]) => {
            let halves = [(a, b), (c, e)].map(|(a, b)| {
                let dst = Slot::new(body.new_register(32).index);
                let (a, b) = (word(a), word(b));
                body.lanes(Map2::<_, u32, u16, u16> { f: join16, dst, a, b });
                dst
            });
            let ([a, b], dst) = (halves, Slot::new(dst.index));
            lanes(Map2::<_, u64, u32, u32> { f: join32, dst, a, b })
        }
        _ => Err(format!("{} parts of {bits} bits are not supported", parts.len())),
    }
}

fn join16(low: u16, high: u16) -> u32 {
    u32::from(high) << 16 | u32::from(low)
}

fn join32(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

/// `mov.b32 {d, e}, a`
fn unpack<'a>(
    body: &mut Body<'a, '_>,
    parts: &[Operand<'a>],
    a: &Operand<'a>,
    bits: u32,
) -> Decoded {
    let width = bits / parts.len() as u32;
    let source = body.operand(a, bits)?;
    if source.bits != bits {
        return Err(format!("the source has {} bits, expected {bits}", source.bits));
    }
    for (at, part) in parts.iter().enumerate() {
        if *part == Operand::Name("_", 0) {
            continue;
        }
        let dst = body.written(part, width)?;
        if dst.bits != width {
            return Err(format!("a part has {} bits, expected {width}", dst.bits));
        }
        let (shift, index) = (at as u32 * width, source.index);
        let dst = Slot::<u32>::new(dst.index);
        match (bits, width) {
            (32, 16) => {
                let f = move |a: u32| (a >> shift) as u16;
                body.lanes(Map1::<_, u16, u32> { f, dst, a: Slot::new(index) });
            }
            (64, 16) => {
                let f = move |a: u64| (a >> shift) as u16;
                body.lanes(Map1::<_, u16, u64> { f, dst, a: Slot::new(index) });
            }
            (64, 32) => {
                let f = move |a: u64| (a >> shift) as u32;
                body.lanes(Map1::<_, u32, u64> { f, dst, a: Slot::new(index) });
            }
            _ => return Err(format!("{} parts of {bits} bits are not supported", parts.len())),
        }
    }
    Ok(Op::Nop)
}

/// The state space that an instruction names, without the dot.
pub(super) fn space(modifier: &str) -> Option<Space> {
    Some(match modifier {
        "global" | "const" => Space::Global,
        "shared" | "shared::cta" | "shared::cluster" => Space::Shared,
        "local" => Space::Local,
        "param" | "param::entry" => Space::Param,
        _ => return None,
    })
}

/// To a generic address, or with `.to` from one.
fn cvta<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let to = s.modifiers.take("to");
    let window = s.modifiers.find(space).ok_or("no known state space")?.window();
    s.ty(|ty| ty == Type::U64)?;
    match to {
        false => unary(body, s, move |a: u64| a.wrapping_add(window)),
        true => unary(body, s, move |a: u64| a.wrapping_sub(window)),
    }
}

fn isspacep<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let space = s.modifiers.find(space).ok_or("no known state space")?;
    unary(body, s, move |a: u64| Space::of(a).0 == space)
}

/// The type of a number that `cvt` takes.
fn number(modifier: &str) -> Option<Number> {
    Some(match modifier {
        "u8" => Number::Unsigned(8),
        "u16" => Number::Unsigned(16),
        "u32" => Number::Unsigned(32),
        "u64" => Number::Unsigned(64),
        "s8" => Number::Signed(8),
        "s16" => Number::Signed(16),
        "s32" => Number::Signed(32),
        "s64" => Number::Signed(64),
        "f16" => Number::Float(Format::F16),
        "bf16" => Number::Float(Format::Bf16),
        "tf32" => Number::Float(Format::Tf32),
        "f32" => Number::Float(Format::F32),
        "f64" => Number::Float(Format::F64),
        _ => return None,
    })
}

/// Takes the rounding of a conversion, and whether it is to an integral value.
fn rounding(modifiers: &mut Modifiers<'_>) -> (Rounding, bool) {
    let found = modifiers.find(|modifier| {
        Some(match modifier {
            "rn" => (Rounding::NearestEven, false),
            "rna" => (Rounding::NearestAway, false),
            "rz" => (Rounding::Zero, false),
            "rm" => (Rounding::Down, false),
            "rp" => (Rounding::Up, false),
            "rni" => (Rounding::NearestEven, true),
            "rzi" => (Rounding::Zero, true),
            "rmi" => (Rounding::Down, true),
            "rpi" => (Rounding::Up, true),
            _ => return None,
        })
    });
    found.unwrap_or((Rounding::NearestEven, false))
}

fn cvt<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let (rounding, integral) = rounding(&mut s.modifiers);
    let (saturate, flush) = (s.modifiers.take("sat"), s.modifiers.take("ftz"));
    let relu = s.modifiers.take("relu");
    let pair = s.modifiers.find(|modifier| match modifier {
        "bf16x2" => Some(Format::Bf16),
        "f16x2" => Some(Format::F16),
        _ => None,
    });
    let to = match pair {
        Some(format) => Number::Float(format),
        None => s.modifiers.find(number).ok_or("no known type of the result")?,
    };
    let from = s.modifiers.find(number).ok_or("no known type of the source")?;
    let conversion = Conversion { from, to, rounding, integral, saturate, flush, relu };
    if pair.is_some() {
        return binary(body, s, move |high: u32, low: u32| {
            convert::pack_pair(&conversion, high.into(), low.into()) as u32
        });
    }
    let plain = !(saturate || flush || relu || integral);
    let [d, a] = s.operands()?;
    let dst = body.written(d, bits(to))?;
    let a = body.operand(a, bits(from))?;
    if dst.bits < bits(to) || a.bits < bits(from) {
        return Err("a register too narrow for its type".to_owned());
    }
    match (from, to) {
        (Number::Float(Format::Bf16), Number::Float(Format::F32)) if plain => {
            unary(body, s, |a: u16| f32::from_bits(convert::bf16_to_f32(a)))
        }
        (Number::Float(Format::F32), Number::Float(Format::Bf16))
            if plain && rounding == Rounding::NearestEven =>
        {
            unary(body, s, |a: f32| convert::f32_to_bf16(a.to_bits()))
        }
        (Number::Float(Format::F16), Number::Float(Format::F32)) if plain => {
            unary(body, s, |a: u16| f32::from_bits(convert::f16_to_f32(a)))
        }
        (Number::Signed(32), Number::Float(Format::F32)) if rounding == Rounding::NearestEven => {
            unary(body, s, |a: i32| a as f32)
        }
        (Number::Float(_), _) | (_, Number::Float(_)) => any(a, dst, move |a| conversion.apply(a)),
        _ if saturate => any(a, dst, move |a| conversion.apply(a)),
        (Number::Signed(from), _) => extend(a, dst, (from, true), to),
        (Number::Unsigned(from), _) => extend(a, dst, (from, false), to),
    }
}

fn bits(number: Number) -> u32 {
    match number {
        Number::Signed(bits) | Number::Unsigned(bits) => bits,
        Number::Float(Format::F64) => 64,
        Number::Float(Format::F32 | Format::Tf32) => 32,
        Number::Float(_) => 16,
    }
}

/// Between integers: cuts to the narrower type, extends to the register.
fn extend(a: Register, dst: Register, (from, signed): (u32, bool), to: Number) -> Decoded {
    let (into_signed, to) = (matches!(to, Number::Signed(_)), bits(to));
    let width = from.min(to);
    // A narrowing conversion extends by the type of its result.
    let signed = if from <= to { signed } else { into_signed };
    let shift = 64 - width;
    if signed {
        any(a, dst, move |a| ((a << shift) as i64 >> shift) as u64)
    } else {
        any(a, dst, move |a| a << shift >> shift)
    }
}

/// A conversion between registers of whatever widths, on 64 bits; the result is cut to the
/// register's width.
fn any(a: Register, dst: Register, f: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Decoded {
    let (from, to) = (a.index, dst.index);
    match (a.kind, dst.kind, dst.bits) {
        (Kind::Double, Kind::Double, _) => {
            lanes(Map1::<_, u64, u64> { f, dst: Slot::new(to), a: Slot::new(from) })
        }
        (Kind::Double, _, 32) => {
            let f = move |a| f(a) as u32;
            lanes(Map1::<_, u32, u64> { f, dst: Slot::new(to), a: Slot::new(from) })
        }
        (Kind::Double, ..) => {
            let f = move |a| f(a) as u16;
            lanes(Map1::<_, u16, u64> { f, dst: Slot::new(to), a: Slot::new(from) })
        }
        (_, Kind::Double, _) => {
            let f = move |a: u32| f(a.into());
            lanes(Map1::<_, u64, u32> { f, dst: Slot::new(to), a: Slot::new(from) })
        }
        (_, _, 32) => {
            let f = move |a: u32| f(a.into()) as u32;
            lanes(Map1::<_, u32, u32> { f, dst: Slot::new(to), a: Slot::new(from) })
        }
        _ => {
            let f = move |a: u32| f(a.into()) as u16;
            lanes(Map1::<_, u16, u32> { f, dst: Slot::new(to), a: Slot::new(from) })
        }
    }
}
