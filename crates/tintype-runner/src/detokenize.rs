//! Text from tokens as they come, never with half a character.

use std::sync::Arc;

use crate::{Tokenizer, TokenizerError};

/// What stands for bytes that are not, or not yet, a character.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// Decodes a growing list of tokens piece by piece.
///
/// The pieces, and what [`flush`](Self::flush) adds at the end, are the text of all tokens decoded
/// at once. A token cannot be decoded alone: its text may begin in the middle of a character, and
/// a decoder may drop the space that a word carries at the start of a text. So the newest tokens
/// are decoded together with those of the piece before, whose text is known and taken off.
///
/// Tokens that spell single bytes decode to one replacement character per byte until they are
/// complete, all that follow each other together. Where such a run ends malformed, a decoder that
/// sees it whole drops what it had spelt well before; here that was shown, and stays.
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
            return Ok(self.take(complete).unwrap_or_default());
        }
        let piece = self.take_whole(&text)?;
        self.settle()?;
        Ok(piece)
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

    /// All tokens have their text. Keeps the newest ones as the start of the next window, unless
    /// they have none: then what stands before them is still the start of it.
    fn settle(&mut self) -> Result<(), TokenizerError> {
        let newest = self.tokenizer.decode(&self.window[self.num_settled..])?;
        if !newest.is_empty() {
            self.window.drain(..self.num_settled);
            self.emitted = newest;
        }
        self.num_settled = self.window.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
