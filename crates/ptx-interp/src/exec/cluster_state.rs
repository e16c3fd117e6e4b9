//! What the blocks of a cluster share besides memory: asynchronous copies, mbarriers, the cluster
//! barrier, and where the launch stands between its neighbours in the stream.

use super::asynchronous::Asynchronous;
use super::cluster_barrier::ClusterBarrier;
use super::env::Env;

/// The shared state of one cluster.
#[derive(Debug)]
pub(crate) struct ClusterState {
    pub(crate) asynchronous: Asynchronous,
    pub(crate) barrier: ClusterBarrier,
    pub(crate) dependency: Dependency,
    /// Blocks that executed `griddepcontrol.launch_dependents`, one bit each.
    pub(crate) triggered: u32,
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
        }
    }

    /// Starts over as cluster `index` of the grid.
    pub(crate) fn reset(&mut self, index: u64) {
        self.asynchronous.reset(index);
        self.barrier.reset();
        self.triggered = 0;
    }
}
