//! Greedy tokens of every fixture.

use crate::streams::{TestStream, on_each_stream};

use super::{Driver, Expected, FIXTURES};

on_each_stream! {
    greedy_tokens_agree_with_transformers,
}

/// Below this margin the two best tokens are too close for rounding not to swap them.
const MIN_MARGIN: f32 = 0.05;

fn greedy_tokens_agree_with_transformers<S: TestStream>() {
    for (name, _) in FIXTURES {
        let mut driver = Driver::<S>::open(name);
        let (mut checked, mut total) = (0, 0);
        let prompts = Expected::read(name);
        for expected in &prompts[..S::size(prompts.len(), 3)] {
            let clear = expected.margins.iter().take_while(|margin| **margin >= MIN_MARGIN).count();
            let clear = clear.min(S::size(clear, 6));
            let ours = greedy(&mut driver, &expected.prompt, clear);
            assert_eq!(ours, expected.greedy[..clear], "{name}");
            (checked, total) = (checked + clear, total + expected.greedy.len());
        }
        println!("{name}: {checked} of {total} greedy tokens are clear, and equal");
        assert!(checked > 0, "{name}: no step was clear");
    }
}

fn greedy<S: TestStream>(driver: &mut Driver<S>, prompt: &[u32], num_tokens: usize) -> Vec<u32> {
    let mut tokens = Vec::new();
    let mut logits = driver.restart().feed_for_last(prompt);
    while tokens.len() < num_tokens {
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
        tokens.push(best as u32);
        logits = driver.feed(&[best as u32]);
    }
    tokens
}
