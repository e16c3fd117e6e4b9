//! Asynchronous copies: `cp.async` and `cp.async.bulk`.

use super::Table;
use super::body::Body;
use super::memory::address;
use super::moves::space;
use super::operands::Decoded;
use super::statement::{Operand, Statement};
use crate::exec::copy_ops::{ArriveOnLanding, CopyKind, StartCopy, WaitGroups};
use crate::exec::memory_access::Access;
use crate::exec::space::Space;
use crate::instruction::Op;

pub(super) const TABLE: &Table = &[("cp", cp)];

fn cp<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.modifiers.require("async")?;
    if s.modifiers.take("mbarrier") {
        return arrive_on_landing(body, s);
    }
    let bulk = s.modifiers.take("bulk");
    if s.modifiers.take("commit_group") {
        s.operands::<0>()?;
        return Ok(Op::CommitGroup { bulk });
    }
    let all = s.modifiers.take("wait_all");
    if all || s.modifiers.take("wait_group") {
        return wait(s, bulk, all);
    }
    if bulk { bulk_copy(body, s) } else { small_copy(body, s) }
}

/// `wait_group n`, `wait_all`
fn wait(s: &mut Statement<'_>, bulk: bool, all: bool) -> Decoded {
    let pending = match s.operands.as_slice() {
        [] if all => None,
        [Operand::Integer(pending)] if !all => u32::try_from(*pending).ok(),
        _ => return Err("expected the number of groups that may stay in flight".to_owned()),
    };
    let read = bulk && s.modifiers.take("read");
    Ok(Op::WaitGroups(WaitGroups { bulk, pending, read }))
}

/// `cp.async.cg.shared.global [dst], [src], 16{, bytes to read | ignore}{, policy}`
fn small_copy<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let l2_only = s.modifiers.take("cg");
    if !l2_only {
        s.modifiers.require("ca")?;
    }
    let [to, from] = two_spaces(s)?;
    drop_hints(body, s)?;
    let (bytes, rest) = match s.operands.as_slice() {
        [_, _, Operand::Integer(bytes @ (4 | 8 | 16)), rest @ ..] => (*bytes as u32, rest.to_vec()),
        _ => return Err("expected two addresses and 4, 8 or 16 bytes".to_owned()),
    };
    if l2_only && bytes != 16 {
        return Err(format!("{bytes} bytes, .cg copies 16"));
    }
    let (mut source_bytes, mut ignore_source) = (None, None);
    match rest.as_slice() {
        [] => {}
        [operand @ Operand::Integer(_)] => source_bytes = Some(body.source::<u32>(operand)?),
        [operand] => match body.predicate(operand) {
            Ok(predicate) => ignore_source = Some(predicate),
            Err(_) => source_bytes = Some(body.source::<u32>(operand)?),
        },
        rest => return Err(format!("{} operands too many", rest.len() - 1)),
    }
    let copy = StartCopy {
        destination: access(body, &s.operands[0], to, bytes)?,
        source: access(body, &s.operands[1], from, bytes)?,
        bytes: body.source::<u32>(&Operand::Integer(bytes.into()))?,
        source_bytes,
        ignore_source,
        ranks: None,
        kind: CopyKind::Async,
    };
    Ok(Op::StartCopy(Box::new(copy)))
}

/// `cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [dst], [src], n, [mbarrier]`
/// (with `.multicast::cluster` and a mask of blocks behind),
/// `cp.async.bulk.global.shared::cta.bulk_group [dst], [src], n`, both with an optional policy.
fn bulk_copy<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    if s.modifiers.take("prefetch") {
        s.modifiers.drop(&["L2", "global"]);
        drop_hints(body, s)?;
        s.operands::<2>()?;
        return Ok(Op::Nop);
    }
    let [to, from] = two_spaces(s)?;
    let mbarrier = s.modifiers.take("mbarrier::complete_tx::bytes");
    if !mbarrier {
        s.modifiers.require("bulk_group")?;
    }
    drop_hints(body, s)?;
    let mut ranks = None;
    if mbarrier && s.modifiers.take("multicast::cluster") {
        let mask = s.operands.pop().ok_or("no mask of blocks")?;
        ranks = Some(body.source::<u16>(&mask)?);
    }
    let kind = match (mbarrier, s.operands.as_slice()) {
        (true, [_, _, _, mbarrier]) => {
            CopyKind::BulkMbarrier(access(body, mbarrier, Space::Shared, 8)?)
        }
        (false, [_, _, _]) => CopyKind::BulkGroup,
        _ => return Err(format!("{} operands are not expected", s.operands.len())),
    };
    let copy = StartCopy {
        destination: access(body, &s.operands[0], to, 16)?,
        source: access(body, &s.operands[1], from, 16)?,
        bytes: body.source::<u32>(&s.operands[2])?,
        source_bytes: None,
        ignore_source: None,
        ranks,
        kind,
    };
    Ok(Op::StartCopy(Box::new(copy)))
}

/// The state spaces of destination and source.
fn two_spaces(s: &mut Statement<'_>) -> Result<[Space; 2], String> {
    let mut next = || s.modifiers.find(space).ok_or("a copy names two state spaces".to_owned());
    Ok([next()?, next()?])
}

/// Takes what only steers caches: sizes to prefetch, and a policy with its operand.
fn drop_hints<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Result<(), String> {
    s.modifiers.drop(&["L2::64B", "L2::128B", "L2::256B"]);
    if s.modifiers.take("L2::cache_hint") {
        let policy = s.operands.pop().ok_or("no policy")?;
        body.source::<u64>(&policy)?;
    }
    Ok(())
}

/// `cp.async.mbarrier.arrive{.noinc}{.shared}.b64 [mbarrier]`
fn arrive_on_landing<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    s.modifiers.require("arrive")?;
    s.modifiers.require("b64")?;
    let counted = s.modifiers.take("noinc");
    let space = s.modifiers.find(space).unwrap_or(Space::Generic);
    let [address] = s.operands()?;
    let access = access(body, address, space, 8)?;
    Ok(Op::ArriveOnLanding(Box::new(ArriveOnLanding { access, counted })))
}

/// An access of `len` bytes to what an operand points to.
pub(super) fn access<'a>(
    body: &mut Body<'a, '_>,
    operand: &Operand<'a>,
    space: Space,
    len: u32,
) -> Result<Access, String> {
    let (base, offset) = address(body, operand, space)?;
    Ok(Access { space, base, offset, len, strong: false })
}
