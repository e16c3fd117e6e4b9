//! What can go wrong around a graph.

use tintype_ops::Error;

use crate::GraphKey;
use crate::verify::{Difference, Mismatch};

/// Why a step or a capture failed. The stream and the pool stay usable after each of these, as
/// far as the device does.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The forward pass could not even be queued.
    #[error("{key}: the forward pass cannot be queued: {source}")]
    Record {
        /// The graph that was to be captured or checked.
        key: GraphKey,
        /// What the forward pass returned.
        source: Error,
    },
    /// An eager run ahead of a capture failed.
    #[error("{key}: a warmup before its capture failed: {source}")]
    Warmup {
        /// The graph that was to be captured.
        key: GraphKey,
        /// What the stream returned.
        source: Error,
    },
    /// The stream refused to make a graph.
    #[error(
        "{key}: {what} failed: {source}; set on_capture_failure to eager to run such batches \
         without a graph, or run with enforce_eager"
    )]
    Capture {
        /// The graph that was to be captured.
        key: GraphKey,
        /// The phase, and the op or the ops it was at.
        what: String,
        /// What the stream returned.
        source: Error,
    },
    /// A graph does not hold what was recorded into it.
    #[error(
        "{key}: the graph of ops {start}..{end} holds {found} ops, but {} were recorded; something \
         else was queued during the capture, or the backend lost an op",
        .end - .start
    )]
    Audit {
        /// The graph that was captured.
        key: GraphKey,
        /// Index of its first op in the op list.
        start: usize,
        /// One past the index of its last op.
        end: usize,
        /// Ops that the stream reports.
        found: usize,
    },
    /// A capture was asked for after the pool was sealed.
    #[error("{key}: the pool is sealed; capture before seal()")]
    Sealed {
        /// The graph that was to be captured.
        key: GraphKey,
    },
    /// The configuration has no such graph.
    #[error("there is no {key} here; see Dispatcher::capture_keys for those that there are")]
    Unknown {
        /// The graph that was asked for.
        key: GraphKey,
    },
    /// The step is not the one that was captured: replaying would use other memory.
    #[error(
        "{key}: {difference}; a graph uses the addresses that it was captured with, so the step \
         must pass the same tensors"
    )]
    Stale {
        /// The graph that was to be replayed.
        key: GraphKey,
        /// The first difference.
        difference: Box<Difference>,
    },
    /// A replay does not give the bits that an eager run gives.
    #[error("{key}: replay and eager differ: {mismatch}")]
    Mismatch {
        /// The graph that was verified.
        key: GraphKey,
        /// The first difference.
        mismatch: Box<Mismatch>,
    },
    /// A replay failed. The device does not say which of its ops did.
    #[error(
        "{key}: replay failed: {source}; run with GraphOptions::debug (--debug-cuda-graph) to see \
         which op it is"
    )]
    Replay {
        /// The graph that was replayed.
        key: GraphKey,
        /// What the stream returned.
        source: Error,
    },
    /// An op between two pieces failed.
    #[error("{key}: {op}, between two pieces, failed: {source}")]
    CutOp {
        /// The graph whose pieces surround it.
        key: GraphKey,
        /// Its index, name and operands.
        op: String,
        /// What the stream returned.
        source: Error,
    },
    /// A step without a graph failed, or a copy around one.
    #[error(transparent)]
    Stream(#[from] Error),
}
