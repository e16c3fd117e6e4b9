//! Capture: ops are launched on a queue that records.

use std::sync::Arc;

use tintype_ops::{Enqueue, Error, Op, Result, StreamId};

use crate::driver::{Capture, Queue};
use crate::graph::{CudaGraph, Recorded, audit};
use crate::kernels::Kernels;
use crate::launch::Launch;
use crate::launcher::Launcher;
use crate::memory::Memory;

/// All that a capture lets its caller do: queue ops. It borrows the stream, so nothing else can
/// happen on it meanwhile.
struct Recorder<'a> {
    launcher: Launcher<'a>,
    num_ops: usize,
    num_launches: usize,
    /// The first op that was refused. It may have ended the capture, so there is no graph then,
    /// even where the caller carries on.
    refused: Option<Error>,
}

impl Enqueue for Recorder<'_> {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        match self.launcher.launch(&op) {
            Ok(num_launches) => {
                self.num_ops += 1;
                self.num_launches += num_launches;
                Ok(())
            }
            Err(error) => {
                self.refused.get_or_insert(error.clone());
                Err(error)
            }
        }
    }
}

/// Records what `record` queues on the stream `id`. The capture ends on every way out, and `queue`
/// can be used again.
///
/// # Errors
/// What `record` returned, what the driver refused, or a graph that holds anything but the
/// launches of the ops.
pub(crate) fn capture(
    id: &StreamId,
    memory: &Memory,
    kernels: &Arc<Kernels>,
    queue: &Queue,
    launches: &mut Vec<Launch>,
    record: &mut dyn FnMut(&mut dyn Enqueue) -> Result<()>,
) -> Result<CudaGraph> {
    let capture = Capture::begin(queue)?;
    let launcher = Launcher { memory, kernels, queue: capture.queue(), launches };
    let mut recorder = Recorder { launcher, num_ops: 0, num_launches: 0, refused: None };
    record(&mut recorder)?;
    let Recorder { num_ops, num_launches, refused, .. } = recorder;
    refused.map_or(Ok(()), Err)?;
    let graph = capture.end()?;
    audit(&graph.nodes()?, num_launches)?;
    let (stream, kernels) = (id.clone(), Arc::clone(kernels));
    let recorded = Recorded { stream, _kernels: kernels, num_ops, num_launches };
    Ok(CudaGraph { graph, recorded })
}
