//! Bits: logic, shifts, fields, permutations.

use super::Table;
use super::arithmetic::unsupported;
use super::body::Body;
use super::lane_ops::{binary, predicates, quaternary, ternary, unary};
use super::operands::Decoded;
use super::statement::{Operand, Statement, Type};

pub(super) const TABLE: &Table = &[
    ("and", and),
    ("or", or),
    ("xor", xor),
    ("not", not),
    ("cnot", cnot),
    ("shl", shl),
    ("shr", shr),
    ("shf", shf),
    ("lop3", lop3),
    ("prmt", prmt),
    ("bfe", bfe),
    ("bfi", bfi),
    ("popc", popc),
    ("clz", clz),
    ("brev", brev),
    ("bfind", bfind),
    ("bmsk", bmsk),
];

fn and<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::Pred => predicates(body, s, |a, b| a & b),
        Type::B16 => binary(body, s, |a: u16, b: u16| a & b),
        Type::B32 => binary(body, s, |a: u32, b: u32| a & b),
        Type::B64 => binary(body, s, |a: u64, b: u64| a & b),
        ty => unsupported(ty),
    }
}

fn or<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::Pred => predicates(body, s, |a, b| a | b),
        Type::B16 => binary(body, s, |a: u16, b: u16| a | b),
        Type::B32 => binary(body, s, |a: u32, b: u32| a | b),
        Type::B64 => binary(body, s, |a: u64, b: u64| a | b),
        ty => unsupported(ty),
    }
}

fn xor<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::Pred => predicates(body, s, |a, b| a ^ b),
        Type::B16 => binary(body, s, |a: u16, b: u16| a ^ b),
        Type::B32 => binary(body, s, |a: u32, b: u32| a ^ b),
        Type::B64 => binary(body, s, |a: u64, b: u64| a ^ b),
        ty => unsupported(ty),
    }
}

fn not<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::Pred => predicates(body, s, |a, _| !a),
        Type::B16 => unary(body, s, |a: u16| !a),
        Type::B32 => unary(body, s, |a: u32| !a),
        Type::B64 => unary(body, s, |a: u64| !a),
        ty => unsupported(ty),
    }
}

fn cnot<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::B16 => unary(body, s, |a: u16| u16::from(a == 0)),
        Type::B32 => unary(body, s, |a: u32| u32::from(a == 0)),
        Type::B64 => unary(body, s, |a: u64| u64::from(a == 0)),
        ty => unsupported(ty),
    }
}

/// Shifts by more than the width give what a shift by the width does.
fn shl<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::B16 => binary(body, s, |a: u16, b: u32| a.checked_shl(b).unwrap_or(0)),
        Type::B32 => binary(body, s, |a: u32, b: u32| a.checked_shl(b).unwrap_or(0)),
        Type::B64 => binary(body, s, |a: u64, b: u32| a.checked_shl(b).unwrap_or(0)),
        ty => unsupported(ty),
    }
}

fn shr<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::B16 | Type::U16 => binary(body, s, |a: u16, b: u32| a.checked_shr(b).unwrap_or(0)),
        Type::B32 | Type::U32 => binary(body, s, |a: u32, b: u32| a.checked_shr(b).unwrap_or(0)),
        Type::B64 | Type::U64 => binary(body, s, |a: u64, b: u32| a.checked_shr(b).unwrap_or(0)),
        Type::S16 => binary(body, s, |a: i16, b: u32| a >> b.min(15)),
        Type::S32 => binary(body, s, |a: i32, b: u32| a >> b.min(31)),
        Type::S64 => binary(body, s, |a: i64, b: u32| a >> b.min(63)),
        ty => unsupported(ty),
    }
}

/// A shift of 64 bits of which one half is kept.
fn shf<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.ty(|ty| ty == Type::B32)?;
    let join = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
    let left = s.modifiers.take("l");
    if !left && !s.modifiers.take("r") {
        return Err("no direction, expected .l or .r".to_owned());
    }
    if s.modifiers.take("wrap") {
        return if left {
            ternary(body, s, move |a, b, c: u32| ((join(a, b) << (c & 31)) >> 32) as u32)
        } else {
            ternary(body, s, move |a, b, c: u32| (join(a, b) >> (c & 31)) as u32)
        };
    }
    if !s.modifiers.take("clamp") {
        return Err("no mode, expected .wrap or .clamp".to_owned());
    }
    if left {
        ternary(body, s, move |a, b, c: u32| ((join(a, b) << c.min(32)) >> 32) as u32)
    } else {
        ternary(body, s, move |a, b, c: u32| (join(a, b) >> c.min(32)) as u32)
    }
}

/// Any logical function of three operands; bit `4a + 2b + c` of the table is its value.
fn lop3<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.ty(|ty| ty == Type::B32)?;
    let Some(Operand::Integer(table)) = s.operands.pop() else {
        return Err("the last operand must be a table of 8 bits".to_owned());
    };
    let minterm = |bit: u32| if table >> bit & 1 == 1 { !0u32 } else { 0 };
    let m: [u32; 8] = std::array::from_fn(|bit| minterm(bit as u32));
    ternary(body, s, move |a: u32, b: u32, c: u32| {
        let of_c = |m0: u32, m1: u32| (!c & m0) | (c & m1);
        let of_b = |i: usize| (!b & of_c(m[i], m[i + 1])) | (b & of_c(m[i + 2], m[i + 3]));
        (!a & of_b(0)) | (a & of_b(4))
    })
}

fn prmt<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.ty(|ty| ty == Type::B32)?;
    let mode = s.modifiers.find(|modifier| {
        let mode: fn(u32) -> [u32; 4] = match modifier {
            "f4e" => |c| std::array::from_fn(|i| (i as u32 + c) & 7),
            "b4e" => |c| std::array::from_fn(|i| c.wrapping_sub(i as u32) & 7),
            "rc8" => |c| [c; 4],
            "ecl" => |c| std::array::from_fn(|i| (i as u32).max(c)),
            "ecr" => |c| std::array::from_fn(|i| (i as u32).min(c)),
            "rc16" => |c| std::array::from_fn(|i| (c & 1) * 2 + (i as u32 & 1)),
            _ => return None,
        };
        Some(mode)
    });
    let bytes_of = |a: u32, b: u32| (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
    match mode {
        Some(mode) => ternary(body, s, move |a, b, c: u32| {
            let bytes = bytes_of(a, b);
            u32::from_le_bytes(mode(c & 3).map(|select| bytes[select as usize]))
        }),
        None => ternary(body, s, move |a, b, c: u32| {
            let bytes = bytes_of(a, b);
            u32::from_le_bytes(std::array::from_fn(|i| {
                let select = c >> (4 * i);
                let byte = bytes[(select & 7) as usize];
                // Bit 3 spreads the sign of the byte over it.
                if select & 8 == 0 { byte } else { (byte as i8 >> 7) as u8 }
            }))
        }),
    }
}

/// A field of `len` bits from bit `at` on; above the top bit lies the sign (or zeros).
fn field(value: i128, at: u32, len: u32) -> i128 {
    match (len & 0xff).min(64) {
        0 => 0,
        len => (value >> (at & 0xff).min(64)) << (128 - len) >> (128 - len),
    }
}

fn bfe<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let mask = |len: u32| (1u128 << (len & 0xff).min(64)) - 1;
    let unsigned =
        move |a: u64, at: u32, len: u32| (u128::from(a) >> (at & 0xff).min(64) & mask(len)) as u64;
    match s.modifiers.ty()? {
        Type::U32 => ternary(body, s, move |a: u32, at, len| unsigned(a.into(), at, len) as u32),
        Type::U64 => ternary(body, s, unsigned),
        Type::S32 => ternary(body, s, |a: i32, at, len| field(a.into(), at, len) as i32),
        Type::S64 => ternary(body, s, |a: i64, at, len| field(a.into(), at, len) as i64),
        ty => unsupported(ty),
    }
}

/// Puts the low `len` bits of `a` at bit `at` of `b`.
fn insert(a: u64, b: u64, at: u32, len: u32) -> u64 {
    let (at, len) = (at & 0xff, len & 0xff);
    let mask = (((1u128 << len.min(64)) - 1) << at.min(64)) as u64;
    (b & !mask) | ((u128::from(a) << at.min(64)) as u64 & mask)
}

fn bfi<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::B32 => quaternary(body, s, |a: u32, b: u32, at: u32, len: u32| {
            insert(a.into(), b.into(), at, len) as u32
        }),
        Type::B64 => quaternary(body, s, insert),
        ty => unsupported(ty),
    }
}

fn popc<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::B32 => unary(body, s, u32::count_ones),
        Type::B64 => unary(body, s, u64::count_ones),
        ty => unsupported(ty),
    }
}

fn clz<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::B32 => unary(body, s, u32::leading_zeros),
        Type::B64 => unary(body, s, u64::leading_zeros),
        ty => unsupported(ty),
    }
}

fn brev<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    match s.modifiers.ty()? {
        Type::B32 => unary(body, s, u32::reverse_bits),
        Type::B64 => unary(body, s, u64::reverse_bits),
        ty => unsupported(ty),
    }
}

/// The place of the highest bit that differs from the sign; all ones if there is none.
fn bfind<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let shift = s.modifiers.take("shiftamt");
    let find = move |bits: u64, width: u32| match bits {
        0 => !0,
        _ if shift => width - 1 - (63 - bits.leading_zeros()),
        _ => 63 - bits.leading_zeros(),
    };
    match s.modifiers.ty()? {
        Type::U32 => unary(body, s, move |a: u32| find(a.into(), 32)),
        Type::U64 => unary(body, s, move |a: u64| find(a, 64)),
        Type::S32 => unary(body, s, move |a: i32| find(((a ^ (a >> 31)) as u32).into(), 32)),
        Type::S64 => unary(body, s, move |a: i64| find((a ^ (a >> 63)) as u64, 64)),
        ty => unsupported(ty),
    }
}

/// A mask of `len` bits from bit `at` on.
fn bmsk<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.ty(|ty| ty == Type::B32)?;
    let mask = |at: u32, len: u32| (((1u64 << len.min(32)) - 1) << at.min(32)) as u32;
    if s.modifiers.take("wrap") {
        return binary(body, s, move |at: u32, len: u32| mask(at & 31, len & 31));
    }
    s.modifiers.drop(&["clamp"]);
    binary(body, s, mask)
}
