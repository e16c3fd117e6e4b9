//! Comparisons and selections.

use super::Table;
use super::arithmetic::unsupported;
use super::body::Body;
use super::half::{Bf16, F16};
use super::lane_ops::{lanes, ternary};
use super::operands::Decoded;
use super::statement::{Operand, Statement, Type};
use crate::lane_op::{Map2, PredicateOp, Select};
use crate::lanes::{Scalar, Slot};

pub(super) const TABLE: &Table = &[("setp", setp), ("set", set), ("selp", selp), ("slct", slct)];

/// How two numbers compare.
#[derive(Debug, Clone, Copy)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// Neither is NaN.
    Ordered,
    /// One is NaN.
    Unordered,
}

impl Comparison {
    /// The comparison that a modifier names, and whether NaN fulfils it.
    fn parse(modifier: &str) -> Option<(Self, bool)> {
        Some(match modifier {
            "eq" => (Self::Equal, false),
            "ne" => (Self::NotEqual, false),
            "lt" | "lo" => (Self::Less, false),
            "le" | "ls" => (Self::LessEqual, false),
            "gt" | "hi" => (Self::Greater, false),
            "ge" | "hs" => (Self::GreaterEqual, false),
            "equ" => (Self::Equal, true),
            "neu" => (Self::NotEqual, true),
            "ltu" => (Self::Less, true),
            "leu" => (Self::LessEqual, true),
            "gtu" => (Self::Greater, true),
            "geu" => (Self::GreaterEqual, true),
            "num" => (Self::Ordered, false),
            "nan" => (Self::Unordered, true),
            _ => return None,
        })
    }
}

/// A number that instructions compare.
trait Number: Scalar + PartialOrd {
    fn is_nan(self) -> bool;
}

macro_rules! numbers {
    ($($integer:ty),*) => {
        $(impl Number for $integer {
            #[inline(always)]
            fn is_nan(self) -> bool {
                false
            }
        })*
        impl Number for f32 {
            #[inline(always)]
            fn is_nan(self) -> bool {
                self != self
            }
        }
        impl Number for f64 {
            #[inline(always)]
            fn is_nan(self) -> bool {
                self != self
            }
        }
    };
}

numbers!(u16, i16, u32, i32, u64, i64);

impl Number for F16 {
    fn is_nan(self) -> bool {
        self.0.is_nan()
    }
}

impl Number for Bf16 {
    fn is_nan(self) -> bool {
        self.0.is_nan()
    }
}

/// `setp` compares, combines with a predicate if there is one, and writes one or two results.
fn setp<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let combine = s.modifiers.find(|modifier| {
        let combine: fn(u32, u32) -> u32 = match modifier {
            "and" => |a, b| a & b,
            "or" => |a, b| a | b,
            "xor" => |a, b| a ^ b,
            _ => return None,
        };
        Some(combine)
    });
    let (comparison, nan) = s.modifiers.find(Comparison::parse).ok_or("no known comparison")?;
    let ty = s.modifiers.ty()?;
    let (results, a, b, with) = match (s.operands.as_slice(), combine) {
        ([d, a, b], None) => (d, a, b, None),
        ([d, a, b, c], Some(combine)) => (d, a, b, Some((combine, c))),
        (operands, _) => return Err(format!("{} operands do not fit", operands.len())),
    };
    let (first, second) = match *results {
        Operand::Pair(first, second) => (Operand::Name(first, 0), Some(Operand::Name(second, 0))),
        ref single => (single.clone(), None),
    };
    let dst = body.destination::<bool>(&first)?;
    let operands = (a.clone(), b.clone());
    let how = (comparison, nan);
    let second = second.filter(|second| *second != Operand::Name("_", 0));
    if with.is_none() && second.is_none() {
        return compare(body, dst, operands, how, ty);
    }
    let with = match with {
        Some((combine, c)) => Some((combine, body.predicate(c)?)),
        None => None,
    };
    let compared = compare_first(body, operands, how, ty)?;
    if let Some(second) = second {
        let inverse = Slot::new(body.new_register(1).index);
        body.lanes(PredicateOp { f: |a, _| !a, dst: inverse, operands: [compared; 2] });
        let second = body.destination::<bool>(&second)?;
        let (f, other) = with.unwrap_or((|a, _| a, inverse));
        body.lanes(PredicateOp { f, dst: second, operands: [inverse, other] });
    }
    let (f, other) = with.unwrap_or((|a, _| a, compared));
    lanes(PredicateOp { f, dst, operands: [compared, other] })
}

/// Emits a comparison, in front of what uses it; returns the predicate that it writes.
fn compare_first<'a>(
    body: &mut Body<'a, '_>,
    operands: (Operand<'a>, Operand<'a>),
    how: (Comparison, bool),
    ty: Type,
) -> Result<Slot<bool>, String> {
    let dst = Slot::new(body.new_register(1).index);
    let op = compare(body, dst, operands, how, ty)?;
    body.emit(op);
    Ok(dst)
}

/// A comparison of two operands, and whether NaN fulfils it.
fn compare<'a>(
    body: &mut Body<'a, '_>,
    dst: Slot<bool>,
    operands: (Operand<'a>, Operand<'a>),
    how: (Comparison, bool),
    ty: Type,
) -> Decoded {
    match ty {
        Type::U16 | Type::B16 => compare_as::<u16>(body, dst, operands, how),
        Type::S16 => compare_as::<i16>(body, dst, operands, how),
        Type::U32 | Type::B32 => compare_as::<u32>(body, dst, operands, how),
        Type::S32 => compare_as::<i32>(body, dst, operands, how),
        Type::U64 | Type::B64 => compare_as::<u64>(body, dst, operands, how),
        Type::S64 => compare_as::<i64>(body, dst, operands, how),
        Type::F32 => compare_as::<f32>(body, dst, operands, how),
        Type::F64 => compare_as::<f64>(body, dst, operands, how),
        Type::F16 => compare_as::<F16>(body, dst, operands, how),
        Type::Bf16 => compare_as::<Bf16>(body, dst, operands, how),
        ty => unsupported(ty),
    }
}

fn compare_as<'a, T: Number>(
    body: &mut Body<'a, '_>,
    dst: Slot<bool>,
    (a, b): (Operand<'a>, Operand<'a>),
    (comparison, nan): (Comparison, bool),
) -> Decoded {
    let operands = (dst, body.source::<T>(&a)?, body.source::<T>(&b)?);
    match comparison {
        Comparison::Equal => test(operands, nan, |a: T, b: T| a == b),
        Comparison::NotEqual => {
            test(operands, nan, |a: T, b: T| a != b && !a.is_nan() && !b.is_nan())
        }
        Comparison::Less => test(operands, nan, |a: T, b: T| a < b),
        Comparison::LessEqual => test(operands, nan, |a: T, b: T| a <= b),
        Comparison::Greater => test(operands, nan, |a: T, b: T| a > b),
        Comparison::GreaterEqual => test(operands, nan, |a: T, b: T| a >= b),
        Comparison::Ordered => test(operands, nan, |a: T, b: T| !a.is_nan() && !b.is_nan()),
        Comparison::Unordered => test(operands, nan, |_: T, _: T| false),
    }
}

fn test<T: Number>(
    (dst, a, b): (Slot<bool>, Slot<T::Lane>, Slot<T::Lane>),
    nan: bool,
    f: impl Fn(T, T) -> bool + Send + Sync + 'static,
) -> Decoded {
    if nan {
        let f = move |a: T, b: T| f(a, b) || a.is_nan() || b.is_nan();
        return lanes(Map2::<_, bool, T, T> { f, dst, a, b });
    }
    lanes(Map2::<_, bool, T, T> { f, dst, a, b })
}

/// `set` writes ones or zeros (as a float: 1 or 0).
fn set<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let how = s.modifiers.find(Comparison::parse).ok_or("no known comparison")?;
    let (to, from) = (s.modifiers.ty()?, s.modifiers.ty()?);
    let [d, a, b] = s.operands()?.clone();
    let (one, zero) = match to {
        Type::U32 | Type::S32 => (Operand::Integer(!0), Operand::Integer(0)),
        Type::F32 => (Operand::Float(1f32.to_bits()), Operand::Float(0)),
        ty => return unsupported(ty),
    };
    let dst = body.destination::<u32>(&d)?;
    let predicate = compare_first(body, (a, b), how, from)?;
    let (a, b) = (body.source::<u32>(&one)?, body.source::<u32>(&zero)?);
    lanes(Select { dst, a, b, predicate })
}

fn selp<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let ty = s.modifiers.ty()?;
    let [d, a, b, predicate] = s.operands()?;
    let predicate = body.predicate(predicate)?;
    match ty.bits() {
        16 => {
            let dst = body.destination::<u16>(d)?;
            let (a, b) = (body.source::<u16>(a)?, body.source::<u16>(b)?);
            lanes(Select { dst, a, b, predicate })
        }
        32 => {
            let dst = body.destination::<u32>(d)?;
            let (a, b) = (body.source::<u32>(a)?, body.source::<u32>(b)?);
            lanes(Select { dst, a, b, predicate })
        }
        64 => {
            let dst = body.destination::<u64>(d)?;
            let (a, b) = (body.source::<u64>(a)?, body.source::<u64>(b)?);
            lanes(Select { dst, a, b, predicate })
        }
        _ => unsupported(ty),
    }
}

/// `slct d, a, b, c`: a if c is not negative, else b.
fn slct<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let (ty, by) = (s.modifiers.ty()?, s.modifiers.ty()?);
    s.modifiers.drop(&["ftz"]);
    match (ty.bits(), by) {
        (32, Type::S32) => ternary(body, s, |a: u32, b: u32, c: i32| if c >= 0 { a } else { b }),
        (32, Type::F32) => ternary(body, s, |a: u32, b: u32, c: f32| if c >= 0. { a } else { b }),
        (64, Type::S32) => ternary(body, s, |a: u64, b: u64, c: i32| if c >= 0 { a } else { b }),
        (64, Type::F32) => ternary(body, s, |a: u64, b: u64, c: f32| if c >= 0. { a } else { b }),
        _ => unsupported(ty),
    }
}
