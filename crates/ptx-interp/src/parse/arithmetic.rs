//! Integer arithmetic. Opcodes that also exist for floats are passed on to [`super::float`].

use super::Table;
use super::body::Body;
use super::float;
use super::lane_ops::{binary, ternary, unary};
use super::operands::Decoded;
use super::statement::{Statement, Type};

pub(super) const TABLE: &Table = &[
    ("add", add),
    ("sub", sub),
    ("mul", mul),
    ("mad", mad),
    ("div", div),
    ("rem", rem),
    ("abs", abs),
    ("neg", neg),
    ("min", min),
    ("max", max),
    ("sad", sad),
];

/// The error for a type that an instruction does not take.
pub(super) fn unsupported(ty: Type) -> Decoded {
    Err(format!("the type {ty:?} is not supported"))
}

fn add<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::U16 | Type::S16 => binary(body, s, u16::wrapping_add),
        Type::S32 if s.modifiers.take("sat") => binary(body, s, i32::saturating_add),
        Type::U32 | Type::S32 => binary(body, s, u32::wrapping_add),
        Type::U64 | Type::S64 => binary(body, s, u64::wrapping_add),
        ty => float::add(body, s, ty),
    }
}

fn sub<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::U16 | Type::S16 => binary(body, s, u16::wrapping_sub),
        Type::S32 if s.modifiers.take("sat") => binary(body, s, i32::saturating_sub),
        Type::U32 | Type::S32 => binary(body, s, u32::wrapping_sub),
        Type::U64 | Type::S64 => binary(body, s, u64::wrapping_sub),
        ty => float::sub(body, s, ty),
    }
}

fn mul<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let ty = s.modifiers.ty()?;
    if s.modifiers.take("lo") {
        return match ty {
            Type::U16 | Type::S16 => binary(body, s, u16::wrapping_mul),
            Type::U32 | Type::S32 => binary(body, s, u32::wrapping_mul),
            Type::U64 | Type::S64 => binary(body, s, u64::wrapping_mul),
            ty => unsupported(ty),
        };
    }
    if s.modifiers.take("wide") {
        return match ty {
            Type::U16 => binary(body, s, |a: u16, b: u16| u32::from(a) * u32::from(b)),
            Type::S16 => binary(body, s, |a: i16, b: i16| i32::from(a) * i32::from(b)),
            Type::U32 => binary(body, s, |a: u32, b: u32| u64::from(a) * u64::from(b)),
            Type::S32 => binary(body, s, |a: i32, b: i32| i64::from(a) * i64::from(b)),
            ty => unsupported(ty),
        };
    }
    if s.modifiers.take("hi") {
        return match ty {
            Type::U16 => binary(body, s, high_u16),
            Type::S16 => binary(body, s, high_i16),
            Type::U32 => binary(body, s, high_u32),
            Type::S32 => binary(body, s, high_i32),
            Type::U64 => binary(body, s, high_u64),
            Type::S64 => binary(body, s, high_i64),
            ty => unsupported(ty),
        };
    }
    float::mul(body, s, ty)
}

fn high_u16(a: u16, b: u16) -> u16 {
    ((u32::from(a) * u32::from(b)) >> 16) as u16
}

fn high_i16(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b)) >> 16) as i16
}

fn high_u32(a: u32, b: u32) -> u32 {
    ((u64::from(a) * u64::from(b)) >> 32) as u32
}

fn high_i32(a: i32, b: i32) -> i32 {
    ((i64::from(a) * i64::from(b)) >> 32) as i32
}

fn high_u64(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

fn high_i64(a: i64, b: i64) -> i64 {
    ((i128::from(a) * i128::from(b)) >> 64) as i64
}

fn mad<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let ty = s.modifiers.ty()?;
    if s.modifiers.take("lo") {
        return match ty {
            Type::U16 | Type::S16 => {
                ternary(body, s, |a: u16, b, c| a.wrapping_mul(b).wrapping_add(c))
            }
            Type::U32 | Type::S32 => {
                ternary(body, s, |a: u32, b, c| a.wrapping_mul(b).wrapping_add(c))
            }
            Type::U64 | Type::S64 => {
                ternary(body, s, |a: u64, b, c| a.wrapping_mul(b).wrapping_add(c))
            }
            ty => unsupported(ty),
        };
    }
    if s.modifiers.take("wide") {
        return match ty {
            Type::U16 => ternary(body, s, |a: u16, b: u16, c: u32| {
                (u32::from(a) * u32::from(b)).wrapping_add(c)
            }),
            Type::S16 => ternary(body, s, |a: i16, b: i16, c: i32| {
                (i32::from(a) * i32::from(b)).wrapping_add(c)
            }),
            Type::U32 => ternary(body, s, |a: u32, b: u32, c: u64| {
                (u64::from(a) * u64::from(b)).wrapping_add(c)
            }),
            Type::S32 => ternary(body, s, |a: i32, b: i32, c: i64| {
                (i64::from(a) * i64::from(b)).wrapping_add(c)
            }),
            ty => unsupported(ty),
        };
    }
    if s.modifiers.take("hi") {
        return match ty {
            Type::U32 => ternary(body, s, |a, b, c: u32| high_u32(a, b).wrapping_add(c)),
            Type::S32 => ternary(body, s, |a, b, c: i32| high_i32(a, b).wrapping_add(c)),
            Type::U64 => ternary(body, s, |a, b, c: u64| high_u64(a, b).wrapping_add(c)),
            Type::S64 => ternary(body, s, |a, b, c: i64| high_i64(a, b).wrapping_add(c)),
            ty => unsupported(ty),
        };
    }
    float::fma(body, s, ty)
}

/// Division by zero has no defined result in PTX; here all bits are ones.
fn div<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::U16 => binary(body, s, |a: u16, b| a.checked_div(b).unwrap_or(!0)),
        Type::U32 => binary(body, s, |a: u32, b| a.checked_div(b).unwrap_or(!0)),
        Type::U64 => binary(body, s, |a: u64, b| a.checked_div(b).unwrap_or(!0)),
        Type::S16 => binary(body, s, |a: i16, b| if b == 0 { -1 } else { a.wrapping_div(b) }),
        Type::S32 => binary(body, s, |a: i32, b| if b == 0 { -1 } else { a.wrapping_div(b) }),
        Type::S64 => binary(body, s, |a: i64, b| if b == 0 { -1 } else { a.wrapping_div(b) }),
        ty => float::div(body, s, ty),
    }
}

/// The remainder of a division by zero is the dividend here.
fn rem<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::U16 => binary(body, s, |a: u16, b| a.checked_rem(b).unwrap_or(a)),
        Type::U32 => binary(body, s, |a: u32, b| a.checked_rem(b).unwrap_or(a)),
        Type::U64 => binary(body, s, |a: u64, b| a.checked_rem(b).unwrap_or(a)),
        Type::S16 => binary(body, s, |a: i16, b| if b == 0 { a } else { a.wrapping_rem(b) }),
        Type::S32 => binary(body, s, |a: i32, b| if b == 0 { a } else { a.wrapping_rem(b) }),
        Type::S64 => binary(body, s, |a: i64, b| if b == 0 { a } else { a.wrapping_rem(b) }),
        ty => unsupported(ty),
    }
}

fn abs<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::S16 => unary(body, s, i16::wrapping_abs),
        Type::S32 => unary(body, s, i32::wrapping_abs),
        Type::S64 => unary(body, s, i64::wrapping_abs),
        ty => float::abs(body, s, ty),
    }
}

fn neg<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::S16 => unary(body, s, i16::wrapping_neg),
        Type::S32 => unary(body, s, i32::wrapping_neg),
        Type::S64 => unary(body, s, i64::wrapping_neg),
        ty => float::neg(body, s, ty),
    }
}

fn min<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::U16 => binary(body, s, u16::min),
        Type::S16 => binary(body, s, i16::min),
        Type::U32 => binary(body, s, u32::min),
        Type::S32 if s.modifiers.take("relu") => binary(body, s, |a: i32, b| a.min(b).max(0)),
        Type::S32 => binary(body, s, i32::min),
        Type::U64 => binary(body, s, u64::min),
        Type::S64 => binary(body, s, i64::min),
        ty => float::min(body, s, ty),
    }
}

fn max<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::U16 => binary(body, s, u16::max),
        Type::S16 => binary(body, s, i16::max),
        Type::U32 => binary(body, s, u32::max),
        Type::S32 if s.modifiers.take("relu") => binary(body, s, |a: i32, b| a.max(b).max(0)),
        Type::S32 => binary(body, s, i32::max),
        Type::U64 => binary(body, s, u64::max),
        Type::S64 => binary(body, s, i64::max),
        ty => float::max(body, s, ty),
    }
}

/// The sum of a number and the distance between two others.
fn sad<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::U32 => ternary(body, s, |a: u32, b, c| a.abs_diff(b).wrapping_add(c)),
        Type::S32 => ternary(body, s, |a: i32, b, c: u32| a.abs_diff(b).wrapping_add(c)),
        ty => unsupported(ty),
    }
}
