//! Logits at every position of every prompt of every fixture.

use crate::streams::{TestStream, on_each_stream};

use super::{Driver, Expected, FIXTURES, relative_error};

on_each_stream! {
    logits_agree_with_transformers,
    a_prompt_gives_the_same_logits_however_it_is_cut,
    the_last_row_alone_has_the_same_logits,
    running_a_prompt_again_gives_the_same_bits,
}

/// How far results may lie apart that differ only in how a prompt is cut: sums are taken in
/// another order, in f32.
const SAME_UP_TO_ORDER: f64 = 1e-5;

/// The relative error of each row.
fn row_errors(ours: &[f32], theirs: &[f32], vocab_size: usize) -> Vec<f64> {
    let rows = ours.chunks(vocab_size).zip(theirs.chunks(vocab_size));
    rows.map(|(ours, theirs)| relative_error(ours, theirs)).collect()
}

/// The largest error. Where activations are rounded to 16 bits, two experts that a router finds
/// almost equally good may change places, which moves the whole row: one in fifty may.
fn worst<S: TestStream>(name: &str, mut errors: Vec<f64>) -> f64 {
    errors.sort_by(f64::total_cmp);
    let may_flip = rounds::<S>(name) && name.contains("moe");
    let num_kept = if may_flip { errors.len() - errors.len().div_ceil(50) } else { errors.len() };
    errors[num_kept - 1]
}

fn rounds<S: TestStream>(name: &str) -> bool {
    S::ROUNDS_ACTIVATIONS && name.contains("f16")
}

fn logits_agree_with_transformers<S: TestStream>() {
    for (name, tolerance) in FIXTURES {
        let mut driver = Driver::<S>::open(name);
        let vocab_size = driver.model.config().vocab_size;
        let mut errors = Vec::new();
        for Expected { prompt, logits, .. } in Expected::read(name) {
            let ours = driver.restart().feed(&prompt);
            errors.extend(row_errors(&ours, &logits, vocab_size));
        }
        let worst = worst::<S>(name, errors);
        println!("{name}: worst relative error of a position's logits {worst:.2e}");
        assert!(worst > 0.0 && worst <= tolerance, "{name}: {worst:e}, expected <= {tolerance:e}");
    }
}

/// What two runs of one prompt may differ by.
fn same<S: TestStream>((name, tolerance): (&str, f64)) -> f64 {
    if rounds::<S>(name) { tolerance } else { SAME_UP_TO_ORDER }
}

fn a_prompt_gives_the_same_logits_however_it_is_cut<S: TestStream>() {
    for fixture @ (name, _) in FIXTURES {
        let mut driver = Driver::<S>::open(name);
        let vocab_size = driver.model.config().vocab_size;
        let prompt = Expected::read(name).pop().unwrap().prompt;
        let whole = driver.restart().feed(&prompt);
        for &chunk_len in &[5, 1, 16][..S::size(3, 1)] {
            driver.restart();
            let cut: Vec<f32> = prompt.chunks(chunk_len).flat_map(|c| driver.feed(c)).collect();
            let worst = worst::<S>(name, row_errors(&cut, &whole, vocab_size));
            assert!(worst <= same::<S>(fixture), "{name}, chunks of {chunk_len}: {worst:e}");
        }
    }
}

fn the_last_row_alone_has_the_same_logits<S: TestStream>() {
    for fixture @ (name, _) in FIXTURES {
        let mut driver = Driver::<S>::open(name);
        let prompt = Expected::read(name).pop().unwrap().prompt;
        let all = driver.restart().feed(&prompt);
        let last = driver.restart().feed_for_last(&prompt);
        let error = relative_error(&last, &all[all.len() - last.len()..]);
        assert!(error <= same::<S>(fixture), "{name}: {error:e}");
    }
}

fn running_a_prompt_again_gives_the_same_bits<S: TestStream>() {
    let mut driver = Driver::<S>::open("qwen3moe-bf16");
    let prompt = Expected::read("qwen3moe-bf16").pop().unwrap().prompt;
    assert_eq!(driver.restart().feed(&prompt), driver.restart().feed(&prompt));
}
