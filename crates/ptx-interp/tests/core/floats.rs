//! Float instructions against Rust, on the edges of the formats.

use crate::one_instruction::{results, triples};

const EDGES: [f32; 15] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    1.0000001,
    std::f32::consts::PI,
    -1e-30,
    3e38,
    -3e38,
    1e-40,
    -1.5e-45,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    16777217.0,
];

fn check(instruction: &str, num_operands: usize, f: impl Fn(f32, f32, f32) -> f32) {
    let bits: Vec<u64> = EDGES.iter().map(|x| u64::from(x.to_bits())).collect();
    let rows = triples(&bits);
    let found = results(instruction, (32, &[32, 32, 32][..num_operands]), &rows);
    for (row, found) in rows.iter().zip(found) {
        let [a, b, c] = row.map(|bits| f32::from_bits(bits as u32));
        let (found, expected) = (f32::from_bits(found as u32), f(a, b, c));
        let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
        assert!(same, "{instruction} of {a:e}, {b:e}, {c:e}: {found:e}, expected {expected:e}");
    }
}

fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

#[test]
fn arithmetic() {
    check("add.f32 %d, %a, %b;", 2, |a, b, _| a + b);
    check("add.ftz.f32 %d, %a, %b;", 2, |a, b, _| flush(flush(a) + flush(b)));
    check("sub.rn.f32 %d, %a, %b;", 2, |a, b, _| a - b);
    check("mul.f32 %d, %a, %b;", 2, |a, b, _| a * b);
    check("mul.sat.f32 %d, %a, %b;", 2, |a, b, _| if a * b > 0.0 { (a * b).min(1.0) } else { 0.0 });
    check("div.rn.f32 %d, %a, %b;", 2, |a, b, _| a / b);
    check("fma.rn.f32 %d, %a, %b, %c;", 3, f32::mul_add);
    check("fma.rn.ftz.f32 %d, %a, %b, %c;", 3, |a, b, c| {
        flush(flush(a).mul_add(flush(b), flush(c)))
    });
    check("sqrt.rn.f32 %d, %a;", 1, |a, _, _| a.sqrt());
    check("rcp.approx.ftz.f32 %d, %a;", 1, |a, _, _| flush(flush(a).recip()));
    check("neg.f32 %d, %a;", 1, |a, _, _| -a);
    check("abs.f32 %d, %a;", 1, |a, _, _| a.abs());
}

#[test]
fn directed_rounding() {
    // The neighbours of 1 + 2^-30, which lies just above 1.
    let one = |rounding: &str| {
        let row = [1.0f32, 2f32.powi(-30), 0.0].map(|x| u64::from(x.to_bits()));
        let instruction = format!("add.{rounding}.f32 %d, %a, %b;");
        f32::from_bits(results(&instruction, (32, &[32, 32]), &[row])[0] as u32)
    };
    assert_eq!(["rn", "rz", "rm", "rp"].map(one), [1.0, 1.0, 1.0, 1.0f32.next_up()]);
    let product = |rounding: &str| {
        // 1 - 2^-24 squared minus 1 is -2^-23 + 2^-48: just above -2^-23.
        let row = [1.0f32.next_down(), 1.0f32.next_down(), -1.0].map(|x| u64::from(x.to_bits()));
        let instruction = format!("fma.{rounding}.f32 %d, %a, %b, %c;");
        f32::from_bits(results(&instruction, (32, &[32, 32, 32]), &[row])[0] as u32)
    };
    let below = -(2f32.powi(-23));
    let above = below.next_up();
    assert_eq!(["rm", "rz", "rp"].map(product), [below, above, above]);
}

#[test]
fn extremes() {
    let min = |a: f32, b: f32| match (a.is_nan(), b.is_nan()) {
        (true, _) => b,
        (_, true) => a,
        _ if a == b => {
            if a.is_sign_negative() {
                a
            } else {
                b
            }
        }
        _ => {
            if a < b {
                a
            } else {
                b
            }
        }
    };
    check("min.f32 %d, %a, %b;", 2, |a, b, _| min(a, b));
    check("max.f32 %d, %a, %b;", 2, |a, b, _| -min(-a, -b));
    check("max.NaN.f32 %d, %a, %b;", 2, |a, b, _| {
        if a.is_nan() || b.is_nan() { f32::NAN } else { -min(-a, -b) }
    });
    check("copysign.f32 %d, %a, %b;", 2, |a, b, _| b.copysign(a));
}

#[test]
#[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN must make these comparisons true")]
fn comparisons_with_nan() {
    let bits: Vec<u64> = EDGES.iter().map(|x| u64::from(x.to_bits())).collect();
    let rows = triples(&bits);
    let check = |comparison: &str, f: fn(f32, f32) -> bool| {
        let instruction = format!("setp.{comparison}.f32 %d, %a, %b;");
        let found = results(&instruction, (1, &[32, 32]), &rows);
        for (row, found) in rows.iter().zip(found) {
            let (a, b) = (f32::from_bits(row[0] as u32), f32::from_bits(row[1] as u32));
            assert_eq!(found == 1, f(a, b), "{comparison} of {a:e}, {b:e}");
        }
    };
    check("eq", |a, b| a == b);
    check("ne", |a, b| a != b && !a.is_nan() && !b.is_nan());
    check("neu", |a, b| a != b);
    check("lt", |a, b| a < b);
    check("ltu", |a, b| !(a >= b));
    check("geu", |a, b| !(a < b));
    check("gtu", |a, b| !(a <= b));
    check("num", |a, b| !a.is_nan() && !b.is_nan());
    check("nan", |a, b| a.is_nan() || b.is_nan());
}

#[test]
fn functions() {
    let values: Vec<[u64; 3]> =
        (-40..40).map(|i| [u64::from((i as f32 * 0.37).to_bits()), 0, 0]).collect();
    let check = |instruction: &str, f: fn(f32) -> f32| {
        for (row, found) in values.iter().zip(results(instruction, (32, &[32]), &values)) {
            let x = f32::from_bits(row[0] as u32);
            let (found, expected) = (f32::from_bits(found as u32), f(x));
            let close = (found - expected).abs() <= 1e-6 * expected.abs().max(1e-3);
            let same = close || found == expected || (found.is_nan() && expected.is_nan());
            assert!(same, "{instruction} of {x}: {found}, expected {expected}");
        }
    };
    check("ex2.approx.f32 %d, %a;", f32::exp2);
    check("lg2.approx.f32 %d, %a;", f32::log2);
    check("sin.approx.f32 %d, %a;", f32::sin);
    check("cos.approx.f32 %d, %a;", f32::cos);
    check("tanh.approx.f32 %d, %a;", f32::tanh);
    check("rsqrt.approx.f32 %d, %a;", |x| x.sqrt().recip());
}

#[test]
fn double_precision() {
    let values = [0.1f64, -2.5, 1e300, 3e-320, f64::INFINITY, f64::NAN];
    let rows = triples(&values.map(f64::to_bits));
    let check = |instruction: &str, f: fn(f64, f64, f64) -> f64| {
        for (row, found) in rows.iter().zip(results(instruction, (64, &[64, 64, 64]), &rows)) {
            let [a, b, c] = row.map(f64::from_bits);
            let (found, expected) = (f64::from_bits(found), f(a, b, c));
            let same =
                found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
            assert!(same, "{instruction} of {a:e}, {b:e}, {c:e}: {found:e}, not {expected:e}");
        }
    };
    check("add.f64 %d, %a, %b;", |a, b, _| a + b);
    check("mul.rn.f64 %d, %a, %b;", |a, b, _| a * b);
    check("fma.rn.f64 %d, %a, %b, %c;", f64::mul_add);
    check("div.rn.f64 %d, %a, %b;", |a, b, _| a / b);
    check("max.f64 %d, %a, %b;", |a, b, _| a.max(b));
}
