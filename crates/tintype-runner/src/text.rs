//! One sequence's text as it grows: decoded, and cut at stop strings.

use std::sync::Arc;

use crate::detokenize::Detokenizer;
use crate::stop::{Matched, StopMatcher};
use crate::{Tokenizer, TokenizerError};

/// Turns a sequence's output tokens into text that can be shown at once.
#[derive(Debug)]
pub(crate) struct TextStream {
    detokenizer: Detokenizer,
    stop: StopMatcher,
}

impl TextStream {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, stop: Vec<String>) -> Self {
        Self { detokenizer: Detokenizer::new(tokenizer), stop: StopMatcher::new(stop) }
    }

    /// The text that `token` adds, and whether a stop string follows it.
    pub(crate) fn push(&mut self, token: u32) -> Result<Matched, TokenizerError> {
        Ok(self.stop.push(&self.detokenizer.push(token)?))
    }

    /// The text still held back, when no token follows any more.
    pub(crate) fn finish(&mut self) -> Result<Matched, TokenizerError> {
        let mut matched = self.stop.push(&self.detokenizer.flush()?);
        if !matched.stopped {
            matched.text.push_str(&self.stop.flush());
        }
        Ok(matched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_tokenizers as samples;

    /// The text of `tokens`, and whether a stop string ended it.
    fn run(text: &str, stop: &str, num_tokens: usize) -> (String, bool) {
        let tokenizer = Arc::new(samples::byte_level());
        let ids = tokenizer.encode(text).unwrap();
        let mut stream = TextStream::new(tokenizer, vec![stop.to_owned()]);
        let mut shown = String::new();
        for &id in &ids[..num_tokens] {
            let matched = stream.push(id).unwrap();
            shown.push_str(&matched.text);
            if matched.stopped {
                return (shown, true);
            }
        }
        let matched = stream.finish().unwrap();
        (shown + &matched.text, matched.stopped)
    }

    #[test]
    fn a_stop_string_spans_tokens_and_characters() {
        assert_eq!(run("ab東京cd", "東京", 10), ("ab".into(), true));
        assert_eq!(run("ab東京cd", "東大", 10), ("ab東京cd".into(), false));
    }

    #[test]
    fn the_end_brings_out_what_was_held() {
        assert_eq!(run("ab東京", "東京", 5), ("ab東".into(), false));
        assert_eq!(run("ab東京", "東京", 4), ("ab\u{FFFD}".into(), false));
        assert_eq!(run("ab東京", "\u{FFFD}", 4), ("ab".into(), true));
    }
}
