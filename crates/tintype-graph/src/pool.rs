//! The graphs of one model on one stream: capture, replay, and everything around them.

use std::time::{Duration, Instant};

use tintype_config::Compilation;
use tintype_ops::{Enqueue, Error, Op, Stream};

use crate::capture::{Captured, record};
use crate::debug::DebugQueue;
use crate::options::{CapturePolicy, GraphOptions, OnCaptureFailure};
use crate::verify::check_ops;
use crate::wrapper::{Action, Seal, Wrapper};
use crate::{
    BatchDescriptor, CaptureNote, CaptureReport, Counters, Dispatch, Dispatcher, EagerReason,
    GraphError, GraphKey, GraphMode, GraphReport,
};

/// Queues the ops of any descriptor that it is asked for. It may be asked more than once for the
/// same one and must queue the same ops each time.
pub type Forward<'a> = dyn FnMut(BatchDescriptor, &mut dyn Enqueue) -> tintype_ops::Result<()> + 'a;

/// Queues the ops of one step.
pub type Step<'a> = dyn FnMut(&mut dyn Enqueue) -> tintype_ops::Result<()> + 'a;

/// How a step was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ran {
    /// By replaying this graph.
    Replayed(GraphKey),
    /// By capturing this graph and replaying it, so the step has its results.
    Captured(GraphKey),
    /// Without a graph.
    Eager(EagerReason),
}

/// What [`GraphPool::capture_all`] reports after each capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureProgress {
    /// What was captured.
    pub key: GraphKey,
    /// How many descriptors are done, this one included.
    pub num_done: usize,
    /// How many there are.
    pub num_total: usize,
}

/// The graphs of one model on one stream.
///
/// A pool is opened empty, filled by captures, and sealed; a sealed pool captures nothing more,
/// and a batch whose graph is missing runs eagerly and is counted.
///
/// Each mode has a state machine of its own, full graphs outside piecewise ones; a step names one
/// mode and leaves the other's states alone. A pool cannot be wrapped around another: what it runs
/// is a closure that queues ops, which a pool is not, and the stream type of a pool must be a
/// stream. So a forward pass is never captured twice over:
///
/// ```compile_fail,E0277
/// fn twice<S: tintype_ops::Stream>(
///     pool: tintype_graph::GraphPool<tintype_graph::GraphPool<S>>,
/// ) {}
/// ```
pub struct GraphPool<S: Stream> {
    dispatcher: Dispatcher,
    splitting_ops: Vec<String>,
    options: GraphOptions,
    full: Wrapper<Captured<S::GraphExec>>,
    piecewise: Wrapper<Captured<S::GraphExec>>,
    seal: Seal,
    /// In the order of capture at start-up.
    keys: Vec<GraphKey>,
    /// What steps lacked or are expected to need, the most urgent last.
    wanted: Vec<GraphKey>,
    counters: Counters,
    notes: Vec<CaptureNote>,
    capturing: Duration,
    last: Option<GraphKey>,
}

impl<S: Stream> GraphPool<S> {
    /// An open, empty pool for an engine that runs at most `max_num_seqs` sequences in a step.
    #[must_use]
    pub fn new(compilation: &Compilation, max_num_seqs: u32, options: GraphOptions) -> Self {
        let dispatcher = Dispatcher::new(compilation, max_num_seqs);
        let keys = dispatcher.capture_keys();
        let warmups = u32::try_from(compilation.num_of_warmups())
            .expect("tintype-config bounds warmups far below 2^32");
        let wrapper = |mode| {
            let own = keys.iter().filter(|key| key.mode == mode);
            Wrapper::new(mode, warmups, own.map(|key| key.descriptor))
        };
        Self {
            full: wrapper(GraphMode::Full),
            piecewise: wrapper(GraphMode::Piecewise),
            splitting_ops: compilation.splitting_ops().to_vec(),
            dispatcher,
            options,
            seal: Seal::Open,
            keys,
            wanted: Vec::new(),
            counters: Counters::default(),
            notes: Vec::new(),
            capturing: Duration::ZERO,
            last: None,
        }
    }

    /// Decides which graph a batch takes, and so how it is padded.
    #[must_use]
    pub fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// The options that it was made with.
    #[must_use]
    pub fn options(&self) -> &GraphOptions {
        &self.options
    }

    /// Captures every descriptor that is not captured yet, in the order of
    /// [`Dispatcher::capture_keys`], each after the warmups that the config asks for.
    ///
    /// A capture runs nothing. A warmup runs the ops, so where the config asks for any, the
    /// inputs must hold a valid batch that is all padding.
    ///
    /// # Errors
    /// [`GraphError::Sealed`]; or why a capture failed, unless
    /// [`OnCaptureFailure::Eager`] lets that pass.
    pub fn capture_all(
        &mut self,
        stream: &mut S,
        forward: &mut Forward<'_>,
        progress: &mut dyn FnMut(CaptureProgress),
    ) -> Result<(), GraphError> {
        let num_total = self.keys.len();
        for index in 0..num_total {
            let key = self.keys[index];
            self.capture(stream, key, forward)?;
            progress(CaptureProgress { key, num_done: index + 1, num_total });
        }
        Ok(())
    }

    /// Captures one more descriptor and says which. `None` when there is none left or the pool is
    /// sealed. For [`CapturePolicy::Background`]: call it while the device is busy or the caller
    /// is idle, and [`Self::seal`] once the pool [is complete](Self::is_complete).
    ///
    /// First comes what a step lacked or [`Self::want`] asked for, the latest first. Then the
    /// order of start-up from its end: decode batches, of which there are most, before mixed ones,
    /// and the smallest first, since an engine that has just started seldom has many sequences.
    ///
    /// Steps that are queued need not have run. Where the config asks for warmups they must have,
    /// and what is said of inputs at [`Self::capture_all`] holds here too.
    ///
    /// # Errors
    /// As [`Self::capture_all`]. The descriptor may be tried again.
    pub fn capture_next(
        &mut self,
        stream: &mut S,
        forward: &mut Forward<'_>,
    ) -> Result<Option<GraphKey>, GraphError> {
        let next = self.next_key();
        if let Some(key) = next {
            self.capture(stream, key, forward)?;
        }
        Ok(next)
    }

    /// Puts the graph that a step of this dispatch would use in front of all others that
    /// [`Self::capture_next`] has yet to capture. Nothing where there is such a graph or can be
    /// none.
    pub fn want(&mut self, dispatch: Dispatch) {
        let Some(key) = dispatch.key().filter(|&key| self.is_missing(key)) else { return };
        self.wanted.retain(|&other| other != key);
        self.wanted.push(key);
    }

    /// Captures `key`, after its warmups; nothing if it is captured already.
    ///
    /// # Errors
    /// [`GraphError::Sealed`], [`GraphError::Unknown`]; or why the capture failed, unless
    /// [`OnCaptureFailure::Eager`] lets that pass.
    pub fn capture(
        &mut self,
        stream: &mut S,
        key: GraphKey,
        forward: &mut Forward<'_>,
    ) -> Result<(), GraphError> {
        if self.seal == Seal::Sealed {
            return Err(GraphError::Sealed { key });
        }
        if !self.wrapper(key.mode).knows(key.descriptor) {
            return Err(GraphError::Unknown { key });
        }
        let mut step = |queue: &mut dyn Enqueue| forward(key.descriptor, queue);
        let start = Instant::now();
        while self.action(key.into()) == Action::Warmup {
            self.queue(stream, &mut step).map_err(|source| GraphError::Warmup { key, source })?;
            self.wrapper_mut(key.mode).warmed(key.descriptor);
        }
        self.capturing += start.elapsed();
        match self.action(key.into()) {
            Action::Capture => self.make_graph(stream, key, &mut step),
            _ => Ok(()),
        }
    }

    /// Ends capturing. Batches whose graph is missing are dispatched to what there is from now on:
    /// a decode batch to the mixed graph of its size, any other to an eager run.
    pub fn seal(&mut self) {
        self.seal = Seal::Sealed;
        let missing: Vec<_> = self.keys.iter().copied().filter(|&k| !self.has(k)).collect();
        self.dispatcher.exclude(missing);
    }

    /// Whether [`Self::seal`] was called.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.seal == Seal::Sealed
    }

    /// Whether no capture is left to be made: each descriptor has its graph, or failed to get one
    /// and runs eagerly for good, or the pool is sealed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.keys.iter().any(|&key| self.is_missing(key))
    }

    /// Whether a capture runs warmups before it. One that does not only records, and so may be
    /// made at any time.
    #[must_use]
    pub fn warms_up(&self) -> bool {
        self.full.num_of_warmups() > 0
    }

    /// Whether the options forbid replays: captures are of no use then.
    #[must_use]
    pub fn replays_nothing(&self) -> bool {
        self.forbids_replay().is_some()
    }

    /// How many descriptors may still get a graph.
    #[must_use]
    pub fn num_missing(&self) -> usize {
        self.keys.iter().filter(|&&key| self.is_missing(key)).count()
    }

    /// Time that was spent on making graphs so far, warmups ahead of them included.
    #[must_use]
    pub fn capture_time(&self) -> Duration {
        self.capturing
    }

    /// Whether there is a graph for `key`.
    #[must_use]
    pub fn has(&self, key: GraphKey) -> bool {
        self.graph(key).is_some()
    }

    /// The ops that were captured for `key`, those between pieces included.
    #[must_use]
    pub fn ops(&self, key: GraphKey) -> Option<&[Op]> {
        self.graph(key).map(Captured::ops)
    }

    /// Runs one step: replays, captures and replays, or runs eagerly, as `dispatch`, the state of
    /// the descriptor and the options say. `forward` queues the ops of the step, at the shape of
    /// `dispatch`'s descriptor where it has one.
    ///
    /// # Errors
    /// Why queueing, capture or replay failed. A device may report a fault only at a later
    /// synchronisation; see [`Self::explain`].
    pub fn run(
        &mut self,
        stream: &mut S,
        dispatch: Dispatch,
        forward: &mut Step<'_>,
    ) -> Result<Ran, GraphError> {
        let (Some(key), None) = (dispatch.key(), self.forbids_replay()) else {
            return self.run_eager(stream, self.eager_reason(dispatch), forward);
        };
        match self.action(dispatch) {
            Action::Replay => {
                self.check_operands(key, forward)?;
                self.replay(stream, key)?;
                Ok(Ran::Replayed(key))
            }
            Action::Warmup if self.captures_in_steps() => {
                let ran = self.run_eager(stream, EagerReason::Warmup, forward)?;
                self.wrapper_mut(key.mode).warmed(key.descriptor);
                Ok(ran)
            }
            Action::Capture if self.captures_in_steps() => {
                self.make_graph(stream, key, forward)?;
                self.run_captured(stream, key, forward)
            }
            Action::Warmup | Action::Capture | Action::Eager | Action::Bypass => {
                self.want(dispatch);
                self.run_eager(stream, EagerReason::NotCaptured, forward)
            }
        }
    }

    /// An error that a later synchronisation or download returned, with the step that ran last
    /// put before it and what to do next.
    #[must_use]
    pub fn explain(&self, source: Error) -> GraphError {
        match self.last {
            Some(key) => GraphError::Replay { key, source },
            None => GraphError::Stream(source),
        }
    }

    /// What is captured, what it cost, and how often each graph was replayed.
    #[must_use]
    pub fn report(&self) -> CaptureReport {
        let graphs = self.keys.iter().filter_map(|&key| {
            let graph = self.graph(key)?;
            let replays = self.counters.replays(key);
            Some(GraphReport::new(key, graph.ops().len(), graph.cost(), replays))
        });
        CaptureReport::new(graphs.collect(), self.notes.clone())
    }

    /// How many steps replayed what, and how many ran eagerly and why.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// The steps that the public methods are made of.
impl<S: Stream> GraphPool<S> {
    /// Asks the wrappers, the outer one first; each lets pass what is not of its mode.
    fn action(&self, dispatch: Dispatch) -> Action {
        match self.full.action(dispatch, self.seal) {
            Action::Bypass => self.piecewise.action(dispatch, self.seal),
            action => action,
        }
    }

    fn wrapper(&self, mode: GraphMode) -> &Wrapper<Captured<S::GraphExec>> {
        match mode {
            GraphMode::Full => &self.full,
            GraphMode::Piecewise => &self.piecewise,
        }
    }

    fn wrapper_mut(&mut self, mode: GraphMode) -> &mut Wrapper<Captured<S::GraphExec>> {
        match mode {
            GraphMode::Full => &mut self.full,
            GraphMode::Piecewise => &mut self.piecewise,
        }
    }

    pub(crate) fn graph(&self, key: GraphKey) -> Option<&Captured<S::GraphExec>> {
        self.wrapper(key.mode).graph(key.descriptor)
    }

    /// What is captured, in the order of capture at start-up.
    pub(crate) fn captured_keys(&self) -> impl Iterator<Item = GraphKey> + '_ {
        self.keys.iter().copied().filter(|&key| self.has(key))
    }

    fn is_missing(&self, key: GraphKey) -> bool {
        matches!(self.action(key.into()), Action::Warmup | Action::Capture)
    }

    fn next_key(&mut self) -> Option<GraphKey> {
        while let Some(key) = self.wanted.pop() {
            if self.is_missing(key) {
                return Some(key);
            }
        }
        self.keys.iter().rev().copied().find(|&key| self.is_missing(key))
    }

    fn captures_in_steps(&self) -> bool {
        self.options.policy == CapturePolicy::Lazy
    }

    /// Why no graph is replayed at all, if so.
    fn forbids_replay(&self) -> Option<EagerReason> {
        match self.options {
            GraphOptions { debug: true, .. } => Some(EagerReason::Debug),
            GraphOptions { force_eager: true, .. } => Some(EagerReason::Forced),
            _ => None,
        }
    }

    fn eager_reason(&self, dispatch: Dispatch) -> EagerReason {
        match dispatch {
            Dispatch::Eager(reason) => reason,
            _ => self.forbids_replay().unwrap_or(EagerReason::NotCaptured),
        }
    }

    /// Records, instantiates and keeps a graph, or settles why there is none.
    fn make_graph(
        &mut self,
        stream: &mut S,
        key: GraphKey,
        forward: &mut Step<'_>,
    ) -> Result<(), GraphError> {
        let start = Instant::now();
        let splitting_ops = match key.mode {
            GraphMode::Full => &[],
            GraphMode::Piecewise => self.splitting_ops.as_slice(),
        };
        let captured =
            record(key, forward).and_then(|ops| Captured::new(stream, key, ops, splitting_ops));
        self.capturing += start.elapsed();
        match captured {
            Ok(graph) => {
                tracing::debug!(%key, cost = ?graph.cost(), "captured");
                self.wrapper_mut(key.mode).captured(key.descriptor, graph);
                Ok(())
            }
            Err(error) => self.settle(key, error),
        }
    }

    fn settle(&mut self, key: GraphKey, error: GraphError) -> Result<(), GraphError> {
        if self.options.on_capture_failure == OnCaptureFailure::Error {
            return Err(error);
        }
        self.wrapper_mut(key.mode).failed(key.descriptor);
        self.dispatcher.exclude([key]);
        self.notes.push(CaptureNote { key, why: error.to_string() });
        Ok(())
    }

    /// The first run after a capture. It replays, since a capture computes nothing.
    fn run_captured(
        &mut self,
        stream: &mut S,
        key: GraphKey,
        forward: &mut Step<'_>,
    ) -> Result<Ran, GraphError> {
        if !self.has(key) {
            return self.run_eager(stream, EagerReason::NotCaptured, forward);
        }
        self.replay(stream, key)?;
        Ok(Ran::Captured(key))
    }

    fn replay(&mut self, stream: &mut S, key: GraphKey) -> Result<(), GraphError> {
        self.last = Some(key);
        self.counters.count_replay(key);
        self.graph(key).ok_or(GraphError::Unknown { key })?.replay(stream, key)
    }

    fn run_eager(
        &mut self,
        stream: &mut S,
        reason: EagerReason,
        forward: &mut Step<'_>,
    ) -> Result<Ran, GraphError> {
        self.last = None;
        self.counters.count_eager(reason);
        self.queue(stream, forward)?;
        Ok(Ran::Eager(reason))
    }

    /// Queues ops outside a graph.
    fn queue(&self, stream: &mut S, forward: &mut Step<'_>) -> tintype_ops::Result<()> {
        match self.options.debug {
            true => forward(&mut DebugQueue::new(stream)),
            false => forward(stream),
        }
    }

    fn check_operands(&self, key: GraphKey, forward: &mut Step<'_>) -> Result<(), GraphError> {
        match self.graph(key) {
            Some(graph) if self.options.checks_operands() => check_ops(key, graph.ops(), forward),
            _ => Ok(()),
        }
    }
}
