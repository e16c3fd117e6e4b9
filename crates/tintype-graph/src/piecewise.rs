//! Cutting an op list at the ops that stay outside graphs.

use std::ops::Range;

use tintype_ops::Op;

/// A part of an op list, by indices into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A run of ops between two cuts, never empty: a graph of its own.
    Graph(Range<usize>),
    /// A splitting op, run eagerly between its neighbours.
    Cut(usize),
}

/// Cuts `ops` at every op whose name is one of `splitting_ops`. With none, all ops are one piece.
///
/// A transformer of `L` layers cut at `attention` gives `L + 1` graphs around `L` cuts. A cut op
/// works on buffers that exist before the step, like any op, so its neighbours find its results
/// where they were captured to look.
#[must_use]
pub fn split(ops: &[Op], splitting_ops: &[String]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for (index, op) in ops.iter().enumerate() {
        if splitting_ops.iter().any(|name| name == op.name()) {
            push_graph(&mut pieces, start..index);
            pieces.push(Piece::Cut(index));
            start = index + 1;
        }
    }
    push_graph(&mut pieces, start..ops.len());
    pieces
}

/// Two cuts may follow each other; an empty graph is not worth a launch.
fn push_graph(pieces: &mut Vec<Piece>, run: Range<usize>) {
    if !run.is_empty() {
        pieces.push(Piece::Graph(run));
    }
}

#[cfg(test)]
mod tests;
