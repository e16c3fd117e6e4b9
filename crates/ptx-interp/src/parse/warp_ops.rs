//! Shuffles, votes and what else lanes of a warp do together.

use super::Table;
use super::arithmetic::unsupported;
use super::body::Body;
use super::operands::Decoded;
use super::statement::{Operand, Statement, Type};
use crate::exec::warp_ops::{
    Elect, Match, MatchValue, Reduce, Shuffle, ShuffleMode, Vote, VoteMode,
};
use crate::instruction::Op;

pub(super) const TABLE: &Table = &[
    ("shfl", shfl),
    ("vote", vote),
    ("match", match_),
    ("redux", redux),
    ("elect", elect),
    ("activemask", activemask),
];

/// Takes `.sync`, without which an instruction is too old for this interpreter.
fn sync(s: &mut Statement<'_>) -> Result<(), String> {
    if s.modifiers.take("sync") { Ok(()) } else { Err("expected .sync".to_owned()) }
}

/// The two results of `d|p`; a single one has no second.
fn pair<'a>(operand: &Operand<'a>) -> (Operand<'a>, Option<Operand<'a>>) {
    match *operand {
        Operand::Pair(first, second) => (Operand::Name(first, 0), Some(Operand::Name(second, 0))),
        ref single => (single.clone(), None),
    }
}

fn shfl<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    sync(s)?;
    s.ty(|ty| ty == Type::B32)?;
    let mode = s.modifiers.find(|modifier| {
        Some(match modifier {
            "up" => ShuffleMode::Up,
            "down" => ShuffleMode::Down,
            "bfly" => ShuffleMode::Butterfly,
            "idx" => ShuffleMode::Indexed,
            _ => return None,
        })
    });
    let [d, src, lane, clamp, members] = s.operands()?;
    let (dst, in_range) = pair(d);
    Ok(Op::Shuffle(Box::new(Shuffle {
        mode: mode.ok_or("no known mode")?,
        dst: body.destination::<u32>(&dst)?,
        in_range: in_range.map(|p| body.destination::<bool>(&p)).transpose()?,
        src: body.source::<u32>(src)?,
        lane: body.source::<u32>(lane)?,
        clamp: body.source::<u32>(clamp)?,
        members: body.source::<u32>(members)?,
    })))
}

fn vote<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    sync(s)?;
    let ty = s.modifiers.ty()?;
    let [d, predicate, members] = s.operands()?.clone();
    let (d, predicate, members) = (&d, &predicate, &members);
    let mode = match ty {
        Type::B32 if s.modifiers.take("ballot") => VoteMode::Ballot(body.destination::<u32>(d)?),
        Type::Pred => {
            let dst = body.destination::<bool>(d)?;
            let mode = s.modifiers.find(|modifier| {
                Some(match modifier {
                    "all" => VoteMode::All(dst),
                    "any" => VoteMode::Any(dst),
                    "uni" => VoteMode::Uniform(dst),
                    _ => return None,
                })
            });
            mode.ok_or("no known mode")?
        }
        ty => return unsupported(ty),
    };
    let (predicate, members) = (body.predicate(predicate)?, body.source::<u32>(members)?);
    Ok(Op::Vote(Box::new(Vote { mode, predicate, members })))
}

fn match_<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    sync(s)?;
    let all = s.modifiers.take("all");
    if !all && !s.modifiers.take("any") {
        return Err("no known mode".to_owned());
    }
    let ty = s.modifiers.ty()?;
    let [d, a, members] = s.operands()?;
    let (dst, predicate) = pair(d);
    let predicate = predicate.map(|p| body.destination::<bool>(&p)).transpose()?;
    let value = match ty {
        Type::B32 => MatchValue::Word(body.source::<u32>(a)?),
        Type::B64 => MatchValue::Double(body.source::<u64>(a)?),
        ty => return unsupported(ty),
    };
    Ok(Op::Match(Box::new(Match {
        dst: body.destination::<u32>(&dst)?,
        all: all.then_some(predicate),
        value,
        members: body.source::<u32>(members)?,
    })))
}

fn redux<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    sync(s)?;
    let signed = match s.modifiers.ty()? {
        Type::S32 => true,
        Type::U32 | Type::B32 => false,
        ty => return unsupported(ty),
    };
    let f = s.modifiers.find(|modifier| {
        let f: fn(u32, u32) -> u32 = match (modifier, signed) {
            ("add", _) => u32::wrapping_add,
            ("and", _) => |a, b| a & b,
            ("or", _) => |a, b| a | b,
            ("xor", _) => |a, b| a ^ b,
            ("min", false) => |a, b| a.min(b),
            ("max", false) => |a, b| a.max(b),
            ("min", true) => |a, b| (a as i32).min(b as i32) as u32,
            ("max", true) => |a, b| (a as i32).max(b as i32) as u32,
            _ => return None,
        };
        Some(f)
    });
    let [d, a, members] = s.operands()?;
    Ok(Op::Reduce(Box::new(Reduce {
        f: f.ok_or("no known operation")?,
        dst: body.destination::<u32>(d)?,
        src: body.source::<u32>(a)?,
        members: body.source::<u32>(members)?,
    })))
}

fn elect<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    sync(s)?;
    let [d, members] = s.operands()?;
    let (dst, elected) = pair(d);
    let elected = elected.ok_or("expected two results, d|p")?;
    Ok(Op::Elect(Box::new(Elect {
        dst: body.destination::<u32>(&dst)?,
        elected: body.destination::<bool>(&elected)?,
        members: body.source::<u32>(members)?,
    })))
}

fn activemask<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.ty(|ty| ty == Type::B32)?;
    let [d] = s.operands()?;
    Ok(Op::ActiveMask(body.destination::<u32>(d)?))
}
