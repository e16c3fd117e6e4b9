//! The cluster barrier (`barrier.cluster`) and dependent launches (`griddepcontrol`).

use super::warp::{State, Warp};
use super::{Executor, Flow};
use crate::{Fault, FaultKind};

/// `barrier.cluster.arrive` or `.wait`
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClusterSync {
    pub(crate) step: Step,
    /// Whether all lanes of a warp must come together.
    pub(crate) aligned: bool,
}

/// The halves of the cluster barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// With `.release`, the default, what the thread did becomes visible to those that wait.
    Arrive { release: bool },
    /// `.acquire`
    Wait,
}

/// The barrier of all threads of a cluster.
#[derive(Debug, Default)]
pub(crate) struct ClusterBarrier {
    /// Times that it opened.
    phase: u64,
    /// Whether anyone has arrived in this phase.
    is_used: bool,
    /// What the warps that arrived in this phase know, and those of the phases before.
    arriving: Vec<u32>,
    known: Vec<u32>,
}

impl ClusterBarrier {
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Times that it opened.
    pub(crate) fn phase(&self) -> u64 {
        self.phase
    }

    /// Index of a phase in [`Warp::arrived`].
    fn side(phase: u64) -> usize {
        (phase % 2) as usize
    }

    /// Opens the barrier if all threads that have not exited have arrived; whether it did.
    pub(crate) fn open<'w>(&mut self, warps: impl Iterator<Item = &'w mut Warp>) -> bool {
        if !self.is_used {
            return false;
        }
        let side = Self::side(self.phase);
        let mut warps: Vec<_> = warps.collect();
        if warps.iter().any(|warp| warp.live() & !warp.arrived[side] != 0) {
            return false;
        }
        self.known.resize(self.arriving.len().max(self.known.len()), 0);
        for (known, arriving) in self.known.iter_mut().zip(&self.arriving) {
            *known = (*known).max(*arriving);
        }
        (self.phase, self.is_used) = (self.phase + 1, false);
        for warp in &mut warps {
            let waiting = warp.fragments.iter_mut();
            for fragment in waiting.filter(|f| f.state == State::AtClusterBarrier) {
                fragment.state = State::Ready;
            }
        }
        true
    }
}

impl Executor<'_, '_> {
    /// `barrier.cluster`
    pub(super) fn cluster_sync(&mut self, op: ClusterSync, active: u32) -> Result<Flow, Fault> {
        if op.aligned
            && let Some(flow) = self.gather(self.warp.live(), active)
        {
            return Ok(flow);
        }
        match op.step {
            Step::Arrive { release } => self.cluster_arrive(release, active),
            Step::Wait => self.cluster_wait(active),
        }
    }

    fn cluster_arrive(&mut self, release: bool, active: u32) -> Result<Flow, Fault> {
        let barrier = &mut self.cluster.barrier;
        let twice = (self.warp.arrived[0] | self.warp.arrived[1]) & active;
        if twice != 0 {
            let message = "a thread arrives twice at the cluster barrier without a wait between";
            let fault = Fault::new(FaultKind::InvalidUse, message);
            return Err(fault.in_lane(twice.trailing_zeros()));
        }
        self.warp.arrived[ClusterBarrier::side(barrier.phase)] |= active;
        barrier.is_used = true;
        self.warp.unused_loads.order(active);
        if release {
            self.warp.clock.release(&mut barrier.arriving);
            *self.tick += 1;
            self.warp.clock.advance(*self.tick);
        }
        Ok(Flow::Next)
    }

    fn cluster_wait(&mut self, active: u32) -> Result<Flow, Fault> {
        let barrier = &self.cluster.barrier;
        let [current, before] = [barrier.phase, barrier.phase + 1].map(ClusterBarrier::side);
        let missing = active & !(self.warp.arrived[0] | self.warp.arrived[1]);
        if missing != 0 {
            let message = "a thread waits at the cluster barrier at which it has not arrived";
            let fault = Fault::new(FaultKind::InvalidUse, message);
            return Err(fault.in_lane(missing.trailing_zeros()));
        }
        if self.warp.arrived[current] & active != 0 {
            return Ok(Flow::Wait(State::AtClusterBarrier));
        }
        self.warp.arrived[before] &= !active;
        self.warp.clock.acquire(&barrier.known);
        self.warp.epoch += 1;
        Ok(Flow::Next)
    }

    /// `griddepcontrol.wait`
    pub(super) fn wait_for_dependency(&self) -> Flow {
        if self.cluster.dependency.is_met { Flow::Next } else { Flow::Wait(State::AtGridWait) }
    }

    /// `griddepcontrol.launch_dependents`
    pub(super) fn launch_dependents(&mut self) -> Flow {
        self.cluster.triggered |= 1 << self.block.rank;
        match self.cluster.dependency.stop_at_trigger {
            true => Flow::Wait(State::AtTrigger),
            false => Flow::Next,
        }
    }
}
