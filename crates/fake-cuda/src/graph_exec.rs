//! Executable graphs: instantiation, launch, update.

use std::sync::Arc;

use crate::capture::Unsafe;
use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::graph::{Graph, Node, graph_of};
use crate::handle::Handle;
use crate::launch::KernelCall;
use crate::operation::Operation;
use crate::stream::{Marker, Work};
use crate::types::KernelNodeParams;

/// `CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH`.
const AUTO_FREE_ON_LAUNCH: u64 = 1;
/// Every flag of instantiation.
const ALL_FLAGS: u64 = 15;

/// Results of an update, `CUgraphExecUpdateResult`.
pub(crate) mod update {
    pub(crate) const SUCCESS: u32 = 0;
    pub(crate) const TOPOLOGY_CHANGED: u32 = 2;
    pub(crate) const NODE_TYPE_CHANGED: u32 = 3;
    pub(crate) const PARAMETERS_CHANGED: u32 = 5;
}

/// An executable graph.
pub(crate) struct GraphExec {
    /// The graph it was made from, whose nodes name its nodes.
    pub(crate) graph: Handle,
    pub(crate) flags: u64,
    pub(crate) nodes: Arc<[Node]>,
    /// The end of its last launch: the next one waits for it, on whatever stream.
    last: Option<Marker>,
}

impl Driver {
    /// `cuGraphInstantiate`.
    pub(crate) fn graph_instantiate(
        &mut self,
        graph: Handle,
        flags: u64,
        caller: &Caller,
    ) -> Result<Handle> {
        self.forbid_in_capture(Unsafe("cuGraphInstantiate"), caller)?;
        if flags & !ALL_FLAGS != 0 {
            return Code::INVALID_VALUE.err(format!("unknown instantiation flags {flags:#x}"));
        }
        let nodes = self.graphs.get(graph)?.nodes.as_slice().into();
        self.admit_allocation()?;
        Ok(self.execs.insert(GraphExec { graph, flags, nodes, last: None }))
    }

    /// `cuGraphUpload`.
    pub(crate) fn graph_upload(
        &mut self,
        exec: Handle,
        stream: Handle,
        caller: &Caller,
    ) -> Result<()> {
        let stream = self.streams.resolve(stream, caller)?;
        self.execs.get(exec)?;
        self.forbid_on_capturing_stream(stream)?;
        self.admit_allocation()
    }

    /// `cuGraphLaunch`: with the parameters of now, behind the last launch of the same exec.
    pub(crate) fn graph_launch(
        &mut self,
        exec: Handle,
        stream: Handle,
        caller: &Caller,
    ) -> Result<()> {
        let stream = self.streams.resolve(stream, caller)?;
        self.execs.get(exec)?;
        self.forbid_on_capturing_stream(stream)?;
        self.forbid_implicit_dependency(stream)?;
        self.admit_launch()?;
        self.free_for_relaunch(exec)?;
        let exec = self.execs.get_mut(exec)?;
        if let Some(marker) = exec.last.filter(|&marker| !self.streams.reached(marker)) {
            self.streams.enqueue(stream, Work::Wait(marker));
        }
        exec.last = Some(self.streams.enqueue(stream, Work::Replay(Arc::clone(&exec.nodes))));
        Ok(())
    }

    /// Memory that a graph allocates and does not free is there once: the exec cannot be launched
    /// again before it is freed, unless it was told to free it itself.
    fn free_for_relaunch(&mut self, exec: Handle) -> Result<()> {
        let exec = self.execs.get(exec)?;
        let (nodes, flags, last) = (Arc::clone(&exec.nodes), exec.flags, exec.last);
        let allocated = |op: &Operation| match *op {
            Operation::Alloc { address, .. } => Some(address),
            _ => None,
        };
        let addresses: Vec<u64> = nodes.iter().filter_map(|n| allocated(&n.operation)).collect();
        if let Some(marker) = last.filter(|_| !addresses.is_empty()) {
            self.run_until(marker);
        }
        for address in
            addresses.into_iter().filter(|&a| self.memory.owner(a).is_some()).collect::<Vec<_>>()
        {
            if flags & AUTO_FREE_ON_LAUNCH == 0 {
                return Code::INVALID_VALUE.err("the graph's allocation was not freed");
            }
            self.memory.free(address)?;
        }
        Ok(())
    }

    /// `cuGraphExecDestroy`: launches in progress go on.
    pub(crate) fn graph_exec_destroy(&mut self, exec: Handle) -> Result<()> {
        self.execs.remove(exec).map(drop)
    }

    /// `cuGraphExecUpdate`: on failure the exec stays as it was. Also gives the result's code, and
    /// the index of the first node that differs.
    pub(crate) fn graph_exec_update(
        &mut self,
        exec: Handle,
        graph: Handle,
    ) -> Result<(u32, Option<usize>)> {
        let Graph { nodes } = self.graphs.get(graph)?;
        let exec = self.execs.get_mut(exec)?;
        let difference = compare(&exec.nodes, nodes);
        if difference.0 == update::SUCCESS {
            exec.nodes = nodes.as_slice().into();
        }
        Ok(difference)
    }

    /// The kernel that a node launches.
    ///
    /// # Errors
    /// `INVALID_VALUE` for a node of another type.
    pub(crate) fn kernel_node(&self, node: Handle) -> Result<&Arc<KernelCall>> {
        match &self.node(node)?.operation {
            Operation::Kernel(call) => Ok(call),
            other => Code::INVALID_VALUE.err(format!("a node of type {}", other.node_type())),
        }
    }

    /// `cuGraphKernelNodeSetParams`: execs made before keep theirs.
    pub(crate) fn set_kernel_node(
        &mut self,
        node: Handle,
        params: &KernelNodeParams,
    ) -> Result<()> {
        let old = Arc::clone(self.kernel_node(node)?);
        let call = self.kernel_call_of_node(params, &old)?;
        let graph = self.graphs.get_mut(graph_of(node)?)?;
        graph.nodes[node.index()].operation = Operation::Kernel(Arc::new(call));
        Ok(())
    }

    /// `cuGraphExecKernelNodeSetParams`: launches queued before keep theirs.
    pub(crate) fn set_exec_kernel_node(
        &mut self,
        exec: Handle,
        node: Handle,
        params: &KernelNodeParams,
    ) -> Result<()> {
        let target = self.execs.get(exec)?;
        if graph_of(node)? != target.graph {
            return Code::INVALID_VALUE.err("the node is of another graph than the exec");
        }
        let old = match target.nodes.get(node.index()).map(|node| &node.operation) {
            Some(Operation::Kernel(call)) => Arc::clone(call),
            _ => return Code::INVALID_VALUE.err("the exec has no such kernel node"),
        };
        let call = self.kernel_call_of_node(params, &old)?;
        let target = self.execs.get_mut(exec)?;
        let mut nodes = target.nodes.to_vec();
        nodes[node.index()].operation = Operation::Kernel(Arc::new(call));
        target.nodes = nodes.into();
        Ok(())
    }
}

/// What keeps `old` from becoming `new`, and at which node.
fn compare(old: &[Node], new: &[Node]) -> (u32, Option<usize>) {
    if old.len() != new.len() {
        return (update::TOPOLOGY_CHANGED, None);
    }
    for (index, (old, new)) in old.iter().zip(new).enumerate() {
        if old.edges != new.edges {
            return (update::TOPOLOGY_CHANGED, Some(index));
        }
        if old.operation.node_type() != new.operation.node_type() {
            return (update::NODE_TYPE_CHANGED, Some(index));
        }
        if let (Operation::Alloc { .. } | Operation::Free { .. }, _) = (&old.operation, ()) {
            return (update::PARAMETERS_CHANGED, Some(index));
        }
    }
    (update::SUCCESS, None)
}
