//! The engine: requests in, tokens and text out, one step at a time.

mod start;
mod step;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tintype_config::{Compilation, Note};
use tintype_graph::{CaptureProgress, CaptureReport, GraphKey, GraphOptions, GraphPool};
use tintype_model::{LoadProgress, Model};
use tintype_ops::{DeviceInfo, Stream};

use self::step::StepInFlight;
use crate::error::doing;
use crate::model_runner::ModelRunner;
use crate::sampling::derived_seed;
use crate::scheduler::Scheduler;
use crate::sequence::Sequence;
use crate::stats::{Recorder, StartTimes};
use crate::text::TextStream;
use crate::{
    Completion, EngineError, Request, RequestError, RequestId, RequestLimits, Stats, Tokenizer,
};

/// How an engine behaves, beyond what its config says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EngineOptions {
    /// Blocks of the KV cache. `None` for what `max_num_seqs` sequences of full length need, as
    /// far as the memory goes.
    pub num_kv_blocks: Option<usize>,
    /// Part of the memory that is free after loading which the KV cache may take, from 0 to 1.
    pub kv_memory_fraction: f64,
    /// Whether a step is queued before the tokens of the one in front of it are known, so that the
    /// device never waits for the host. `None` where the device runs beside the host. The tokens
    /// are the same.
    pub async_scheduling: Option<bool>,
    /// When and how graphs are captured. With `verify`, each graph captured at start-up is also
    /// replayed against eager on random inputs, bit for bit.
    pub graphs: GraphOptions,
}

impl Default for EngineOptions {
    /// Half of the free memory: on the CPU others need theirs, too.
    fn default() -> Self {
        Self {
            num_kv_blocks: None,
            kv_memory_fraction: 0.5,
            async_scheduling: None,
            graphs: GraphOptions::default(),
        }
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
/// scheduler chose. Nothing here runs by itself, save a step that may be on its way when `step`
/// returns: see [`EngineOptions::async_scheduling`]. A request that is added then joins the step
/// behind it.
///
/// With [`CapturePolicy::Background`] a step captures graphs while the device works on it, so none
/// delays a token; a batch whose graph is yet to come runs eagerly. Who has nothing to run can
/// [capture](Self::capture_next) meanwhile.
pub struct Engine<S: Stream> {
    in_flight: Option<StepInFlight<S>>,
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
    async_scheduling: bool,
    /// Of what was done behind the last step.
    failure: Option<EngineError>,
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

    /// Captures one more graph and says which; `None` when there is none left to capture. Those
    /// that steps lacked come first, as at [`GraphPool::capture_next`]. For callers that have
    /// nothing to run, such as a server between requests: it takes the host about a millisecond
    /// for a graph of some hundred launches.
    ///
    /// # Errors
    /// Why this capture failed, or what was done behind the last step, unless
    /// [`OnCaptureFailure::Eager`](tintype_graph::OnCaptureFailure) lets that pass. Requests go on.
    pub fn capture_next(&mut self) -> Result<Option<GraphKey>, EngineError> {
        self.take_failure()?;
        let captured = self.runner.capture_next()?;
        self.seal_when_complete();
        Ok(captured)
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
    /// When some of it failed, or what was done behind the last step.
    pub fn synchronize(&mut self) -> Result<(), EngineError> {
        self.runner.stream.synchronize().map_err(doing("waiting for the device"))?;
        self.take_failure()
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
