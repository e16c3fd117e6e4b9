//! PTX text to decoded modules.
//!
//! Every family of instructions has a file with a `TABLE` of its opcodes. A decoder takes the
//! modifiers that it knows and turns operands into registers; a modifier that nobody took is an
//! error. How to add an instruction: see [`crate::instruction`].

mod arithmetic;
mod async_copy;
mod barrier;
mod body;
mod cluster;
mod compare;
mod control;
mod cursor;
mod float;
mod half;
mod lane_ops;
mod lexer;
mod logic;
mod matrix;
mod memory;
mod module;
mod moves;
mod operands;
mod statement;
mod variable;
mod warp_ops;

pub(crate) use module::parse;

use body::Body;
use operands::Decoded;
use statement::Statement;

/// Decodes one instruction.
type Decode = for<'a> fn(&mut Body<'a, '_>, &mut Statement<'a>) -> Decoded;

/// The opcodes of a family, without modifiers.
type Table = [(&'static str, Decode)];

const FAMILIES: &[&Table] = &[
    arithmetic::TABLE,
    async_copy::TABLE,
    barrier::TABLE,
    cluster::TABLE,
    compare::TABLE,
    control::TABLE,
    float::TABLE,
    logic::TABLE,
    matrix::TABLE,
    memory::TABLE,
    moves::TABLE,
    warp_ops::TABLE,
];

/// The decoder of an opcode.
fn decoder(opcode: &str) -> Option<Decode> {
    let mut table = FAMILIES.iter().flat_map(|family| family.iter());
    table.find(|(name, _)| *name == opcode).map(|(_, decode)| *decode)
}
