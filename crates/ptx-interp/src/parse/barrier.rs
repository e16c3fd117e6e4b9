//! Barriers of blocks and warps.

use super::Table;
use super::body::Body;
use super::operands::Decoded;
use super::statement::{Operand, Statement, Type};
use crate::exec::barrier::{Action, Barrier, Reduction};
use crate::instruction::Op;

pub(super) const TABLE: &Table = &[("bar", bar), ("barrier", barrier)];

/// `bar` is `barrier.aligned`.
fn bar<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    if s.modifiers.take("warp") {
        return sync_warp(body, s);
    }
    any(body, s, true)
}

fn barrier<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let aligned = s.modifiers.take("aligned");
    if s.modifiers.take("cluster") {
        return super::cluster::cluster_barrier(s, aligned);
    }
    any(body, s, aligned)
}

fn sync_warp<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.modifiers.drop(&["sync"]);
    let [members] = s.operands()?;
    Ok(Op::SyncWarp(body.source::<u32>(members)?))
}

fn any<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, aligned: bool) -> Decoded {
    s.modifiers.drop(&["cta"]);
    if s.modifiers.take("red") {
        return reduce(body, s, aligned);
    }
    let arrive = s.modifiers.take("arrive");
    if !arrive && !s.modifiers.take("sync") {
        return Err("expected .sync, .arrive or .red".to_owned());
    }
    let action = if arrive { Action::Arrive } else { Action::Sync };
    let (id, count) = match s.operands.as_slice() {
        [id] if !arrive => (id, None),
        [id, count] => (id, Some(count)),
        _ => return Err("the number of operands does not fit".to_owned()),
    };
    let id = body.source::<u32>(id)?;
    let count = count.map(|count| body.source::<u32>(count)).transpose()?;
    Ok(Op::Barrier(Box::new(Barrier { action, id, count, aligned })))
}

/// `bar.red.popc.u32 d, id, count, p` and `bar.red.and.pred p, id, count, q`
fn reduce<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>, aligned: bool) -> Decoded {
    let ty = s.ty(|ty| matches!(ty, Type::U32 | Type::Pred))?;
    let (d, id, count, predicate) = match s.operands.as_slice() {
        [d, id, p] => (d, id, None, p),
        [d, id, count, p] => (d, id, Some(count), p),
        _ => return Err("the number of operands does not fit".to_owned()),
    };
    let reduction = match ty {
        Type::U32 if s.modifiers.take("popc") => Reduction::Count(body.destination::<u32>(d)?),
        Type::Pred if s.modifiers.take("and") => Reduction::And(body.destination::<bool>(d)?),
        Type::Pred if s.modifiers.take("or") => Reduction::Or(body.destination::<bool>(d)?),
        _ => return Err("no known operation".to_owned()),
    };
    let predicate = match predicate {
        Operand::Not(_) | Operand::Name(..) => body.predicate(predicate)?,
        operand => return Err(format!("{operand:?} is no predicate")),
    };
    let id = body.source::<u32>(id)?;
    let count = count.map(|count| body.source::<u32>(count)).transpose()?;
    let action = Action::Reduce(predicate, reduction);
    Ok(Op::Barrier(Box::new(Barrier { action, id, count, aligned })))
}
