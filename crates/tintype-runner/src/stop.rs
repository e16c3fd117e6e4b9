//! Stop strings, found across the boundaries of tokens.

/// Looks for stop strings in text that comes in pieces. What may be the beginning of one is held
/// back until it turns out to be, or not to be.
#[derive(Debug)]
pub(crate) struct StopMatcher {
    stops: Vec<String>,
    /// Text that may begin a stop string.
    held: String,
}

/// What came of one more piece of text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matched {
    /// Text that is not part of a stop string, whatever follows.
    pub(crate) text: String,
    /// Whether a stop string follows it.
    pub(crate) stopped: bool,
}

impl StopMatcher {
    /// `stops` holds no empty string.
    pub(crate) fn new(stops: Vec<String>) -> Self {
        Self { stops, held: String::new() }
    }

    pub(crate) fn push(&mut self, piece: &str) -> Matched {
        let mut text = std::mem::take(&mut self.held);
        text.push_str(piece);
        if let Some(at) = self.stops.iter().filter_map(|stop| text.find(stop.as_str())).min() {
            text.truncate(at);
            return Matched { text, stopped: true };
        }
        self.held = text.split_off(text.len() - self.held_len(&text));
        Matched { text, stopped: false }
    }

    /// The text still held back, when nothing follows any more.
    pub(crate) fn flush(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes of the longest end of `text` that a stop string begins with.
    fn held_len(&self, text: &str) -> usize {
        let overlap = |stop: &String| {
            let longest = text.len().min(stop.len() - 1);
            (1..=longest).rev().find(|&len| text.as_bytes().ends_with(&stop.as_bytes()[..len]))
        };
        let len = self.stops.iter().filter_map(overlap).max().unwrap_or(0);
        // An end that equals the first bytes of a string begins where a character does.
        debug_assert!(text.is_char_boundary(text.len() - len));
        len
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matcher(stops: &[&str]) -> StopMatcher {
        StopMatcher::new(stops.iter().map(|&stop| stop.to_owned()).collect())
    }

    fn emitted(text: &str) -> Matched {
        Matched { text: text.to_owned(), stopped: false }
    }

    fn stopped(text: &str) -> Matched {
        Matched { text: text.to_owned(), stopped: true }
    }

    #[test]
    fn without_stops_text_passes_at_once() {
        let mut matcher = matcher(&[]);
        assert_eq!(matcher.push("any"), emitted("any"));
        assert_eq!(matcher.flush(), "");
    }

    #[test]
    fn a_stop_string_across_pieces_is_found_and_left_out() {
        let mut matcher = matcher(&["</s>"]);
        assert_eq!(matcher.push("one <"), emitted("one "));
        assert_eq!(matcher.push("/"), emitted(""));
        assert_eq!(matcher.push("s> two"), stopped(""));
    }

    #[test]
    fn what_is_held_back_comes_out_when_it_was_no_stop() {
        let mut matcher = matcher(&["aab"]);
        assert_eq!(matcher.push("aa"), emitted(""));
        assert_eq!(matcher.push("a"), emitted("a"));
        assert_eq!(matcher.push("c"), emitted("aac"));
        assert_eq!(matcher.push("a"), emitted(""));
        assert_eq!(matcher.flush(), "a");
    }

    #[test]
    fn the_first_in_the_text_wins() {
        let mut matcher = matcher(&["three", "two"]);
        assert_eq!(matcher.push("one two three"), stopped("one "));
    }

    #[test]
    fn characters_stay_whole() {
        let mut matcher = matcher(&["東京"]);
        assert_eq!(matcher.push("é東"), emitted("é"));
        assert_eq!(matcher.push("大"), emitted("東大"));
        assert_eq!(matcher.push("東"), emitted(""));
        assert_eq!(matcher.push("京"), stopped(""));
    }

    proptest! {
        /// However the text is cut, what comes out is the text up to the first stop string.
        #[test]
        fn cuts_do_not_matter(
            pieces in prop::collection::vec("[abé]{0,4}", 0..12),
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
        ) {
            let whole = pieces.concat();
            let mut matcher = StopMatcher::new(stops.clone());
            let mut text = String::new();
            let mut has_stopped = false;
            for piece in &pieces {
                let matched = matcher.push(piece);
                text.push_str(&matched.text);
                has_stopped = matched.stopped;
                if has_stopped {
                    break;
                }
            }
            if !has_stopped {
                text.push_str(&matcher.flush());
                prop_assert_eq!(&text, &whole);
            }
            prop_assert!(whole.starts_with(&text));
            prop_assert!(stops.iter().all(|stop| !text.contains(stop.as_str())));
            prop_assert_eq!(has_stopped, stops.iter().any(|stop| whole.contains(stop.as_str())));
        }
    }
}
