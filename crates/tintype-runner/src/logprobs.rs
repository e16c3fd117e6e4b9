//! Log-probabilities of tokens, from the logits as the model gave them: before penalties,
//! temperature and filters.

use serde::Serialize;

/// A token and how likely it was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Logprob {
    /// The token.
    pub token_id: u32,
    /// Natural logarithm of its probability.
    pub logprob: f32,
}

/// How likely the token drawn was, and the most likely ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenLogprobs {
    /// The token drawn.
    #[serde(flatten)]
    pub chosen: Logprob,
    /// As many of the most likely tokens as were asked for, the most likely first.
    pub top: Vec<Logprob>,
}

impl TokenLogprobs {
    /// Of `chosen` and the `n` most likely tokens. NaN counts as −∞; of equals the lower id comes
    /// first.
    pub(crate) fn new(logits: &[f32], chosen: u32, n: usize) -> Self {
        let log_sum = log_sum_exp(logits);
        let logprob = |token_id: u32| {
            let logit = logits.get(token_id as usize).copied().unwrap_or(f32::NAN);
            Logprob { token_id, logprob: (f64::from(number(logit)) - log_sum) as f32 }
        };
        let top = most_likely(logits, n).into_iter().map(logprob).collect();
        Self { chosen: logprob(chosen), top }
    }
}

fn number(logit: f32) -> f32 {
    if logit.is_nan() { f32::NEG_INFINITY } else { logit }
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let logits = logits.iter().map(|&logit| f64::from(number(logit)));
    let max = logits.clone().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return 0.0;
    }
    max + logits.map(|logit| (logit - max).exp()).sum::<f64>().ln()
}

fn most_likely(logits: &[f32], n: usize) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let order = |a: &u32, b: &u32| {
        let [a_logit, b_logit] = [a, b].map(|&id| number(logits[id as usize]));
        b_logit.total_cmp(&a_logit).then(a.cmp(b))
    };
    if n < ids.len() {
        ids.select_nth_unstable_by(n, order);
        ids.truncate(n);
    }
    ids.sort_unstable_by(order);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logprobs_are_the_log_of_the_softmax() {
        let logits = [0.1f32.ln(), 0.2f32.ln(), 0.7f32.ln()];
        let found = TokenLogprobs::new(&logits, 0, 2);
        assert!((found.chosen.logprob - 0.1f32.ln()).abs() < 1e-6);
        let top: Vec<_> = found.top.iter().map(|token| token.token_id).collect();
        assert_eq!(top, [2, 1]);
        assert!((found.top[0].logprob - 0.7f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn none_of_the_others_need_be_reported() {
        assert_eq!(TokenLogprobs::new(&[0.0, 0.0], 1, 0).top, []);
        assert!((TokenLogprobs::new(&[0.0; 4], 1, 9).top[3].logprob - 0.25f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn large_and_missing_logits_do_no_harm() {
        let found = TokenLogprobs::new(&[1e30, f32::NAN, f32::NEG_INFINITY], 1, 3);
        assert_eq!(found.chosen.logprob, f32::NEG_INFINITY);
        assert_eq!((found.top[0].token_id, found.top[0].logprob), (0, 0.0));
        assert!(!TokenLogprobs::new(&[f32::NAN; 2], 0, 2).chosen.logprob.is_nan());
    }
}
