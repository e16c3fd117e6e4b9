//! Every helper at every level against plain loops.

use half::{bf16, f16};

use super::*;

/// Deterministic values in ±1.
fn noise(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn assert_close(found: f32, expected: f64, scale: f64, what: &str) {
    let error = (f64::from(found) - expected).abs();
    assert!(error <= 1e-6 * scale, "{what}: found {found}, expected {expected}");
}

const LENGTHS: [usize; 9] = [0, 1, 3, 7, 16, 31, 64, 129, 1000];

#[test]
fn sums_agree_with_f64() {
    for simd in Simd::all() {
        for len in LENGTHS {
            let (a, b) = (noise(len, 1), noise(len, 2));
            let what = format!("{} over {len}", simd.name());
            let products = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b));
            assert_close(simd.dot(&a, &b), products.sum(), len as f64, &what);
            let max = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(simd.max(&a).to_bits(), max.to_bits(), "{what}");
            let words: Vec<u32> = a.iter().map(|a| a.to_bits()).collect();
            let sum = words.iter().fold(0u32, |sum, word| sum.wrapping_add(*word));
            assert_eq!(simd.sum_u32(&words), sum, "{what}");
        }
    }
}

#[test]
fn updates_agree_with_f64() {
    for simd in Simd::all() {
        for len in LENGTHS {
            let (start, x) = (noise(len, 3), noise(len, 4));
            let mut y = start.clone();
            simd.axpy(&mut y, 0.3, &x);
            let mut scaled = vec![f32::NAN; len];
            simd.scale_mul(&mut scaled, &y, 0.5, &x);
            for i in 0..len {
                let sum = f64::from(start[i]) + f64::from(0.3f32) * f64::from(x[i]);
                assert_close(y[i], sum, 2.0, simd.name());
                assert_close(scaled[i], 0.5 * sum * f64::from(x[i]), 2.0, simd.name());
            }
        }
    }
}

#[test]
fn rows_agree_with_single_calls() {
    for simd in Simd::all() {
        for cols in &LENGTHS[1..] {
            let (rows, x) = (noise(5 * cols, 5), noise(*cols, 6));
            let weights = noise(5, 7);
            let mut sum = x.clone();
            simd.axpy_rows(&mut sum, &weights, &rows);
            let mut expected = x.clone();
            for (weight, row) in weights.iter().zip(rows.chunks_exact(*cols)) {
                simd.axpy(&mut expected, *weight, row);
            }
            assert_eq!(sum, expected, "{} over {cols}", simd.name());
        }
    }
}

#[test]
fn exp_is_accurate_and_saturates() {
    for simd in Simd::all() {
        let xs: Vec<f32> = (-86_500..88_700).map(|i| i as f32 / 1000.0).collect();
        let mut ys = xs.clone();
        let sum = simd.exp_sum(&mut ys, 0.0);
        assert!(sum.is_infinite() || sum > 0.0);
        for (x, y) in xs.iter().zip(&ys) {
            let expected = f64::from(*x).exp();
            let error = (f64::from(*y) - expected).abs() / expected;
            assert!(error < 2.4e-7, "exp({x}) = {y}, expected {expected} ({})", simd.name());
        }
        let mut special = [f32::NEG_INFINITY, -200.0, -87.0, 88.73, 1e9, f32::INFINITY, f32::NAN];
        simd.exp_sum(&mut special, 0.0);
        assert_eq!(special[..3], [0.0; 3], "{}", simd.name());
        assert_eq!(special[3..6], [f32::INFINITY; 3], "{}", simd.name());
        assert!(special[6].is_nan(), "{}", simd.name());
    }
}

#[test]
fn exp_sum_shifts_and_sums() {
    for simd in Simd::all() {
        for len in LENGTHS {
            let start = noise(len, 7);
            let mut x = start.clone();
            let sum = simd.exp_sum(&mut x, 0.5);
            let exps = start.iter().map(|x| (f64::from(*x) - 0.5).exp());
            assert_close(sum, exps.clone().sum(), 2.0 * len as f64, simd.name());
            for (found, expected) in x.iter().zip(exps) {
                assert_close(*found, expected, 2.0, simd.name());
            }
        }
    }
}

#[test]
fn silu_mul_agrees_with_f64() {
    for simd in Simd::all() {
        for len in LENGTHS {
            let gate: Vec<f32> = noise(len, 8).iter().map(|x| x * 100.0).collect();
            let up = noise(len, 9);
            let mut out = vec![f32::NAN; len];
            simd.silu_mul(&mut out, &gate, &up);
            for i in 0..len {
                let (gate, up) = (f64::from(gate[i]), f64::from(up[i]));
                assert_close(out[i], gate / (1.0 + (-gate).exp()) * up, 100.0, simd.name());
            }
        }
    }
}

#[test]
fn every_16_bit_value_converts_exactly() {
    let f16s: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    let bf16s: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).collect();
    for simd in Simd::all() {
        let mut out = vec![0.0; f16s.len()];
        simd.f16_to_f32(&mut out, &f16s);
        for (x, out) in f16s.iter().zip(&out) {
            assert!(same(*out, x.to_f32()), "f16 {x:?} became {out} ({})", simd.name());
        }
        simd.bf16_to_f32(&mut out, &bf16s);
        for (x, out) in bf16s.iter().zip(&out) {
            assert!(same(*out, x.to_f32()), "bf16 {x:?} became {out} ({})", simd.name());
        }
    }
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Every exponent with fractions around each way to round, both signs.
fn awkward_floats() -> Vec<f32> {
    let fractions = [0, 1, 0x0fff, 0x1000, 0x1001, 0x2fff, 0x3000, 0x7fff, 0x8000, 0x8001]
        .into_iter()
        .chain([0x1_7fff, 0x1_8000, 0x1_8001, 0x3f_ffff, 0x40_0000, 0x7f_efff, 0x7f_ffff]);
    let all = fractions.flat_map(|fraction| (0..512u32).map(move |top| top << 23 | fraction));
    all.map(f32::from_bits).chain(noise(10_000, 10)).collect()
}

#[test]
fn rounding_is_to_nearest_even() {
    let xs = awkward_floats();
    for simd in Simd::all() {
        let mut f16s = vec![f16::ZERO; xs.len()];
        simd.f32_to_f16(&mut f16s, &xs);
        let mut bf16s = vec![bf16::ZERO; xs.len()];
        simd.f32_to_bf16(&mut bf16s, &xs);
        for ((x, found), found_bf16) in xs.iter().zip(&f16s).zip(&bf16s) {
            let expected = f16::from_f32(*x);
            let same = found.to_bits() == expected.to_bits();
            assert!(same || x.is_nan() && found.is_nan(), "{x:e}: {found:?}, {expected:?}");
            let expected = bf16::from_f32(*x);
            let same = found_bf16.to_bits() == expected.to_bits();
            assert!(same || x.is_nan() && found_bf16.is_nan(), "{x:e}: {found_bf16:?}");
        }
    }
}
