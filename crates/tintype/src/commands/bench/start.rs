//! `tintype bench start`: from the start of the process to the first token.

use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use tintype_graph::CapturePolicy;
use tintype_model::{ModelFiles, ModelInfo};
use tintype_ops::{ReadProbe, Stream};
use tintype_runner::{Request, SamplingParams};

use crate::args::StartArgs;
use crate::commands::start::start;
use crate::console::Console;
use crate::device::{Job, with_stream};
use crate::output::{bytes, plural, print, print_json};

pub(super) fn run(args: StartArgs, began: Instant, console: &Console) -> Result<()> {
    let files = args.engine.model.model.open()?;
    let limits = args.engine.request_limits(&files)?;
    limits.check_prompt_len(args.input_len.get()).context("--input-len")?;
    let job = Start { args: &args, files, began, console };
    let report = with_stream(args.engine.device, console, job)?;
    if args.json { print_json(&report) } else { print(&text(&report)) }
}

/// The outcome; field names are those of `--json`. Times are milliseconds.
#[derive(Serialize)]
struct Report {
    model: String,
    device: String,
    mode: String,
    /// From the start of the process until the device was open and its kernels loaded.
    open_ms: f64,
    /// From then until weights had been handed over and all buffers were there.
    load_ms: f64,
    /// Of capturing, instantiating and uploading graphs, whenever that was.
    capture_ms: f64,
    /// From the start of the process until weights were in place, and graphs that are captured at
    /// start-up.
    ready_ms: f64,
    /// From the start of the process until a prompt had its first token.
    first_token_ms: f64,
    /// From the start of the process until the last graph was captured: those that were missing at
    /// the first token are captured right after it.
    captured_ms: f64,
    weight_bytes: u64,
    /// Weights over the time from an open device to a ready one, in 10⁹ bytes a second.
    load_gb_per_s: f64,
    num_graphs: usize,
    /// Kernel launches inside the graphs.
    num_launches: usize,
    graph_bytes: u64,
}

struct Start<'a> {
    args: &'a StartArgs,
    files: ModelFiles,
    began: Instant,
    console: &'a Console,
}

impl Job for Start<'_> {
    type Output = Report;

    fn run<S: Stream + ReadProbe>(self, stream: S) -> Result<Report> {
        let elapsed_ms = || self.began.elapsed().as_secs_f64() * 1e3;
        let open_ms = elapsed_ms();
        let mut engine =
            start(stream, &self.files, &self.args.engine, CapturePolicy::Background, self.console)?;
        let captured_at_start = engine.graphs().is_sealed().then(elapsed_ms);
        engine.synchronize()?;
        let ready_ms = elapsed_ms();
        let params =
            SamplingParams { max_tokens: Some(1), ignore_eos: true, ..SamplingParams::default() };
        let prompt_ids = vec![1; self.args.input_len.get()];
        engine.generate(vec![Request { prompt_ids, params }])?;
        let first_token_ms = elapsed_ms();
        while engine.capture_next()?.is_some() {}
        let captured_ms = captured_at_start.unwrap_or_else(elapsed_ms);
        let (stats, captured) = (engine.stats(), engine.capture_report());
        let weight_bytes = ModelInfo::new(&self.files).weight_bytes;
        Ok(Report {
            model: engine.model_name().to_owned(),
            device: engine.device_info().name,
            mode: engine.compilation().mode().to_string(),
            open_ms,
            load_ms: stats.load_ms,
            capture_ms: stats.capture_ms,
            ready_ms,
            first_token_ms,
            captured_ms,
            weight_bytes,
            load_gb_per_s: weight_bytes as f64 / (ready_ms - open_ms) / 1e6,
            num_graphs: captured.modes.iter().map(|mode| mode.num_graphs).sum(),
            num_launches: captured.modes.iter().map(|mode| mode.num_launches).sum(),
            graph_bytes: captured.modes.iter().map(|mode| mode.size_bytes).sum(),
        })
    }
}

fn text(report: &Report) -> String {
    let Report { model, device, mode, num_launches, .. } = report;
    let us_per_launch = report.capture_ms * 1e3 / (*num_launches).max(1) as f64;
    let graphs = plural(report.num_graphs as u64, "graph");
    format!(
        "model        {model}\n\
         device       {device}\n\
         graphs       {mode}\n\
         open         {:.1} ms after the start of the process\n\
         load         {:.1} ms\n\
         capture      {:.1} ms: {graphs} of {num_launches} launches, {us_per_launch:.2} \
         µs each, {}\n\
         ready        {:.1} ms after the start: {} of weights at {:.1} GB/s\n\
         first token  {:.1} ms after the start\n\
         last graph   {:.1} ms after the start\n",
        report.open_ms,
        report.load_ms,
        report.capture_ms,
        bytes(report.graph_bytes),
        report.ready_ms,
        bytes(report.weight_bytes),
        report.load_gb_per_s,
        report.first_token_ms,
        report.captured_ms,
    )
}
