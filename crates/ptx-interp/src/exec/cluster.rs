//! A cluster of blocks, which runs as one: the unit that threads of the process take.

use super::Executor;
use super::barrier::BlockState;
use super::env::Env;
use super::shared::Shared;
use super::warp::{State, Warp};
use crate::{Fault, FaultKind, Stats};

/// Instructions that a warp may run before the others of its cluster get their turn, so that it
/// may wait for them in a loop.
const TURN: u64 = 4096;

/// The blocks of one cluster. Without clusters, a cluster of one block.
pub(crate) struct Cluster<'e> {
    env: &'e Env<'e>,
    blocks: Vec<Block>,
    shared: Vec<Shared>,
    tick: u32,
    pub(crate) stats: Stats,
}

/// One thread block.
struct Block {
    state: BlockState,
    warps: Vec<Warp>,
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
        let shared = ranks.clone().map(|rank| Shared::new(env.shared_bytes, first(rank)));
        Self {
            env,
            shared: shared.collect(),
            blocks: ranks.map(block).collect(),
            tick: 1,
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
        self.tick = 1;
    }

    /// Runs until all threads have exited.
    pub(crate) fn run(&mut self) -> Result<(), Fault> {
        let start = self.stats.warp_instructions;
        let mut round = 0;
        while self.blocks.iter().any(|block| block.state.live_threads > 0) {
            if !self.round(round)? {
                return Err(self.deadlock());
            }
            round += 1;
            if self.stats.warp_instructions - start > self.env.max_steps {
                return Err(self.runaway());
            }
        }
        self.stats.num_blocks += self.blocks.len() as u64;
        Ok(())
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
                progress |= self.turn(block, warp)?;
            }
            let Block { state, warps } = &mut self.blocks[block];
            progress |= state.open_barriers(warps, self.env.code, &mut self.tick);
        }
        Ok(progress)
    }

    /// Runs one warp for a while; whether it did anything.
    fn turn(&mut self, block: usize, warp: usize) -> Result<bool, Fault> {
        let Block { state, warps } = &mut self.blocks[block];
        let index = state.index;
        let mut executor = Executor {
            env: self.env,
            warp: &mut warps[warp],
            block: state,
            shared: &mut self.shared,
            tick: &mut self.tick,
            stats: &mut self.stats,
            mask: 0,
            pc: 0,
        };
        executor.run(TURN).map_err(|fault| fault.in_block(index))
    }

    /// All warps that have not exited, with their blocks.
    fn waiting(&self) -> impl Iterator<Item = (&Block, &Warp)> {
        let warps =
            self.blocks.iter().flat_map(|block| block.warps.iter().map(move |w| (block, w)));
        warps.filter(|(_, warp)| !warp.fragments.is_empty())
    }

    /// Nobody can go on: says who waits where, and for what.
    fn deadlock(&self) -> Fault {
        let mut kind = FaultKind::Deadlock;
        let (mut message, mut place) = ("nothing can go on:".to_owned(), None);
        for (block, warp) in self.waiting() {
            for fragment in &warp.fragments {
                let line = self.env.code.instructions[fragment.pc as usize].line;
                let what = match fragment.state {
                    State::AtBarrier(id) => block.state.describe(id),
                    _ => {
                        kind = FaultKind::DivergentSync;
                        "lanes that are elsewhere or not converged".to_owned()
                    }
                };
                place.get_or_insert((block.state.index, warp.index, line));
                let (index, warp, mask) = (block.state.index, warp.index, fragment.mask);
                message += &format!(
                    " block {index:?} warp {warp} lanes {mask:#010x} wait in line {line} for {what};"
                );
            }
        }
        let fault = Fault::new(kind, message.trim_end_matches(';'));
        match place {
            Some((block, warp, line)) => fault.at(warp, line).in_block(block),
            None => fault,
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
