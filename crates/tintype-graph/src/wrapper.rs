//! The state machine around a forward pass, one per mode. It knows no device: it says what to do
//! and is told what came of it.
//!
//! ```text
//! Cold ──warmed──► Warming(k) ──captured──► Captured(graph)
//!   └──────────────────┴────────failed────► Eager
//! ```
//!
//! The wrapper of FULL graphs stands outside the one of PIECEWISE graphs. A step names a mode,
//! and each wrapper acts only in its own: anything else passes through and changes nothing.

use std::collections::BTreeMap;

use crate::{BatchDescriptor, Dispatch, GraphMode};

/// Whether the pool still takes captures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seal {
    Open,
    Sealed,
}

/// How far a descriptor has come.
#[derive(Debug)]
pub(crate) enum State<G> {
    /// Never run.
    Cold,
    /// Run eagerly so many times.
    Warming(u32),
    /// Replayable.
    Captured(G),
    /// Could not be captured and will not be tried again.
    Eager,
}

/// What to do with a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Not this wrapper's mode: run what it wraps.
    Bypass,
    /// Run eagerly, and say so with [`Wrapper::warmed`].
    Warmup,
    /// Capture, then replay.
    Capture,
    /// Replay.
    Replay,
    /// Run eagerly: there is no graph and none is to be made.
    Eager,
}

/// The states of one mode's descriptors; `G` is what a capture leaves behind.
#[derive(Debug)]
pub(crate) struct Wrapper<G> {
    mode: GraphMode,
    num_of_warmups: u32,
    states: BTreeMap<BatchDescriptor, State<G>>,
}

impl<G> Wrapper<G> {
    pub(crate) fn new(
        mode: GraphMode,
        num_of_warmups: u32,
        descriptors: impl IntoIterator<Item = BatchDescriptor>,
    ) -> Self {
        let states = descriptors.into_iter().map(|descriptor| (descriptor, State::Cold)).collect();
        Self { mode, num_of_warmups, states }
    }

    /// Eager runs ahead of each capture.
    pub(crate) fn num_of_warmups(&self) -> u32 {
        self.num_of_warmups
    }

    /// What to do with a step that was dispatched so.
    pub(crate) fn action(&self, dispatch: Dispatch, seal: Seal) -> Action {
        let Some(key) = dispatch.key().filter(|key| key.mode == self.mode) else {
            return Action::Bypass;
        };
        match (self.states.get(&key.descriptor), seal) {
            (Some(State::Captured(_)), _) => Action::Replay,
            (None | Some(State::Eager), _) | (_, Seal::Sealed) => Action::Eager,
            (Some(State::Cold), Seal::Open) => self.warm(0),
            (Some(&State::Warming(runs)), Seal::Open) => self.warm(runs),
        }
    }

    fn warm(&self, runs: u32) -> Action {
        if runs < self.num_of_warmups { Action::Warmup } else { Action::Capture }
    }

    /// An eager run for [`Action::Warmup`] was made.
    pub(crate) fn warmed(&mut self, descriptor: BatchDescriptor) {
        match self.states.get_mut(&descriptor) {
            Some(State::Warming(runs)) => *runs += 1,
            Some(state @ State::Cold) => *state = State::Warming(1),
            Some(State::Captured(_) | State::Eager) | None => {}
        }
    }

    /// A capture succeeded.
    pub(crate) fn captured(&mut self, descriptor: BatchDescriptor, graph: G) {
        self.states.insert(descriptor, State::Captured(graph));
    }

    /// A capture failed and is not to be tried again.
    pub(crate) fn failed(&mut self, descriptor: BatchDescriptor) {
        self.states.insert(descriptor, State::Eager);
    }

    /// Whether this wrapper may ever have a graph for `descriptor`.
    pub(crate) fn knows(&self, descriptor: BatchDescriptor) -> bool {
        self.states.contains_key(&descriptor)
    }

    /// The graph of a captured descriptor.
    pub(crate) fn graph(&self, descriptor: BatchDescriptor) -> Option<&G> {
        match self.states.get(&descriptor) {
            Some(State::Captured(graph)) => Some(graph),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
