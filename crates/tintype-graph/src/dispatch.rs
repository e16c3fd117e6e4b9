//! Which graph, if any, serves a batch. Decided before any metadata of the step is built, since
//! padding depends on it.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use tintype_config::{Compilation, CudaGraphMode, RuntimeMode};

use crate::{BatchDescriptor, GraphKey, GraphMode};

/// Why a step ran without a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EagerReason {
    /// The batch has more tokens than the largest capture size.
    AboveLargest,
    /// Graphs are off.
    ModeNone,
    /// There could be a graph of this shape, but it has not been captured.
    NotCaptured,
    /// No graph serves such a batch: it has no token, more sequences than tokens or than
    /// `max_num_seqs`, or is mixed where only decode batches have graphs.
    Shape,
    /// An eager run that `cudagraph_num_of_warmups` asks for ahead of the capture.
    Warmup,
    /// A graph exists, but [`GraphOptions::force_eager`](crate::GraphOptions) is set.
    Forced,
    /// A graph exists, but [`GraphOptions::debug`](crate::GraphOptions) is set.
    Debug,
}

impl EagerReason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Self; 7] = [
        Self::AboveLargest,
        Self::ModeNone,
        Self::NotCaptured,
        Self::Shape,
        Self::Warmup,
        Self::Forced,
        Self::Debug,
    ];

    /// The spelling in counters: `above-largest`, `mode-none`, …
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AboveLargest => "above-largest",
            Self::ModeNone => "mode-none",
            Self::NotCaptured => "not-captured",
            Self::Shape => "shape",
            Self::Warmup => "warmup",
            Self::Forced => "forced",
            Self::Debug => "debug",
        }
    }
}

impl fmt::Display for EagerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dispatch {
    /// The graph of the whole forward pass, for the batch padded to this descriptor.
    Full(BatchDescriptor),
    /// The graphs between the splitting ops, for the batch padded to this descriptor.
    Piecewise(BatchDescriptor),
    /// No graph, and the batch is not padded.
    Eager(EagerReason),
}

impl Dispatch {
    /// The graph to use.
    #[must_use]
    pub const fn key(self) -> Option<GraphKey> {
        match self {
            Self::Full(descriptor) => Some(GraphKey { mode: GraphMode::Full, descriptor }),
            Self::Piecewise(descriptor) => {
                Some(GraphKey { mode: GraphMode::Piecewise, descriptor })
            }
            Self::Eager(_) => None,
        }
    }

    /// The shape to pad the batch to; `None` leaves it as it is.
    #[must_use]
    pub const fn descriptor(self) -> Option<BatchDescriptor> {
        match self {
            Self::Full(descriptor) | Self::Piecewise(descriptor) => Some(descriptor),
            Self::Eager(_) => None,
        }
    }
}

impl From<GraphKey> for Dispatch {
    fn from(GraphKey { mode, descriptor }: GraphKey) -> Self {
        match mode {
            GraphMode::Full => Self::Full(descriptor),
            GraphMode::Piecewise => Self::Piecewise(descriptor),
        }
    }
}

/// The outcomes for one token count.
#[derive(Clone, Copy, Debug)]
struct Candidates {
    decode: Dispatch,
    mixed: Dispatch,
}

/// Maps a batch to the graph that serves it: a look-up in a table that holds the outcome for
/// every token count up to the largest capture size.
///
/// The outcome is the first of these that applies:
/// 1. graphs are off, no tokens, or more tokens than the largest size: eager;
/// 2. a decode batch, and the decode half of the mode is FULL: the decode graph of the padded size;
/// 3. the mixed half is FULL or PIECEWISE: that graph of the padded token count;
/// 4. eager.
///
/// A descriptor that turned out not to be captured is passed over, so that a decode batch falls
/// to the mixed graph of its size, and where there is none either, runs eagerly and unpadded.
/// A mode that does not exist cannot be expressed, and a dispatcher cannot be used before it is
/// complete.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    mode: CudaGraphMode,
    max_num_seqs: u32,
    /// Ascending.
    sizes: Vec<u32>,
    /// Descriptors that have no graph and will get none.
    excluded: BTreeSet<GraphKey>,
    /// Indexed by token count, `0..=largest`.
    table: Vec<Candidates>,
}

impl Dispatcher {
    /// The dispatcher of an engine that runs at most `max_num_seqs` sequences in a step.
    #[must_use]
    pub fn new(compilation: &Compilation, max_num_seqs: u32) -> Self {
        let sizes = compilation.capture_sizes().iter().map(|size| {
            u32::try_from(size).expect("tintype-config bounds capture sizes far below 2^32")
        });
        let mut dispatcher = Self {
            mode: compilation.mode(),
            max_num_seqs: max_num_seqs.max(1),
            sizes: sizes.collect(),
            excluded: BTreeSet::new(),
            table: Vec::new(),
        };
        dispatcher.fill_table();
        dispatcher
    }

    /// What a step of `num_tokens` tokens of `num_seqs` sequences does. `uniform_decode` says that
    /// every sequence decodes exactly one token.
    #[must_use]
    pub fn dispatch(&self, num_tokens: u32, num_seqs: u32, uniform_decode: bool) -> Dispatch {
        if self.mode == CudaGraphMode::None {
            return Dispatch::Eager(EagerReason::ModeNone);
        }
        if !self.is_batch(num_tokens, num_seqs, uniform_decode) {
            return Dispatch::Eager(EagerReason::Shape);
        }
        match self.table.get(num_tokens as usize) {
            Some(candidates) if uniform_decode => candidates.decode,
            Some(candidates) => candidates.mixed,
            None if !uniform_decode && self.mixed_mode().is_none() => {
                Dispatch::Eager(EagerReason::Shape)
            }
            None => Dispatch::Eager(EagerReason::AboveLargest),
        }
    }

    /// Every descriptor to capture, in order: piecewise before full, in each mode mixed before
    /// decode, and of each kind the largest first, so that what graphs share has its final size
    /// from the start. None for mode NONE.
    #[must_use]
    pub fn capture_keys(&self) -> Vec<GraphKey> {
        let mut keys = Vec::new();
        let largest_first = || self.sizes.iter().rev().copied();
        if let Some(mode) = self.mixed_mode() {
            keys.extend(largest_first().map(|size| self.mixed_key(mode, size)));
        }
        if self.mode.decode_mode() == RuntimeMode::Full {
            let reachable = |size: &u32| *size <= self.max_decode_tokens();
            keys.extend(largest_first().filter(reachable).map(decode_key));
        }
        keys
    }

    /// The most tokens that a dispatched batch is padded to; 0 when there is no graph.
    #[must_use]
    pub fn max_num_tokens(&self) -> u32 {
        self.sizes.last().copied().unwrap_or(0)
    }

    /// The most sequences that a dispatched batch is padded to. A decode batch pads to a capture
    /// size, which can exceed `max_num_seqs` when that is not a size itself; buffers that hold a
    /// row per sequence need this many rows.
    #[must_use]
    pub fn max_padded_seqs(&self) -> u32 {
        self.capture_keys().iter().map(|key| key.descriptor.num_seqs).max().unwrap_or(0)
    }

    /// Takes `keys` out of the table for good.
    pub(crate) fn exclude(&mut self, keys: impl IntoIterator<Item = GraphKey>) {
        for key in keys {
            self.excluded.insert(key);
            self.fill_rows(key.descriptor.num_tokens);
        }
    }

    /// Whether such a batch can exist in this engine.
    fn is_batch(&self, num_tokens: u32, num_seqs: u32, uniform_decode: bool) -> bool {
        (1..=num_tokens.min(self.max_num_seqs)).contains(&num_seqs)
            && (!uniform_decode || num_seqs == num_tokens)
    }

    /// Decides the token counts that are padded to `size`, which must be a capture size.
    fn fill_rows(&mut self, size: u32) {
        let index = self.sizes.partition_point(|&smaller| smaller < size);
        let first = index.checked_sub(1).map_or(0, |index| self.sizes[index] as usize + 1);
        let candidates = self.candidates(size);
        self.table[first..=size as usize].fill(candidates);
    }

    fn fill_table(&mut self) {
        let mut table = Vec::with_capacity(self.max_num_tokens() as usize + 1);
        for &size in &self.sizes {
            table.resize(size as usize + 1, self.candidates(size));
        }
        self.table = table;
    }

    fn candidates(&self, size: u32) -> Candidates {
        let available = |key: &GraphKey| !self.excluded.contains(key);
        let mixed = match self.mixed_mode().map(|mode| self.mixed_key(mode, size)) {
            Some(key) if available(&key) => key.into(),
            Some(_) => Dispatch::Eager(EagerReason::NotCaptured),
            None => Dispatch::Eager(EagerReason::Shape),
        };
        let full_decode = self.mode.decode_mode() == RuntimeMode::Full;
        let decode = match decode_key(size) {
            key if full_decode && available(&key) => key.into(),
            _ if full_decode && mixed.key().is_none() => Dispatch::Eager(EagerReason::NotCaptured),
            _ => mixed,
        };
        Candidates { decode, mixed }
    }

    fn mixed_mode(&self) -> Option<GraphMode> {
        match self.mode.mixed_mode() {
            RuntimeMode::None => None,
            RuntimeMode::Piecewise => Some(GraphMode::Piecewise),
            RuntimeMode::Full => Some(GraphMode::Full),
        }
    }

    fn mixed_key(&self, mode: GraphMode, size: u32) -> GraphKey {
        GraphKey { mode, descriptor: BatchDescriptor::mixed(size, self.max_num_seqs) }
    }

    /// The size that the largest decode batch pads to. Sizes above it never serve one.
    fn max_decode_tokens(&self) -> u32 {
        let padded = self.sizes.iter().find(|&&size| size >= self.max_num_seqs);
        padded.copied().unwrap_or(self.max_num_seqs)
    }
}

fn decode_key(size: u32) -> GraphKey {
    GraphKey { mode: GraphMode::Full, descriptor: BatchDescriptor::decode(size) }
}

#[cfg(test)]
mod tests;
