//! Which sequences take part in a step, and with how many tokens.
//!
//! Continuous batching: sequences join and leave between steps. A step takes one token of every
//! decoding sequence first, then as much of the prompts as `max_num_batched_tokens` leaves, the
//! last of them in part (chunked prefill).
//!
//! A sequence is let in when there are free blocks for all it has, so only decoding asks for more.
//! When none is left, the sequence that came last gives all of its blocks back and waits; what was
//! in the cache is computed again (preemption by recompute). Both queues are in the order of
//! arrival and everything that runs came before everything that waits, so the oldest sequence
//! is never preempted while another runs and every step brings it forward: nothing starves.

use std::collections::VecDeque;

use crate::block_manager::BlockManager;
use crate::sequence::Sequence;
use crate::{RequestError, RequestId};

/// What a step may hold at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SchedulerLimits {
    pub(crate) max_num_seqs: usize,
    /// At least `max_num_seqs`, so that every sequence can decode in one step.
    pub(crate) max_num_batched_tokens: usize,
    pub(crate) max_model_len: usize,
}

/// A sequence's part in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScheduledRow {
    /// Of a running sequence.
    pub(crate) id: RequestId,
    /// How many of its uncomputed tokens, at least 1.
    pub(crate) num_tokens: usize,
}

/// One step: its rows in the order of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    pub(crate) rows: Vec<ScheduledRow>,
    /// Whether every row decodes.
    pub(crate) uniform_decode: bool,
}

impl Schedule {
    pub(crate) fn num_tokens(&self) -> usize {
        self.rows.iter().map(|row| row.num_tokens).sum()
    }
}

/// The queues of sequences, and the blocks that they hold.
#[derive(Debug)]
pub(crate) struct Scheduler {
    limits: SchedulerLimits,
    blocks: BlockManager,
    running: Vec<Sequence>,
    waiting: VecDeque<Sequence>,
    num_preemptions: u64,
}

impl Scheduler {
    pub(crate) fn new(limits: SchedulerLimits, blocks: BlockManager) -> Self {
        Self { limits, blocks, running: Vec::new(), waiting: VecDeque::new(), num_preemptions: 0 }
    }

    /// Queues a sequence whose prompt has at least one token and leaves room for another, unless
    /// it can never run to its end here.
    pub(crate) fn add(&mut self, mut sequence: Sequence) -> Result<(), RequestError> {
        let wanted = sequence.params.max_tokens.unwrap_or(usize::MAX);
        let longest = sequence.len().saturating_add(wanted);
        sequence.max_len = longest.min(self.limits.max_model_len);
        // The token drawn last is never stored.
        let needed_blocks = self.blocks.blocks_for(sequence.max_len - 1);
        let num_blocks = self.blocks.num_blocks();
        if needed_blocks > num_blocks {
            let found = sequence.max_len;
            return Err(RequestError::NeverFits { found, needed_blocks, num_blocks });
        }
        self.waiting.push_back(sequence);
        Ok(())
    }

    /// Decides the next step. Empty only when there is no sequence.
    pub(crate) fn schedule(&mut self) -> Schedule {
        let mut rows = Vec::new();
        let preempted = self.schedule_decodes(&mut rows);
        let uniform_decode = !rows.is_empty();
        let num_decodes = rows.len();
        let mut budget = self.limits.max_num_batched_tokens - num_decodes;
        self.schedule_prefills(&mut rows, &mut budget);
        // What was just given back belongs to those who lacked it.
        if !preempted {
            self.admit(&mut rows, &mut budget);
        }
        let uniform_decode = uniform_decode && rows.len() == num_decodes;
        debug_assert!(!rows.is_empty() || !self.has_unfinished(), "nothing can ever run again");
        rows.sort_unstable_by_key(|row| row.id);
        Schedule { rows, uniform_decode }
    }

    /// Decides the step behind one whose tokens are not known yet. `None` where a token that is
    /// not known would be missed: the sequence ends with it, or would have to be computed again.
    pub(crate) fn schedule_ahead(&mut self) -> Option<Schedule> {
        let ends = |sequence: &Sequence| sequence.len() >= sequence.max_len;
        let decoding = self.running.iter().filter(|sequence| sequence.is_decoding());
        let missing_blocks: usize = decoding
            .map(|sequence| self.blocks.missing(&sequence.block_table, sequence.len()))
            .sum();
        let loses_tokens = self.running.iter().any(ends) || missing_blocks > self.blocks.num_free();
        (!loses_tokens).then(|| self.schedule())
    }

    /// One token of every decoding sequence, oldest first. Returns whether any was preempted.
    fn schedule_decodes(&mut self, rows: &mut Vec<ScheduledRow>) -> bool {
        let before = self.num_preemptions;
        let mut index = 0;
        while index < self.running.len() {
            if self.running[index].is_decoding() && self.make_room(index) {
                rows.push(ScheduledRow { id: self.running[index].id, num_tokens: 1 });
            }
            index += 1;
        }
        self.num_preemptions > before
    }

    /// Grows the block table of a running sequence, preempting from the end until that works or
    /// the sequence itself is gone.
    fn make_room(&mut self, index: usize) -> bool {
        while let Some(sequence) = self.running.get_mut(index) {
            let num_tokens = sequence.len();
            if self.blocks.grow(&mut sequence.block_table, num_tokens) {
                return true;
            }
            self.preempt_last();
        }
        false
    }

    fn preempt_last(&mut self) {
        let Some(mut sequence) = self.running.pop() else { return };
        tracing::debug!(id = %sequence.id, "preempted: no free block");
        self.blocks.release(&mut sequence.block_table);
        sequence.reset();
        self.waiting.push_front(sequence);
        self.num_preemptions += 1;
    }

    /// Goes on with prompts that an earlier step began.
    fn schedule_prefills(&self, rows: &mut Vec<ScheduledRow>, budget: &mut usize) {
        for sequence in &self.running {
            if !sequence.is_decoding() && *budget > 0 {
                rows.push(take_chunk(sequence, budget));
            }
        }
    }

    /// Lets waiting sequences in while there is room for them.
    fn admit(&mut self, rows: &mut Vec<ScheduledRow>, budget: &mut usize) {
        while *budget > 0 && self.running.len() < self.limits.max_num_seqs {
            let Some(sequence) = self.waiting.front_mut() else { return };
            let num_tokens = sequence.len();
            if !self.blocks.grow(&mut sequence.block_table, num_tokens) {
                return;
            }
            let Some(sequence) = self.waiting.pop_front() else { return };
            rows.push(take_chunk(&sequence, budget));
            self.running.push(sequence);
        }
    }

    /// A running sequence, if there is one of this id.
    pub(crate) fn running(&self, id: RequestId) -> Option<&Sequence> {
        self.index_of(id).map(|index| &self.running[index])
    }

    /// The same, to be changed.
    pub(crate) fn running_mut(&mut self, id: RequestId) -> Option<&mut Sequence> {
        self.index_of(id).map(|index| &mut self.running[index])
    }

    /// Ids are in the order of arrival, as sequences are.
    fn index_of(&self, id: RequestId) -> Option<usize> {
        self.running.binary_search_by_key(&id, |sequence| sequence.id).ok()
    }

    /// Drops the sequences that have a finish reason and takes their blocks back.
    pub(crate) fn release_finished(&mut self) {
        let blocks = &mut self.blocks;
        self.running.retain_mut(|sequence| {
            let goes_on = sequence.finish_reason.is_none();
            if !goes_on {
                blocks.release(&mut sequence.block_table);
            }
            goes_on
        });
    }

    /// Drops one sequence; `false` when there is none of this id.
    pub(crate) fn remove(&mut self, id: RequestId) -> bool {
        if let Some(index) = self.index_of(id) {
            let mut sequence = self.running.remove(index);
            self.blocks.release(&mut sequence.block_table);
            return true;
        }
        let len = self.waiting.len();
        self.waiting.retain(|sequence| sequence.id != id);
        self.waiting.len() < len
    }

    /// Drops every sequence, and returns their ids in the order of arrival.
    pub(crate) fn remove_all(&mut self) -> Vec<RequestId> {
        let mut sequences: Vec<Sequence> = self.running.drain(..).collect();
        sequences.extend(self.waiting.drain(..));
        for sequence in &mut sequences {
            self.blocks.release(&mut sequence.block_table);
        }
        sequences.into_iter().map(|sequence| sequence.id).collect()
    }

    pub(crate) fn has_unfinished(&self) -> bool {
        self.num_unfinished() > 0
    }

    /// Sequences that wait or run.
    pub(crate) fn num_unfinished(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// Blocks of the KV cache, free or not.
    pub(crate) fn num_blocks(&self) -> usize {
        self.blocks.num_blocks()
    }

    /// How often a sequence gave its blocks back.
    pub(crate) fn num_preemptions(&self) -> u64 {
        self.num_preemptions
    }
}

/// As many of the sequence's uncomputed tokens as the budget holds.
fn take_chunk(sequence: &Sequence, budget: &mut usize) -> ScheduledRow {
    let num_tokens = sequence.num_uncomputed().min(*budget);
    *budget -= num_tokens;
    ScheduledRow { id: sequence.id, num_tokens }
}

#[cfg(test)]
mod tests;
