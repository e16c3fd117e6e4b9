//! Penalties on the logits of tokens that occurred, with vLLM's meaning.

use std::collections::{BTreeMap, BTreeSet};

use crate::SamplingParams;
use crate::sequence::Sequence;

/// Adjusts the logits that the sequence's next token is drawn from: the repetition penalty on
/// tokens of prompt and output, then frequency and presence penalties on tokens of the output.
pub(crate) fn apply(logits: &mut [f32], sequence: &Sequence) {
    let SamplingParams { repetition_penalty, presence_penalty, frequency_penalty, .. } =
        sequence.params;
    if repetition_penalty != 1.0 {
        for id in sequence.tokens.iter().collect::<BTreeSet<_>>() {
            if let Some(logit) = logits.get_mut(*id as usize) {
                match *logit > 0.0 {
                    true => *logit /= repetition_penalty,
                    false => *logit *= repetition_penalty,
                }
            }
        }
    }
    let mut counts = BTreeMap::new();
    for &id in sequence.output() {
        *counts.entry(id).or_insert(0.0f32) += 1.0;
    }
    for (id, count) in counts {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit -= frequency_penalty * count + presence_penalty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Request, RequestId};

    /// Logits 1, -1, 1, 1, -1 after prompt [0, 1] and output [2, 2, 4].
    fn adjusted(change: impl FnOnce(&mut SamplingParams)) -> Vec<f32> {
        let mut params = SamplingParams::default();
        change(&mut params);
        let request = Request { prompt_ids: vec![0, 1], params };
        let mut sequence = Sequence::new(RequestId(0), request, 0);
        sequence.tokens.extend([2, 2, 4]);
        let mut logits = vec![1.0, -1.0, 1.0, 1.0, -1.0];
        apply(&mut logits, &sequence);
        logits
    }

    #[test]
    fn repetition_counts_prompt_and_output_once_each() {
        let found = adjusted(|params| params.repetition_penalty = 2.0);
        assert_eq!(found, [0.5, -2.0, 0.5, 1.0, -2.0]);
    }

    #[test]
    fn presence_counts_the_output_only() {
        let found = adjusted(|params| params.presence_penalty = 0.5);
        assert_eq!(found, [1.0, -1.0, 0.5, 1.0, -1.5]);
    }

    #[test]
    fn frequency_counts_how_often() {
        let found = adjusted(|params| params.frequency_penalty = 0.25);
        assert_eq!(found, [1.0, -1.0, 0.5, 1.0, -1.25]);
    }

    #[test]
    fn neutral_values_change_nothing() {
        assert_eq!(adjusted(|_| ()), [1.0, -1.0, 1.0, 1.0, -1.0]);
    }
}
