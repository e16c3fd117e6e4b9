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

/// The largest relative error of any row.
fn worst_row(ours: &[f32], theirs: &[f32], vocab_size: usize) -> f64 {
    let rows = ours.chunks(vocab_size).zip(theirs.chunks(vocab_size));
    rows.map(|(ours, theirs)| relative_error(ours, theirs)).fold(0.0, f64::max)
}

fn logits_agree_with_transformers<S: TestStream>() {
    for (name, tolerance) in FIXTURES {
        let mut driver = Driver::<S>::open(name);
        let vocab_size = driver.model.config().vocab_size;
        let mut worst = 0.0f64;
        for Expected { prompt, logits, .. } in Expected::read(name) {
            let ours = driver.restart().feed(&prompt);
            worst = worst.max(worst_row(&ours, &logits, vocab_size));
        }
        println!("{name}: worst relative error of a position's logits {worst:.2e}");
        assert!(worst > 0.0 && worst <= tolerance, "{name}: {worst:e}, expected <= {tolerance:e}");
    }
}

fn a_prompt_gives_the_same_logits_however_it_is_cut<S: TestStream>() {
    for (name, _) in FIXTURES {
        let mut driver = Driver::<S>::open(name);
        let vocab_size = driver.model.config().vocab_size;
        let prompt = Expected::read(name).pop().unwrap().prompt;
        let whole = driver.restart().feed(&prompt);
        for chunk_len in [1, 5, 16] {
            driver.restart();
            let cut: Vec<f32> = prompt.chunks(chunk_len).flat_map(|c| driver.feed(c)).collect();
            let worst = worst_row(&cut, &whole, vocab_size);
            assert!(worst <= SAME_UP_TO_ORDER, "{name}, chunks of {chunk_len}: {worst:e}");
        }
    }
}

fn the_last_row_alone_has_the_same_logits<S: TestStream>() {
    for (name, _) in FIXTURES {
        let mut driver = Driver::<S>::open(name);
        let prompt = Expected::read(name).pop().unwrap().prompt;
        let all = driver.restart().feed(&prompt);
        let last = driver.restart().feed_for_last(&prompt);
        let error = relative_error(&last, &all[all.len() - last.len()..]);
        assert!(error <= SAME_UP_TO_ORDER, "{name}: {error:e}");
    }
}

fn running_a_prompt_again_gives_the_same_bits<S: TestStream>() {
    let mut driver = Driver::<S>::open("qwen3moe-bf16");
    let prompt = Expected::read("qwen3moe-bf16").pop().unwrap().prompt;
    assert_eq!(driver.restart().feed(&prompt), driver.restart().feed(&prompt));
}
