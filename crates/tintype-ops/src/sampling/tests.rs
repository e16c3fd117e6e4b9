//! Tests of the reference sampler.

use super::*;

const STEPS: u32 = 20_000;

fn params(change: impl FnOnce(&mut SampleParams)) -> SampleParams {
    let mut params = SampleParams { temperature: 1.0, seed: [7, 0], ..SampleParams::GREEDY };
    change(&mut params);
    params
}

/// How often each token is drawn over many steps.
fn frequencies(logits: &[f32], params: SampleParams) -> Vec<f64> {
    let mut counts = vec![0u32; logits.len()];
    for step in 0..STEPS {
        counts[sample(logits, &SampleParams { step, ..params }) as usize] += 1;
    }
    counts.iter().map(|&count| f64::from(count) / f64::from(STEPS)).collect()
}

fn assert_close(found: &[f64], expected: &[f64]) {
    for (found_p, expected_p) in found.iter().zip(expected) {
        assert!((found_p - expected_p).abs() < 0.015, "{found:?}, expected {expected:?}");
    }
}

#[test]
fn greedy_takes_the_largest_and_the_lowest_of_equals() {
    assert_eq!(sample(&[1.0, 3.0, 3.0, f32::NAN], &SampleParams::GREEDY), 1);
    assert_eq!(sample(&[f32::NAN, f32::NEG_INFINITY], &SampleParams::GREEDY), 0);
}

#[test]
fn draws_follow_the_softmax() {
    let logits = [0.1f32.ln(), 0.2f32.ln(), 0.7f32.ln()];
    assert_close(&frequencies(&logits, params(|_| ())), &[0.1, 0.2, 0.7]);
}

#[test]
fn temperature_flattens() {
    let logits = [0.0, 2.0 * 3f32.ln()];
    assert_close(&frequencies(&logits, params(|p| p.temperature = 2.0)), &[0.25, 0.75]);
}

#[test]
fn top_k_keeps_the_k_most_likely() {
    let logits = [0.1f32.ln(), 0.3f32.ln(), 0.6f32.ln()];
    assert_close(&frequencies(&logits, params(|p| p.top_k = 2)), &[0.0, 1.0 / 3.0, 2.0 / 3.0]);
}

#[test]
fn top_p_keeps_the_least_set_with_the_mass() {
    let logits = [0.1f32.ln(), 0.3f32.ln(), 0.6f32.ln()];
    assert_close(&frequencies(&logits, params(|p| p.top_p = 0.5)), &[0.0, 0.0, 1.0]);
    assert_close(&frequencies(&logits, params(|p| p.top_p = 0.7)), &[0.0, 1.0 / 3.0, 2.0 / 3.0]);
}

#[test]
fn min_p_is_relative_to_the_most_likely() {
    let logits = [0.1f32.ln(), 0.3f32.ln(), 0.6f32.ln()];
    assert_close(&frequencies(&logits, params(|p| p.min_p = 0.4)), &[0.0, 1.0 / 3.0, 2.0 / 3.0]);
}

#[test]
fn top_p_counts_the_mass_that_top_k_left() {
    let logits = [0.2f32.ln(), 0.3f32.ln(), 0.5f32.ln()];
    let both = params(|p| (p.top_k, p.top_p) = (2, 0.6));
    assert_close(&frequencies(&logits, both), &[0.0, 0.0, 1.0]);
}

#[test]
fn seeds_and_steps_give_different_draws_and_repeat_themselves() {
    let logits = [0.0; 64];
    let draw = |seed, step| sample(&logits, &params(|p| (p.seed, p.step) = ([seed, 0], step)));
    let many = |seed| (0..32).map(|step| draw(seed, step)).collect::<Vec<_>>();
    assert_eq!(many(1), many(1));
    assert_ne!(many(1), many(2));
    assert!(many(1).iter().any(|&id| id != draw(1, 0)));
}

#[test]
fn all_logits_masked_still_gives_a_token() {
    assert_eq!(sample(&[f32::NEG_INFINITY; 3], &params(|p| p.top_p = 0.5)), 0);
}

#[test]
fn masked_tokens_are_never_drawn() {
    let logits = [f32::NEG_INFINITY, 0.0, f32::NAN, 0.0];
    let found = frequencies(&logits, params(|_| ()));
    assert_close(&found, &[0.0, 0.5, 0.0, 0.5]);
    assert_eq!((found[0], found[2]), (0.0, 0.0));
}

/// A flat distribution makes top-p look past the values that it sorts first.
#[test]
fn top_p_threshold_equals_that_of_a_full_sort() {
    let values: Vec<f32> = (0..5000u32).map(|i| -((i * 7919 % 5000) as f32) / 900.0).collect();
    let mut sorted = values.clone();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let mass = |values: &[f32]| values.iter().map(|&value| f64::from(value).exp()).sum::<f64>();
    for top_p in [0.01f32, 0.3, 0.9, 0.999, 1.0] {
        let wanted = f64::from(top_p) * mass(&sorted);
        let kept = (1..sorted.len()).find(|&n| mass(&sorted[..n]) >= wanted);
        let expected = sorted[kept.unwrap_or(sorted.len()) - 1];
        let found = top_p_threshold(&mut values.clone(), top_p);
        assert!((found - expected).abs() <= 2.0 / 900.0, "{top_p}: {found}, expected {expected}");
    }
}
