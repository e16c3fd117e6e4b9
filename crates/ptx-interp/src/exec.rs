//! Runs decoded kernels.
//!
//! A [`Cluster`](cluster::Cluster) runs its blocks warp by warp until all have exited. Within a
//! warp, lanes at the same instruction form a fragment and run in lock-step; a branch splits a
//! fragment, and fragments that meet again unite.

pub(crate) mod asynchronous;
pub(crate) mod atomic;
pub(crate) mod barrier;
pub(crate) mod clock;
pub(crate) mod cluster;
pub(crate) mod cluster_barrier;
pub(crate) mod cluster_state;
pub(crate) mod control;
pub(crate) mod copy_ops;
pub(crate) mod env;
pub(crate) mod global;
pub(crate) mod local;
pub(crate) mod matrix;
pub(crate) mod mbarrier_ops;
pub(crate) mod memory_access;
pub(crate) mod order;
pub(crate) mod refill;
pub(crate) mod shared;
pub(crate) mod space;
pub(crate) mod special;
pub(crate) mod warp;
pub(crate) mod warp_ops;
pub(crate) mod wgmma;

use barrier::BlockState;
use cluster_state::ClusterState;
use env::Env;
use shared::Shared;
use warp::Warp;

use crate::instruction::{Instruction, Op};
use crate::lanes::{Lane, Slot};
use crate::{Fault, FaultKind, Stats};

/// Runs one warp for a while.
pub(crate) struct Executor<'a, 'e> {
    pub(crate) env: &'e Env<'e>,
    pub(crate) warp: &'a mut Warp,
    pub(crate) block: &'a mut BlockState,
    /// The shared memory of each block of the cluster.
    pub(crate) shared: &'a mut [Shared],
    pub(crate) cluster: &'a mut ClusterState,
    /// Count of the synchronisations in the cluster.
    pub(crate) tick: &'a mut u32,
    pub(crate) stats: &'a mut Stats,
    /// The lanes at the instruction, those that its guard switches off included.
    pub(crate) mask: u32,
    pub(crate) pc: u32,
}

/// What follows an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// The next instruction.
    Next,
    /// This one, in all lanes.
    Jump(u32),
    /// This one in the lanes of the mask, the next in the others.
    Split(u32, u32),
    /// Nothing in the active lanes.
    Exit,
    /// The instruction, later: the fragment waits in this state.
    Wait(warp::State),
}

impl<'e> Executor<'_, 'e> {
    /// Runs one instruction in the lanes of `active`, at least one.
    ///
    /// What the arms call is not inlined, so that arithmetic does not pay for the others' stack.
    #[inline(always)]
    fn execute(&mut self, instruction: &'e Instruction, active: u32) -> Result<Flow, Fault> {
        if !self.warp.unused_loads.is_empty() {
            self.touch_registers()?;
        }
        if self.env.code.has_products {
            self.touch_products()?;
        }
        match &instruction.op {
            Op::Lanes(op) => op.run(&mut self.warp.registers, active),
            Op::Special(op) => self.special(*op, active),
            Op::Load(op) => self.load(op, active)?,
            Op::Store(op) => self.store(op, active)?,
            Op::Atomic(op) => self.atomic(op, active)?,
            // Seen by other threads of the process: blocks on other cores are among them.
            Op::Fence => {
                self.warp.unused_loads.order(active);
                std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
            }
            Op::FenceProxy => self.fence_proxy(active),
            Op::FenceMbarrierInit => self.fence_mbarrier_init(),
            Op::Branch(target) => return Ok(self.branch(*target, active)),
            Op::BranchIndexed(op) => return self.branch_indexed(op, active),
            Op::Exit => return Ok(Flow::Exit),
            Op::Trap => {
                let lane = active.trailing_zeros();
                let fault = Fault::new(FaultKind::Trap, "the kernel executed trap");
                return Err(fault.in_lane(lane));
            }
            Op::Nop => {}
            Op::Shuffle(op) => return self.shuffle(op, active),
            Op::Vote(op) => return self.vote(op, active),
            Op::Match(op) => return self.matching(op, active),
            Op::Reduce(op) => return self.reduce(op, active),
            Op::Elect(op) => return self.elect(op, active),
            Op::ActiveMask(dst) => self.write(*dst, active, &[active; 32], !0),
            Op::SyncWarp(mask) => return self.sync_warp(*mask, active),
            Op::Barrier(op) => return self.barrier(op, active),
            Op::Multiply(op) => return self.multiply(op, active),
            Op::StartProduct(op) => return self.start_product(op, active),
            Op::ProductSync(op) => return self.product_sync(*op, active),
            Op::LoadMatrices(op) => return self.load_matrices(op, active),
            Op::StoreMatrices(op) => return self.store_matrices(op, active),
            Op::TransposeMatrix { dst, source } => {
                return self.transpose_matrix(*dst, *source, active);
            }
            Op::StartCopy(op) => self.start_copy(op, active)?,
            Op::CommitGroup { bulk } => self.commit_group(*bulk, active),
            Op::WaitGroups(op) => self.wait_groups(*op, active)?,
            Op::ArriveOnLanding(op) => self.arrive_on_landing(op, active)?,
            Op::Mbarrier(op) => return self.mbarrier(op, active),
            Op::ClusterSync(op) => return self.cluster_sync(*op, active),
            Op::WaitForDependency => return Ok(self.wait_for_dependency()),
            Op::LaunchDependents => return Ok(self.launch_dependents()),
        }
        Ok(Flow::Next)
    }

    /// Writes a register in the active lanes.
    pub(crate) fn write<T: Lane>(
        &mut self,
        slot: Slot<T>,
        active: u32,
        value: &T::Vector,
        defined: u32,
    ) {
        self.warp.registers.set(slot, active, value, defined);
    }

    /// A register that must be defined in the active lanes, as what it holds has an effect.
    pub(crate) fn read_defined<T: Lane>(
        &self,
        slot: Slot<T>,
        active: u32,
        what: &str,
    ) -> Result<&T::Vector, Fault> {
        self.check_defined(self.warp.registers.defined(slot), active, what)?;
        Ok(self.warp.registers.get(slot))
    }

    /// Fails if an active lane is not in `defined`.
    pub(crate) fn check_defined(&self, defined: u32, active: u32, what: &str) -> Result<(), Fault> {
        match active & !defined {
            0 => Ok(()),
            missing => {
                let message = format!("{what} depends on a value that nothing has written");
                let fault = Fault::new(FaultKind::Uninitialized, message);
                Err(fault.in_lane(missing.trailing_zeros()))
            }
        }
    }
}

/// The lanes of a mask, ascending.
pub(crate) fn lanes_of(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let lane = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            lane
        })
    })
}
