//! A warp: registers, local memory, and where its lanes are in the code.

use super::clock::Clock;
use super::env::Env;
use super::local::Local;
use super::wgmma::Products;
use crate::bulk::UnusedLoads;
use crate::lanes::{Kind, Registers, Slot};

/// Lanes that are at the same instruction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fragment {
    pub(crate) pc: u32,
    pub(crate) mask: u32,
    pub(crate) state: State,
}

/// Whether a fragment can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// It can.
    Ready,
    /// It waits for more lanes of its warp to reach the same instruction.
    Converging,
    /// It waits at a barrier of the block, which moves it on.
    AtBarrier(u32),
    /// It waits for an mbarrier and looks again after something happened at one.
    Polling,
    /// It waits at the cluster barrier and looks again when that opens.
    AtClusterBarrier,
    /// It stopped so that the next launch starts first.
    AtTrigger,
    /// It waits for the launch in front.
    AtGridWait,
}

/// One warp.
#[derive(Debug)]
pub(crate) struct Warp {
    /// Index in the block.
    pub(crate) index: u32,
    pub(crate) registers: Registers,
    pub(crate) local: Local,
    pub(crate) clock: Clock,
    /// Count of `bar.warp.sync` and of everything that implies one.
    pub(crate) epoch: u32,
    /// Where the lanes are. Lanes that have exited are nowhere.
    pub(crate) fragments: Vec<Fragment>,
    /// The allocation that was accessed last.
    pub(crate) hit: usize,
    /// Lanes that have arrived at the cluster barrier in even and in odd phases, and not waited.
    pub(crate) arrived: [u32; 2],
    /// Loads from memory that bulk copies fill, until their values are used.
    pub(crate) unused_loads: UnusedLoads,
    /// Products of `wgmma` that it has not waited for.
    pub(crate) products: Products,
    /// Phases of mbarriers that had completed when a fragment last polled.
    pub(crate) polled_phases: u64,
    /// The next wait for an mbarrier returns, whatever it finds.
    pub(crate) timed_out: bool,
    /// Grows when a fragment used up its time, so that others get theirs.
    pub(crate) turn: usize,
}

impl Warp {
    /// Warp `index` of the block whose first warp is warp `first` of `num_warps` of the cluster.
    pub(crate) fn new(env: &Env<'_>, index: u32, first: usize, num_warps: usize) -> Self {
        let mut registers = env.memory.scratch().registers(env.code.counts);
        fill_constants(env, &mut registers);
        Self {
            index,
            registers,
            local: Local::new(env.kernel.local_bytes()),
            clock: Clock::new(first + index as usize, num_warps),
            epoch: 0,
            fragments: Vec::new(),
            hit: 0,
            arrived: [0; 2],
            unused_loads: UnusedLoads::default(),
            products: Products::default(),
            polled_phases: 0,
            timed_out: false,
            turn: 0,
        }
    }

    /// Puts all lanes before the first instruction.
    pub(crate) fn reset(&mut self, env: &Env<'_>) {
        self.registers.forget();
        for &(register, _) in &env.constants {
            match register.kind {
                Kind::Word => self.registers.define(Slot::<u32>::new(register.index)),
                Kind::Double => self.registers.define(Slot::<u64>::new(register.index)),
                Kind::Predicate => self.registers.define(Slot::<bool>::new(register.index)),
            }
        }
        self.local.reset();
        self.clock.reset();
        self.epoch = 0;
        self.turn = 0;
        self.arrived = [0; 2];
        self.unused_loads.clear();
        self.products.reset();
        self.timed_out = false;
        let threads = env.threads_per_block() - 32 * self.index;
        let mask = if threads >= 32 { !0 } else { (1 << threads) - 1 };
        self.fragments.clear();
        self.fragments.push(Fragment { pc: 0, mask, state: State::Ready });
    }

    /// The lanes that have not exited.
    pub(crate) fn live(&self) -> u32 {
        self.fragments.iter().fold(0, |mask, fragment| mask | fragment.mask)
    }

    /// Unites fragments at the same instruction and orders them by it.
    fn merge(&mut self) {
        if self.fragments.len() < 2 {
            return;
        }
        self.fragments.sort_unstable_by_key(|f| (f.pc, f.state));
        self.fragments.dedup_by(|next, first| {
            let same = next.pc == first.pc && next.state == first.state;
            if same {
                first.mask |= next.mask;
            }
            same
        });
    }

    /// The fragment to run next: the one that is furthest behind, so that lanes which took
    /// different branches meet again as early as they can.
    pub(crate) fn next_fragment(&mut self) -> Option<usize> {
        self.merge();
        let ready = |f: &&Fragment| f.state == State::Ready;
        let count = self.fragments.iter().filter(ready).count();
        if count < 2 {
            self.turn = 0;
        }
        let nth = self.turn.checked_rem(count)?;
        self.fragments.iter().enumerate().filter(|(_, f)| ready(f)).nth(nth).map(|(at, _)| at)
    }

    /// The instruction at which the fragment must stop, as another one stands there.
    pub(crate) fn limit(&self, at: usize) -> u32 {
        if self.fragments.len() == 1 {
            return u32::MAX;
        }
        let here = self.fragments[at].pc;
        let others = self.fragments.iter().filter(|f| f.state == State::Ready && f.pc > here);
        others.map(|f| f.pc).min().unwrap_or(u32::MAX)
    }

    /// Lets the fragments that wait in `state` look again.
    pub(crate) fn retry(&mut self, state: State) {
        for fragment in self.fragments.iter_mut().filter(|f| f.state == state) {
            fragment.state = State::Ready;
        }
    }

    /// Moves the fragments that wait in `state` past their instruction.
    pub(crate) fn wake(&mut self, state: State) {
        for fragment in self.fragments.iter_mut().filter(|f| f.state == state) {
            fragment.pc += 1;
            fragment.state = State::Ready;
        }
    }
}

fn fill_constants(env: &Env<'_>, registers: &mut Registers) {
    for &(register, value) in &env.constants {
        match register.kind {
            Kind::Word => {
                registers.set(Slot::<u32>::new(register.index), !0, &[value as u32; 32], !0)
            }
            Kind::Double => registers.set(Slot::<u64>::new(register.index), !0, &[value; 32], !0),
            Kind::Predicate => {
                let mask = if value & 1 == 1 { !0 } else { 0 };
                registers.set(Slot::<bool>::new(register.index), !0, &mask, !0);
            }
        }
    }
}
