//! Frequencies against the formulas of their papers, written once more in f64.

use std::f64::consts::PI;

use super::*;

fn check(rope: Rope, dim: usize, theta: f64, expected: impl Fn(usize) -> f64) -> f32 {
    let (freqs, scaling) = rope.inv_freq(dim, theta);
    assert_eq!(freqs.len(), dim / 2);
    for (pair, &found) in freqs.iter().enumerate() {
        let expected = expected(pair);
        let error = (f64::from(found) - expected).abs() / expected;
        assert!(error < 1e-6, "{rope:?} pair {pair}: {found}, expected {expected}");
    }
    scaling
}

fn plain(pair: usize, dim: usize, theta: f64) -> f64 {
    theta.powf(-2.0 * pair as f64 / dim as f64)
}

#[test]
fn default_is_a_power_of_theta() {
    for (dim, theta) in [(64, 1e4), (128, 1e6), (16, 5e5), (2, 1e4)] {
        assert_eq!(check(Rope::Default, dim, theta, |pair| plain(pair, dim, theta)), 1.0);
    }
    assert_eq!(Rope::Default.inv_freq(4, 1e4).0, [1.0, 0.01]);
}

#[test]
fn linear_divides_everything() {
    let rope = Rope::Linear { factor: 4.0 };
    assert_eq!(check(rope, 64, 1e4, |pair| plain(pair, 64, 1e4) / 4.0), 1.0);
}

#[test]
fn llama3_bends_between_two_wavelengths() {
    let rope = Rope::Llama3 {
        factor: 32.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    let mut num_seen = [0; 3];
    let regions = std::cell::RefCell::new(&mut num_seen);
    let scaling = check(rope, 64, 5e5, |pair| {
        let freq = plain(pair, 64, 5e5);
        let turns = 8192.0 * freq / (2.0 * PI);
        if turns > 4.0 {
            regions.borrow_mut()[0] += 1;
            freq
        } else if turns < 1.0 {
            regions.borrow_mut()[1] += 1;
            freq / 32.0
        } else {
            regions.borrow_mut()[2] += 1;
            let smooth = (turns - 1.0) / 3.0;
            freq * ((1.0 - smooth) / 32.0 + smooth)
        }
    });
    assert_eq!(scaling, 1.0);
    assert!(num_seen.iter().all(|&seen| seen > 0), "{num_seen:?}");
}

fn yarn(truncate: bool) -> Rope {
    Rope::Yarn {
        factor: 4.0,
        original_max_position_embeddings: 32768,
        beta_fast: 32.0,
        beta_slow: 1.0,
        attention_factor: None,
        mscale: None,
        mscale_all_dim: None,
        truncate,
    }
}

#[test]
fn yarn_ramps_between_two_numbers_of_turns() {
    let (dim, theta) = (128, 1e6);
    let pair_with = |turns: f64| 64.0 * (32768.0 / (2.0 * PI * turns)).ln() / f64::ln(theta);
    // By hand: 64 · ln(32768 / 64π) / ln 10⁶ = 23.596, and 39.651 for one turn.
    assert!((pair_with(32.0) - 23.596).abs() < 1e-3 && (pair_with(1.0) - 39.651).abs() < 1e-3);
    for (truncate, low, high) in [(true, 23.0, 40.0), (false, pair_with(32.0), pair_with(1.0))] {
        let scaling = check(yarn(truncate), dim, theta, |pair| {
            let divided = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
            plain(pair, dim, theta) * (divided / 4.0 + 1.0 - divided)
        });
        assert_eq!(scaling, 1.138_629_4);
    }
}

/// The yarn of `truncate` with other settings of the attention factor.
fn yarn_scaling(given: Option<f64>, weights: (Option<f64>, Option<f64>), stretch: f64) -> f32 {
    let Rope::Yarn { original_max_position_embeddings, beta_fast, beta_slow, truncate, .. } =
        yarn(true)
    else {
        unreachable!()
    };
    let rope = Rope::Yarn {
        factor: stretch,
        original_max_position_embeddings,
        beta_fast,
        beta_slow,
        attention_factor: given,
        mscale: weights.0,
        mscale_all_dim: weights.1,
        truncate,
    };
    rope.inv_freq(64, 1e4).1
}

#[test]
fn yarn_attention_factor() {
    let ln4 = 4f64.ln();
    let unset = (None, None);
    assert_eq!(yarn_scaling(Some(0.7), unset, 4.0), 0.7);
    assert_eq!(yarn_scaling(None, unset, 4.0), (0.1 * ln4 + 1.0) as f32);
    assert_eq!(yarn_scaling(None, unset, 0.5), 1.0);
    let ratio = (0.1 * 0.7 * ln4 + 1.0) / (0.1 * 2.0 * ln4 + 1.0);
    assert_eq!(yarn_scaling(None, (Some(0.7), Some(2.0)), 4.0), ratio as f32);
    assert_eq!(yarn_scaling(Some(0.7), (Some(1.0), Some(1.0)), 4.0), 0.7);
    // One weight alone, or one of 0, does not count.
    for weights in [(Some(0.7), None), (Some(0.7), Some(0.0)), (Some(0.0), Some(0.7))] {
        assert_eq!(yarn_scaling(None, weights, 4.0), (0.1 * ln4 + 1.0) as f32);
    }
}

#[test]
fn yarn_without_a_ramp_is_finite() {
    let rope = Rope::Yarn {
        factor: 2.0,
        original_max_position_embeddings: 8,
        beta_fast: 1.0,
        beta_slow: 1.0,
        attention_factor: None,
        mscale: None,
        mscale_all_dim: None,
        truncate: false,
    };
    assert!(rope.inv_freq(8, 1e4).0.iter().all(|freq| freq.is_finite()));
}

fn read(json: &str) -> RopeFields {
    let fields = Fields::parse(json).unwrap();
    RopeFields::read(&fields, Architecture::Qwen3, 64, 40960).unwrap()
}

#[test]
fn yarn_is_read_in_both_spellings() {
    let v4 = r#"{"rope_theta": 1e6, "rope_scaling": {"type": "yarn", "factor": 4.0,
        "original_max_position_embeddings": 32768}}"#;
    let v5 = r#"{"rope_parameters": {"rope_type": "yarn", "factor": 4, "rope_theta": 1e6,
        "original_max_position_embeddings": 32768, "beta_fast": 0}}"#;
    for json in [v4, v5] {
        let fields = read(json);
        assert_eq!((fields.rope, fields.theta, fields.rotary_dim), (yarn(true), 1e6, 64));
    }
    let custom = r#"{"rope_scaling": {"rope_type": "yarn", "beta_fast": 16, "beta_slow": 2,
        "attention_factor": 1.5, "mscale": 0.5, "mscale_all_dim": 1, "truncate": false,
        "original_max_position_embeddings": 4096}}"#;
    let expected = Rope::Yarn {
        factor: 10.0,
        original_max_position_embeddings: 4096,
        beta_fast: 16.0,
        beta_slow: 2.0,
        attention_factor: Some(1.5),
        mscale: Some(0.5),
        mscale_all_dim: Some(1.0),
        truncate: false,
    };
    assert_eq!(read(custom).rope, expected);
}

#[test]
fn what_lies_inside_rope_parameters_wins() {
    let fields = read(r#"{"rope_theta": 5, "rope_parameters": {"rope_theta": 7}}"#);
    assert_eq!((fields.rope, fields.theta), (Rope::Default, 7.0));
    let fields = read(r#"{"rope_theta": 5, "rope_scaling": {}, "rope_parameters": null}"#);
    assert_eq!((fields.rope, fields.theta), (Rope::Default, 5.0));
    let linear = read(r#"{"rope_scaling": {"type": "linear", "factor": 2.5}}"#);
    assert_eq!((linear.rope, linear.theta), (Rope::Linear { factor: 2.5 }, 1e4));
}

#[test]
fn the_original_context_defaults_to_the_present_one() {
    let json = |top: &str| {
        format!(
            r#"{{{top} "rope_scaling": {{"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                "high_freq_factor": 4}}}}"#
        )
    };
    let original = |json: &str| match read(json).rope {
        Rope::Llama3 { original_max_position_embeddings, .. } => original_max_position_embeddings,
        other => unreachable!("{other:?}"),
    };
    assert_eq!(original(&json("")), 40960);
    assert_eq!(original(&json(r#""original_max_position_embeddings": 8192,"#)), 8192);
}
