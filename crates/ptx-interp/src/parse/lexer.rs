//! PTX text to tokens.

use crate::ParseError;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A name, directive or opcode with its modifiers: `%r1`, `.entry`, `ld.global.v4.u32`.
    Word,
    /// An integer, without its sign.
    Integer(u64),
    /// The bits of a literal `0f…`.
    Float(u32),
    /// The bits of a literal `0d…`.
    Double(u64),
    /// A text in quotation marks.
    Text,
    /// Any other character.
    Punct(u8),
    /// The end of the text.
    End,
}

/// One token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) text: &'a str,
    pub(crate) line: u32,
}

/// Splits `text` into tokens; the last one is [`TokenKind::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        tokens.push(token);
        if token.kind == TokenKind::End {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn fail<T>(&self, message: String) -> Result<T, ParseError> {
        Err(ParseError { line: self.line, message })
    }

    /// Skips white space and comments.
    fn skip(&mut self) -> Result<(), ParseError> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (b'\n', _) => {
                    self.line += 1;
                    self.at += 1;
                }
                (b' ' | b'\t' | b'\r', _) => self.at += 1,
                (b'/', b'/') => {
                    let rest = &self.text[self.at..];
                    self.at += rest.find('\n').unwrap_or(rest.len());
                }
                (b'/', b'*') => {
                    let Some(len) = self.text[self.at..].find("*/") else {
                        return self.fail("a comment /* without its end */".to_owned());
                    };
                    let comment = &self.text[self.at..self.at + len];
                    self.line += comment.matches('\n').count() as u32;
                    self.at += len + 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn next(&mut self) -> Result<Token<'a>, ParseError> {
        self.skip()?;
        let start = self.at;
        let kind = match self.peek(0) {
            0 if self.at >= self.text.len() => TokenKind::End,
            b'0'..=b'9' => self.number()?,
            b'"' => self.quoted()?,
            byte if is_word(byte) => {
                self.word();
                TokenKind::Word
            }
            byte if byte.is_ascii_punctuation() => {
                self.at += 1;
                TokenKind::Punct(byte)
            }
            byte => return self.fail(format!("an unexpected byte {byte:#04x}")),
        };
        Ok(Token { kind, text: &self.text[start..self.at], line: self.line })
    }

    /// Takes a word; `::` belongs to one (`.shared::cluster`), a single `:` ends it.
    fn word(&mut self) {
        loop {
            match (self.peek(0), self.peek(1)) {
                (b':', b':') => self.at += 2,
                (byte, _) if is_word(byte) => self.at += 1,
                _ => return,
            }
        }
    }

    fn quoted(&mut self) -> Result<TokenKind, ParseError> {
        match self.text[self.at + 1..].find('"') {
            Some(len) => {
                self.at += len + 2;
                Ok(TokenKind::Text)
            }
            None => self.fail("a text without its closing quotation mark".to_owned()),
        }
    }

    fn number(&mut self) -> Result<TokenKind, ParseError> {
        let start = self.at;
        while self.peek(0).is_ascii_alphanumeric() {
            self.at += 1;
        }
        let text = &self.text[start..self.at];
        let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let kind = match text.as_bytes() {
            [b'0', b'f' | b'F', ..] if text.len() == 10 => {
                hex(&text[2..]).map(|bits| TokenKind::Float(bits as u32))
            }
            [b'0', b'd' | b'D', ..] if text.len() == 18 => hex(&text[2..]).map(TokenKind::Double),
            _ => integer(text.trim_end_matches('U')).map(TokenKind::Integer),
        };
        match kind {
            Some(kind) => Ok(kind),
            None => self.fail(format!("`{text}` is no number")),
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | b'%' | b'.')
}

/// An integer literal: decimal, `0x…`, `0b…` or octal `0…`.
fn integer(text: &str) -> Option<u64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    u64::from_str_radix(digits, radix).ok()
}
