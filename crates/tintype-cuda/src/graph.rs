//! Captured graphs as the stream gives them out, and the audit of what they hold.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tintype_ops::{Error, Result, StreamId};

use crate::driver::{Context, DriverError, Graph, GraphExec, NodeKind};
use crate::kernels::Kernels;

/// Recorded kernel launches, not yet runnable: the stream that recorded them makes them so.
pub struct CudaGraph {
    pub(crate) graph: Graph,
    pub(crate) recorded: Recorded,
}

/// A graph that can be replayed, on the stream that made it.
pub struct CudaGraphExec {
    // Before the kernels that it launches.
    pub(crate) exec: GraphExec,
    pub(crate) recorded: Recorded,
    pub(crate) size_bytes: u64,
}

/// What was recorded into a graph. Its launches name kernels and memory of one stream, so nothing
/// but that stream may run them; the kernels stay loaded as long as the graph is there.
pub(crate) struct Recorded {
    pub(crate) stream: StreamId,
    pub(crate) _kernels: Arc<Kernels>,
    pub(crate) num_ops: usize,
    pub(crate) num_launches: usize,
}

impl Recorded {
    /// Checks that `stream` is the one that recorded it.
    ///
    /// # Errors
    /// When it is another.
    pub(crate) fn require_own(&self, stream: &StreamId) -> Result<()> {
        if &self.stream == stream {
            return Ok(());
        }
        let what = "the graph belongs to another stream; use it on the one that recorded it";
        Err(Error::Device(what.into()))
    }
}

impl fmt::Debug for CudaGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaGraph({})", self.recorded)
    }
}

impl fmt::Debug for CudaGraphExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CudaGraphExec({})", self.recorded)
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ops, {} launches", self.num_ops, self.num_launches)
    }
}

/// How many graphs are made between two questions for the free memory. The driver takes memory for
/// several graphs at a time, and while weights load the question takes it as long as a capture.
const GRAPHS_PER_MEASUREMENT: u32 = 16;

/// What graphs take, measured where nothing else is allocated between two of them.
#[derive(Debug, Default)]
pub(crate) struct GraphMemory {
    /// Free bytes when last asked; `None` where something else was allocated since.
    free_bytes: Option<u64>,
    num_unmeasured: u32,
}

impl GraphMemory {
    /// A graph is about to be made.
    pub(crate) fn begin(&mut self, context: &Context) -> std::result::Result<(), DriverError> {
        if self.free_bytes.is_none() {
            self.free_bytes = Some(context.memory_info()?.free_bytes);
            self.num_unmeasured = 0;
        }
        Ok(())
    }

    /// A graph was made: bytes that are gone since the last question, 0 where none is asked.
    pub(crate) fn end(&mut self, context: &Context) -> std::result::Result<u64, DriverError> {
        self.num_unmeasured += 1;
        if self.num_unmeasured % GRAPHS_PER_MEASUREMENT != 1 {
            return Ok(0);
        }
        let now = context.memory_info()?.free_bytes;
        let before = self.free_bytes.replace(now).unwrap_or(now);
        Ok(before.saturating_sub(now))
    }
}

/// Checks that a graph holds the launches that were recorded, and nothing else: any other node
/// makes a replay slow, or does what the op list does not say.
///
/// # Errors
/// What was found instead.
pub(crate) fn audit(nodes: &[NodeKind], num_launches: usize) -> Result<()> {
    let mut counts = BTreeMap::new();
    for kind in nodes {
        *counts.entry(*kind).or_insert(0usize) += 1;
    }
    let is_whole = match num_launches {
        0 => counts.is_empty(),
        _ => counts == BTreeMap::from([(NodeKind::KERNEL, num_launches)]),
    };
    if is_whole {
        return Ok(());
    }
    let found: Vec<String> =
        counts.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
    let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
    Err(Error::Device(format!(
        "the captured graph has other nodes than the {num_launches} kernel launches that were \
         recorded: {found}; run with enforce_eager"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_of_its_launches_passes() {
        assert_eq!(audit(&[], 0), Ok(()));
        assert_eq!(audit(&[NodeKind::KERNEL; 3], 3), Ok(()));
    }

    #[test]
    fn a_graph_that_lost_or_gained_a_node_is_refused() {
        let message =
            |nodes: &[NodeKind], launches| audit(nodes, launches).unwrap_err().to_string();
        assert!(message(&[NodeKind::KERNEL; 2], 3).contains("the 3 kernel launches"));
        assert!(message(&[NodeKind::KERNEL; 2], 3).contains(": 2 kernel;"));
        assert!(message(&[], 1).contains(": none;"));
        assert!(message(&[NodeKind::KERNEL], 0).contains(": 1 kernel;"));
    }

    #[test]
    fn a_stray_node_is_named() {
        let nodes = [NodeKind::KERNEL, NodeKind(2), NodeKind(10), NodeKind(77), NodeKind(2)];
        let message = audit(&nodes, 1).unwrap_err().to_string();
        assert!(message.contains(": 1 kernel, 2 memset, 1 allocation, 1 unknown;"), "{message}");
    }
}
