//! Instructions that lanes of a warp execute together: shuffles, votes, reductions.

use super::{Executor, Flow, lanes_of};
use crate::Fault;
use crate::lanes::Slot;

/// `shfl.sync`
#[derive(Debug)]
pub(crate) struct Shuffle {
    pub(crate) mode: ShuffleMode,
    pub(crate) dst: Slot<u32>,
    /// Whether the lane read from was in range.
    pub(crate) in_range: Option<Slot<bool>>,
    pub(crate) src: Slot<u32>,
    /// A lane, a distance or a mask, by the mode.
    pub(crate) lane: Slot<u32>,
    /// Where the segments of the warp end.
    pub(crate) clamp: Slot<u32>,
    pub(crate) members: Slot<u32>,
}

/// From which lane `shfl.sync` reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ShuffleMode {
    Up,
    Down,
    Butterfly,
    Indexed,
}

impl ShuffleMode {
    /// The lane to read from, and whether it is in range; see the pseudocode in the PTX manual.
    fn source(self, lane: u32, operand: u32, clamp: u32) -> (u32, bool) {
        let segment = clamp >> 8 & 31;
        let limit = clamp & 31;
        let operand = operand & 31;
        let last = (lane & segment) | (limit & !segment);
        let (source, in_range) = match self {
            // `last` is the first lane of the segment here.
            Self::Up => (lane.wrapping_sub(operand), lane as i32 - operand as i32 >= last as i32),
            Self::Down => (lane + operand, lane + operand <= last),
            Self::Butterfly => (lane ^ operand, lane ^ operand <= last),
            Self::Indexed => {
                let source = (lane & segment) | (operand & !segment);
                (source, source <= last)
            }
        };
        (if in_range { source } else { lane }, in_range)
    }
}

/// `vote.sync`
#[derive(Debug)]
pub(crate) struct Vote {
    pub(crate) mode: VoteMode,
    pub(crate) predicate: Slot<bool>,
    pub(crate) members: Slot<u32>,
}

/// What `vote.sync` returns, and where to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum VoteMode {
    All(Slot<bool>),
    Any(Slot<bool>),
    Uniform(Slot<bool>),
    Ballot(Slot<u32>),
}

/// `match.sync`
#[derive(Debug)]
pub(crate) struct Match {
    pub(crate) dst: Slot<u32>,
    /// With a predicate, `match.all`, else `match.any`.
    pub(crate) all: Option<Option<Slot<bool>>>,
    pub(crate) value: MatchValue,
    pub(crate) members: Slot<u32>,
}

/// What `match.sync` compares.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MatchValue {
    Word(Slot<u32>),
    Double(Slot<u64>),
}

/// `redux.sync`
#[derive(Debug)]
pub(crate) struct Reduce {
    pub(crate) f: fn(u32, u32) -> u32,
    pub(crate) dst: Slot<u32>,
    pub(crate) src: Slot<u32>,
    pub(crate) members: Slot<u32>,
}

/// `elect.sync`
#[derive(Debug)]
pub(crate) struct Elect {
    pub(crate) dst: Slot<u32>,
    pub(crate) elected: Slot<bool>,
    pub(crate) members: Slot<u32>,
}

impl Executor<'_, '_> {
    /// The lanes that an instruction names, and what to do until they are together.
    fn members(
        &mut self,
        members: Slot<u32>,
        active: u32,
    ) -> Result<Result<[u32; 32], Flow>, Fault> {
        let members = *self.read_defined(members, active, "the member mask")?;
        for lane in lanes_of(active) {
            if members[lane] >> lane & 1 == 0 {
                let message = format!("a lane that its member mask {:#x} omits", members[lane]);
                let fault = Fault::new(crate::FaultKind::DivergentSync, message);
                return Err(fault.in_lane(lane as u32));
            }
        }
        let needed = lanes_of(active).fold(0, |mask, lane| mask | members[lane]);
        Ok(match self.gather(needed, active) {
            None => Ok(members),
            Some(flow) => Err(flow),
        })
    }

    /// `shfl.sync`; what it reads from a lane that does not take part is undefined.
    #[inline(never)]
    pub(super) fn shuffle(&mut self, op: &Shuffle, active: u32) -> Result<Flow, Fault> {
        let members = match self.members(op.members, active)? {
            Ok(members) => members,
            Err(flow) => return Ok(flow),
        };
        let lane_operand = *self.read_defined(op.lane, active, "the lane of a shuffle")?;
        let clamp = *self.read_defined(op.clamp, active, "the clamp of a shuffle")?;
        let src = *self.warp.registers.get(op.src);
        let src_defined = self.warp.registers.defined(op.src) & active;
        let (mut value, mut defined, mut in_range) = ([0; 32], 0, 0);
        for lane in lanes_of(active) {
            let (source, within) = op.mode.source(lane as u32, lane_operand[lane], clamp[lane]);
            value[lane] = src[source as usize];
            defined |= (src_defined & members[lane]) >> source << lane & 1 << lane;
            in_range |= u32::from(within) << lane;
        }
        self.write(op.dst, active, &value, defined);
        if let Some(dst) = op.in_range {
            self.write(dst, active, &in_range, !0);
        }
        Ok(Flow::Next)
    }

    /// `vote.sync`
    #[inline(never)]
    pub(super) fn vote(&mut self, op: &Vote, active: u32) -> Result<Flow, Fault> {
        let members = match self.members(op.members, active)? {
            Ok(members) => members,
            Err(flow) => return Ok(flow),
        };
        let holds = *self.read_defined(op.predicate, active, "a vote")?;
        let result = |f: fn(u32, u32) -> bool| {
            let lanes = lanes_of(active).filter(|&lane| f(holds, members[lane] & active));
            lanes.fold(0, |mask, lane| mask | 1 << lane)
        };
        match op.mode {
            VoteMode::All(dst) => self.write(dst, active, &result(|p, m| p & m == m), !0),
            VoteMode::Any(dst) => self.write(dst, active, &result(|p, m| p & m != 0), !0),
            VoteMode::Uniform(dst) => {
                self.write(dst, active, &result(|p, m| p & m == m || p & m == 0), !0);
            }
            VoteMode::Ballot(dst) => {
                let value = members.map(|members| holds & members & active);
                self.write(dst, active, &value, !0);
            }
        }
        Ok(Flow::Next)
    }

    /// `match.sync`
    #[inline(never)]
    pub(super) fn matching(&mut self, op: &Match, active: u32) -> Result<Flow, Fault> {
        let members = match self.members(op.members, active)? {
            Ok(members) => members,
            Err(flow) => return Ok(flow),
        };
        let what = "the value to match";
        let values = match op.value {
            MatchValue::Word(src) => self.read_defined(src, active, what)?.map(u64::from),
            MatchValue::Double(src) => *self.read_defined(src, active, what)?,
        };
        let (mut value, mut all_equal) = ([0; 32], 0);
        for lane in lanes_of(active) {
            let group = members[lane] & active;
            let equal = lanes_of(group).filter(|&other| values[other] == values[lane]);
            let equal = equal.fold(0, |mask, other| mask | 1 << other);
            all_equal |= u32::from(equal == group) << lane;
            value[lane] = if op.all.is_none() || equal == group { equal } else { 0 };
        }
        self.write(op.dst, active, &value, !0);
        if let Some(Some(dst)) = op.all {
            self.write(dst, active, &all_equal, !0);
        }
        Ok(Flow::Next)
    }

    /// `redux.sync`
    #[inline(never)]
    pub(super) fn reduce(&mut self, op: &Reduce, active: u32) -> Result<Flow, Fault> {
        let members = match self.members(op.members, active)? {
            Ok(members) => members,
            Err(flow) => return Ok(flow),
        };
        let src = *self.read_defined(op.src, active, "the value to reduce")?;
        let mut value = [0; 32];
        for lane in lanes_of(active) {
            let group = lanes_of(members[lane] & active).map(|other| src[other]);
            value[lane] = group.reduce(op.f).unwrap_or_default();
        }
        self.write(op.dst, active, &value, !0);
        Ok(Flow::Next)
    }

    /// `elect.sync`: the lowest lane leads.
    #[inline(never)]
    pub(super) fn elect(&mut self, op: &Elect, active: u32) -> Result<Flow, Fault> {
        let members = match self.members(op.members, active)? {
            Ok(members) => members,
            Err(flow) => return Ok(flow),
        };
        let leaders = members.map(|members| (members & active).trailing_zeros());
        let led = lanes_of(active).filter(|&lane| leaders[lane] == lane as u32);
        let elected = led.fold(0, |mask, lane| mask | 1 << lane);
        self.write(op.dst, active, &leaders, !0);
        self.write(op.elected, active, &elected, !0);
        Ok(Flow::Next)
    }

    /// `bar.warp.sync`
    #[inline(never)]
    pub(super) fn sync_warp(&mut self, members: Slot<u32>, active: u32) -> Result<Flow, Fault> {
        if let Err(flow) = self.members(members, active)? {
            return Ok(flow);
        }
        self.warp.epoch += 1;
        Ok(Flow::Next)
    }
}
