//! Launches: what to run, how, and what came of it.

use crate::{Fault, FaultKind, Loaded, Memory};

/// One kernel launch.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// Where the kernel is.
    pub module: &'a Loaded,
    /// Its name.
    pub kernel: &'a str,
    /// Thread blocks in x, y and z; multiples of `cluster`.
    pub grid: [u32; 3],
    /// Threads of a block in x, y and z; 1,024 at most together.
    pub block: [u32; 3],
    /// Thread blocks of a cluster in x, y and z; `[1, 1, 1]` without clusters.
    pub cluster: [u32; 3],
    /// Bytes of shared memory beyond those that the kernel declares.
    pub dynamic_shared_bytes: u32,
    /// The parameter buffer, laid out as [`Kernel::params`](crate::Kernel::params) says.
    pub params: &'a [u8],
    /// Whether the launch may start before the one in front has finished (programmatic dependent
    /// launch).
    pub programmatic: bool,
}

/// How to run launches.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// 0 runs lanes, warps and blocks in ascending order; any other value permutes them, and the
    /// time at which asynchronous copies land, each value in its own way.
    pub seed: u64,
    /// Threads that run blocks; `None` leaves it to the current rayon pool.
    pub num_threads: Option<usize>,
    /// Most warp instructions of one thread block (of one cluster): a runaway loop is a fault.
    pub max_steps: u64,
}

impl Default for Options {
    /// Program order, every thread of the rayon pool, a billion steps.
    fn default() -> Self {
        Self { seed: 0, num_threads: None, max_steps: 1_000_000_000 }
    }
}

/// What launches did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Instructions, counted once for each warp.
    pub warp_instructions: u64,
    /// Instructions, counted once for each active lane.
    pub thread_instructions: u64,
    /// Thread blocks that ran to their end.
    pub num_blocks: u64,
}

/// Runs `launches` one after the other, as a stream would. The part of a programmatic launch
/// before its `griddepcontrol.wait` runs as early as is legal: before what remains of the launch
/// in front of it.
///
/// # Errors
/// The first fault found. Later launches have not run.
pub fn run(memory: &Memory, launches: &[Launch<'_>], options: &Options) -> Result<Stats, Fault> {
    let _ = (memory, options);
    match launches.first() {
        None => Ok(Stats::default()),
        Some(l) => Err(Fault::new(FaultKind::InvalidLaunch, "cannot run yet").in_kernel(l.kernel)),
    }
}
