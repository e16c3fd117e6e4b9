//! Launches: what to run, how, and what came of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::exec::cluster::Cluster;
use crate::exec::env::Env;
use crate::{Fault, Loaded, Memory, stream};

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
    let mut stats = Stats::default();
    for chain in launches.chunk_by(|_, next| next.programmatic) {
        stats.add(match chain {
            [launch] => {
                let ran = Env::new(memory, launch, options)
                    .and_then(|env| run_clusters(&env, 0, options));
                ran.map_err(|fault| fault.in_kernel(launch.kernel))?
            }
            chain => stream::run_chain(memory, chain, options)?,
        });
    }
    Ok(stats)
}

/// Runs the clusters of a launch from place `first` in its order on, each to its end.
pub(crate) fn run_clusters(env: &Env<'_>, first: u64, options: &Options) -> Result<Stats, Fault> {
    let grid = Grid { env, next: AtomicU64::new(first), outcome: Mutex::default() };
    let threads = options.num_threads.unwrap_or_else(rayon::current_num_threads);
    let workers = (env.num_clusters() - first).min(threads.max(1) as u64);
    if workers <= 1 {
        grid.work();
    } else {
        rayon::scope(|scope| (0..workers).for_each(|_| scope.spawn(|_| grid.work())));
    }
    let outcome = grid.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    match outcome.fault {
        Some((_, fault)) => Err(fault),
        None => Ok(outcome.stats),
    }
}

/// The clusters of a launch, which workers take one by one.
struct Grid<'e> {
    env: &'e Env<'e>,
    next: AtomicU64,
    outcome: Mutex<Outcome>,
}

/// What the workers have done.
#[derive(Default)]
struct Outcome {
    stats: Stats,
    /// The fault of the earliest cluster that had one, and its place in the order.
    fault: Option<(u64, Fault)>,
}

impl Grid<'_> {
    /// Runs clusters until none is left.
    fn work(&self) {
        let num_clusters = self.env.num_clusters();
        let mut cluster = Cluster::new(self.env);
        let mut fault = None;
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            if at >= num_clusters {
                break;
            }
            cluster.reset(self.env.order.permuted(at, num_clusters, 0));
            if let Err(found) = cluster.run() {
                // The others stop as well, at their next cluster.
                self.next.store(num_clusters, Ordering::Relaxed);
                fault = Some((at, found));
                break;
            }
        }
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.stats.add(cluster.stats);
        let earlier =
            |(at, _): &(u64, Fault)| outcome.fault.as_ref().is_none_or(|(other, _)| at < other);
        if let Some(fault) = fault.filter(earlier) {
            outcome.fault = Some(fault);
        }
    }
}

impl Stats {
    pub(crate) fn add(&mut self, other: Self) {
        self.warp_instructions += other.warp_instructions;
        self.thread_instructions += other.thread_instructions;
        self.num_blocks += other.num_blocks;
    }
}
