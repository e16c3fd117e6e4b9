//! Branches and ends.

use super::Table;
use super::body::Body;
use super::operands::Decoded;
use super::statement::{Operand, Statement};
use crate::instruction::{BranchIndexed, Op};

pub(super) const TABLE: &Table = &[
    ("bra", bra),
    ("brx", brx),
    ("ret", exit),
    ("exit", exit),
    ("trap", trap),
    ("brkpt", nop),
    ("nanosleep", nanosleep),
];

fn bra<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.modifiers.drop(&["uni"]);
    match *s.operands()? {
        [Operand::Name(label, 0)] => Ok(Op::Branch(body.target(label))),
        [ref operand] => Err(format!("{operand:?} is no label")),
    }
}

fn brx<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.modifiers.drop(&["idx", "uni"]);
    let [index, Operand::Name(table, 0)] = s.operands()? else {
        return Err("the second operand must be a label".to_owned());
    };
    let index = body.source::<u32>(index)?;
    let labels = body.branch_table(table).ok_or_else(|| format!("unknown table {table}"))?;
    let targets = labels.into_iter().map(|label| body.target(label)).collect();
    Ok(Op::BranchIndexed(Box::new(BranchIndexed { index, targets })))
}

fn exit<'a>(_: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.modifiers.drop(&["uni"]);
    let [] = s.operands()?;
    Ok(Op::Exit)
}

fn trap<'a>(_: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let [] = s.operands()?;
    Ok(Op::Trap)
}

fn nop<'a>(_: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let [] = s.operands()?;
    Ok(Op::Nop)
}

/// Time does not pass here.
fn nanosleep<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.modifiers.drop(&["u32"]);
    let [time] = s.operands()?;
    body.source::<u32>(time)?;
    Ok(Op::Nop)
}
