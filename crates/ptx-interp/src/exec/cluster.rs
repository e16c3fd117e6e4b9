//! A cluster of blocks, which runs as one: the unit that threads of the process take.

use super::Executor;
use super::asynchronous::Air;
use super::barrier::BlockState;
use super::cluster_state::{ClusterState, Dependency};
use super::env::Env;
use super::shared::Shared;
use super::warp::{Fragment, State, Warp};
use super::wgmma::check_together;
use crate::instruction::Op;
use crate::{Fault, FaultKind, Stats};

/// Instructions that a warp may run before the others of its cluster get their turn, so that it
/// may wait for them in a loop.
const TURN: u64 = 4096;

/// Fragments that the report of a deadlock describes.
const MAX_REPORTED: usize = 8;

/// The blocks of one cluster. Without clusters, a cluster of one block.
pub(crate) struct Cluster<'e> {
    env: &'e Env<'e>,
    blocks: Vec<Block>,
    shared: Vec<Shared>,
    state: ClusterState,
    tick: u32,
    num_rounds: u64,
    /// Instructions that `stats` counted before this cluster.
    start: u64,
    pub(crate) stats: Stats,
}

/// How far a cluster came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    /// All threads have exited.
    Done,
    /// It lets the next launch start.
    AtTrigger,
    /// It waits for the launch in front.
    AtGridWait,
}

/// One thread block.
struct Block {
    state: BlockState,
    warps: Vec<Warp>,
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        let warps = self.blocks.iter_mut().flat_map(|block| &mut block.warps);
        let registers = warps.map(|warp| std::mem::take(&mut warp.registers));
        self.env.memory.scratch().keep(registers, std::mem::take(&mut self.shared));
    }
}

impl<'e> Cluster<'e> {
    /// Room for one cluster at a time.
    pub(crate) fn new(env: &'e Env<'e>) -> Self {
        let num_warps = env.warps_per_block();
        let in_cluster = (num_warps * env.blocks_per_cluster()) as usize;
        let first = |rank: u32| (rank * num_warps) as usize;
        let ranks = 0..env.blocks_per_cluster();
        let warp = |rank, index| Warp::new(env, index, first(rank), in_cluster);
        let block = |rank| Block {
            state: BlockState::new(rank),
            warps: (0..num_warps).map(|index| warp(rank, index)).collect(),
        };
        let shared = |rank| env.memory.scratch().shared(env.shared_bytes, first(rank));
        Self {
            env,
            shared: ranks.clone().map(shared).collect(),
            blocks: ranks.map(block).collect(),
            state: ClusterState::new(env),
            tick: 1,
            num_rounds: 0,
            start: 0,
            stats: Stats::default(),
        }
    }

    /// Puts cluster number `index` of the grid before its first instruction.
    pub(crate) fn reset(&mut self, index: u64) {
        let [x, y, _] = self.env.clusters().map(u64::from);
        let cluster = [index % x, index / x % y, index / (x * y)];
        let [width, height, _] = self.env.launch.cluster;
        for (block, shared) in self.blocks.iter_mut().zip(&mut self.shared) {
            let rank = block.state.rank;
            let within = [rank % width, rank / width % height, rank / (width * height)];
            let size = self.env.launch.cluster;
            let index = std::array::from_fn(|i| cluster[i] as u32 * size[i] + within[i]);
            block.state.reset(index, self.env.threads_per_block());
            block.warps.iter_mut().for_each(|warp| warp.reset(self.env));
            shared.reset();
        }
        self.state.reset(index);
        (self.tick, self.num_rounds, self.start) = (1, 0, self.stats.warp_instructions);
    }

    /// Runs until all threads have exited, or until what is left waits for other launches.
    pub(crate) fn run(&mut self) -> Result<Pause, Fault> {
        while self.blocks.iter().any(|block| block.state.live_threads > 0) {
            if !self.round(self.num_rounds)?
                && let Some(pause) = self.stall()?
            {
                return Ok(pause);
            }
            self.num_rounds += 1;
            if self.stats.warp_instructions - self.start > self.env.max_steps {
                return Err(self.runaway());
            }
        }
        self.state.asynchronous.finish()?;
        for block in &self.blocks {
            check_together(block.warps.iter().map(|warp| warp.products.count))?;
        }
        self.stats.num_blocks += self.blocks.len() as u64;
        Ok(Pause::Done)
    }

    /// Sets what the neighbours in the stream allow and want, and lets go on who waited for it.
    pub(crate) fn set_dependency(&mut self, dependency: Dependency) {
        self.state.dependency = dependency;
        for warp in self.blocks.iter_mut().flat_map(|block| &mut block.warps) {
            if dependency.is_met {
                warp.wake(State::AtGridWait);
            }
            if !dependency.stop_at_trigger {
                warp.wake(State::AtTrigger);
            }
        }
    }

    /// Whether every block has executed `griddepcontrol.launch_dependents` or exited.
    pub(crate) fn has_triggered(&self) -> bool {
        let all = !0 >> (32 - self.blocks.len());
        self.state.triggered | self.state.exited == all
    }

    /// No warp can go on. Lets the next thing happen that can: a copy lands, a wait times out; or
    /// says for which other launch the cluster waits.
    fn stall(&mut self) -> Result<Option<Pause>, Fault> {
        if self.any_in(State::AtTrigger) {
            return Ok(Some(Pause::AtTrigger));
        }
        if self.land_one()? {
            return Ok(None);
        }
        if self.any_in(State::Polling) && self.state.asynchronous.may_time_out() {
            for warp in self.blocks.iter_mut().flat_map(|block| &mut block.warps) {
                warp.timed_out = warp.fragments.iter().any(|f| f.state == State::Polling);
                warp.retry(State::Polling);
            }
            return Ok(None);
        }
        if self.any_in(State::AtGridWait) {
            let mut air = Air { env: self.env, shared: &mut self.shared, tick: &mut self.tick };
            self.state.asynchronous.move_groups(&mut air)?;
            return Ok(Some(Pause::AtGridWait));
        }
        Err(self.deadlock())
    }

    fn land_one(&mut self) -> Result<bool, Fault> {
        let mut air = Air { env: self.env, shared: &mut self.shared, tick: &mut self.tick };
        self.state.asynchronous.land_one(&mut air)
    }

    fn any_in(&self, state: State) -> bool {
        self.waiting().any(|(_, warp)| warp.fragments.iter().any(|f| f.state == state))
    }

    /// Gives every warp a turn; whether any did anything.
    fn round(&mut self, round: u64) -> Result<bool, Fault> {
        let order = &self.env.order;
        let mut progress = false;
        let num_blocks = self.blocks.len() as u64;
        for at in 0..num_blocks {
            let block = order.permuted(at, num_blocks, 3 + 2 * round) as usize;
            let num_warps = self.blocks[block].warps.len() as u64;
            for at in 0..num_warps {
                let warp = order.permuted(at, num_warps, 2 + 2 * round) as usize;
                match self.turn(block, warp) {
                    Ok(did) => progress |= did,
                    Err(fault) => return Err(self.cause_of(fault, block, warp)),
                }
            }
            let Block { state, warps } = &mut self.blocks[block];
            progress |= state.open_barriers(warps, self.env.code, &mut self.tick);
        }
        let warps = self.blocks.iter_mut().flat_map(|block| &mut block.warps);
        Ok(progress | self.state.barrier.open(warps))
    }

    /// Runs one warp for a while; whether it did anything.
    fn turn(&mut self, block: usize, warp: usize) -> Result<bool, Fault> {
        let index = self.blocks[block].state.index;
        self.executor(block, warp).run(TURN).map_err(|fault| fault.in_block(index))
    }

    /// A value that nothing has written may be one that another warp is about to write, with a
    /// barrier missing: then the race is the fault to report.
    fn cause_of(&mut self, fault: Fault, block: usize, warp: usize) -> Fault {
        if fault.kind() != FaultKind::Uninitialized {
            return fault;
        }
        let others = (0..self.blocks[block].warps.len()).filter(|other| *other != warp);
        let faults = others.filter_map(|other| self.turn(block, other).err());
        let race = faults.into_iter().find(|other| other.kind() == FaultKind::Race);
        race.unwrap_or(fault)
    }

    fn executor(&mut self, block: usize, warp: usize) -> Executor<'_, 'e> {
        let Block { state, warps } = &mut self.blocks[block];
        Executor {
            env: self.env,
            warp: &mut warps[warp],
            block: state,
            shared: &mut self.shared,
            cluster: &mut self.state,
            tick: &mut self.tick,
            stats: &mut self.stats,
            mask: 0,
            pc: 0,
        }
    }

    /// All warps that have not exited, with their blocks.
    fn waiting(&self) -> impl Iterator<Item = (&Block, &Warp)> {
        let warps =
            self.blocks.iter().flat_map(|block| block.warps.iter().map(move |w| (block, w)));
        warps.filter(|(_, warp)| !warp.fragments.is_empty())
    }

    /// Nobody can go on: says who waits where, and for what.
    fn deadlock(&mut self) -> Fault {
        let mut kind = FaultKind::Deadlock;
        let (mut message, mut place) = ("nothing can go on:".to_owned(), None);
        let mut fragments = self.fragments();
        // Those that wait for an mbarrier come first: others wait for their lanes.
        let polls = |(_, _, fragment): &(usize, usize, Fragment)| fragment.state == State::Polling;
        fragments.sort_by_key(|fragment| !polls(fragment));
        let anyone_polls = fragments.first().is_some_and(polls);
        for (block, warp, fragment) in fragments.iter().copied().take(MAX_REPORTED) {
            let line = self.env.code.instructions[fragment.pc as usize].line;
            let what = self.reason(block, warp, fragment).unwrap_or_else(|| {
                if !anyone_polls {
                    kind = FaultKind::DivergentSync;
                }
                "lanes that are elsewhere or not converged".to_owned()
            });
            let index = self.blocks[block].state.index;
            place.get_or_insert((index, warp as u32, line));
            let mask = fragment.mask;
            message += &format!(
                " block {index:?} warp {warp} lanes {mask:#010x} wait in line {line} for {what};"
            );
        }
        if let Some(more) = fragments.len().checked_sub(MAX_REPORTED).filter(|more| *more > 0) {
            message += &format!(" and {more} more");
        }
        let fault = Fault::new(kind, message.trim_end_matches(';'));
        match place {
            Some((block, warp, line)) => fault.at(warp, line).in_block(block),
            None => fault,
        }
    }

    /// All fragments, with their blocks and warps.
    fn fragments(&self) -> Vec<(usize, usize, Fragment)> {
        let mut fragments = Vec::new();
        for (at, block) in self.blocks.iter().enumerate() {
            for (warp, Warp { fragments: own, .. }) in block.warps.iter().enumerate() {
                fragments.extend(own.iter().map(|fragment| (at, warp, *fragment)));
            }
        }
        fragments
    }

    /// For what a fragment waits; `None` if for lanes of its own warp.
    fn reason(&mut self, block: usize, warp: usize, fragment: Fragment) -> Option<String> {
        match fragment.state {
            State::AtBarrier(id) => Some(self.blocks[block].state.describe(id)),
            State::AtClusterBarrier => Some("the cluster barrier".to_owned()),
            State::Polling => match &self.env.code.instructions[fragment.pc as usize].op {
                Op::Mbarrier(op) => {
                    Some(self.executor(block, warp).describe_wait(op, fragment.mask))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn runaway(&self) -> Fault {
        let max = self.env.max_steps;
        let fault = Fault::new(FaultKind::StepLimit, format!("more than {max} instructions"));
        match self.waiting().next() {
            Some((block, warp)) => {
                let pc = warp.fragments[0].pc as usize;
                let line = self.env.code.instructions[pc].line;
                fault.at(warp.index, line).in_block(block.state.index)
            }
            None => fault,
        }
    }
}
