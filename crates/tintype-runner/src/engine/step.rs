//! One step after another.
//!
//! On a device that runs beside the host, a step is queued before the tokens of the one in front
//! of it are known: a sequence that decodes in the same row of both finds its token on the device.
//! So the device goes from step to step without waiting for the host. A sequence that turns out to
//! have ended, or is dropped, has run once too often; what came of that is let go.

use std::time::Instant;

use tintype_graph::CapturePolicy;
use tintype_ops::Stream;

use super::Engine;
use crate::batch::BatchRow;
use crate::model_runner::{QueuedStep, Sampled};
use crate::scheduler::{Schedule, ScheduledRow, Scheduler};
use crate::stop::Matched;
use crate::text::TextStream;
use crate::{EngineError, FinishReason, RequestId, SequenceOutput, StepOutputs};

/// A step on its way: whose it is, and what comes of it.
pub(super) struct StepInFlight<S: Stream> {
    schedule: Schedule,
    queued: QueuedStep<S>,
}

impl<S: Stream> Engine<S> {
    /// Brings the requests one step forward. Does nothing when there is none.
    ///
    /// # Errors
    /// [`EngineError::Step`]: every request has failed with it. The engine takes new ones. What
    /// fails behind a step, a capture or the next step, takes nothing from it and fails the next
    /// call.
    pub fn step(&mut self) -> Result<StepOutputs, EngineError> {
        self.run_step(self.async_scheduling)
    }

    /// As [`Self::step`], and leaves no other step on its way, so that the device is idle.
    pub(crate) fn step_alone(&mut self) -> Result<StepOutputs, EngineError> {
        self.run_step(false)
    }

    fn run_step(&mut self, ahead: bool) -> Result<StepOutputs, EngineError> {
        if !self.has_unfinished() {
            self.in_flight = None;
            return Ok(StepOutputs::default());
        }
        let outcome = self.capture_ahead().and_then(|()| self.run(ahead));
        self.seal_when_complete();
        outcome.map_err(|error| self.fail_all(error))
    }

    fn run(&mut self, ahead: bool) -> Result<StepOutputs, EngineError> {
        let StepInFlight { schedule, mut queued } = self.next_step()?;
        let since = Instant::now();
        let capture_failure = self.runner.capture_behind(&queued).err();
        if queued.waits_for_logits() {
            let rows = batch_rows(&self.scheduler, &schedule);
            self.runner.draw_from_logits(&mut queued, &rows)?;
        }
        for row in &schedule.rows {
            if let Some(sequence) = self.scheduler.running_mut(row.id) {
                sequence.advance(row.num_tokens);
            }
        }
        let next = if ahead { self.queue_behind(&schedule) } else { Ok(None) };
        let sampled = self.runner.finish(queued, since)?;
        let mut outputs = Vec::new();
        for (row, sampled) in schedule.rows.iter().zip(sampled) {
            outputs.extend(self.take_in(row.id, sampled)?);
        }
        self.scheduler.release_finished();
        self.failure = capture_failure.map(EngineError::from);
        match next {
            Ok(next) => self.in_flight = next,
            Err(error) => self.failure = Some(error),
        }
        let (num_tokens, is_decode) = (schedule.num_tokens(), schedule.uniform_decode);
        Ok(StepOutputs { outputs, num_tokens, is_decode })
    }

    /// The step that is on its way, if that is still of use to anybody, or a new one.
    fn next_step(&mut self) -> Result<StepInFlight<S>, EngineError> {
        let is_running = |row: &ScheduledRow| self.scheduler.running(row.id).is_some();
        let in_flight = self.in_flight.take();
        match in_flight.filter(|step| step.schedule.rows.iter().any(is_running)) {
            Some(step) => Ok(step),
            None => {
                let schedule = self.scheduler.schedule();
                self.queue(schedule, 0)
            }
        }
    }

    /// Queues the step behind one whose tokens are not known yet. `None` where that has to wait for
    /// them.
    fn queue_behind(&mut self, before: &Schedule) -> Result<Option<StepInFlight<S>>, EngineError> {
        // Tokens are found in the row that drew them, so each row has to have one and to go on.
        let awaits_token =
            |row: &ScheduledRow| self.scheduler.running(row.id).is_some_and(|s| s.awaits_token());
        if !before.rows.iter().all(awaits_token) {
            return Ok(None);
        }
        let Some(schedule) = self.scheduler.schedule_ahead() else { return Ok(None) };
        // Such a step is queued in two parts, with the host in between.
        if batch_rows(&self.scheduler, &schedule).iter().any(BatchRow::needs_logits) {
            return Ok(None);
        }
        let num_drawn = before.rows.len();
        let same_rows = schedule.rows.iter().zip(&before.rows).take_while(|(a, b)| a.id == b.id);
        if same_rows.count() < num_drawn {
            return Ok(None);
        }
        self.queue(schedule, num_drawn).map(Some)
    }

    /// Queues a step whose first `num_drawn` rows decode what the same rows of the one before it
    /// drew.
    fn queue(
        &mut self,
        schedule: Schedule,
        num_drawn: usize,
    ) -> Result<StepInFlight<S>, EngineError> {
        let rows = batch_rows(&self.scheduler, &schedule);
        let queued = self.runner.queue(&rows, schedule.uniform_decode, num_drawn)?;
        Ok(StepInFlight { schedule, queued })
    }

    /// Takes in what a step drew for one sequence, and decides whether the sequence ends.
    fn take_in(
        &mut self,
        id: RequestId,
        sampled: Sampled,
    ) -> Result<Option<SequenceOutput>, EngineError> {
        let Sampled { token, logprobs } = sampled;
        let Some(sequence) = self.scheduler.running_mut(id) else { return Ok(None) };
        if !sequence.take_token(token) {
            return Ok(None);
        }
        let is_eos = !sequence.params.ignore_eos && self.eos_token_ids.contains(&token);
        let is_last = is_eos || sequence.params.stop_token_ids.contains(&token);
        let is_longest = sequence.len() >= sequence.max_len;
        let Matched { text, stopped } = match self.texts.get_mut(&id) {
            Some(stream) => text_of(stream, token, is_last, is_longest)?,
            None => Matched { text: String::new(), stopped: false },
        };
        let finish_reason = match (is_last || stopped, is_longest) {
            (true, _) => Some(FinishReason::Stop),
            (false, true) => Some(FinishReason::Length),
            (false, false) => None,
        };
        sequence.finish_reason = finish_reason;
        self.recorder.token(id, sequence.num_prompt_tokens, Instant::now());
        if finish_reason.is_some() {
            self.texts.remove(&id);
            self.recorder.removed(id);
        }
        Ok(Some(SequenceOutput { id, token_id: token, text, logprobs, finish_reason }))
    }

    /// What a step must settle first: a failure behind the one before it, and, where warmups have
    /// to run on the device, the capture that would else be made behind this one.
    fn capture_ahead(&mut self) -> Result<(), EngineError> {
        self.take_failure()?;
        let pool = &self.runner.pool;
        let is_background = pool.options().policy == CapturePolicy::Background;
        if is_background && pool.warms_up() {
            self.runner.capture_next()?;
        }
        Ok(())
    }

    pub(super) fn take_failure(&mut self) -> Result<(), EngineError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    pub(super) fn seal_when_complete(&mut self) {
        let pool = &mut self.runner.pool;
        if !pool.is_sealed() && pool.is_complete() {
            pool.seal();
            self.captured_after = Some(self.started.elapsed());
        }
    }

    fn fail_all(&mut self, source: EngineError) -> EngineError {
        let failed = self.scheduler.remove_all();
        self.texts.clear();
        self.failure = None;
        self.in_flight = None;
        failed.iter().for_each(|&id| self.recorder.removed(id));
        EngineError::Step { failed, source: Box::new(source) }
    }
}

fn batch_rows<'a>(scheduler: &'a Scheduler, schedule: &Schedule) -> Vec<BatchRow<'a>> {
    let row = |row: &ScheduledRow| BatchRow {
        sequence: scheduler.running(row.id).expect("who was scheduled runs"),
        num_tokens: row.num_tokens,
    };
    schedule.rows.iter().map(row).collect()
}

/// What `token` adds to a sequence's text. A token that ends the sequence adds nothing of its own;
/// at the end, what was held back comes out.
fn text_of(
    stream: &mut TextStream,
    token: u32,
    is_last: bool,
    is_longest: bool,
) -> Result<Matched, EngineError> {
    let mut matched = match is_last {
        true => Matched { text: String::new(), stopped: false },
        false => stream.push(token)?,
    };
    if (is_last || is_longest) && !matched.stopped {
        let rest = stream.finish()?;
        matched.text.push_str(&rest.text);
        matched.stopped = rest.stopped;
    }
    Ok(matched)
}
