//! `tintype graphs`: captures every graph and reports on each.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tintype_graph::{CapturePolicy, GraphMode, GraphPool, to_dot};
use tintype_model::ModelFiles;
use tintype_ops::{ReadProbe, Stream};

use super::start::start;
use crate::args::GraphsArgs;
use crate::console::Console;
use crate::device::{Job, with_stream};
use crate::exit::UsageError;
use crate::output::{print, print_json};

pub(super) fn run(args: GraphsArgs, console: &Console) -> Result<()> {
    let files = args.engine.model.model.open()?;
    with_stream(args.engine.device, console, Graphs { args: &args, files, console })
}

struct Graphs<'a> {
    args: &'a GraphsArgs,
    files: ModelFiles,
    console: &'a Console,
}

impl Job for Graphs<'_> {
    type Output = ();

    fn run<S: Stream + ReadProbe>(self, stream: S) -> Result<()> {
        let mut engine =
            start(stream, &self.files, &self.args.engine, CapturePolicy::Startup, self.console)?;
        while engine.capture_next()?.is_some() {}
        if let Some(path) = &self.args.dot {
            draw(engine.graphs(), path)?;
        }
        let report = engine.capture_report();
        if self.args.json {
            print_json(&report)
        } else if report.graphs.is_empty() {
            let mode = engine.compilation().mode();
            print(&format!("no graphs were captured: cudagraph_mode is {mode}\n"))
        } else {
            print(&report.to_string())
        }
    }
}

/// Draws one graph: all sizes have the same ops, and a full one has them in one piece.
fn draw<S: Stream>(pool: &GraphPool<S>, path: &Path) -> Result<()> {
    let graphs = pool.report().graphs;
    let full = graphs.iter().find(|graph| graph.key.mode == GraphMode::Full);
    let graph = full.or(graphs.first()).map(|graph| graph.key);
    let ops = graph.and_then(|key| pool.ops(key)).ok_or_else(|| {
        UsageError("--dot draws a captured graph, and none was captured: graphs are off".into())
    })?;
    fs::write(path, to_dot(ops)).with_context(|| format!("cannot write {}", path.display()))
}
