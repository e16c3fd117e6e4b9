//! The barriers of a block: `bar` and `barrier`.

use super::warp::{State, Warp};
use super::{Executor, Flow, lanes_of};
use crate::instruction::{Code, Op};
use crate::lanes::Slot;
use crate::{Fault, FaultKind};

/// Barriers of a block.
const NUM_BARRIERS: usize = 16;

/// `bar`, `barrier`
#[derive(Debug)]
pub(crate) struct Barrier {
    pub(crate) action: Action,
    pub(crate) id: Slot<u32>,
    /// How many threads take part, all of the block if it does not say.
    pub(crate) count: Option<Slot<u32>>,
    /// Whether all lanes of a warp must arrive together.
    pub(crate) aligned: bool,
}

/// What a thread does at a barrier.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// Arrives and waits.
    Sync,
    /// Arrives and goes on.
    Arrive,
    /// Arrives, waits and learns in how many threads a predicate holds.
    Reduce(Slot<bool>, Reduction),
}

/// The result of a reducing barrier.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reduction {
    Count(Slot<u32>),
    And(Slot<bool>),
    Or(Slot<bool>),
}

/// What the warps of a block share besides memory.
#[derive(Debug)]
pub(crate) struct BlockState {
    /// Index in the grid.
    pub(crate) index: [u32; 3],
    /// Index in the cluster.
    pub(crate) rank: u32,
    /// Threads that have not exited.
    pub(crate) live_threads: u32,
    barriers: [BarrierState; NUM_BARRIERS],
}

/// One barrier, from the first arrival to the last.
#[derive(Debug, Default)]
struct BarrierState {
    /// Threads that have arrived.
    arrived: u32,
    /// The same, counting a warp of which all threads that are left arrived as 32.
    arrived_of_warps: u32,
    /// The count that the barrier instruction names; 0 before the first arrival.
    expected: Option<u32>,
    /// Threads whose predicate holds.
    holds: u32,
    /// What the warps that arrived know.
    known: Vec<u32>,
}

impl BlockState {
    pub(crate) fn new(rank: u32) -> Self {
        let barriers = std::array::from_fn(|_| BarrierState::default());
        Self { index: [0; 3], rank, live_threads: 0, barriers }
    }

    /// Starts over as the block `index` with that many threads.
    pub(crate) fn reset(&mut self, index: [u32; 3], threads: u32) {
        (self.index, self.live_threads) = (index, threads);
        self.barriers.iter_mut().for_each(BarrierState::reset);
    }

    /// A barrier at which everyone has arrived.
    fn complete(&self) -> Option<usize> {
        self.barriers.iter().position(|barrier| match barrier.expected {
            _ if barrier.arrived == 0 => false,
            Some(expected) => barrier.arrived_of_warps >= expected,
            None => barrier.arrived >= self.live_threads,
        })
    }

    /// Opens the barriers at which everyone has arrived; whether there were any.
    pub(crate) fn open_barriers(
        &mut self,
        warps: &mut [Warp],
        code: &Code,
        tick: &mut u32,
    ) -> bool {
        let mut opened = false;
        while let Some(id) = self.complete() {
            opened = true;
            *tick += 1;
            let barrier = &mut self.barriers[id];
            let state = State::AtBarrier(id as u32);
            let waits = |warp: &&mut Warp| warp.fragments.iter().any(|f| f.state == state);
            for warp in warps.iter_mut().filter(waits) {
                barrier.deliver(warp, state, code);
                warp.clock.acquire(&barrier.known);
                warp.clock.advance(*tick);
                warp.epoch += 1;
                warp.wake(state);
            }
            barrier.reset();
        }
        opened
    }

    /// Where the barriers stand, for the report of a deadlock.
    pub(crate) fn describe(&self, id: u32) -> String {
        let barrier = &self.barriers[id as usize % NUM_BARRIERS];
        let (arrived, expected) = match barrier.expected {
            Some(expected) => (barrier.arrived_of_warps, expected),
            None => (barrier.arrived, self.live_threads),
        };
        format!("barrier {id}, where {arrived} of {expected} threads are")
    }
}

impl BarrierState {
    fn reset(&mut self) {
        let mut known = std::mem::take(&mut self.known);
        known.fill(0);
        *self = Self { known, ..Self::default() };
    }

    /// Writes the result of a reduction to the lanes that wait for it.
    fn deliver(&self, warp: &mut Warp, state: State, code: &Code) {
        for at in 0..warp.fragments.len() {
            let fragment = warp.fragments[at];
            if fragment.state != state {
                continue;
            }
            let Op::Barrier(op) = &code.instructions[fragment.pc as usize].op else { continue };
            let Action::Reduce(_, reduction) = op.action else { continue };
            let (mask, registers) = (fragment.mask, &mut warp.registers);
            let splat = |holds: bool| if holds { !0 } else { 0 };
            match reduction {
                Reduction::Count(dst) => registers.set(dst, mask, &[self.holds; 32], !0),
                Reduction::And(dst) => {
                    registers.set(dst, mask, &splat(self.holds == self.arrived), !0);
                }
                Reduction::Or(dst) => registers.set(dst, mask, &splat(self.holds > 0), !0),
            }
        }
    }
}

impl Executor<'_, '_> {
    /// `bar`, `barrier`
    #[inline(never)]
    pub(super) fn barrier(&mut self, op: &Barrier, active: u32) -> Result<Flow, Fault> {
        let live = self.warp.live();
        if op.aligned
            && let Some(flow) = self.gather(live, active)
        {
            return Ok(flow);
        }
        if active != self.mask {
            return Ok(Flow::Split(self.pc, active));
        }
        let id = self.uniform(op.id, active)?;
        let count = op.count.map(|count| self.uniform(count, active)).transpose()?;
        let holds = match op.action {
            Action::Reduce(predicate, _) => {
                *self.read_defined(predicate, active, "a reducing barrier")? & active
            }
            _ => 0,
        };
        let Some(barrier) = self.block.barriers.get_mut(id as usize) else {
            let message = format!("barrier {id} of {NUM_BARRIERS}");
            return Err(Fault::new(FaultKind::InvalidUse, message));
        };
        if barrier.arrived > 0 && barrier.expected != count {
            let say = |count: Option<u32>| count.map_or("all".to_owned(), |n| n.to_string());
            let (first, own) = (say(barrier.expected), say(count));
            let message = format!("{own} threads at barrier {id}, where others expect {first}");
            return Err(Fault::new(FaultKind::InvalidUse, message));
        }
        barrier.expected = count;
        barrier.arrived += active.count_ones();
        barrier.arrived_of_warps += if active == live { 32 } else { active.count_ones() };
        barrier.holds += holds.count_ones();
        self.warp.clock.release(&mut barrier.known);
        self.warp.unused_loads.order(active);
        if matches!(op.action, Action::Arrive) {
            *self.tick += 1;
            self.warp.clock.advance(*self.tick);
            return Ok(Flow::Next);
        }
        Ok(Flow::Wait(State::AtBarrier(id)))
    }

    /// A register that has the same value in all active lanes.
    fn uniform(&self, slot: Slot<u32>, active: u32) -> Result<u32, Fault> {
        let values = self.read_defined(slot, active, "a barrier")?;
        let first = values[active.trailing_zeros() as usize];
        match lanes_of(active).find(|&lane| values[lane] != first) {
            None => Ok(first),
            Some(lane) => {
                let message = "lanes of a warp at different barriers";
                Err(Fault::new(FaultKind::InvalidUse, message).in_lane(lane as u32))
            }
        }
    }
}
