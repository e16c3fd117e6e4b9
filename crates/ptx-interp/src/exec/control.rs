//! The way of a warp through the code: branches, exits, and who waits for whom.

use super::warp::{Fragment, State};
use super::{Executor, Flow};
use crate::instruction::{BranchIndexed, Guard};
use crate::{Fault, FaultKind};

impl Executor<'_, '_> {
    /// Runs the warp until none of its fragments can go on, or for about `budget` instructions.
    /// Returns whether it did anything.
    pub(crate) fn run(&mut self, budget: u64) -> Result<bool, Fault> {
        if self.warp.polled_phases != self.cluster.asynchronous.phases {
            self.warp.retry(State::Polling);
        }
        let mut left = budget;
        while left > 0 {
            let before = self.stats.warp_instructions;
            match self.warp.next_fragment() {
                Some(at) => self.run_fragment(at, left)?,
                None if !self.converge()? => break,
                None => {}
            }
            left = left.saturating_sub(self.stats.warp_instructions - before);
        }
        if left == 0 {
            self.warp.turn += 1;
        }
        Ok(left < budget)
    }

    /// Runs one fragment until it waits, splits, meets another or its time is over.
    fn run_fragment(&mut self, at: usize, budget: u64) -> Result<(), Fault> {
        let Fragment { pc, mask, .. } = self.warp.fragments[at];
        let limit = self.warp.limit(at);
        (self.pc, self.mask) = (pc, mask);
        let instructions = self.env.code.instructions.as_slice();
        let mut count = 0;
        loop {
            let instruction = &instructions[self.pc as usize];
            count += 1;
            let flow = match self.guarded(instruction.guard) {
                Ok(0) => Ok((Flow::Next, 0)),
                Ok(active) => self.execute(instruction, active).map(|flow| (flow, active)),
                Err(fault) => Err(fault),
            };
            match flow.map_err(|fault| fault.at(self.warp.index, instruction.line))? {
                (Flow::Next, _) => self.pc += 1,
                (Flow::Jump(target), _) => self.pc = target,
                (flow, active) => {
                    // It will run once the lanes are together.
                    count -= u64::from(matches!(flow, Flow::Wait(State::Converging)));
                    self.leave(at, flow, active);
                    break;
                }
            }
            if self.pc >= limit || count >= budget {
                self.warp.fragments[at].pc = self.pc;
                break;
            }
        }
        self.stats.warp_instructions += count;
        self.stats.thread_instructions += count * u64::from(mask.count_ones());
        Ok(())
    }

    /// The lanes in which the instruction runs.
    #[inline(always)]
    fn guarded(&self, guard: Option<Guard>) -> Result<u32, Fault> {
        let Some(Guard { predicate, negated }) = guard else { return Ok(self.mask) };
        let registers = &self.warp.registers;
        if registers.defined(predicate) & self.mask != self.mask {
            self.check_defined(registers.defined(predicate), self.mask, "the guard")?;
        }
        let holds = *registers.get(predicate);
        Ok(self.mask & if negated { !holds } else { holds })
    }

    /// Takes a fragment off the straight path.
    fn leave(&mut self, at: usize, flow: Flow, active: u32) {
        let pc = self.pc;
        let active = if let Flow::Split(_, taken) = flow { taken } else { active };
        let rest = self.mask & !active;
        let fragment = &mut self.warp.fragments[at];
        let (target, state) = match flow {
            Flow::Next => (pc + 1, State::Ready),
            Flow::Jump(target) | Flow::Split(target, _) => (target, State::Ready),
            Flow::Wait(state) => (pc, state),
            Flow::Exit => {
                self.block.live_threads -= active.count_ones();
                if self.block.live_threads == 0 {
                    self.cluster.exited |= 1 << self.block.rank;
                }
                *fragment = Fragment { pc: pc + 1, mask: rest, state: State::Ready };
                if rest == 0 {
                    self.warp.fragments.remove(at);
                }
                return;
            }
        };
        *fragment = Fragment { pc: target, mask: active, state };
        if rest != 0 {
            self.warp.fragments.push(Fragment { pc: pc + 1, mask: rest, state: State::Ready });
        }
    }

    /// `bra`
    pub(super) fn branch(&self, target: u32, active: u32) -> Flow {
        if active == self.mask { Flow::Jump(target) } else { Flow::Split(target, active) }
    }

    /// `brx.idx`; where lanes want different targets, the first lane's go first.
    #[inline(never)]
    pub(super) fn branch_indexed(
        &mut self,
        op: &BranchIndexed,
        active: u32,
    ) -> Result<Flow, Fault> {
        let indices = *self.read_defined(op.index, active, "the branch")?;
        let index = indices[active.trailing_zeros() as usize];
        let Some(&target) = op.targets.get(index as usize) else {
            let message = format!("branch {index} of a table of {}", op.targets.len());
            let fault = Fault::new(FaultKind::OutOfBounds, message);
            return Err(fault.in_lane(active.trailing_zeros()));
        };
        let same = super::lanes_of(active).filter(|&lane| indices[lane] == index);
        let taken = same.fold(0, |mask, lane| mask | 1 << lane);
        if taken == self.mask {
            return Ok(Flow::Jump(target));
        }
        // The others come back to this instruction, less those whose guard does not hold.
        let (pc, others) = (self.pc, active & !taken);
        if others != 0 {
            self.warp.fragments.push(Fragment { pc, mask: others, state: State::Ready });
        }
        self.mask &= !others;
        Ok(Flow::Split(target, taken))
    }

    /// Where an instruction needs the lanes of `needed` together: what to do until all that have
    /// not exited are here, or `None` if they are.
    pub(crate) fn gather(&mut self, needed: u32, active: u32) -> Option<Flow> {
        if active != self.mask {
            // The lanes whose guard does not hold go on without the others.
            return Some(Flow::Split(self.pc, active));
        }
        let missing = needed & !active;
        if missing != 0 && missing & self.warp.live() != 0 {
            return Some(Flow::Wait(State::Converging));
        }
        None
    }

    /// Looks for lanes that wait for each other and are now together; whether there were any.
    fn converge(&mut self) -> Result<bool, Fault> {
        for at in 0..self.warp.fragments.len() {
            if self.warp.fragments[at].state != State::Converging {
                continue;
            }
            self.warp.fragments[at].state = State::Ready;
            self.run_fragment(at, 1)?;
            let waits = self.warp.fragments.get(at).map(|f| f.state);
            if waits != Some(State::Converging) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
