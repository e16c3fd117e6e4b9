//! Graphs: nodes with edges, and the orders in which they may run.

use std::fmt::Write as _;

use crate::driver::Driver;
use crate::error::{Code, Result};
use crate::handle::{Handle, Kind};
use crate::operation::Operation;
use crate::types::EdgeData;

/// A graph. Nodes stand in an order in which they may run.
#[derive(Clone, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) operation: Operation,
    /// What has to run before.
    pub(crate) edges: Vec<Edge>,
}

/// A dependency on the node at index `from`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    /// Whether the dependent may start before that node has finished.
    pub(crate) programmatic: bool,
}

impl Edge {
    pub(crate) fn data(self) -> EdgeData {
        if self.programmatic { EdgeData::PROGRAMMATIC } else { EdgeData::default() }
    }
}

/// An order that the edges allow: as captured for seed 0, otherwise one of the others, so that a
/// missing edge shows.
pub(crate) fn execution_order(nodes: &[Node], seed: u64) -> Vec<usize> {
    if seed == 0 {
        return (0..nodes.len()).collect();
    }
    let mut state = seed;
    let mut waiting: Vec<usize> = nodes.iter().map(|node| node.edges.len()).collect();
    let mut ready: Vec<usize> = (0..nodes.len()).filter(|&i| waiting[i] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while !ready.is_empty() {
        // The step of a linear congruential generator (Knuth's MMIX).
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let index = ready.swap_remove((state >> 33) as usize % ready.len());
        order.push(index);
        for (dependent, node) in nodes.iter().enumerate() {
            if node.edges.iter().any(|edge| edge.from == index) {
                waiting[dependent] -= 1;
                if waiting[dependent] == 0 {
                    ready.push(dependent);
                }
            }
        }
    }
    order
}

/// Whether a kernel may start before `previous`, which ran right in front of it, has finished.
pub(crate) fn overlaps(node: &Node, previous: Option<usize>) -> bool {
    match node.edges[..] {
        [edge] => edge.programmatic && Some(edge.from) == previous,
        _ => false,
    }
}

/// The handle of node `index` of `graph`.
pub(crate) fn node_handle(graph: Handle, index: usize) -> Result<Handle> {
    Ok(Handle::indexed(Kind::Node, graph.id(Kind::Graph)?, index))
}

/// The graph that a node is in.
pub(crate) fn graph_of(node: Handle) -> Result<Handle> {
    Ok(Handle::new(Kind::Graph, node.id(Kind::Node)?))
}

impl Driver {
    /// `cuGraphCreate`.
    pub(crate) fn graph_create(&mut self) -> Handle {
        self.graphs.insert(Graph::default())
    }

    /// `cuGraphClone`.
    pub(crate) fn graph_clone(&mut self, graph: Handle) -> Result<Handle> {
        let copy = self.graphs.get(graph)?.clone();
        Ok(self.graphs.insert(copy))
    }

    /// `cuGraphDestroy`.
    pub(crate) fn graph_destroy(&mut self, graph: Handle) -> Result<()> {
        if self.captures.contains_key(&graph) {
            return Code::INVALID_VALUE.err("the graph is being captured");
        }
        self.graphs.remove(graph).map(drop)
    }

    /// # Errors
    /// `INVALID_HANDLE` for a node whose graph is gone.
    pub(crate) fn node(&self, node: Handle) -> Result<&Node> {
        let graph = self.graphs.get(graph_of(node)?)?;
        match graph.nodes.get(node.index()) {
            Some(node) => Ok(node),
            None => Code::INVALID_HANDLE.err("the graph has fewer nodes"),
        }
    }

    /// The handles of all nodes, or of those that depend on none.
    pub(crate) fn graph_nodes(&self, graph: Handle, roots_only: bool) -> Result<Vec<Handle>> {
        let nodes = self.graphs.get(graph)?.nodes.iter().enumerate();
        let wanted = nodes.filter(|(_, node)| !roots_only || node.edges.is_empty());
        wanted.map(|(index, _)| node_handle(graph, index)).collect()
    }

    /// From, to and data of every edge.
    pub(crate) fn graph_edges(&self, graph: Handle) -> Result<Vec<(Handle, Handle, EdgeData)>> {
        let mut edges = Vec::new();
        for (to, node) in self.graphs.get(graph)?.nodes.iter().enumerate() {
            for edge in &node.edges {
                let (from, to) = (node_handle(graph, edge.from)?, node_handle(graph, to)?);
                edges.push((from, to, edge.data()));
            }
        }
        Ok(edges)
    }

    /// The graph in Graphviz's language, for `cuGraphDebugDotPrint`.
    pub(crate) fn graph_dot(&self, graph: Handle) -> Result<String> {
        let mut dot = String::from("digraph graph {\n");
        for (index, node) in self.graphs.get(graph)?.nodes.iter().enumerate() {
            let label = match &node.operation {
                Operation::Kernel(call) => {
                    format!("{} grid {:?} block {:?}", call.name, call.grid, call.block)
                }
                other => format!("type {}", other.node_type()),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(dot, "  n{index} [label=\"{label}\"];");
            for edge in &node.edges {
                let style = if edge.programmatic { " [style=dashed]" } else { "" };
                let _ = writeln!(dot, "  n{} -> n{index}{style};", edge.from);
            }
        }
        dot.push_str("}\n");
        Ok(dot)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn node(edges: &[(usize, bool)]) -> Node {
        let edges = edges.iter().map(|&(from, programmatic)| Edge { from, programmatic }).collect();
        Node { operation: Operation::Free { address: 0 }, edges }
    }

    #[test]
    fn every_order_respects_the_edges_and_some_differ() {
        // A diamond with a node beside it.
        let one = |from| (from, false);
        let nodes =
            [node(&[]), node(&[one(0)]), node(&[one(0)]), node(&[one(1), one(2)]), node(&[])];
        let orders: BTreeSet<Vec<usize>> =
            (0..50).map(|seed| execution_order(&nodes, seed)).collect();
        for order in &orders {
            let place = |index| order.iter().position(|&i| i == index).unwrap();
            assert_eq!(order.len(), nodes.len());
            assert!(place(0) < place(1).min(place(2)) && place(1).max(place(2)) < place(3));
        }
        assert!(orders.len() > 3);
        assert_eq!(execution_order(&nodes, 0), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn only_a_programmatic_successor_right_behind_overlaps() {
        assert!(overlaps(&node(&[(3, true)]), Some(3)));
        assert!(!overlaps(&node(&[(3, true)]), Some(2)));
        assert!(!overlaps(&node(&[(3, false)]), Some(3)));
        assert!(!overlaps(&node(&[(3, true), (2, false)]), Some(3)));
        assert!(!overlaps(&node(&[]), None));
    }
}
