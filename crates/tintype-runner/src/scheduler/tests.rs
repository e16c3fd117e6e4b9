//! Tests of the scheduler, without a model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::sequence::{FinishReason, Request};
use crate::{RequestId, SamplingParams};

const LIMITS: SchedulerLimits =
    SchedulerLimits { max_num_seqs: 4, max_num_batched_tokens: 8, max_model_len: 64 };

fn scheduler(num_blocks: u32, block_size: u32) -> Scheduler {
    Scheduler::new(LIMITS, BlockManager::new(num_blocks, block_size))
}

fn sequence(id: u64, prompt_len: usize, max_tokens: usize) -> Sequence {
    let params = SamplingParams { max_tokens: Some(max_tokens), ..SamplingParams::default() };
    Sequence::new(RequestId(id), Request { prompt_ids: vec![1; prompt_len], params }, 0)
}

/// Schedules a step, pretends that it ran, and ends sequences at their length.
fn step(scheduler: &mut Scheduler) -> Schedule {
    let schedule = scheduler.schedule();
    run(scheduler, &schedule);
    scheduler.release_finished();
    schedule
}

fn run(scheduler: &mut Scheduler, schedule: &Schedule) {
    for row in &schedule.rows {
        let sequence = scheduler.running_mut(row.id).unwrap();
        sequence.advance(row.num_tokens);
        sequence.take_token(5);
        if sequence.len() >= sequence.max_len {
            sequence.finish_reason = Some(FinishReason::Length);
        }
    }
}

fn rows(schedule: &Schedule) -> Vec<(u64, usize)> {
    schedule.rows.iter().map(|row| (row.id.0, row.num_tokens)).collect()
}

fn ids(scheduler: &Scheduler) -> Vec<u64> {
    scheduler.running.iter().map(|sequence| sequence.id.0).collect()
}

#[test]
fn prompts_share_a_step_and_the_last_is_cut() {
    let mut scheduler = scheduler(16, 4);
    for (id, prompt_len) in [(0, 3), (1, 9), (2, 2)] {
        scheduler.add(sequence(id, prompt_len, 2)).unwrap();
    }
    assert_eq!(rows(&step(&mut scheduler)), [(0, 3), (1, 5)]);
    // The first decodes, the second's prompt goes on, the third joins.
    let second = step(&mut scheduler);
    assert_eq!(rows(&second), [(0, 1), (1, 4), (2, 2)]);
    assert!(!second.uniform_decode);
    let third = step(&mut scheduler);
    assert_eq!((rows(&third), third.uniform_decode), (vec![(1, 1), (2, 1)], true));
    assert!(!scheduler.has_unfinished());
}

#[test]
fn decodes_come_before_prompts() {
    let mut scheduler = scheduler(32, 4);
    for id in 0..3 {
        scheduler.add(sequence(id, 1, 9)).unwrap();
    }
    step(&mut scheduler);
    scheduler.add(sequence(3, 20, 9)).unwrap();
    assert_eq!(rows(&step(&mut scheduler)), [(0, 1), (1, 1), (2, 1), (3, 5)]);
}

#[test]
fn a_prompt_of_one_token_makes_no_decode_batch() {
    let mut scheduler = scheduler(8, 4);
    scheduler.add(sequence(0, 1, 3)).unwrap();
    assert!(!step(&mut scheduler).uniform_decode);
    assert!(step(&mut scheduler).uniform_decode);
    scheduler.add(sequence(1, 1, 3)).unwrap();
    let both = step(&mut scheduler);
    assert_eq!((rows(&both), both.uniform_decode), (vec![(0, 1), (1, 1)], false));
}

#[test]
fn no_more_than_max_num_seqs_run() {
    let mut scheduler = scheduler(64, 4);
    for id in 0..6 {
        scheduler.add(sequence(id, 1, 2)).unwrap();
    }
    assert_eq!(step(&mut scheduler).rows.len(), 4);
    assert_eq!(step(&mut scheduler).rows.len(), 4);
    assert_eq!(ids(&scheduler), [0u64; 0]);
    assert_eq!(step(&mut scheduler).rows.len(), 2);
}

#[test]
fn the_newest_gives_its_blocks_back_and_comes_again() {
    // Two blocks each at first; the third token of output needs a third block.
    let mut scheduler = scheduler(5, 2);
    scheduler.add(sequence(0, 4, 5)).unwrap();
    scheduler.add(sequence(1, 3, 3)).unwrap();
    step(&mut scheduler);
    assert_eq!(ids(&scheduler), [0, 1]);
    step(&mut scheduler);
    step(&mut scheduler);
    assert_eq!((ids(&scheduler), scheduler.num_preemptions()), (vec![0], 1));
    // It waits with what it has drawn, and computes all of it again in one chunk.
    let drawn = scheduler.waiting[0].output().len();
    while scheduler.running.len() < 2 && scheduler.has_unfinished() {
        let schedule = step(&mut scheduler);
        if schedule.rows.iter().any(|row| row.num_tokens > 1) {
            assert_eq!(schedule.rows[0].num_tokens, 3 + drawn);
        }
    }
    while scheduler.has_unfinished() {
        step(&mut scheduler);
    }
    assert_eq!(scheduler.blocks.num_free(), 5);
}

#[test]
fn what_can_never_fit_is_refused_with_the_numbers() {
    let mut scheduler = scheduler(4, 4);
    let fits_alone = sequence(0, 10, 7);
    scheduler.add(fits_alone).unwrap();
    let large = scheduler.add(sequence(1, 10, 8)).unwrap_err().to_string();
    assert!(
        large.contains("up to 18 tokens take 5 blocks of the KV cache, which has 4"),
        "{large}"
    );
}

#[test]
fn removed_sequences_give_their_blocks_back() {
    let mut scheduler = scheduler(8, 4);
    for id in 0..3 {
        scheduler.add(sequence(id, 8, 4)).unwrap();
    }
    step(&mut scheduler);
    assert!(scheduler.remove(RequestId(0)) && scheduler.remove(RequestId(2)));
    assert!(!scheduler.remove(RequestId(0)));
    assert_eq!(scheduler.remove_all(), [RequestId(1)]);
    assert_eq!((scheduler.blocks.num_free(), scheduler.has_unfinished()), (8, false));
    assert!(scheduler.schedule().rows.is_empty());
}

#[test]
fn a_step_ahead_takes_the_tokens_to_come_as_drawn() {
    let mut scheduler = scheduler(8, 4);
    for id in 0..2 {
        scheduler.add(sequence(id, 3, 4)).unwrap();
    }
    let first = scheduler.schedule();
    first.rows.iter().for_each(|row| scheduler.running_mut(row.id).unwrap().advance(3));
    scheduler.add(sequence(2, 2, 4)).unwrap();
    let ahead = scheduler.schedule_ahead().unwrap();
    assert_eq!((rows(&ahead), ahead.uniform_decode), (vec![(0, 1), (1, 1), (2, 2)], false));
}

#[test]
fn no_step_is_ahead_of_the_last_token_of_a_sequence() {
    let mut scheduler = scheduler(8, 4);
    for (id, max_tokens) in [(0, 2), (1, 1)] {
        scheduler.add(sequence(id, 3, max_tokens)).unwrap();
    }
    let first = scheduler.schedule();
    first.rows.iter().for_each(|row| scheduler.running_mut(row.id).unwrap().advance(3));
    assert!(scheduler.schedule_ahead().is_none());
}

#[test]
fn no_step_is_ahead_where_it_would_take_blocks_away() {
    let mut scheduler = scheduler(3, 2);
    for id in 0..2 {
        scheduler.add(sequence(id, 2, 4)).unwrap();
    }
    let first = scheduler.schedule();
    first.rows.iter().for_each(|row| scheduler.running_mut(row.id).unwrap().advance(2));
    assert!(scheduler.schedule_ahead().is_none());
    assert_eq!((ids(&scheduler), scheduler.num_preemptions()), (vec![0, 1], 0));
}

/// No two sequences may hold one slot, and each has a slot for all that it computes.
fn check_blocks(scheduler: &Scheduler, schedule: &Schedule, block_size: usize) {
    let mut held = BTreeSet::new();
    for sequence in &scheduler.running {
        assert!(sequence.block_table.iter().all(|&block| held.insert(block)));
    }
    for row in &schedule.rows {
        let sequence = scheduler.running(row.id).unwrap();
        let needed = sequence.num_computed + row.num_tokens;
        assert!(needed <= sequence.len() && needed <= sequence.block_table.len() * block_size);
    }
    assert_eq!(held.len() + scheduler.blocks.num_free(), scheduler.blocks.num_blocks());
}

proptest! {
    /// Sequences arrive at any time. Every one ends, with as many tokens as it asked for; no step
    /// breaks a limit; no slot is used twice; the oldest advances at every step.
    #[test]
    fn nothing_starves_and_tokens_add_up(
        arrivals in prop::collection::vec((0usize..6, 1usize..30, 1usize..20), 1..25),
        num_blocks in 13u32..40,
        block_size in 1u32..5,
        max_num_batched_tokens in 4usize..40,
    ) {
        let limits = SchedulerLimits { max_num_batched_tokens, ..LIMITS };
        let mut scheduler = Scheduler::new(limits, BlockManager::new(num_blocks, block_size));
        let mut arrivals = arrivals.into_iter().zip(0u64..).collect::<VecDeque<_>>();
        let mut accepted = BTreeMap::new();
        let mut finished = BTreeMap::new();
        let mut pause = 0;
        while scheduler.has_unfinished() || !arrivals.is_empty() {
            while let Some(&((wait, prompt_len, max_tokens), id)) = arrivals.front() {
                if pause < wait && scheduler.has_unfinished() {
                    break;
                }
                pause = 0;
                arrivals.pop_front();
                if scheduler.add(sequence(id, prompt_len, max_tokens)).is_ok() {
                    accepted.insert(RequestId(id), max_tokens);
                }
            }
            pause += 1;
            if !scheduler.has_unfinished() {
                continue;
            }
            let schedule = scheduler.schedule();
            prop_assert!(!schedule.rows.is_empty());
            prop_assert_eq!(schedule.rows[0].id, scheduler.running[0].id);
            prop_assert!(schedule.num_tokens() <= max_num_batched_tokens);
            prop_assert!(schedule.rows.len() <= limits.max_num_seqs);
            check_blocks(&scheduler, &schedule, block_size as usize);
            let decodes = |row: &ScheduledRow| scheduler.running(row.id).unwrap().is_decoding();
            prop_assert_eq!(schedule.uniform_decode, schedule.rows.iter().all(decodes));
            run(&mut scheduler, &schedule);
            for row in &schedule.rows {
                let sequence = scheduler.running(row.id).unwrap();
                if sequence.finish_reason.is_some() {
                    finished.insert(sequence.id, sequence.output().len());
                }
            }
            scheduler.release_finished();
        }
        prop_assert_eq!(finished, accepted);
        prop_assert_eq!(scheduler.blocks.num_free(), num_blocks as usize);
    }
}
