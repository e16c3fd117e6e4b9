//! Text from tokens as they come, never with half a character.

use std::sync::Arc;

use crate::{Tokenizer, TokenizerError};

/// What stands for bytes that are not, or not yet, a character.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;
/// The most bytes of a UTF-8 character, and so more than the tokens of an unfinished one.
const MAX_UTF8_LEN: usize = 4;

/// Decodes a growing list of tokens piece by piece.
///
/// The pieces, and what [`flush`](Self::flush) adds at the end, are the text of all tokens decoded
/// at once. A token cannot be decoded alone: its text may begin in the middle of a character, and
/// a decoder may drop the space that a word carries at the start of a text. So the newest tokens
/// are decoded together with those of the piece before, whose text is known and taken off.
///
/// Tokens that spell single bytes decode to one replacement character per byte until they are
/// complete, all that follow each other together. More of them than any character has bytes are
/// text that nothing completes: it comes out but for the end, so that the window stays short.
/// Where such a run ends malformed, a decoder that sees it whole drops what it had spelt well
/// before; here that was shown, and stays.
#[derive(Debug)]
pub(crate) struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    /// The tokens from the start of the previous piece.
    window: Vec<u32>,
    /// How many of them are the previous pieces' own.
    num_settled: usize,
    /// The part of the window's text that was emitted.
    emitted: String,
}

impl Detokenizer {
    pub(crate) fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, window: Vec::new(), num_settled: 0, emitted: String::new() }
    }

    /// The text that `token` completes; empty while a character is unfinished.
    pub(crate) fn push(&mut self, token: u32) -> Result<String, TokenizerError> {
        self.window.push(token);
        let text = self.tokenizer.decode(&self.window)?;
        let complete = text.trim_end_matches(REPLACEMENT);
        if complete.len() < text.len() {
            let piece = self.take(complete).unwrap_or_default();
            return Ok(piece + &self.settle_malformed(&text)?);
        }
        let piece = self.take_whole(&text)?;
        self.settle(self.window.len())?;
        Ok(piece)
    }

    /// Gives out the replacement characters of the window's `text` that are there to stay: those
    /// before its last few tokens, at a boundary where no character is cut.
    fn settle_malformed(&mut self, text: &str) -> Result<String, TokenizerError> {
        let num_tokens = self.window.len();
        if num_tokens - self.num_settled <= MAX_UTF8_LEN {
            return Ok(String::new());
        }
        for at in (num_tokens - MAX_UTF8_LEN..num_tokens).rev() {
            let head = self.tokenizer.decode(&self.window[..at])?;
            let tail = self.tokenizer.decode(&self.window[at..])?;
            let is_boundary = text.strip_prefix(&head).is_some_and(|rest| rest == tail);
            if is_boundary && !tail.is_empty() {
                let piece = self.take(&head).unwrap_or_default();
                self.settle(at)?;
                return Ok(piece);
            }
        }
        Ok(String::new())
    }

    /// The text still held back, when no token follows any more.
    pub(crate) fn flush(&mut self) -> Result<String, TokenizerError> {
        let text = self.tokenizer.decode(&self.window)?;
        self.take_whole(&text)
    }

    /// The part of the window's text that was not emitted yet; `None` where `text` does not go on
    /// from what was.
    fn take(&mut self, text: &str) -> Option<String> {
        let piece = text.strip_prefix(self.emitted.as_str())?.to_owned();
        self.emitted.push_str(&piece);
        Some(piece)
    }

    /// The same, with new tokens decoded alone where they change the text of those before them.
    fn take_whole(&mut self, text: &str) -> Result<String, TokenizerError> {
        if let Some(piece) = self.take(text) {
            return Ok(piece);
        }
        self.window.drain(..self.num_settled);
        self.num_settled = 0;
        self.emitted = self.tokenizer.decode(&self.window)?;
        Ok(self.emitted.clone())
    }

    /// The first `num_tokens` have their text. Keeps the newest of them as the start of the next
    /// window, unless they have none: then what stands before them is still the start of it.
    fn settle(&mut self, mut num_tokens: usize) -> Result<(), TokenizerError> {
        let newest = self.tokenizer.decode(&self.window[self.num_settled..num_tokens])?;
        if !newest.is_empty() {
            self.window.drain(..self.num_settled);
            num_tokens -= self.num_settled;
            self.emitted = newest;
        }
        self.num_settled = num_tokens;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
