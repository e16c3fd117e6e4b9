//! From a list of ops to something replayable: record, instantiate, audit, upload.

use std::ops::Range;
use std::time::{Duration, Instant};

use tintype_ops::{Enqueue, Error, Op, Stream};

use crate::piecewise::{Piece, split};
use crate::{GraphError, GraphKey, Step};

/// What a capture took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) num_graphs: usize,
    pub(crate) num_launches: usize,
    pub(crate) size_bytes: u64,
    pub(crate) capture: Duration,
    pub(crate) instantiate: Duration,
    pub(crate) upload: Duration,
}

/// A part of a captured forward pass.
enum Segment<E> {
    Graph(E),
    /// Index into the op list.
    Cut(usize),
}

/// A captured forward pass: one graph, or graphs with ops between them.
pub(crate) struct Captured<E> {
    ops: Box<[Op]>,
    segments: Vec<Segment<E>>,
    cost: Cost,
}

impl<E> Captured<E> {
    /// Captures `ops` on `stream`, cut at `splitting_ops`. Nothing runs.
    pub(crate) fn new<S: Stream<GraphExec = E>>(
        stream: &mut S,
        key: GraphKey,
        ops: Vec<Op>,
        splitting_ops: &[String],
    ) -> Result<Self, GraphError> {
        let mut cost = Cost::default();
        let mut segments = Vec::new();
        for piece in split(&ops, splitting_ops) {
            segments.push(match piece {
                Piece::Cut(index) => Segment::Cut(index),
                Piece::Graph(range) => {
                    let mut capture = PieceCapture { stream, key, ops: &ops, range };
                    Segment::Graph(capture.run(&mut cost)?)
                }
            });
        }
        Ok(Self { ops: ops.into(), segments, cost })
    }

    /// Queues the graphs, and the ops between them, in order. An error leaves the rest unqueued.
    pub(crate) fn replay<S: Stream<GraphExec = E>>(
        &self,
        stream: &mut S,
        key: GraphKey,
    ) -> Result<(), GraphError> {
        for segment in &self.segments {
            match segment {
                Segment::Graph(exec) => {
                    stream.replay(exec).map_err(|source| GraphError::Replay { key, source })?;
                }
                Segment::Cut(index) => {
                    let op = self.ops[*index];
                    stream.enqueue(op).map_err(|source| GraphError::CutOp {
                        key,
                        op: describe(*index, &op),
                        source,
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Everything that was recorded, cut ops included.
    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }

    pub(crate) fn cost(&self) -> &Cost {
        &self.cost
    }
}

/// The capture of one run of ops.
struct PieceCapture<'a, S> {
    stream: &'a mut S,
    key: GraphKey,
    ops: &'a [Op],
    range: Range<usize>,
}

impl<S: Stream> PieceCapture<'_, S> {
    fn run(&mut self, cost: &mut Cost) -> Result<S::GraphExec, GraphError> {
        let graph = timed(&mut cost.capture, || self.record())?;
        let exec = timed(&mut cost.instantiate, || self.stream.instantiate(graph))
            .map_err(|source| self.failed("instantiating", source))?;
        self.audit(&exec, cost)?;
        timed(&mut cost.upload, || self.stream.upload_graph(&exec))
            .map_err(|source| self.failed("uploading", source))?;
        Ok(exec)
    }

    fn record(&mut self) -> Result<S::Graph, GraphError> {
        let Self { ops, ref range, .. } = *self;
        let mut refused = None;
        let mut record = |queue: &mut dyn Enqueue| {
            for index in range.clone() {
                queue.enqueue(ops[index]).inspect_err(|_| refused = Some(index))?;
            }
            Ok(())
        };
        let outcome = self.stream.capture(&mut record);
        outcome.map_err(|source| match refused {
            Some(index) => GraphError::Capture {
                key: self.key,
                what: format!("recording {}", describe(index, &ops[index])),
                source,
            },
            None => self.failed("recording", source),
        })
    }

    /// Checks that the graph holds its ops and nothing else. That it holds their launches and
    /// nothing else is for the stream to check, which alone knows what an op launches.
    fn audit(&self, exec: &S::GraphExec, cost: &mut Cost) -> Result<(), GraphError> {
        let info = self.stream.graph_info(exec);
        let Range { start, end } = self.range;
        if info.num_ops != end - start {
            return Err(GraphError::Audit { key: self.key, start, end, found: info.num_ops });
        }
        cost.num_graphs += 1;
        cost.num_launches += info.num_launches;
        cost.size_bytes += info.size_bytes;
        Ok(())
    }

    fn failed(&self, phase: &str, source: Error) -> GraphError {
        let Range { start, end } = self.range;
        let what = format!("{phase} the graph of ops {start}..{end}");
        GraphError::Capture { key: self.key, what, source }
    }
}

/// The ops that a step queues.
pub(crate) fn record(key: GraphKey, forward: &mut Step<'_>) -> Result<Vec<Op>, GraphError> {
    let mut list = OpList(Vec::new());
    forward(&mut list).map_err(|source| GraphError::Record { key, source })?;
    Ok(list.0)
}

/// Unlike a plain `Vec<Op>`, it checks nothing: the stream that is given each op next does, and
/// twice would cost a twentieth of the whole capture.
struct OpList(Vec<Op>);

impl Enqueue for OpList {
    fn enqueue(&mut self, op: Op) -> tintype_ops::Result<()> {
        self.0.push(op);
        Ok(())
    }
}

/// An op as errors name it: its place in the list, its name and its operands.
pub(crate) fn describe(index: usize, op: &Op) -> String {
    format!("op {index} `{op}`")
}

/// Adds to `total` what `work` takes.
fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}
