//! `mbarrier.*`

use super::asynchronous::{Air, Object, invalid};
use super::memory_access::{Access, locate};
use super::shared::misaligned;
use super::space::{self, Space};
use super::warp::State;
use super::{Executor, Flow, lanes_of};
use crate::lanes::Slot;
use crate::mbarrier::{Mbarrier, Token};
use crate::{Fault, FaultKind};

/// An instruction on an mbarrier.
#[derive(Debug)]
pub(crate) struct MbarrierOp {
    pub(crate) access: Access,
    pub(crate) action: Action,
}

/// What it does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// `init`, with the arrivals that a phase takes.
    Init(Slot<u32>),
    /// `inval`
    Invalidate,
    /// `arrive`, `arrive_drop`
    Arrive(Arrive),
    /// `expect_tx`
    ExpectBytes(Slot<u32>),
    /// `complete_tx`
    CompleteBytes(Slot<u32>),
    /// `test_wait`, `try_wait`
    Wait(Wait),
}

/// `mbarrier.arrive` and its variants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrive {
    /// Receives the token of the phase.
    pub(crate) token: Option<Slot<u64>>,
    /// Bytes to expect first.
    pub(crate) expect: Option<Slot<u32>>,
    /// Arrivals, one if it does not say.
    pub(crate) count: Option<Slot<u32>>,
    /// Takes part in no later phase.
    pub(crate) drop: bool,
    /// What the thread did becomes visible to those that wait.
    pub(crate) release: bool,
}

/// `mbarrier.test_wait` and `mbarrier.try_wait`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    pub(crate) done: Slot<bool>,
    pub(crate) phase: Phase,
    /// `try_wait` may suspend the thread.
    pub(crate) may_suspend: bool,
    /// What those that arrived did becomes visible.
    pub(crate) acquire: bool,
}

/// Which phase to wait for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    Token(Slot<u64>),
    Parity(Slot<u32>),
}

/// Bytes of an mbarrier object.
const BYTES: u32 = 8;

impl Executor<'_, '_> {
    /// `mbarrier.*`
    pub(super) fn mbarrier(&mut self, op: &MbarrierOp, active: u32) -> Result<Flow, Fault> {
        let places = self.places(&op.access, active)?;
        if let Action::Wait(wait) = op.action {
            return self.mbarrier_wait(wait, &places, active);
        }
        let mut tokens = [0; 32];
        for lane in lanes_of(active) {
            let token = self.mbarrier_step(op.action, places[lane], lane);
            tokens[lane] = token.map_err(|fault| fault.in_lane(lane as u32))?.0;
        }
        if let Action::Arrive(arrive) = op.action {
            if let Some(token) = arrive.token {
                self.write(token, active, &tokens, !0);
            }
            if arrive.release {
                self.warp.unused_loads.order(active);
                *self.tick += 1;
                self.warp.clock.advance(*self.tick);
            }
        }
        Ok(Flow::Next)
    }

    /// Block rank and offset of the shared memory to which each active lane points.
    pub(super) fn places(&self, access: &Access, active: u32) -> Result<[(u32, u32); 32], Fault> {
        let addresses = self.all_addresses(access, active)?;
        let mut places = [(0, 0); 32];
        for lane in lanes_of(active) {
            let place = self.place(access.space, addresses[lane]);
            places[lane] = place.map_err(|fault| fault.in_lane(lane as u32))?;
        }
        Ok(places)
    }

    /// The addresses of an access, in its state space or generic.
    pub(super) fn all_addresses(&self, access: &Access, active: u32) -> Result<[u64; 32], Fault> {
        let mut addresses = [0; 32];
        self.addresses(access, active, &mut addresses)?;
        Ok(addresses)
    }

    fn place(&self, space: Space, address: u64) -> Result<(u32, u32), Fault> {
        let (space, address) = locate(space, address);
        if space != Space::Shared {
            let message = format!("{address:#x} is no address in shared memory");
            return Err(Fault::new(FaultKind::InvalidUse, message));
        }
        let (rank, offset) = space::shared_at(address as u32, self.block.rank);
        self.check_reachable(rank)?;
        Ok((rank, offset))
    }

    /// One lane's part of anything but a wait.
    fn mbarrier_step(
        &mut self,
        action: Action,
        place: (u32, u32),
        lane: usize,
    ) -> Result<Token, Fault> {
        let value = |slot: Slot<u32>| {
            let values = self.read_defined(slot, 1 << lane, "an mbarrier")?;
            Ok::<u32, Fault>(values[lane])
        };
        match action {
            Action::Init(count) => {
                let count = value(count)?;
                self.mbarrier_init(place, count).map(|()| Token(0))
            }
            Action::Invalidate => {
                self.mbarrier_at(place)?;
                self.shared[place.0 as usize].unmark_mbarrier(place.1, BYTES);
                self.cluster.asynchronous.mbarriers.remove(&place);
                Ok(Token(0))
            }
            Action::ExpectBytes(bytes) => {
                let bytes = value(bytes)?;
                self.mbarrier_at(place)?;
                self.cluster.asynchronous.change(place, |state| state.expect_bytes(bytes))?;
                Ok(Token(0))
            }
            Action::CompleteBytes(bytes) => {
                let bytes = value(bytes)?;
                self.mbarrier_at(place)?;
                self.cluster.asynchronous.change(place, |state| state.complete_bytes(bytes))?;
                Ok(Token(0))
            }
            Action::Arrive(arrive) => {
                let count = arrive.count.map_or(Ok(1), value)?;
                let expect = arrive.expect.map_or(Ok(0), value)?;
                self.mbarrier_arrive(arrive, place, count, expect)
            }
            Action::Wait(_) => unreachable!("waits are apart"),
        }
    }

    fn mbarrier_arrive(
        &mut self,
        arrive: Arrive,
        place: (u32, u32),
        count: u32,
        expect: u32,
    ) -> Result<Token, Fault> {
        self.mbarrier_at(place)?;
        if arrive.release {
            let object = self.cluster.asynchronous.mbarrier(place)?;
            self.warp.clock.release(&mut object.arriving);
        }
        self.cluster.asynchronous.change(place, |state| {
            if expect > 0 {
                state.expect_bytes(expect)?;
            }
            if arrive.drop { state.arrive_drop(count) } else { state.arrive(count) }
        })
    }

    fn mbarrier_init(&mut self, (rank, offset): (u32, u32), count: u32) -> Result<(), Fault> {
        if !offset.is_multiple_of(BYTES) {
            return Err(misaligned(u64::from(offset), BYTES, "mbarrier"));
        }
        let state = Mbarrier::new(count).map_err(invalid)?;
        let by = (self.warp.clock.id(), self.warp.clock.stamp());
        let asynchronous = &mut self.cluster.asynchronous;
        if asynchronous.mbarriers.insert((rank, offset), Object::new(state, by)).is_some() {
            let message = format!("shared byte {offset} holds an mbarrier already: inval it first");
            return Err(Fault::new(FaultKind::InvalidUse, message));
        }
        self.shared[rank as usize].mark_mbarrier(offset, BYTES)
    }

    /// The mbarrier at a place, whose initialisation the warp has seen.
    fn mbarrier_at(&mut self, place: (u32, u32)) -> Result<&mut Object, Fault> {
        let object = self.cluster.asynchronous.mbarrier(place)?;
        let (warp, stamp) = object.initialised;
        if !self.warp.clock.is_over(warp, stamp) {
            let message = format!(
                "race: warp {warp} initialises the mbarrier at shared byte {}, with no barrier \
                 between it and this use",
                place.1
            );
            return Err(Fault::new(FaultKind::Race, message));
        }
        Ok(object)
    }

    /// `test_wait`, `try_wait`
    fn mbarrier_wait(
        &mut self,
        wait: Wait,
        places: &[(u32, u32); 32],
        active: u32,
    ) -> Result<Flow, Fault> {
        let mut done = 0;
        for (place, lanes) in by_place(places, active) {
            done |= self.completed(wait.phase, place, lanes)?;
        }
        let timed_out = std::mem::take(&mut self.warp.timed_out);
        if done == 0 && wait.may_suspend && !timed_out {
            // A time-out now and then: callers have to loop.
            if self.cluster.asynchronous.choose(4) != 3 {
                // Another fragment that polls may have missed a phase: it looks again as well.
                if !self.warp.fragments.iter().any(|f| f.state == State::Polling) {
                    self.warp.polled_phases = self.cluster.asynchronous.phases;
                }
                return Ok(Flow::Wait(State::Polling));
            }
        }
        if done != active && !wait.may_suspend {
            let mut air = Air { env: self.env, shared: self.shared, tick: self.tick };
            self.cluster.asynchronous.test_failed(&mut air)?;
        }
        if wait.acquire {
            for (place, _) in by_place(places, done) {
                let object = self.cluster.asynchronous.mbarrier(place)?;
                self.warp.clock.acquire(&object.known);
            }
        }
        self.write(wait.done, active, &done, !0);
        Ok(Flow::Next)
    }

    /// The lanes, of some that wait at the same mbarrier, whose phase is complete.
    fn completed(&mut self, phase: Phase, place: (u32, u32), lanes: u32) -> Result<u32, Fault> {
        let state = self.mbarrier_at(place)?.state;
        let mut done = 0;
        for lane in lanes_of(lanes) {
            let complete = match phase {
                Phase::Token(token) => {
                    let token = Token(self.read_defined(token, lanes, "an mbarrier")?[lane]);
                    state.is_complete(token).map_err(invalid)?
                }
                Phase::Parity(parity) => {
                    let parity = self.read_defined(parity, lanes, "an mbarrier")?[lane];
                    state.is_parity_complete(parity)
                }
            };
            done |= u32::from(complete) << lane;
        }
        Ok(done)
    }

    /// What a fragment that polls waits for, for the report of a deadlock.
    pub(super) fn describe_wait(&self, op: &MbarrierOp, mask: u32) -> String {
        let lane = mask.trailing_zeros() as usize;
        let Ok(places) = self.places(&op.access, 1 << lane) else {
            return "an mbarrier".to_owned();
        };
        let (rank, offset) = places[lane];
        let Some(object) = self.cluster.asynchronous.mbarriers.get(&(rank, offset)) else {
            return format!("the mbarrier at shared byte {offset}, which is gone");
        };
        let (phase, pending) = (object.state.phase(), object.state.pending());
        let bytes = object.state.outstanding_bytes();
        format!(
            "the mbarrier at shared byte {offset} of block {rank} in the cluster, in phase \
             {phase}: {pending} arrivals and {bytes} bytes are missing"
        )
    }
}

/// The lanes of `active` at each of their places.
fn by_place(places: &[(u32, u32); 32], active: u32) -> impl Iterator<Item = ((u32, u32), u32)> {
    let mut left = active;
    std::iter::from_fn(move || {
        let place = *places.get(left.trailing_zeros() as usize)?;
        let same = lanes_of(left).filter(|&lane| places[lane] == place);
        let lanes = same.fold(0, |mask, lane| mask | 1 << lane);
        left &= !lanes;
        Some((place, lanes))
    })
}
