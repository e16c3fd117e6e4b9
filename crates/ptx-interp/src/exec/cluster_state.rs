//! What the blocks of a cluster share besides memory: asynchronous copies, mbarriers, the cluster
//! barrier, and where the launch stands between its neighbours in the stream.

use super::Executor;
use super::asynchronous::Asynchronous;
use super::cluster_barrier::ClusterBarrier;
use super::env::Env;
use super::shared::{Accessor, Shared};
use crate::{Fault, FaultKind};

/// The shared state of one cluster.
#[derive(Debug)]
pub(crate) struct ClusterState {
    pub(crate) asynchronous: Asynchronous,
    pub(crate) barrier: ClusterBarrier,
    pub(crate) dependency: Dependency,
    /// Blocks that executed `griddepcontrol.launch_dependents`, one bit each.
    pub(crate) triggered: u32,
    /// Blocks of which all threads have exited.
    pub(crate) exited: u32,
}

/// What the neighbours of a launch in the stream allow and want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The launch in front has completed: `griddepcontrol.wait` returns.
    pub(crate) is_met: bool,
    /// The launch behind may start at `griddepcontrol.launch_dependents`: stop there, so that it
    /// runs first.
    pub(crate) stop_at_trigger: bool,
}

impl Dependency {
    /// A launch that has the device for itself.
    pub(crate) const NONE: Self = Self { is_met: true, stop_at_trigger: false };
}

impl ClusterState {
    pub(crate) fn new(env: &Env<'_>) -> Self {
        Self {
            asynchronous: Asynchronous::new(env),
            barrier: ClusterBarrier::default(),
            dependency: Dependency::NONE,
            triggered: 0,
            exited: 0,
        }
    }

    /// Starts over as cluster `index` of the grid.
    pub(crate) fn reset(&mut self, index: u64) {
        self.asynchronous.reset(index);
        self.barrier.reset();
        (self.triggered, self.exited) = (0, 0);
    }
}

impl Executor<'_, '_> {
    /// Fails if the shared memory of the block with that rank cannot be accessed now.
    pub(super) fn check_reachable(&self, rank: u32) -> Result<(), Fault> {
        let own = self.block.rank;
        if rank == own {
            return Ok(());
        }
        if rank >= self.env.blocks_per_cluster() {
            let message =
                format!("a shared address in block {rank} of the cluster, which has none");
            return Err(Fault::new(FaultKind::OutOfBounds, message));
        }
        if self.cluster.exited >> rank & 1 == 1 {
            let message = format!(
                "block {own} of the cluster accesses the shared memory of block {rank}, which has \
                 exited: a cluster barrier must keep it"
            );
            return Err(Fault::new(FaultKind::BlockExited, message));
        }
        if self.cluster.barrier.phase() == 0 {
            let message = format!(
                "race: block {own} of the cluster accesses the shared memory of block {rank}, \
                 which may not have started: no cluster barrier has opened yet"
            );
            return Err(Fault::new(FaultKind::Race, message));
        }
        Ok(())
    }

    /// The shared memory of the block with that rank, which exists, and who accesses it.
    #[inline(always)]
    pub(super) fn shared_block(
        &mut self,
        rank: u32,
        lane: usize,
        atomic: bool,
    ) -> (&mut Shared, Accessor<'_>) {
        let who = Accessor {
            clock: &self.warp.clock,
            warp: (rank == self.block.rank).then_some(self.warp.index),
            lane: lane as u8,
            warp_epoch: self.warp.epoch,
            atomic,
        };
        (&mut self.shared[rank as usize], who)
    }

    /// `fence.proxy.async`
    pub(super) fn fence_proxy(&mut self, active: u32) {
        self.warp.unused_loads.order(active);
        *self.tick += 1;
        self.warp.clock.fence(*self.tick);
    }

    /// `fence.mbarrier_init`: asynchronous copies find the mbarriers that the warp knows.
    pub(super) fn fence_mbarrier_init(&mut self) {
        for object in self.cluster.asynchronous.mbarriers.values_mut() {
            let (warp, stamp) = object.initialised;
            object.is_announced |= self.warp.clock.is_over(warp, stamp);
        }
    }
}
