//! Drawing an op list.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tintype_ops::{Access, Buffer, DType, Memory, Op, Operand, Tensor};

/// Writes `ops` as a Graphviz digraph: a node per op, and an edge from the op that last wrote a
/// piece of memory to each op that reads it, labelled with the reader's operand.
///
/// Memory that no op of the list writes (inputs, weights) has no edges.
#[must_use]
pub fn to_dot(ops: &[Op]) -> String {
    let mut dot = String::from("digraph ops {\n  node [shape=box, fontname=monospace];\n");
    for (index, op) in ops.iter().enumerate() {
        let label = format!("{index} {}\\n{}", op.name(), shapes_written(op));
        // Writing to a String cannot fail.
        let _ = writeln!(dot, "  op{index} [label=\"{label}\"];");
    }
    for ((from, to), operands) in data_flow(ops) {
        let label = operands.join(", ");
        let _ = writeln!(dot, "  op{from} -> op{to} [label=\"{label}\"];");
    }
    dot.push_str("}\n");
    dot
}

/// The memory that an op changes.
fn shapes_written(op: &Op) -> String {
    let written = op.operands().into_iter().filter(|operand| operand.access != Access::Read);
    written.map(|operand| operand.memory.to_string()).collect::<Vec<_>>().join("\\n")
}

/// From writer and reader, by index, to the operands that carry the data.
fn data_flow(ops: &[Op]) -> BTreeMap<(usize, usize), Vec<&'static str>> {
    let mut edges: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let mut writes: Vec<(usize, Region)> = Vec::new();
    for (index, op) in ops.iter().enumerate() {
        let operands = op.operands();
        for &Operand { name, access, memory } in &operands {
            let regions = if access == Access::Write { Vec::new() } else { regions(memory) };
            for from in regions.iter().flat_map(|region| last_writers(&writes, region)) {
                let names = edges.entry((from, index)).or_default();
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        let written = operands.iter().filter(|operand| operand.access != Access::Read);
        let regions = written.flat_map(|operand| regions(operand.memory));
        writes.extend(regions.map(|region| (index, region)));
    }
    edges
}

/// Who wrote what `region` holds, latest first, back to a write that covers it all.
fn last_writers(writes: &[(usize, Region)], region: &Region) -> Vec<usize> {
    let mut writers = Vec::new();
    for (index, written) in writes.iter().rev() {
        if written.overlaps(region) {
            writers.push(*index);
        }
        if written.covers(region) {
            break;
        }
    }
    writers
}

/// Memory in a buffer: a strided view, or (a side of a cache) all of it.
#[derive(Clone, Copy)]
enum Region {
    View(Tensor),
    Whole(Buffer),
}

fn regions(memory: Memory) -> Vec<Region> {
    match memory {
        Memory::Tensor(tensor) => vec![Region::View(tensor)],
        Memory::Cache(cache) => vec![Region::Whole(cache.k), Region::Whole(cache.v)],
        // Weights have a numbering of their own and are never written.
        Memory::Weight(_) => Vec::new(),
    }
}

impl Region {
    fn buffer(&self) -> Buffer {
        match self {
            Self::View(tensor) => tensor.buffer,
            Self::Whole(buffer) => *buffer,
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.buffer() == other.buffer()
            && match (self, other) {
                (Self::View(a), Self::View(b)) => views_overlap(a, b),
                _ => true,
            }
    }

    /// Whether a write of `self` replaces all of `other`. Where in doubt, no: an edge too many
    /// does less harm in a drawing than one too few.
    fn covers(&self, other: &Self) -> bool {
        self.buffer() == other.buffer()
            && match (self, other) {
                (Self::Whole(_), Self::Whole(_)) => true,
                (Self::View(a), Self::View(b)) => view_covers(a, b),
                _ => false,
            }
    }
}

/// A view as a rectangle of rows and columns, in a grid of rows of `stride` elements.
struct Rectangle {
    grid: (u32, DType),
    rows: (u64, u64),
    cols: (u64, u64),
}

impl Rectangle {
    /// `None` for a view whose rows straddle the rows of its grid.
    fn new(tensor: &Tensor) -> Option<Self> {
        let stride = u64::from(tensor.stride.max(1));
        let (row, col) = (tensor.offset / stride, tensor.offset % stride);
        let cols = (col, col + u64::from(tensor.cols));
        let rows = (row, row + u64::from(tensor.rows));
        let grid = (tensor.stride, tensor.dtype);
        (cols.1 <= stride).then_some(Self { grid, rows, cols })
    }
}

/// The rectangles of two views, where they lie on the same grid.
fn on_one_grid(a: &Tensor, b: &Tensor) -> Option<(Rectangle, Rectangle)> {
    let (a, b) = (Rectangle::new(a)?, Rectangle::new(b)?);
    (a.grid == b.grid).then_some((a, b))
}

fn views_overlap(a: &Tensor, b: &Tensor) -> bool {
    match on_one_grid(a, b) {
        Some((a, b)) => intersect(a.rows, b.rows) && intersect(a.cols, b.cols),
        None => intersect(a.byte_range(), b.byte_range()),
    }
}

fn view_covers(a: &Tensor, b: &Tensor) -> bool {
    match on_one_grid(a, b) {
        Some((a, b)) => contains(a.rows, b.rows) && contains(a.cols, b.cols),
        None => a.is_contiguous() && contains(a.byte_range(), b.byte_range()),
    }
}

fn intersect(a: (u64, u64), b: (u64, u64)) -> bool {
    a.0 < b.1 && b.0 < a.1
}

fn contains(outer: (u64, u64), inner: (u64, u64)) -> bool {
    outer.0 <= inner.0 && inner.1 <= outer.1
}

#[cfg(test)]
mod tests;
