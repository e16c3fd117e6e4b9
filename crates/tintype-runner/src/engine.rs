//! The engine: requests in, tokens and text out, one step at a time.

mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tintype_config::{Compilation, Note};
use tintype_graph::{
    CapturePolicy, CaptureProgress, CaptureReport, GraphError, GraphKey, GraphOptions, GraphPool,
};
use tintype_model::{LoadProgress, Model};
use tintype_ops::{DeviceInfo, Stream};

use crate::batch::BatchRow;
use crate::error::doing;
use crate::model_runner::{ModelRunner, RanStep, Sampled};
use crate::sampling::derived_seed;
use crate::scheduler::{Schedule, ScheduledRow, Scheduler};
use crate::sequence::Sequence;
use crate::stats::{Recorder, StartTimes};
use crate::stop::Matched;
use crate::text::TextStream;
use crate::{
    Completion, EngineError, FinishReason, Request, RequestError, RequestId, RequestLimits,
    SequenceOutput, Stats, StepOutputs, Tokenizer,
};

/// How an engine behaves, beyond what its config says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineOptions {
    /// Blocks of the KV cache. `None` for what `max_num_seqs` sequences of full length need, as
    /// far as the memory goes.
    pub num_kv_blocks: Option<usize>,
    /// Part of the memory that is free after loading which the KV cache may take, from 0 to 1.
    pub kv_memory_fraction: f64,
    /// When and how graphs are captured. With `verify`, each graph captured at start-up is also
    /// replayed against eager on random inputs, bit for bit.
    pub graphs: GraphOptions,
}

impl Default for EngineOptions {
    /// Half of the free memory: on the CPU others need theirs, too.
    fn default() -> Self {
        Self { num_kv_blocks: None, kv_memory_fraction: 0.5, graphs: GraphOptions::default() }
    }
}

/// How far [`Engine::new`] has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// Weights are on their way to the device.
    Loading(LoadProgress),
    /// A graph was captured.
    Capturing(CaptureProgress),
    /// This many graphs gave the bits of an eager run.
    Verified(usize),
}

/// A loaded model that continues prompts.
///
/// Requests are added at any time; every [`step`](Self::step) brings those forward that the
/// scheduler chose. Nothing here runs by itself.
///
/// With [`CapturePolicy::Background`] a step captures graphs while the device works on it, so none
/// delays a token; a batch whose graph is yet to come runs eagerly. Who has nothing to run can
/// [capture](Self::capture_next) meanwhile.
pub struct Engine<S: Stream> {
    runner: ModelRunner<S>,
    scheduler: Scheduler,
    /// Of every unfinished request, if there is a tokenizer.
    texts: BTreeMap<RequestId, TextStream>,
    tokenizer: Option<Arc<Tokenizer>>,
    request_limits: RequestLimits,
    eos_token_ids: Vec<u32>,
    compilation: Compilation,
    notes: Vec<Note>,
    options: EngineOptions,
    model_name: String,
    seed: u64,
    next_id: u64,
    recorder: Recorder,
    started: Instant,
    load: Duration,
    /// From the start until no graph was left to be captured.
    captured_after: Option<Duration>,
    /// Of a capture behind the last step.
    capture_failure: Option<GraphError>,
}

impl<S: Stream> Engine<S> {
    /// Gives the engine the model's tokenizer, which may be read on another thread while the
    /// weights load. Without one it takes and gives token ids, and no text.
    pub fn set_tokenizer(&mut self, tokenizer: Arc<Tokenizer>) {
        self.tokenizer = Some(tokenizer);
        self.request_limits = self.request_limits.with_tokenizer(true);
    }

    /// Queues a request.
    ///
    /// # Errors
    /// [`RequestError`] when it can never run; the others go on.
    pub fn add_request(&mut self, request: Request) -> Result<RequestId, RequestError> {
        self.request_limits.check(&request)?;
        let id = RequestId(self.next_id);
        let seed = request.params.seed.unwrap_or_else(|| derived_seed(self.seed, id.0));
        let stop = request.params.stop.clone();
        self.scheduler.add(Sequence::new(id, request, seed))?;
        self.next_id += 1;
        self.recorder.added(id, Instant::now());
        if let Some(tokenizer) = &self.tokenizer {
            self.texts.insert(id, TextStream::new(Arc::clone(tokenizer), stop));
        }
        Ok(id)
    }

    /// Runs one step. Does nothing when there is no request.
    ///
    /// # Errors
    /// [`EngineError::Step`]: every request has failed with it. The engine takes new ones. A
    /// capture behind a step that fails takes nothing from that step, it fails the next one.
    pub fn step(&mut self) -> Result<StepOutputs, EngineError> {
        let schedule = self.scheduler.schedule();
        if schedule.rows.is_empty() {
            return Ok(StepOutputs::default());
        }
        let outcome = self.capture_ahead().and_then(|()| self.run(&schedule));
        self.seal_when_complete();
        outcome.map_err(|error| self.fail_all(error))
    }

    fn run(&mut self, schedule: &Schedule) -> Result<StepOutputs, EngineError> {
        let running = self.scheduler.running();
        let row = |row: &ScheduledRow| BatchRow {
            sequence: &running[row.index],
            num_tokens: row.num_tokens,
        };
        let rows: Vec<BatchRow<'_>> = schedule.rows.iter().map(row).collect();
        let RanStep { sampled, capture_failure } =
            self.runner.run(&rows, schedule.uniform_decode)?;
        self.capture_failure = capture_failure;
        let mut outputs = Vec::new();
        for (row, sampled) in schedule.rows.iter().zip(sampled) {
            outputs.extend(self.advance(*row, sampled)?);
        }
        self.scheduler.release_finished();
        let (num_tokens, is_decode) = (schedule.num_tokens(), schedule.uniform_decode);
        Ok(StepOutputs { outputs, num_tokens, is_decode })
    }

    /// Takes in what a step drew for one sequence, and decides whether the sequence ends.
    fn advance(
        &mut self,
        row: ScheduledRow,
        sampled: Sampled,
    ) -> Result<Option<SequenceOutput>, EngineError> {
        let Sampled { token, logprobs } = sampled;
        let sequence = self.scheduler.running_mut(row.index);
        if !sequence.advance(row.num_tokens, token) {
            return Ok(None);
        }
        let id = sequence.id;
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
        self.take_capture_failure()?;
        let pool = &self.runner.pool;
        let is_background = pool.options().policy == CapturePolicy::Background;
        if is_background && pool.warms_up() {
            self.runner.capture_next()?;
        }
        Ok(())
    }

    /// Captures one more graph and says which; `None` when there is none left to capture. Those
    /// that steps lacked come first, as at [`GraphPool::capture_next`]. For callers that have
    /// nothing to run, such as a server between requests: it takes the host about a millisecond
    /// for a graph of some hundred launches.
    ///
    /// # Errors
    /// Why this capture failed, or one behind the last step, unless
    /// [`OnCaptureFailure::Eager`](tintype_graph::OnCaptureFailure) lets that pass. Requests go on.
    pub fn capture_next(&mut self) -> Result<Option<GraphKey>, EngineError> {
        self.take_capture_failure()?;
        let captured = self.runner.capture_next()?;
        self.seal_when_complete();
        Ok(captured)
    }

    fn take_capture_failure(&mut self) -> Result<(), EngineError> {
        self.capture_failure.take().map_or(Ok(()), |failure| Err(failure.into()))
    }

    fn seal_when_complete(&mut self) {
        let pool = &mut self.runner.pool;
        if !pool.is_sealed() && pool.is_complete() {
            pool.seal();
            self.captured_after = Some(self.started.elapsed());
        }
    }

    fn fail_all(&mut self, source: EngineError) -> EngineError {
        let failed = self.scheduler.remove_all();
        self.texts.clear();
        self.capture_failure = None;
        failed.iter().for_each(|&id| self.recorder.removed(id));
        EngineError::Step { failed, source: Box::new(source) }
    }

    /// Drops a request; `false` when there is none of this id. Nothing more comes of it.
    pub fn abort(&mut self, id: RequestId) -> bool {
        self.texts.remove(&id);
        self.recorder.removed(id);
        self.scheduler.remove(id)
    }

    /// Whether any request waits or runs.
    #[must_use]
    pub fn has_unfinished(&self) -> bool {
        self.scheduler.has_unfinished()
    }

    /// Runs requests to their end, in one batch as far as the limits allow, and returns what came
    /// of each, in their order.
    ///
    /// # Errors
    /// When one is refused, or other requests are unfinished, then none is run; or when a step
    /// fails.
    pub fn generate(&mut self, requests: Vec<Request>) -> Result<Vec<Completion>, EngineError> {
        let unfinished = self.scheduler.num_unfinished();
        if unfinished > 0 {
            return Err(EngineError::Busy { unfinished });
        }
        let mut completions = BTreeMap::new();
        for request in requests {
            let wants_logprobs = request.params.logprobs.is_some();
            let completion = Completion::new(request.prompt_ids.clone(), wants_logprobs);
            match self.add_request(request) {
                Ok(id) => _ = completions.insert(id, completion),
                Err(error) => {
                    completions.keys().for_each(|&id| _ = self.abort(id));
                    return Err(error.into());
                }
            }
        }
        while self.has_unfinished() {
            for output in self.step()?.outputs {
                if let Some(completion) = completions.get_mut(&output.id) {
                    completion.push(output);
                }
            }
        }
        Ok(completions.into_values().collect())
    }

    /// Waits until the device has done all that it was given; after a start, until it has the
    /// weights.
    ///
    /// # Errors
    /// When some of it failed, or a capture behind the last step.
    pub fn synchronize(&mut self) -> Result<(), EngineError> {
        self.runner.stream.synchronize().map_err(doing("waiting for the device"))?;
        self.take_capture_failure()
    }

    /// The tokenizer that it was given.
    #[must_use]
    pub fn tokenizer(&self) -> Option<&Arc<Tokenizer>> {
        self.tokenizer.as_ref()
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &dyn Model {
        &*self.runner.model
    }

    /// The model's name, for people.
    #[must_use]
    pub fn model_name(&self) -> &str {
        &self.model_name
    }

    /// What it runs on.
    #[must_use]
    pub fn device_info(&self) -> DeviceInfo {
        self.runner.stream.device_info()
    }

    /// How forward passes run.
    #[must_use]
    pub fn compilation(&self) -> &Compilation {
        &self.compilation
    }

    /// Everything that is not as it was asked for.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Most tokens of a sequence, prompt and output together.
    #[must_use]
    pub fn max_model_len(&self) -> usize {
        self.request_limits.max_model_len()
    }

    /// What [`add_request`](Self::add_request) refuses.
    #[must_use]
    pub fn request_limits(&self) -> &RequestLimits {
        &self.request_limits
    }

    /// Blocks of the KV cache.
    #[must_use]
    pub fn num_kv_blocks(&self) -> usize {
        self.scheduler.num_blocks()
    }

    /// The graphs: their ops, what they cost, how often they were replayed.
    #[must_use]
    pub fn graphs(&self) -> &GraphPool<S> {
        &self.runner.pool
    }

    /// What was captured, what it cost, and how often each graph was replayed.
    #[must_use]
    pub fn capture_report(&self) -> CaptureReport {
        self.runner.pool.report()
    }

    /// Times and counts so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let pool = &self.runner.pool;
        self.recorder.stats(
            StartTimes {
                load: self.load,
                capture: pool.capture_time(),
                captured_after: self.captured_after,
            },
            pool.counters().clone(),
            self.scheduler.num_preemptions(),
        )
    }

    pub(crate) fn stream_mut(&mut self) -> &mut S {
        &mut self.runner.stream
    }
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
