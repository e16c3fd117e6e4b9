//! A position in the tokens of a module.

use super::lexer::{Token, TokenKind};
use crate::ParseError;

/// Walks over tokens. The last token, the end of the text, is never passed.
pub(crate) struct Cursor<'a, 't> {
    tokens: &'t [Token<'a>],
    at: usize,
}

impl<'a, 't> Cursor<'a, 't> {
    pub(crate) fn new(tokens: &'t [Token<'a>]) -> Self {
        Self { tokens, at: 0 }
    }

    /// The token `ahead` places further on.
    pub(crate) fn peek(&self, ahead: usize) -> Token<'a> {
        self.tokens[(self.at + ahead).min(self.tokens.len() - 1)]
    }

    pub(crate) fn next(&mut self) -> Token<'a> {
        let token = self.peek(0);
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// Line of the next token.
    pub(crate) fn line(&self) -> u32 {
        self.peek(0).line
    }

    pub(crate) fn at_end(&self) -> bool {
        self.peek(0).kind == TokenKind::End
    }

    pub(crate) fn fail<T>(&self, message: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError { line: self.line(), message: message.into() })
    }

    /// An error that says what the next token should have been.
    pub(crate) fn expected<T>(&self, what: &str) -> Result<T, ParseError> {
        match self.peek(0) {
            token if token.kind == TokenKind::End => {
                self.fail(format!("expected {what}, found the end of the text"))
            }
            token => self.fail(format!("expected {what}, found `{}`", token.text)),
        }
    }

    pub(crate) fn is_punct(&self, punct: u8) -> bool {
        self.peek(0).kind == TokenKind::Punct(punct)
    }

    /// Takes the next token if it is `punct`.
    pub(crate) fn take_punct(&mut self, punct: u8) -> bool {
        let found = self.is_punct(punct);
        if found {
            self.next();
        }
        found
    }

    pub(crate) fn punct(&mut self, punct: u8) -> Result<(), ParseError> {
        if self.take_punct(punct) {
            return Ok(());
        }
        self.expected(&format!("`{}`", punct as char))
    }

    /// Takes the next token if it is the word `word`.
    pub(crate) fn take_word(&mut self, word: &str) -> bool {
        let token = self.peek(0);
        let found = token.kind == TokenKind::Word && token.text == word;
        if found {
            self.next();
        }
        found
    }

    /// Takes a word; `what` says of which sort it should be.
    pub(crate) fn word(&mut self, what: &str) -> Result<&'a str, ParseError> {
        match self.peek(0) {
            Token { kind: TokenKind::Word, text, .. } => {
                self.next();
                Ok(text)
            }
            _ => self.expected(what),
        }
    }

    /// Takes an integer with an optional sign.
    pub(crate) fn integer(&mut self) -> Result<i64, ParseError> {
        let negative = self.take_punct(b'-');
        match self.peek(0).kind {
            TokenKind::Integer(value) => {
                self.next();
                let value = value as i64;
                Ok(if negative { value.wrapping_neg() } else { value })
            }
            _ => self.expected("an integer"),
        }
    }

    /// Takes an integer that fits 32 bits.
    pub(crate) fn small(&mut self) -> Result<u32, ParseError> {
        let line = self.line();
        let value = self.integer()?;
        let message = format!("{value} is out of range, expected 0 to {}", u32::MAX);
        u32::try_from(value).map_err(|_| ParseError { line, message })
    }
}
