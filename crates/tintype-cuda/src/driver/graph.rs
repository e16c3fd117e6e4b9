//! Recorded graphs, and graphs that can be launched.

#![allow(unsafe_code)]

use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys::{CUgraph_st, CUgraphExec_st};

use super::handle::Handle;
use super::{Context, DriverError, Queue};

/// What a node of a graph does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NodeKind(pub(crate) u32);

impl NodeKind {
    /// A kernel launch.
    pub(crate) const KERNEL: Self = Self(0);

    /// For messages.
    pub(crate) fn name(self) -> &'static str {
        const NAMES: [&str; 14] = [
            "kernel",
            "memcpy",
            "memset",
            "host function",
            "child graph",
            "empty",
            "event wait",
            "event record",
            "semaphore signal",
            "semaphore wait",
            "allocation",
            "free",
            "batched memory operation",
            "conditional",
        ];
        NAMES.get(self.0 as usize).copied().unwrap_or("unknown")
    }
}

/// What a capture recorded.
#[derive(Debug)]
pub(crate) struct Graph {
    handle: Handle<CUgraph_st>,
    context: Arc<Context>,
}

impl Graph {
    /// Takes over a graph that a capture gave out.
    pub(super) fn new(context: &Arc<Context>, graph: *mut CUgraph_st) -> Self {
        Self { handle: Handle::new(graph), context: Arc::clone(context) }
    }

    /// The kind of each node, in no particular order.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn nodes(&self) -> Result<Vec<NodeKind>, DriverError> {
        let (graph, context, mut count) = (self.handle.raw(), &self.context, 0);
        // SAFETY: the graph is live; without room for nodes their number alone is written.
        unsafe { call!(context, cuGraphGetNodes(graph, ptr::null_mut(), &raw mut count)) }?;
        let mut nodes = vec![ptr::null_mut(); count];
        if count > 0 {
            let room = nodes.as_mut_ptr();
            // SAFETY: the graph is live, and `nodes` has room for as many handles as is said.
            unsafe { call!(context, cuGraphGetNodes(graph, room, &raw mut count)) }?;
        }
        let kind = |node| {
            let mut kind = 0u32;
            let to = (&raw mut kind).cast();
            // SAFETY: the node is one of the graph's. Its type is written as the integer that it
            // is in C: a newer driver may know more types than the bindings.
            unsafe { call!(context, cuGraphNodeGetType(node, to)) }?;
            Ok(NodeKind(kind))
        };
        nodes.into_iter().take(count).map(kind).collect()
    }

    /// Makes the graph launchable.
    ///
    /// # Errors
    /// When the device has no room for it, or the driver refuses a node.
    pub(crate) fn instantiate(&self) -> Result<GraphExec, DriverError> {
        let (graph, mut exec) = (self.handle.raw(), ptr::null_mut());
        let context = &self.context;
        // SAFETY: the graph is live, and the pointer is valid for the one handle written.
        unsafe { call!(context, cuGraphInstantiateWithFlags(&raw mut exec, graph, 0)) }?;
        Ok(GraphExec { handle: Handle::new(exec), context: Arc::clone(context) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        let graph = self.handle.raw();
        // SAFETY: nobody else destroys it; what was instantiated from it is independent of it.
        self.context.release(|| unsafe { call!(self.context, cuGraphDestroy(graph)) });
    }
}

/// A graph that can be launched.
#[derive(Debug)]
pub(crate) struct GraphExec {
    handle: Handle<CUgraphExec_st>,
    context: Arc<Context>,
}

impl GraphExec {
    /// Queues the transfer of the graph to the device.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn upload(&self, queue: &Queue) -> Result<(), DriverError> {
        // SAFETY: both handles are destroyed by the `Drop` of their owners alone.
        unsafe { call!(self.context, cuGraphUpload(self.handle.raw(), queue.raw())) }
    }

    /// Queues one run of the graph.
    ///
    /// # Errors
    /// What the driver refused.
    ///
    /// # Safety
    /// What its kernels access is live device memory that nothing else uses until it has run, and
    /// their modules are loaded.
    pub(crate) unsafe fn launch(&self, queue: &Queue) -> Result<(), DriverError> {
        // SAFETY: both handles are destroyed by the `Drop` of their owners alone; the rest is the
        // caller's promise.
        unsafe { call!(self.context, cuGraphLaunch(self.handle.raw(), queue.raw())) }
    }
}

impl Drop for GraphExec {
    fn drop(&mut self) {
        let exec = self.handle.raw();
        // SAFETY: nobody else destroys it; a run that is queued is finished all the same.
        self.context.release(|| unsafe { call!(self.context, cuGraphExecDestroy(exec)) });
    }
}
