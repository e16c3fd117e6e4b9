//! Programmatic launches: each may start before the one in front has finished.
//!
//! A programmatic launch starts when every block of the one in front has executed
//! `griddepcontrol.launch_dependents` or exited, and its `griddepcontrol.wait` returns when that
//! one has completed. Within these rules the latest launch always runs first and as far as it can:
//! what it reads too early it reads unfinished.

use std::collections::VecDeque;

use crate::exec::cluster::{Cluster, Pause};
use crate::exec::cluster_state::Dependency;
use crate::exec::env::Env;
use crate::launch::run_clusters;
use crate::{Fault, Launch, Memory, Options, Stats};

/// Launches in flight at a time.
const MAX_DEPTH: usize = 3;

/// Warps of a launch that may wait in the middle of their code. Clusters beyond these start when
/// nothing keeps them from running to their end.
const MAX_WAITING_WARPS: u64 = 2048;

/// Runs launches of which all but the first are programmatic.
pub(crate) fn run_chain(
    memory: &Memory,
    launches: &[Launch<'_>],
    options: &Options,
) -> Result<Stats, Fault> {
    let mut envs = Vec::with_capacity(launches.len());
    let mut invalid = None;
    for launch in launches {
        match Env::new(memory, launch, options) {
            Ok(env) => envs.push(env),
            Err(fault) => {
                // Those in front of it still run.
                invalid = Some(fault.in_kernel(launch.kernel));
                break;
            }
        }
    }
    let chain = Chain { options, waiting: envs.iter().collect(), flying: VecDeque::new() };
    let stats = chain.run()?;
    invalid.map_or(Ok(stats), Err)
}

/// The launches of a chain that have not completed.
struct Chain<'e> {
    options: &'e Options,
    /// Those that have not started.
    waiting: VecDeque<&'e Env<'e>>,
    /// Those that have, the oldest first.
    flying: VecDeque<Grid<'e>>,
}

impl Chain<'_> {
    fn run(mut self) -> Result<Stats, Fault> {
        let mut stats = Stats::default();
        loop {
            while self.flying.front().is_some_and(Grid::is_done) {
                let done = self.flying.pop_front();
                stats.add(done.map(|grid| grid.stats).unwrap_or_default());
            }
            if self.may_start() {
                let Some(env) = self.waiting.pop_front() else { return Ok(stats) };
                self.flying.push_back(Grid::new(env));
            }
            // The latest launch whose neighbours let it do something new.
            for at in (0..self.flying.len()).rev() {
                let dependency = self.dependency(at);
                let grid = &mut self.flying[at];
                if !grid.is_done() && grid.dependency != Some(dependency) {
                    grid.advance(dependency, self.options)?;
                    break;
                }
            }
        }
    }

    /// Whether the next launch may start; also if there is none and all others have completed.
    fn may_start(&self) -> bool {
        match self.flying.back() {
            None => true,
            Some(last) => {
                let room = self.flying.len() < MAX_DEPTH && !self.waiting.is_empty();
                room && last.has_triggered()
            }
        }
    }

    /// What the neighbours of a launch allow and want.
    fn dependency(&self, at: usize) -> Dependency {
        let is_last = at + 1 == self.flying.len();
        let room = self.flying.len() < MAX_DEPTH && !self.waiting.is_empty();
        let grid = &self.flying[at];
        let stop_at_trigger = is_last && room && grid.fits() && !grid.has_triggered();
        // Only the launch in front counts: one that does not wait itself completes too early.
        let is_met = at == 0 || self.flying[at - 1].is_done();
        Dependency { is_met, stop_at_trigger }
    }
}

/// A launch that has started.
struct Grid<'e> {
    env: &'e Env<'e>,
    /// Clusters that have started and not finished, some of them finished by now.
    started: Vec<Started<'e>>,
    /// Clusters that have started.
    num_started: u64,
    /// Under which the grid came as far as it could.
    dependency: Option<Dependency>,
    stats: Stats,
}

struct Started<'e> {
    cluster: Cluster<'e>,
    done: bool,
}

impl<'e> Grid<'e> {
    fn new(env: &'e Env<'e>) -> Self {
        let stats = Stats::default();
        Self { env, started: Vec::new(), num_started: 0, dependency: None, stats }
    }

    /// Most clusters that may wait in the middle of their code.
    fn capacity(&self) -> u64 {
        let warps = self.env.warps_per_block() * self.env.blocks_per_cluster();
        (MAX_WAITING_WARPS / u64::from(warps)).max(1)
    }

    /// Whether all clusters may wait at once.
    fn fits(&self) -> bool {
        self.env.num_clusters() <= self.capacity()
    }

    fn is_done(&self) -> bool {
        self.num_started == self.env.num_clusters() && self.started.iter().all(|one| one.done)
    }

    /// Whether every block has executed `griddepcontrol.launch_dependents` or exited.
    fn has_triggered(&self) -> bool {
        let triggered = |one: &Started<'_>| one.done || one.cluster.has_triggered();
        self.num_started == self.env.num_clusters() && self.started.iter().all(triggered)
    }

    /// Runs as far as the neighbours allow.
    fn advance(&mut self, dependency: Dependency, options: &Options) -> Result<(), Fault> {
        self.dependency = Some(dependency);
        let result = self.run(dependency, options);
        result.map_err(|fault| fault.in_kernel(self.env.launch.kernel))
    }

    fn run(&mut self, dependency: Dependency, options: &Options) -> Result<(), Fault> {
        let free = dependency == Dependency::NONE;
        if !free {
            let end = self.env.num_clusters().min(self.capacity());
            for at in self.num_started..end {
                self.started.push(Started::new(self.env, at));
            }
            self.num_started = self.num_started.max(end);
        }
        self.resume(dependency, options)?;
        if free && self.num_started < self.env.num_clusters() {
            self.stats.add(run_clusters(self.env, self.num_started, options)?);
            self.num_started = self.env.num_clusters();
        }
        if self.is_done() {
            for one in self.started.drain(..) {
                self.stats.add(one.cluster.stats);
            }
        }
        Ok(())
    }

    /// Goes on with the clusters that have started; the fault of the first that has one.
    fn resume(&mut self, dependency: Dependency, options: &Options) -> Result<(), Fault> {
        let mut left: Vec<_> = self.started.iter_mut().filter(|one| !one.done).collect();
        let threads = options.num_threads.unwrap_or_else(rayon::current_num_threads).max(1);
        if threads == 1 || left.len() < 2 {
            return left.iter_mut().try_for_each(|one| one.run(dependency));
        }
        let share = left.len().div_ceil(threads);
        let mut results = vec![Ok(()); threads];
        rayon::scope(|scope| {
            for (part, result) in left.chunks_mut(share).zip(&mut results) {
                scope.spawn(move |_| {
                    *result = part.iter_mut().try_for_each(|one| one.run(dependency));
                });
            }
        });
        results.into_iter().collect()
    }
}

impl<'e> Started<'e> {
    /// The cluster at place `at` in the order of the grid.
    fn new(env: &'e Env<'e>, at: u64) -> Self {
        let mut cluster = Cluster::new(env);
        cluster.reset(env.order.permuted(at, env.num_clusters(), 0));
        Self { cluster, done: false }
    }

    fn run(&mut self, dependency: Dependency) -> Result<(), Fault> {
        self.cluster.set_dependency(dependency);
        self.done = self.cluster.run()? == Pause::Done;
        Ok(())
    }
}
