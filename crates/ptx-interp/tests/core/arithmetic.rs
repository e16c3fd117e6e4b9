//! Integer and bit instructions against Rust, on the edges of their types.

use crate::one_instruction::{Widths, results, triples};

/// Numbers on the edges of all integer types, and some in between.
const EDGES: [u64; 13] = [
    0,
    1,
    2,
    5,
    31,
    32,
    64,
    0x7fff,
    0xffff_8001,
    0x7fff_ffff,
    0x8000_0000_dead_beef,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Compares an instruction with `f`, of which the low bits of the operands and the result count.
fn check(instruction: &str, widths: Widths<'_>, f: impl Fn(u64, u64, u64) -> u64) {
    let rows = triples(&EDGES);
    let cut = |value: u64, bits: u32| match bits {
        1 => u64::from(value as u32 != 0),
        bits => value & (u64::MAX >> (64 - bits)),
    };
    let operand = |row: &[u64; 3], at: usize| match widths.1.get(at) {
        Some(bits) => cut(row[at], *bits),
        None => 0,
    };
    for (row, found) in rows.iter().zip(results(instruction, widths, &rows)) {
        let [a, b, c] = [0, 1, 2].map(|at| operand(row, at));
        let expected = f(a, b, c) & (u64::MAX >> (64 - widths.0));
        assert_eq!(found, expected, "{instruction} of {a:#x}, {b:#x}, {c:#x}");
    }
}

const U16: Widths<'_> = (16, &[16, 16, 16]);
const U32: Widths<'_> = (32, &[32, 32, 32]);
const U64: Widths<'_> = (64, &[64, 64, 64]);

#[test]
fn sums_and_products() {
    check("add.s16 %d, %a, %b;", U16, |a, b, _| a.wrapping_add(b));
    check("add.s32 %d, %a, %b;", U32, |a, b, _| a.wrapping_add(b));
    check("add.s64 %d, %a, %b;", U64, |a, b, _| a.wrapping_add(b));
    check("sub.u32 %d, %a, %b;", U32, |a, b, _| a.wrapping_sub(b));
    check("sub.s16 %d, %a, %b;", U16, |a, b, _| a.wrapping_sub(b));
    check("add.sat.s32 %d, %a, %b;", U32, |a, b, _| (a as i32).saturating_add(b as i32) as u64);
    check("mul.lo.s32 %d, %a, %b;", U32, |a, b, _| a.wrapping_mul(b));
    check("mul.lo.s64 %d, %a, %b;", U64, |a, b, _| a.wrapping_mul(b));
    check("mul.wide.s32 %d, %a, %b;", (64, &[32, 32]), |a, b, _| {
        (i64::from(a as i32) * i64::from(b as i32)) as u64
    });
    check("mul.wide.u32 %d, %a, %b;", (64, &[32, 32]), |a, b, _| a * b);
    check("mul.wide.u16 %d, %a, %b;", (32, &[16, 16]), |a, b, _| a * b);
    check("mul.wide.s16 %d, %a, %b;", (32, &[16, 16]), |a, b, _| {
        (i32::from(a as i16) * i32::from(b as i16)) as u64
    });
    check("mul.hi.u32 %d, %a, %b;", U32, |a, b, _| (a * b) >> 32);
    check("mul.hi.s32 %d, %a, %b;", U32, |a, b, _| {
        ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u64
    });
    check("mul.hi.u64 %d, %a, %b;", U64, |a, b, _| ((u128::from(a) * u128::from(b)) >> 64) as u64);
    check("mad.lo.s32 %d, %a, %b, %c;", U32, |a, b, c| a.wrapping_mul(b).wrapping_add(c));
    check("mad.wide.s32 %d, %a, %b, %c;", (64, &[32, 32, 64]), |a, b, c| {
        (i64::from(a as i32) * i64::from(b as i32)).wrapping_add(c as i64) as u64
    });
    check("mad.hi.u32 %d, %a, %b, %c;", U32, |a, b, c| ((a * b) >> 32) + c);
    check("sad.s32 %d, %a, %b, %c;", U32, |a, b, c| u64::from((a as i32).abs_diff(b as i32)) + c);
}

#[test]
fn quotients_and_remainders() {
    check("div.u32 %d, %a, %b;", U32, |a, b, _| a.checked_div(b).unwrap_or(u64::MAX));
    check("div.s32 %d, %a, %b;", U32, |a, b, _| {
        if b == 0 { u64::MAX } else { (a as i32).wrapping_div(b as i32) as u64 }
    });
    check("div.s64 %d, %a, %b;", U64, |a, b, _| {
        if b == 0 { u64::MAX } else { (a as i64).wrapping_div(b as i64) as u64 }
    });
    check("rem.u64 %d, %a, %b;", U64, |a, b, _| a.checked_rem(b).unwrap_or(a));
    check("rem.s32 %d, %a, %b;", U32, |a, b, _| {
        if b == 0 { a } else { (a as i32).wrapping_rem(b as i32) as u64 }
    });
}

#[test]
fn extremes_and_signs() {
    check("min.s32 %d, %a, %b;", U32, |a, b, _| (a as i32).min(b as i32) as u64);
    check("max.u32 %d, %a, %b;", U32, |a, b, _| a.max(b));
    check("max.s64 %d, %a, %b;", U64, |a, b, _| (a as i64).max(b as i64) as u64);
    check("min.u16 %d, %a, %b;", U16, |a, b, _| a.min(b));
    check("max.s16 %d, %a, %b;", U16, |a, b, _| (a as i16).max(b as i16) as u64);
    check("abs.s32 %d, %a;", U32, |a, _, _| (a as i32).wrapping_abs() as u64);
    check("neg.s64 %d, %a;", U64, |a, _, _| a.wrapping_neg());
    check("neg.s16 %d, %a;", U16, |a, _, _| a.wrapping_neg());
}

#[test]
fn shifts() {
    let shift16: Widths<'_> = (16, &[16, 32]);
    let shift64: Widths<'_> = (64, &[64, 32]);
    check("shl.b16 %d, %a, %b;", shift16, |a, b, _| if b > 15 { 0 } else { a << b });
    check("shl.b32 %d, %a, %b;", U32, |a, b, _| if b > 31 { 0 } else { a << b });
    check("shl.b64 %d, %a, %b;", shift64, |a, b, _| if b > 63 { 0 } else { a << b });
    check("shr.u32 %d, %a, %b;", U32, |a, b, _| if b > 31 { 0 } else { a >> b });
    check("shr.s32 %d, %a, %b;", U32, |a, b, _| (a as i32 >> b.min(31)) as u64);
    check("shr.s16 %d, %a, %b;", shift16, |a, b, _| (a as i16 >> b.min(15)) as u64);
    check("shr.s64 %d, %a, %b;", shift64, |a, b, _| (a as i64 >> b.min(63)) as u64);
    let pair = |a: u64, b: u64| b << 32 | a;
    check("shf.l.wrap.b32 %d, %a, %b, %c;", U32, |a, b, c| pair(a, b) << (c & 31) >> 32);
    check("shf.r.wrap.b32 %d, %a, %b, %c;", U32, |a, b, c| pair(a, b) >> (c & 31));
    check("shf.l.clamp.b32 %d, %a, %b, %c;", U32, |a, b, c| pair(a, b) << c.min(32) >> 32);
    check("shf.r.clamp.b32 %d, %a, %b, %c;", U32, |a, b, c| pair(a, b) >> c.min(32));
}

#[test]
fn logic() {
    check("and.b32 %d, %a, %b;", U32, |a, b, _| a & b);
    check("or.b64 %d, %a, %b;", U64, |a, b, _| a | b);
    check("xor.b16 %d, %a, %b;", U16, |a, b, _| a ^ b);
    check("not.b32 %d, %a;", U32, |a, _, _| !a);
    check("cnot.b32 %d, %a;", U32, |a, _, _| u64::from(a == 0));
    check("xor.pred %d, %a, %b;", (1, &[1, 1]), |a, b, _| a ^ b);
    check("not.pred %d, %a;", (1, &[1]), |a, _, _| a ^ 1);
    // The tables are the function's own values for a = 0xf0, b = 0xcc, c = 0xaa.
    check("lop3.b32 %d, %a, %b, %c, 0x96;", U32, |a, b, c| a ^ b ^ c);
    check("lop3.b32 %d, %a, %b, %c, 0xe8;", U32, |a, b, c| (a & b) | (b & c) | (a & c));
    check("lop3.b32 %d, %a, %b, %c, 0xca;", U32, |a, b, c| (a & b) | (!a & c));
}

#[test]
fn fields_and_counts() {
    check("bfe.u32 %d, %a, %b, %c;", U32, |a, at, len| {
        let (at, len) = ((at & 255).min(63), (len & 255).min(63));
        a >> at & ((1 << len) - 1)
    });
    check("bfi.b32 %d, %a, %b, %c, 8;", U32, |a, b, at| {
        let mask = 0xffu64.checked_shl((at & 255) as u32).unwrap_or(0);
        (b & !mask) | (a.checked_shl((at & 255) as u32).unwrap_or(0) & mask)
    });
    check("bfe.s32 %d, %a, 4, 8;", U32, |a, _, _| (a >> 4) as i8 as u64);
    check("bfe.s64 %d, %a, 60, 8;", U64, |a, _, _| (a as i64 >> 60) as u64);
    check("popc.b64 %d, %a;", (32, &[64]), |a, _, _| a.count_ones().into());
    check("clz.b32 %d, %a;", U32, |a, _, _| (a as u32).leading_zeros().into());
    check("brev.b32 %d, %a;", U32, |a, _, _| (a as u32).reverse_bits().into());
    check("bfind.u32 %d, %a;", U32, |a, _, _| if a == 0 { u64::MAX } else { a.ilog2().into() });
    check("bfind.s32 %d, %a;", U32, |a, _, _| {
        let a = if (a as i32) < 0 { u64::from(!a as u32) } else { a };
        if a == 0 { u64::MAX } else { a.ilog2().into() }
    });
    check("bmsk.clamp.b32 %d, %a, %b;", U32, |at, len, _| {
        (((1u128 << len.min(32)) - 1) << at.min(32)) as u64
    });
    check("prmt.b32 %d, %a, %b, 0x7610;", U32, |a, b, _| (a & 0xffff) | (b & 0xffff_0000));
    check("prmt.b32 %d, %a, %b, 0xbbb3;", U32, |a, _, _| {
        let sign = if a >> 31 == 1 { 0xffff_ff00 } else { 0 };
        sign | a >> 24
    });
    check("prmt.b32.rc8 %d, %a, %b, 1;", U32, |a, _, _| (a >> 8 & 0xff) * 0x0101_0101);
}

#[test]
fn comparisons_and_selections() {
    check("setp.lt.s32 %d, %a, %b;", (1, &[32, 32]), |a, b, _| ((a as i32) < b as i32).into());
    check("setp.hi.u32 %d, %a, %b;", (1, &[32, 32]), |a, b, _| (a > b).into());
    check("setp.ge.s64 %d, %a, %b;", (1, &[64, 64]), |a, b, _| (a as i64 >= b as i64).into());
    check("setp.ne.s16 %d, %a, %b;", (1, &[16, 16]), |a, b, _| (a != b).into());
    check("setp.eq.and.b32 %d, %a, %b, %c;", (1, &[32, 32, 1]), |a, b, c| u64::from(a == b) & c);
    check("{ .reg .pred %q; setp.le.or.u32 %q|%d, %a, %b, !%c; }", (1, &[32, 32, 1]), |a, b, c| {
        u64::from(a > b) | (c ^ 1)
    });
    check("selp.b64 %d, %a, %b, %c;", (64, &[64, 64, 1]), |a, b, c| if c == 1 { a } else { b });
    check("slct.b32.s32 %d, %a, %b, %c;", U32, |a, b, c| if (c as i32) < 0 { b } else { a });
    check(
        "set.ge.u32.s32 %d, %a, %b;",
        U32,
        |a, b, _| {
            if a as i32 >= b as i32 { u64::MAX } else { 0 }
        },
    );
}

#[test]
fn moves_and_integer_conversions() {
    check("{ .reg .b16 %x, %y; mov.b32 {%x, %y}, %a; mov.b32 %d, {%y, %x}; }", U32, |a, _, _| {
        u64::from((a as u32).rotate_left(16))
    });
    check("{ .reg .b32 %x, %y; mov.b64 {%x, %y}, %a; mov.b64 %d, {%y, %x}; }", U64, |a, _, _| {
        a.rotate_left(32)
    });
    check("cvt.s64.s32 %d, %a;", (64, &[32]), |a, _, _| a as i32 as u64);
    check("cvt.u64.u32 %d, %a;", (64, &[32]), |a, _, _| a);
    check("cvt.u32.u64 %d, %a;", (32, &[64]), |a, _, _| a);
    check("cvt.s32.s8 %d, %a;", U32, |a, _, _| a as i8 as u64);
    check("cvt.u32.u16 %d, %a;", (32, &[16]), |a, _, _| a);
    check("cvt.u16.u32 %d, %a;", (16, &[32]), |a, _, _| a);
    check("cvt.s16.s8 %d, %a;", U16, |a, _, _| a as i8 as u64);
    check("cvt.sat.u8.s32 %d, %a;", U32, |a, _, _| (a as i32).clamp(0, 255) as u64);
}

#[test]
fn movmatrix_transposes_eight_rows_of_eight() {
    let pair = |(low, high): ((u64, u64), (u64, u64))| {
        let element = |(row, column)| row * 8 + column;
        element(low) | element(high) << 16
    };
    let lanes = (0..32).map(|lane| (lane / 4, lane % 4 * 2));
    let held = lanes.clone().map(|(row, column)| pair(((row, column), (row, column + 1))));
    let transposed = lanes.map(|(row, column)| pair(((column, row), (column + 1, row))));
    let rows: Vec<_> = held.map(|pair| [pair, 0, 0]).collect();
    let found = results("movmatrix.sync.aligned.m8n8.trans.b16 %d, %a;", (32, &[32]), &rows);
    assert_eq!(found, transposed.collect::<Vec<_>>());
}
