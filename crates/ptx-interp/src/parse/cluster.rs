//! mbarriers, clusters, proxy fences and dependent launches.

use super::Table;
use super::async_copy::access;
use super::body::Body;
use super::lane_ops::{binary, lanes};
use super::moves::space;
use super::operands::Decoded;
use super::statement::{Operand, Statement, Type};
use crate::exec::cluster_barrier::{ClusterSync, Step};
use crate::exec::mbarrier_ops::{Action, Arrive, MbarrierOp, Phase, Wait};
use crate::exec::space::{Space, shared_at, shared_of};
use crate::instruction::Op;
use crate::lane_op::Map2;
use crate::lanes::Slot;

pub(super) const TABLE: &Table = &[
    ("mbarrier", mbarrier),
    ("mapa", mapa),
    ("getctarank", get_block_rank),
    ("griddepcontrol", griddepcontrol),
    ("setmaxnreg", set_max_registers),
];

/// The name of an operation on an mbarrier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Init,
    Invalidate,
    Arrive,
    ArriveDrop,
    Expect,
    Complete,
    TestWait,
    TryWait,
}

fn mbarrier<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let operation = s.modifiers.find(|modifier| {
        Some(match modifier {
            "init" => Operation::Init,
            "inval" => Operation::Invalidate,
            "arrive" => Operation::Arrive,
            "arrive_drop" => Operation::ArriveDrop,
            "expect_tx" => Operation::Expect,
            "complete_tx" => Operation::Complete,
            "test_wait" => Operation::TestWait,
            "try_wait" => Operation::TryWait,
            _ => return None,
        })
    });
    let operation = operation.ok_or("an unknown operation on an mbarrier")?;
    let space = s.modifiers.find(space).unwrap_or(Space::Generic);
    s.modifiers.drop(&["cta", "cluster"]);
    let relaxed = s.modifiers.take("relaxed");
    let (address, action) = match operation {
        Operation::Arrive => (1, arrive(body, s, false, !relaxed)?),
        Operation::ArriveDrop => (1, arrive(body, s, true, !relaxed)?),
        Operation::TestWait => (1, wait(body, s, false, !relaxed)?),
        Operation::TryWait => (1, wait(body, s, true, !relaxed)?),
        Operation::Invalidate => (0, Action::Invalidate),
        Operation::Init => (0, Action::Init(second(body, s)?)),
        Operation::Expect => (0, Action::ExpectBytes(second(body, s)?)),
        Operation::Complete => (0, Action::CompleteBytes(second(body, s)?)),
    };
    if !matches!(operation, Operation::Expect | Operation::Complete) {
        s.modifiers.require("b64")?;
    } else {
        s.modifiers.take("b64");
    }
    let operand = s.operands.get(address).ok_or("too few operands")?;
    let access = access(body, operand, space, 8)?;
    Ok(Op::Mbarrier(Box::new(MbarrierOp { access, action })))
}

/// The second operand, a number.
fn second<'a>(body: &mut Body<'a, '_>, s: &Statement<'a>) -> Result<Slot<u32>, String> {
    let [_, number] = s.operands()?;
    body.source::<u32>(number)
}

/// `arrive{.expect_tx} token, [mbarrier]{, count or bytes}`; the token may be `_`.
fn arrive<'a>(
    body: &mut Body<'a, '_>,
    s: &mut Statement<'a>,
    drop: bool,
    release: bool,
) -> Result<Action, String> {
    s.modifiers.drop(&["release"]);
    let expects = s.modifiers.take("expect_tx");
    let (token, number) = match s.operands.as_slice() {
        [token, _] if !expects => (token, None),
        [token, _, number] => (token, Some(number)),
        operands => return Err(format!("{} operands do not fit", operands.len())),
    };
    let token = match token {
        Operand::Name("_", 0) => None,
        token => Some(body.destination::<u64>(token)?),
    };
    let number = number.map(|number| body.source::<u32>(number)).transpose()?;
    let (expect, count) = if expects { (number, None) } else { (None, number) };
    Ok(Action::Arrive(Arrive { token, expect, count, drop, release }))
}

/// `try_wait{.parity} done, [mbarrier], phase{, time}`
fn wait<'a>(
    body: &mut Body<'a, '_>,
    s: &mut Statement<'a>,
    may_suspend: bool,
    acquire: bool,
) -> Result<Action, String> {
    s.modifiers.drop(&["acquire"]);
    let parity = s.modifiers.take("parity");
    let (done, phase) = match s.operands.as_slice() {
        [done, _, phase] => (done, phase),
        [done, _, phase, _] if may_suspend => (done, phase),
        operands => return Err(format!("{} operands do not fit", operands.len())),
    };
    let done = body.destination::<bool>(done)?;
    let phase = match parity {
        true => Phase::Parity(body.source::<u32>(phase)?),
        false => Phase::Token(body.source::<u64>(phase)?),
    };
    Ok(Action::Wait(Wait { done, phase, may_suspend, acquire }))
}

/// The address that an address in shared memory has in the block of another rank.
fn mapa<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let shared = s.modifiers.find(space).is_some_and(|space| space == Space::Shared);
    match s.ty(|ty| matches!(ty, Type::U32 | Type::U64))? {
        Type::U32 if shared => binary(body, s, |address: u32, rank: u32| shared_of(rank, address)),
        Type::U64 if shared => {
            binary(body, s, |address: u64, rank: u32| u64::from(shared_of(rank, address as u32)))
        }
        Type::U64 => binary(body, s, |address: u64, rank: u32| {
            let (space, address) = Space::of(address);
            let window = if space == Space::Shared { Space::Shared.window() } else { u64::MAX };
            window | u64::from(shared_of(rank, address as u32))
        }),
        ty => Err(format!("the type {ty:?} is not supported")),
    }
}

/// The rank of the block whose shared memory an address points to.
fn get_block_rank<'a>(body: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let shared = s.modifiers.find(space).is_some_and(|space| space == Space::Shared);
    let ty = s.ty(|ty| ty == Type::U64 || ty == Type::U32 && shared)?;
    let own = body.operand(&Operand::Name("%cluster_ctarank", 0), 32)?;
    let b: Slot<u32> = own.slot().ok_or("a rank has 32 bits")?;
    let [dst, address] = s.operands()?;
    let dst = body.destination::<u32>(dst)?;
    if ty == Type::U32 {
        let a = body.source::<u32>(address)?;
        let f = |address, own| shared_at(address, own).0;
        return lanes(Map2::<_, u32, u32, u32> { f, dst, a, b });
    }
    let a = body.source::<u64>(address)?;
    let f = |address, own| shared_at(address as u32, own).0;
    lanes(Map2::<_, u32, u64, u32> { f, dst, a, b })
}

fn griddepcontrol<'a>(_: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    let [] = s.operands()?;
    if s.modifiers.take("wait") {
        return Ok(Op::WaitForDependency);
    }
    s.modifiers.require("launch_dependents")?;
    Ok(Op::LaunchDependents)
}

/// `setmaxnreg.inc.sync.aligned.u32 n`: registers have no number here, but the rules hold.
fn set_max_registers<'a>(_: &mut Body<'a, '_>, s: &mut Statement<'a>) -> Decoded {
    if !s.modifiers.take("inc") {
        s.modifiers.require("dec")?;
    }
    for expected in ["sync", "aligned", "u32"] {
        s.modifiers.require(expected)?;
    }
    match *s.operands()? {
        [Operand::Integer(n)] if (24..=256).contains(&n) && n % 8 == 0 => Ok(Op::Nop),
        ref operands => Err(format!("{operands:?}: expected a multiple of 8 from 24 to 256")),
    }
}

/// `barrier.cluster.arrive{.release|.relaxed}{.aligned}`,
/// `barrier.cluster.wait{.acquire}{.aligned}`
pub(super) fn cluster_barrier(s: &mut Statement<'_>, aligned: bool) -> Decoded {
    let [] = s.operands()?;
    let step = if s.modifiers.take("arrive") {
        s.modifiers.drop(&["release"]);
        Step::Arrive { release: !s.modifiers.take("relaxed") }
    } else {
        s.modifiers.require("wait")?;
        s.modifiers.drop(&["acquire"]);
        Step::Wait
    };
    Ok(Op::ClusterSync(ClusterSync { step, aligned }))
}

/// `fence.proxy.async…` and `fence.mbarrier_init.release.cluster`; `None` for ordinary fences.
pub(super) fn special_fence(s: &mut Statement<'_>) -> Option<Op> {
    if s.modifiers.take("mbarrier_init") {
        s.modifiers.drop(&["release", "cluster"]);
        return Some(Op::FenceMbarrierInit);
    }
    if s.modifiers.take("proxy") && s.modifiers.take("async") {
        s.modifiers.drop(&["global", "shared::cta", "shared::cluster"]);
        return Some(Op::FenceProxy);
    }
    None
}
