//! Arrays that the program reads through a pointer after the call that gave it.

use std::collections::BTreeMap;

use crate::driver::Driver;
use crate::handle::Handle;
use crate::types::EdgeData;

/// What has been lent. The API says how long: until the next call of the same kind (captures), or
/// as long as the node lives and is not changed (parameters).
#[derive(Default)]
pub(crate) struct Lent {
    nodes: Vec<Handle>,
    edges: Vec<EdgeData>,
    params: BTreeMap<Handle, Vec<usize>>,
}

impl Driver {
    /// Keeps the dependencies of a capture; returns where they are.
    pub(crate) fn lend(&mut self, nodes: Vec<Handle>, edges: Vec<EdgeData>) -> (usize, usize) {
        self.lent.nodes = nodes;
        self.lent.edges = edges;
        (self.lent.nodes.as_ptr() as usize, self.lent.edges.as_ptr() as usize)
    }

    /// Keeps the pointers to a node's parameters; returns where they are.
    pub(crate) fn lend_params(&mut self, node: Handle, pointers: Vec<usize>) -> usize {
        let kept = self.lent.params.entry(node).or_default();
        *kept = pointers;
        kept.as_ptr() as usize
    }
}
