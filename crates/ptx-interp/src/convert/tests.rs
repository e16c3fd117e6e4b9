//! Conversions against Rust's own, against exhaustive round trips and against known bit patterns.

use super::*;

const F16: Number = Number::Float(Format::F16);
const BF16: Number = Number::Float(Format::Bf16);
const TF32: Number = Number::Float(Format::Tf32);
const F32: Number = Number::Float(Format::F32);
const F64: Number = Number::Float(Format::F64);
const MODES: [Rounding; 5] =
    [Rounding::NearestEven, Rounding::NearestAway, Rounding::Zero, Rounding::Down, Rounding::Up];

fn rounded(from: Number, to: Number, rounding: Rounding) -> Conversion {
    Conversion { rounding, ..Conversion::new(from, to) }
}

fn f32_bits(value: f32) -> u64 {
    u64::from(value.to_bits())
}

/// Floats of every magnitude, sign and tail.
fn samples() -> impl Iterator<Item = u32> {
    (0..200_000_u32).map(|i| i.wrapping_mul(0x9e37_79b9) ^ i << 3)
}

#[test]
fn every_half_survives_the_way_to_f32_and_back_in_every_mode() {
    for (half, widen) in [(F16, f16_to_f32 as fn(u16) -> u32), (BF16, bf16_to_f32)] {
        for bits in 0..=u16::MAX {
            let wide = u64::from(widen(bits));
            if f32::from_bits(wide as u32).is_nan() {
                let back = Conversion::new(F32, half).apply(wide);
                assert_eq!(back, 0x7fff, "{half:?} {bits:#06x}");
                continue;
            }
            let general =
                Conversion { flush: false, integral: false, ..Conversion::new(half, F64) };
            let exact = f64::from_bits(general.apply(u64::from(bits)));
            assert_eq!(f64::from(f32::from_bits(wide as u32)).to_bits(), exact.to_bits());
            for mode in MODES {
                let back = rounded(F32, half, mode).apply(wide);
                assert_eq!(back, u64::from(bits), "{half:?} {mode:?}");
            }
        }
    }
}

/// Between two neighbouring halves, each mode picks the neighbour that its rule names.
#[test]
fn values_between_two_halves_go_where_the_mode_says() {
    for (half, largest) in [(Format::F16, 0x7bff_u16), (Format::Bf16, 0x7f7f)] {
        let to_f64 = Conversion::new(Number::Float(half), F64);
        let value = |bits: u16| f64::from_bits(to_f64.apply(u64::from(bits)));
        for below in 0..largest {
            let (low, high) = (value(below), value(below + 1));
            let middle = (low + high) / 2.0;
            for (x, position) in
                [(middle, 0), (low + (high - low) / 4.0, -1), (high * 0.75 + low * 0.25, 1)]
            {
                for negative in [false, true] {
                    for mode in MODES {
                        let up = match mode {
                            Rounding::NearestEven => {
                                position > 0 || position == 0 && below % 2 == 1
                            }
                            Rounding::NearestAway => position >= 0,
                            Rounding::Zero => false,
                            Rounding::Down => negative,
                            Rounding::Up => !negative,
                        };
                        let sign = u64::from(negative) << 15;
                        let x = if negative { -x } else { x };
                        let got = rounded(F64, Number::Float(half), mode).apply(x.to_bits());
                        assert_eq!(got, sign | u64::from(below + u16::from(up)), "{x:e} {mode:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn beyond_the_largest_half_the_mode_decides_between_it_and_infinity() {
    let big = f32_bits(65520.0);
    for (mode, positive, negative) in [
        (Rounding::NearestEven, 0x7c00, 0xfc00),
        (Rounding::NearestAway, 0x7c00, 0xfc00),
        (Rounding::Zero, 0x7bff, 0xfbff),
        (Rounding::Down, 0x7bff, 0xfc00),
        (Rounding::Up, 0x7c00, 0xfbff),
    ] {
        assert_eq!(rounded(F32, F16, mode).apply(big), positive, "{mode:?}");
        assert_eq!(rounded(F32, F16, mode).apply(big | 1 << 31), negative, "{mode:?}");
    }
    let just_below = f32_bits(f32::from_bits(65520_f32.to_bits() - 1));
    assert_eq!(Conversion::new(F32, F16).apply(just_below), 0x7bff);
}

#[test]
fn f64_and_integers_round_to_f32_as_rust_does() {
    for bits in samples() {
        let wide = f64::from(f32::from_bits(bits)) * 1.000_000_059_7;
        if !wide.is_nan() {
            let got = Conversion::new(F64, F32).apply(wide.to_bits());
            assert_eq!(got, f32_bits(wide as f32), "{wide:e}");
        }
        let integer = (u64::from(bits) << 32 | u64::from(bits)) as i64;
        let signed = Conversion::new(Number::Signed(64), F32).apply(integer as u64);
        assert_eq!(signed, f32_bits(integer as f32));
        let unsigned = Conversion::new(Number::Unsigned(64), F64).apply(integer as u64);
        assert_eq!(unsigned, (integer as u64 as f64).to_bits());
    }
}

#[test]
fn f32_to_bf16_shortcut_equals_the_general_path() {
    for bits in samples() {
        let value = Value::from_bits(u64::from(bits), Format::F32);
        let general = value.to_bits(Format::Bf16, Rounding::NearestEven);
        assert_eq!(u64::from(f32_to_bf16(bits)), general, "{bits:#010x}");
    }
}

#[test]
fn float_to_integer_clamps_and_truncates_as_rust_does() {
    for bits in samples() {
        let value = f32::from_bits(bits);
        let truncate = |to| rounded(F32, to, Rounding::Zero).apply(u64::from(bits));
        assert_eq!(truncate(Number::Signed(32)), value as i32 as i64 as u64, "{value:e}");
        assert_eq!(truncate(Number::Unsigned(8)), u64::from(value as u8));
        if !value.is_nan() {
            assert_eq!(truncate(Number::Signed(64)), value as i64 as u64);
            assert_eq!(truncate(Number::Unsigned(64)), value as u64);
        }
    }
    assert_eq!(rounded(F32, Number::Signed(64), Rounding::Zero).apply(0x7fc0_0000), 1 << 63);
    assert_eq!(
        rounded(F64, Number::Unsigned(32), Rounding::Zero).apply(f64::NAN.to_bits()),
        1 << 31
    );
}

#[test]
fn integral_modes_round_floats_and_integers_alike() {
    let cases = [
        (Rounding::NearestEven, [2.0, -2.0, 4.0, 0.0, -0.0]),
        (Rounding::Zero, [2.0, -2.0, 3.0, 0.0, -0.0]),
        (Rounding::Down, [2.0, -3.0, 3.0, 0.0, -1.0]),
        (Rounding::Up, [3.0, -2.0, 4.0, 1.0, -0.0]),
    ];
    for (mode, expected) in cases {
        for (x, want) in [2.5_f32, -2.5, 3.5, 0.25, -0.25].into_iter().zip(expected) {
            let float = Conversion { integral: true, ..rounded(F32, F32, mode) };
            assert_eq!(float.apply(f32_bits(x)), f32_bits(want), "{x} {mode:?}");
            let integer = rounded(F32, Number::Signed(32), mode).apply(f32_bits(x));
            assert_eq!(integer as i64, want as i64, "{x} {mode:?}");
        }
    }
}

#[test]
fn integers_are_cut_or_clamped() {
    let cut = Conversion::new(Number::Signed(32), Number::Signed(8));
    assert_eq!(cut.apply(0x0000_0180) as i64, -128);
    assert_eq!(Conversion { saturate: true, ..cut }.apply(0x0000_0180) as i64, 127);
    let widen = Conversion::new(Number::Unsigned(8), Number::Signed(64));
    assert_eq!(widen.apply(0xffff), 255);
    let clamp =
        Conversion { saturate: true, ..Conversion::new(Number::Signed(32), Number::Unsigned(16)) };
    assert_eq!(clamp.apply(0xffff_ffff), 0, "-1 clamps to 0");
}

#[test]
fn modifiers_saturate_flush_and_rectify() {
    let saturate = Conversion { saturate: true, ..Conversion::new(F32, F32) };
    for (x, want) in [(0.25, 0.25), (1.5, 1.0), (-3.0, 0.0), (f32::NAN, 0.0), (-0.0, 0.0)] {
        assert_eq!(saturate.apply(f32_bits(x)), f32_bits(want), "{x}");
    }
    let flush = Conversion { flush: true, ..Conversion::new(F32, F32) };
    assert_eq!(flush.apply(0x8000_0001), 0x8000_0000);
    assert_eq!(
        Conversion { flush: true, ..Conversion::new(F64, F32) }.apply(1e-40_f64.to_bits()),
        0
    );
    assert_eq!(flush.apply(0x0080_0000), 0x0080_0000, "the smallest normal number stays");
    let relu = Conversion { relu: true, ..Conversion::new(F32, BF16) };
    assert_eq!(relu.apply(f32_bits(-1.0)), 0);
    assert_eq!(relu.apply(f32_bits(1.0)), 0x3f80);
    assert_eq!(relu.apply(f32_bits(f32::NAN)), 0x7fff);
}

#[test]
fn tf32_keeps_ten_mantissa_bits_in_the_place_of_an_f32() {
    let away = rounded(F32, TF32, Rounding::NearestAway);
    assert_eq!(away.apply(0x3f80_1000), 0x3f80_2000);
    assert_eq!(away.apply(0x3f80_0fff), 0x3f80_0000);
    assert_eq!(Conversion::new(F32, TF32).apply(0x3f80_1000), 0x3f80_0000);
}

#[test]
fn pairs_put_the_first_operand_on_top() {
    let pair = pack_pair(&Conversion::new(F32, BF16), f32_bits(2.0), f32_bits(1.0));
    assert_eq!(pair, 0x4000_3f80);
}
