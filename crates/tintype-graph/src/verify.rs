//! Proof that a replay does what an eager run would: the same operands, and the same bits.

use std::fmt;

use tintype_ops::{Enqueue, Memory, Op, Operand, Result, Stream, Tensor};

use crate::capture::{describe, record};
use crate::{BatchDescriptor, Forward, GraphError, GraphKey, GraphPool, Step};

/// How a step differs from what was captured.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// It queues more or fewer ops.
    Length {
        /// Ops that were captured.
        captured: usize,
        /// Ops that the step queues.
        found: usize,
    },
    /// One of its ops is another, or has other scalars.
    Op {
        /// Index, name, operands and scalars of the op that the step queues.
        found: String,
        /// The op that was captured in its place.
        captured: String,
    },
    /// An op uses another tensor, weight or cache.
    Operand {
        /// Index in the op list.
        index: usize,
        /// The op's name.
        op: &'static str,
        /// The name of the operand, as in [`Operand::name`].
        operand: &'static str,
        /// What the step passes.
        found: Memory,
        /// What was captured.
        captured: Memory,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { captured, found } => {
                write!(f, "the step queues {found} ops, but {captured} were captured")
            }
            Self::Op { found, captured } => {
                write!(f, "the step queues {found}, but `{captured}` was captured")
            }
            Self::Operand { index, op, operand, found, captured } => {
                write!(f, "op {index} ({op}): {operand} is {found}, but {captured} was captured")
            }
        }
    }
}

/// Refuses a step that is not the one that was captured.
pub(crate) fn check_ops(
    key: GraphKey,
    captured: &[Op],
    forward: &mut Step<'_>,
) -> std::result::Result<(), GraphError> {
    match first_difference(captured, &record(key, forward)?) {
        Some(found) => Err(GraphError::Stale { key, difference: Box::new(found) }),
        None => Ok(()),
    }
}

/// The first difference between the ops that were captured and those that a step queues.
fn first_difference(captured: &[Op], found: &[Op]) -> Option<Difference> {
    let pairs = captured.iter().zip(found).enumerate();
    let differing = pairs.filter(|(_, (captured, found))| captured != found);
    let mut differences = differing.map(|(index, (captured, found))| {
        differing_operand(index, captured, found).unwrap_or_else(|| Difference::Op {
            found: describe(index, found),
            captured: captured.to_string(),
        })
    });
    let (captured, found) = (captured.len(), found.len());
    let length = (captured != found).then_some(Difference::Length { captured, found });
    differences.next().or(length)
}

/// The operand in which two ops of the same kind differ, if it is one that they differ in.
fn differing_operand(index: usize, captured: &Op, found: &Op) -> Option<Difference> {
    let (before, after) = (captured.operands(), found.operands());
    if captured.name() != found.name() || before.len() != after.len() {
        return None;
    }
    let mut pairs = before.into_iter().zip(after);
    let (Operand { memory, .. }, now) = pairs.find(|(before, now)| before != now)?;
    (now.memory != memory).then_some(Difference::Operand {
        index,
        op: found.name(),
        operand: now.name,
        found: now.memory,
        captured: memory,
    })
}

/// What only the caller knows about a batch: which of its tensors are inputs, what may stand in
/// them, and which are its results.
pub trait RandomBatch<S: Stream> {
    /// Fills everything that the ops of `descriptor` read before they write it with valid values
    /// drawn from `seed`, the same at every call: inputs, metadata, and the part of a KV cache
    /// that the batch reads.
    ///
    /// # Errors
    /// What the stream returned.
    fn fill(&mut self, stream: &mut S, descriptor: BatchDescriptor, seed: u64) -> Result<()>;

    /// What the ops of `descriptor` compute. It is overwritten before each run, ahead of
    /// [`Self::fill`].
    fn outputs(&self, descriptor: BatchDescriptor) -> Vec<Tensor>;
}

/// The first element of an output in which a replay differs from an eager run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The output.
    pub tensor: Tensor,
    /// The element's row.
    pub row: usize,
    /// The element's column.
    pub col: usize,
    /// Its bytes after the eager run.
    pub eager: Vec<u8>,
    /// Its bytes after the replay.
    pub replay: Vec<u8>,
    /// The seed of the inputs.
    pub seed: u64,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensor, row, col, seed, .. } = self;
        write!(f, "{tensor} row {row} column {col} is ")?;
        write!(f, "{} replayed, {} eager", hex(&self.replay), hex(&self.eager))?;
        write!(f, " (inputs of seed {seed})")
    }
}

/// Little-endian bytes as one number.
fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().rev().map(|byte| format!("{byte:02x}"));
    format!("0x{}", digits.collect::<String>())
}

/// What a run left in the outputs.
struct Outputs(Vec<(Tensor, Vec<u8>)>);

impl Outputs {
    fn download<S: Stream>(stream: &mut S, tensors: &[Tensor]) -> Result<Self> {
        let mut outputs = Vec::new();
        for &tensor in tensors {
            let mut bytes = vec![0; tensor.size_bytes() as usize];
            stream.download(&mut bytes, tensor)?;
            outputs.push((tensor, bytes));
        }
        Ok(Self(outputs))
    }

    /// The first element in which `replay` differs from these, the outputs of an eager run.
    fn first_mismatch(&self, replay: &Self, seed: u64) -> Option<Mismatch> {
        let mut pairs = self.0.iter().zip(&replay.0);
        pairs.find_map(|((tensor, eager), (_, replay))| {
            let size = tensor.dtype.size_bytes();
            let mut elements = eager.chunks(size).zip(replay.chunks(size));
            let index = elements.position(|(eager, replay)| eager != replay)?;
            let element = index * size..(index + 1) * size;
            Some(Mismatch {
                tensor: *tensor,
                row: index / tensor.cols as usize,
                col: index % tensor.cols as usize,
                eager: eager[element.clone()].to_vec(),
                replay: replay[element].to_vec(),
                seed,
            })
        })
    }
}

/// Overwrites outputs with a pattern that no run leaves behind (a NaN, −1), so that a replay that
/// writes nothing does not pass by what the eager run wrote.
fn poison<S: Stream>(stream: &mut S, tensors: &[Tensor]) -> Result<()> {
    for &tensor in tensors {
        stream.upload(tensor, &vec![0xff; tensor.size_bytes() as usize])?;
    }
    Ok(())
}

/// Verification on demand.
impl<S: Stream> GraphPool<S> {
    /// Runs every captured graph against eager, as [`Self::verify_graph`], and returns how many
    /// there are.
    ///
    /// # Errors
    /// As [`Self::verify_graph`].
    pub fn verify_all(
        &self,
        stream: &mut S,
        forward: &mut Forward<'_>,
        batch: &mut dyn RandomBatch<S>,
    ) -> std::result::Result<usize, GraphError> {
        let captured: Vec<_> = self.captured_keys().collect();
        for &key in &captured {
            self.verify_graph(stream, key, forward, batch)?;
        }
        Ok(captured.len())
    }

    /// Runs the graph of `key` and the same ops eagerly on two random batches, and compares what
    /// they compute bit for bit. Two, so that a graph that holds on to inputs it has seen shows.
    /// These runs are not counted as steps.
    ///
    /// # Errors
    /// [`GraphError::Unknown`] when there is no such graph, [`GraphError::Stale`] and
    /// [`GraphError::Mismatch`] when it differs, or what the stream returned.
    pub fn verify_graph(
        &self,
        stream: &mut S,
        key: GraphKey,
        forward: &mut Forward<'_>,
        batch: &mut dyn RandomBatch<S>,
    ) -> std::result::Result<(), GraphError> {
        let graph = self.graph(key).ok_or(GraphError::Unknown { key })?;
        let mut step = |queue: &mut dyn Enqueue| forward(key.descriptor, queue);
        check_ops(key, graph.ops(), &mut step)?;
        let tensors = batch.outputs(key.descriptor);
        for seed in 0..2 {
            let mut prepare = |stream: &mut S| {
                poison(stream, &tensors)?;
                batch.fill(stream, key.descriptor, seed)
            };
            prepare(stream)?;
            step(stream)?;
            let eager = Outputs::download(stream, &tensors)?;
            prepare(stream)?;
            graph.replay(stream, key)?;
            let replay = Outputs::download(stream, &tensors)?;
            if let Some(mismatch) = eager.first_mismatch(&replay, seed) {
                return Err(GraphError::Mismatch { key, mismatch: Box::new(mismatch) });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
