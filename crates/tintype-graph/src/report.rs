//! What was captured, what it cost, and what it has been good for.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::capture::Cost;
use crate::{GraphKey, GraphMode};

/// One captured forward pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GraphReport {
    /// Its mode and descriptor.
    #[serde(flatten)]
    pub key: GraphKey,
    /// Ops of the forward pass, those between pieces included.
    pub num_ops: usize,
    /// Graphs that it became: 1, or the number of pieces.
    pub num_graphs: usize,
    /// Kernel launches inside its graphs.
    pub num_launches: usize,
    /// Milliseconds of recording.
    pub capture_ms: f64,
    /// Milliseconds of instantiation.
    pub instantiate_ms: f64,
    /// Milliseconds of moving its graphs to the device.
    pub upload_ms: f64,
    /// Device memory of its graphs.
    pub size_bytes: u64,
    /// Steps that replayed it.
    pub replays: u64,
}

impl GraphReport {
    pub(crate) fn new(key: GraphKey, num_ops: usize, cost: &Cost, replays: u64) -> Self {
        Self {
            key,
            num_ops,
            num_graphs: cost.num_graphs,
            num_launches: cost.num_launches,
            capture_ms: milliseconds(cost.capture),
            instantiate_ms: milliseconds(cost.instantiate),
            upload_ms: milliseconds(cost.upload),
            size_bytes: cost.size_bytes,
            replays,
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// All captured forward passes of one mode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ModeReport {
    /// The mode.
    pub mode: GraphMode,
    /// Token counts of its mixed batches, ascending.
    pub mixed_sizes: Vec<u32>,
    /// Token counts of its decode batches, ascending.
    pub decode_sizes: Vec<u32>,
    /// Graphs, pieces counted one by one.
    pub num_graphs: usize,
    /// Kernel launches inside them.
    pub num_launches: usize,
    /// Milliseconds of recording, instantiation and moving to the device.
    pub total_ms: f64,
    /// Their device memory.
    pub size_bytes: u64,
    /// Steps that replayed one of them.
    pub replays: u64,
}

impl ModeReport {
    /// The totals over `graphs`; `None` when none of them is of this mode.
    fn new(mode: GraphMode, graphs: &[GraphReport]) -> Option<Self> {
        let graphs: Vec<_> = graphs.iter().filter(|graph| graph.key.mode == mode).collect();
        let sizes = |uniform: bool| {
            let descriptors = graphs.iter().map(|graph| graph.key.descriptor);
            let kind = descriptors.filter(|descriptor| descriptor.uniform == uniform);
            let mut sizes: Vec<_> = kind.map(|descriptor| descriptor.num_tokens).collect();
            sizes.sort_unstable();
            sizes
        };
        let total_ms =
            |graph: &&GraphReport| graph.capture_ms + graph.instantiate_ms + graph.upload_ms;
        (!graphs.is_empty()).then(|| Self {
            mode,
            mixed_sizes: sizes(false),
            decode_sizes: sizes(true),
            num_graphs: graphs.iter().map(|graph| graph.num_graphs).sum(),
            num_launches: graphs.iter().map(|graph| graph.num_launches).sum(),
            total_ms: graphs.iter().map(total_ms).sum(),
            size_bytes: graphs.iter().map(|graph| graph.size_bytes).sum(),
            replays: graphs.iter().map(|graph| graph.replays).sum(),
        })
    }
}

/// One line, for people.
impl fmt::Display for ModeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.mode)?;
        for (kind, sizes) in [("mixed", &self.mixed_sizes), ("decode", &self.decode_sizes)] {
            if let [first, .., last] | [first @ last] = sizes.as_slice() {
                write!(f, " {} {kind} sizes {first}..={last},", sizes.len())?;
            }
        }
        let (count, seconds) = (self.num_graphs, self.total_ms / 1e3);
        let graphs = if count == 1 { "graph" } else { "graphs" };
        write!(f, " {count} {graphs} in {seconds:.3} s, {} bytes", self.size_bytes)
    }
}

/// A capture that failed and was let pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaptureNote {
    /// What was to be captured.
    #[serde(flatten)]
    pub key: GraphKey,
    /// Why it could not be.
    pub why: String,
}

impl fmt::Display for CaptureNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "such batches run without this graph: {}", self.why)
    }
}

/// All that a pool has captured. Prints as a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CaptureReport {
    /// In the order of capture at start-up.
    pub graphs: Vec<GraphReport>,
    /// Totals, one entry per mode that has graphs.
    pub modes: Vec<ModeReport>,
    /// Captures that failed and were let pass.
    pub notes: Vec<CaptureNote>,
}

impl CaptureReport {
    pub(crate) fn new(graphs: Vec<GraphReport>, notes: Vec<CaptureNote>) -> Self {
        let modes = GraphMode::ALL.into_iter().filter_map(|mode| ModeReport::new(mode, &graphs));
        Self { modes: modes.collect(), graphs, notes }
    }

    /// Milliseconds of all captures.
    #[must_use]
    pub fn total_ms(&self) -> f64 {
        self.modes.iter().map(|mode| mode.total_ms).sum()
    }

    /// Device memory of all graphs.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.modes.iter().map(|mode| mode.size_bytes).sum()
    }
}

/// Columns of the table: heading and width.
const COLUMNS: [(&str, usize); 12] = [
    ("mode", 9),
    ("batch", 6),
    ("tokens", 6),
    ("seqs", 5),
    ("ops", 5),
    ("graphs", 6),
    ("launches", 8),
    ("capture ms", 10),
    ("instantiate ms", 14),
    ("upload ms", 9),
    ("bytes", 10),
    ("replays", 8),
];

impl fmt::Display for CaptureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_row(f, &COLUMNS.map(|(heading, _)| heading.to_owned()))?;
        for graph in &self.graphs {
            fmt_row(f, &cells(graph))?;
        }
        for mode in &self.modes {
            writeln!(f, "{mode}")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

fn cells(graph: &GraphReport) -> [String; 12] {
    let GraphKey { mode, descriptor } = graph.key;
    let kind = if descriptor.uniform { "decode" } else { "mixed" };
    [
        mode.to_string(),
        kind.to_owned(),
        descriptor.num_tokens.to_string(),
        descriptor.num_seqs.to_string(),
        graph.num_ops.to_string(),
        graph.num_graphs.to_string(),
        graph.num_launches.to_string(),
        format!("{:.3}", graph.capture_ms),
        format!("{:.3}", graph.instantiate_ms),
        format!("{:.3}", graph.upload_ms),
        graph.size_bytes.to_string(),
        graph.replays.to_string(),
    ]
}

/// Words to the left, numbers to the right.
fn fmt_row(f: &mut fmt::Formatter<'_>, cells: &[String; 12]) -> fmt::Result {
    for (index, (cell, (_, width))) in cells.iter().zip(COLUMNS).enumerate() {
        match index {
            0 => write!(f, "{cell:<width$}")?,
            1 => write!(f, "  {cell:<width$}")?,
            _ => write!(f, "  {cell:>width$}")?,
        }
    }
    writeln!(f)
}

#[cfg(test)]
mod tests;
