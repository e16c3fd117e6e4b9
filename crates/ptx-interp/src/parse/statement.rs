//! One instruction as it is written: guard, opcode, modifiers and operands.

use super::cursor::Cursor;
use super::lexer::TokenKind;
use crate::ParseError;

/// An operand as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Operand<'a> {
    /// A register, variable or label, and what is added to its address.
    Name(&'a str, i64),
    /// A predicate, negated.
    Not(&'a str),
    /// Two results: `%r1|%p1`.
    Pair(&'a str, &'a str),
    /// An integer.
    Integer(u64),
    /// The bits of an f32.
    Float(u32),
    /// The bits of an f64.
    Double(u64),
    /// `{a, b, …}`.
    Vector(Vec<Operand<'a>>),
    /// `[base+offset]`; without a base the offset is the address.
    Address(Option<&'a str>, i64),
}

/// A guard: the instruction runs where the predicate holds (or does not).
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardName<'a> {
    pub(crate) predicate: &'a str,
    pub(crate) negated: bool,
}

/// An instruction as it is written.
#[derive(Debug)]
pub(crate) struct Statement<'a> {
    pub(crate) guard: Option<GuardName<'a>>,
    /// The opcode without its modifiers, e.g. `ld`.
    pub(crate) opcode: &'a str,
    pub(crate) modifiers: Modifiers<'a>,
    pub(crate) operands: Vec<Operand<'a>>,
    pub(crate) line: u32,
}

impl<'a> Statement<'a> {
    /// Parses one instruction, up to and with its semicolon.
    pub(crate) fn parse(cursor: &mut Cursor<'a, '_>) -> Result<Self, ParseError> {
        let line = cursor.line();
        let guard = guard(cursor)?;
        let mut words = cursor.word("an instruction")?.split('.');
        let opcode = words.next().unwrap_or_default();
        let modifiers = Modifiers { left: words.collect() };
        let mut operands = Vec::new();
        if !cursor.is_punct(b';') {
            operands.push(operand(cursor)?);
            while cursor.take_punct(b',') {
                operands.push(operand(cursor)?);
            }
        }
        cursor.punct(b';')?;
        Ok(Self { guard, opcode, modifiers, operands, line })
    }

    /// The operands, if there are `N`.
    pub(crate) fn operands<const N: usize>(&self) -> Result<&[Operand<'a>; N], String> {
        self.operands.as_slice().try_into().map_err(|_| {
            format!("{} has {} operands, expected {N}", self.opcode, self.operands.len())
        })
    }
}

fn guard<'a>(cursor: &mut Cursor<'a, '_>) -> Result<Option<GuardName<'a>>, ParseError> {
    if !cursor.take_punct(b'@') {
        return Ok(None);
    }
    let negated = cursor.take_punct(b'!');
    Ok(Some(GuardName { predicate: cursor.word("a predicate")?, negated }))
}

fn operand<'a>(cursor: &mut Cursor<'a, '_>) -> Result<Operand<'a>, ParseError> {
    let token = cursor.peek(0);
    match token.kind {
        TokenKind::Word => {
            cursor.next();
            if cursor.take_punct(b'|') {
                return Ok(Operand::Pair(token.text, cursor.word("a register")?));
            }
            Ok(Operand::Name(token.text, offset(cursor)?))
        }
        TokenKind::Float(bits) => {
            cursor.next();
            Ok(Operand::Float(bits))
        }
        TokenKind::Double(bits) => {
            cursor.next();
            Ok(Operand::Double(bits))
        }
        TokenKind::Integer(_) | TokenKind::Punct(b'-') => {
            let value = cursor.integer()?;
            let next = cursor.peek(0);
            // `1.0` is an integer and a word.
            let Some(fraction) = next.text.strip_prefix('.') else {
                return Ok(Operand::Integer(value as u64));
            };
            match format!("{value}.{fraction}").parse::<f64>() {
                Ok(value) => {
                    cursor.next();
                    Ok(Operand::Double(value.to_bits()))
                }
                Err(_) => cursor.expected("digits behind a decimal point"),
            }
        }
        TokenKind::Punct(b'!') => {
            cursor.next();
            Ok(Operand::Not(cursor.word("a predicate")?))
        }
        TokenKind::Punct(b'{') => vector(cursor),
        TokenKind::Punct(b'[') => address(cursor),
        _ => cursor.expected("an operand"),
    }
}

fn vector<'a>(cursor: &mut Cursor<'a, '_>) -> Result<Operand<'a>, ParseError> {
    cursor.punct(b'{')?;
    let mut elements = Vec::new();
    loop {
        if cursor.is_punct(b'{') {
            return cursor.expected("an element of a vector");
        }
        elements.push(operand(cursor)?);
        if !cursor.take_punct(b',') {
            break;
        }
    }
    cursor.punct(b'}')?;
    Ok(Operand::Vector(elements))
}

fn address<'a>(cursor: &mut Cursor<'a, '_>) -> Result<Operand<'a>, ParseError> {
    cursor.punct(b'[')?;
    let address = match cursor.peek(0).kind {
        TokenKind::Word => {
            let base = cursor.next().text;
            Operand::Address(Some(base), offset(cursor)?)
        }
        _ => Operand::Address(None, cursor.integer()?),
    };
    cursor.punct(b']')?;
    Ok(address)
}

/// `+4`, `+-4`, `-4` or nothing.
fn offset(cursor: &mut Cursor<'_, '_>) -> Result<i64, ParseError> {
    if cursor.take_punct(b'+') || cursor.is_punct(b'-') { cursor.integer() } else { Ok(0) }
}

/// The modifiers of an instruction that no one has asked for yet. What is left when an
/// instruction is decoded is an error, so no modifier is ever ignored by accident.
#[derive(Debug)]
pub(crate) struct Modifiers<'a> {
    left: Vec<&'a str>,
}

impl<'a> Modifiers<'a> {
    /// Takes the modifier `name`, if it is there.
    pub(crate) fn take(&mut self, name: &str) -> bool {
        match self.left.iter().position(|m| *m == name) {
            Some(index) => {
                self.left.remove(index);
                true
            }
            None => false,
        }
    }

    /// Takes the modifier `name`, which must be there.
    pub(crate) fn require(&mut self, name: &str) -> Result<(), String> {
        if self.take(name) { Ok(()) } else { Err(format!("expected the modifier .{name}")) }
    }

    /// Takes the first modifier that `f` knows.
    pub(crate) fn find<T>(&mut self, f: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (index, value) =
            self.left.iter().enumerate().find_map(|(i, m)| f(m).map(|value| (i, value)))?;
        self.left.remove(index);
        Some(value)
    }

    /// Takes all modifiers of `names`, which do not matter here.
    pub(crate) fn drop(&mut self, names: &[&str]) {
        self.left.retain(|m| !names.contains(m));
    }

    /// Takes the first modifier that is a type.
    pub(crate) fn ty(&mut self) -> Result<Type, String> {
        self.find(Type::parse).ok_or_else(|| "the instruction names no known type".to_owned())
    }

    /// Fails if anything is left.
    pub(crate) fn finish(&self) -> Result<(), String> {
        match self.left.as_slice() {
            [] => Ok(()),
            left => Err(format!("unknown modifier .{}", left.join("."))),
        }
    }
}

macro_rules! types {
    ($($name:ident $text:literal $bits:literal;)*) => {
        /// A type of PTX.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Type {
            $(#[doc = concat!("`.", $text, "`")] $name,)*
        }

        impl Type {
            /// The type that a modifier names, without its dot.
            pub(crate) fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its width.
            pub(crate) fn bits(self) -> u32 {
                match self {
                    $(Self::$name => $bits,)*
                }
            }
        }
    };
}

types! {
    Pred "pred" 1;
    B8 "b8" 8;
    B16 "b16" 16;
    B32 "b32" 32;
    B64 "b64" 64;
    U8 "u8" 8;
    U16 "u16" 16;
    U32 "u32" 32;
    U64 "u64" 64;
    S8 "s8" 8;
    S16 "s16" 16;
    S32 "s32" 32;
    S64 "s64" 64;
    F16 "f16" 16;
    F16x2 "f16x2" 32;
    Bf16 "bf16" 16;
    Bf16x2 "bf16x2" 32;
    F32 "f32" 32;
    F64 "f64" 64;
}

impl Type {
    /// Its size in bytes; a predicate has none.
    pub(crate) fn bytes(self) -> u32 {
        self.bits() / 8
    }

    /// Whether it is a signed integer.
    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Self::S8 | Self::S16 | Self::S32 | Self::S64)
    }
}
