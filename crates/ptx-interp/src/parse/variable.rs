//! Declarations of variables and their initial values.

use super::cursor::Cursor;
use super::lexer::TokenKind;
use super::statement::Type;
use crate::ParseError;

/// Dimensions that an array may have.
const MAX_DIMENSIONS: u32 = 16;

/// A declared variable.
#[derive(Debug, Clone)]
pub(super) struct Variable<'a> {
    pub(super) name: &'a str,
    pub(super) ty: Type,
    pub(super) align: u32,
    /// Size in all; 0 for an array without a length.
    pub(super) bytes: u64,
}

impl<'a> Variable<'a> {
    /// Parses `.align 4 .b8 name[16]`, what follows the state space.
    pub(super) fn parse(cursor: &mut Cursor<'a, '_>) -> Result<Self, ParseError> {
        let (mut align, mut vector) = (None, 1);
        let ty = loop {
            match cursor.word("a type")? {
                ".align" => align = Some(cursor.small()?),
                ".v2" => vector = 2,
                ".v4" => vector = 4,
                word => match word.strip_prefix('.').and_then(Type::parse) {
                    Some(ty) if ty.bits() >= 8 => break ty,
                    _ => return cursor.fail(format!("unknown attribute {word} of a variable")),
                },
            }
        };
        skip_pointer(cursor)?;
        let element = ty.bytes() * vector;
        let align = align.unwrap_or(element);
        if !align.is_power_of_two() {
            return cursor.fail(format!("an alignment of {align}, expected a power of two"));
        }
        let name = cursor.word("the name of a variable")?;
        let bytes = u64::from(element) * elements(cursor)?;
        Ok(Self { name, ty, align, bytes })
    }
}

/// `.ptr .global .align 16` behind the type of a parameter: where it points.
fn skip_pointer(cursor: &mut Cursor<'_, '_>) -> Result<(), ParseError> {
    if cursor.take_word(".ptr") {
        let _ = [".global", ".shared", ".const", ".local"].iter().any(|s| cursor.take_word(s));
        if cursor.take_word(".align") {
            cursor.small()?;
        }
    }
    Ok(())
}

/// `[4][16]`, `[]` or nothing.
fn elements(cursor: &mut Cursor<'_, '_>) -> Result<u64, ParseError> {
    let mut elements = 1u64;
    while cursor.take_punct(b'[') {
        let len = if cursor.is_punct(b']') { 0 } else { u64::from(cursor.small()?) };
        cursor.punct(b']')?;
        elements = match elements.checked_mul(len) {
            Some(elements) if elements < 1 << 40 => elements,
            _ => return cursor.fail("an array too large to exist"),
        };
    }
    Ok(elements)
}

/// An initial value.
#[derive(Debug, Default)]
pub(super) struct Init<'a> {
    /// The contents, as far as they are given.
    pub(super) bytes: Vec<u8>,
    /// Offsets of eight bytes to which the address of a variable is added.
    pub(super) pointers: Vec<(usize, &'a str)>,
}

impl<'a> Init<'a> {
    /// Parses `= …`, if it is there.
    pub(super) fn parse(cursor: &mut Cursor<'a, '_>, ty: Type) -> Result<Self, ParseError> {
        let mut init = Self::default();
        if cursor.take_punct(b'=') {
            init.value(cursor, ty, 0)?;
        }
        Ok(init)
    }

    /// Parses a value inside of `depth` pairs of braces.
    fn value(
        &mut self,
        cursor: &mut Cursor<'a, '_>,
        ty: Type,
        depth: u32,
    ) -> Result<(), ParseError> {
        if cursor.take_punct(b'{') {
            if depth == MAX_DIMENSIONS {
                return cursor.fail(format!("an array of more than {MAX_DIMENSIONS} dimensions"));
            }
            while !cursor.take_punct(b'}') {
                self.value(cursor, ty, depth + 1)?;
                if !cursor.is_punct(b'}') {
                    cursor.punct(b',')?;
                }
            }
            return Ok(());
        }
        let bits = match cursor.peek(0).kind {
            TokenKind::Float(bits) => {
                cursor.next();
                u64::from(bits)
            }
            TokenKind::Double(bits) => {
                cursor.next();
                bits
            }
            TokenKind::Word => return self.pointer(cursor, ty),
            _ => cursor.integer()? as u64,
        };
        self.bytes.extend_from_slice(&bits.to_le_bytes()[..ty.bytes() as usize]);
        Ok(())
    }

    /// `name`, `name+4` or `generic(name)+4`: here addresses of both sorts are the same.
    fn pointer(&mut self, cursor: &mut Cursor<'a, '_>, ty: Type) -> Result<(), ParseError> {
        if ty.bits() != 64 {
            return cursor.fail("an address needs 64 bits");
        }
        let generic = cursor.take_word("generic");
        if generic {
            cursor.punct(b'(')?;
        }
        let name = cursor.word("a variable")?;
        if generic {
            cursor.punct(b')')?;
        }
        let addend = if cursor.take_punct(b'+') { cursor.integer()? } else { 0 };
        self.pointers.push((self.bytes.len(), name));
        self.bytes.extend_from_slice(&addend.to_le_bytes());
        Ok(())
    }
}
