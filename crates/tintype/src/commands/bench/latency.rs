//! `tintype bench latency`: times one batch again and again.

use anyhow::Result;
use tintype_graph::CapturePolicy;
use tintype_model::ModelFiles;
use tintype_ops::{ReadProbe, Stream};
use tintype_runner::bench::{LatencyOptions, LatencyReport, latency};

use crate::args::{EngineArgs, LatencyArgs};
use crate::commands::dtypes::Dtypes;
use crate::commands::start::start;
use crate::console::Console;
use crate::device::{Job, with_stream};
use crate::output::{bytes, print, print_json};
use crate::progress::Unit;

pub(super) fn run(args: LatencyArgs, console: &Console) -> Result<()> {
    let files = args.engine.model.model.open()?;
    let options = LatencyOptions {
        input_len: args.input_len.get(),
        output_len: args.output_len.get(),
        batch_size: args.batch_size.get(),
        num_iters: args.num_iters.get(),
        seed: args.seed,
        dtype: Dtypes::of(&files)?.names,
    };
    options.check(&args.engine.request_limits(&files)?)?;
    let job = Latency { engine: &args.engine, options, files, console };
    let report = with_stream(args.engine.device, console, job)?;
    if args.json { print_json(&report) } else { print(&text(&report)) }
}

struct Latency<'a> {
    engine: &'a EngineArgs,
    options: LatencyOptions,
    files: ModelFiles,
    console: &'a Console,
}

impl Job for Latency<'_> {
    type Output = LatencyReport;

    fn run<S: Stream + ReadProbe>(self, stream: S) -> Result<LatencyReport> {
        let Self { engine, options, files, console } = self;
        let mut engine = start(stream, &files, engine, CapturePolicy::Startup, console)?;
        let mut progress = console.progress("iterations", Unit::Items);
        let mut show = |done| progress.set(done as u64, options.num_iters as u64);
        Ok(latency(&mut engine, &options, &mut show)?)
    }
}

fn text(report: &LatencyReport) -> String {
    let LatencyReport { batch_size, input_len, output_len, num_iters, .. } = report;
    let (prefill, decode) = (report.prefill_ms, report.decode_ms_per_step);
    let (latency, p90) = (report.latency_ms.spread, report.latency_ms.p90);
    let steps_per_s = if decode.median > 0.0 { 1e3 / decode.median } else { 0.0 };
    format!(
        "model      {} in {}\n\
         device     {}\n\
         graphs     {}\n\
         batch      {batch_size} prompts of {input_len} tokens, {output_len} tokens each, \
         {num_iters} runs\n\
         prefill    {:.2} ms median, {:.2} to {:.2}\n\
         decode     {:.2} ms a step median, {:.2} to {:.2}: {:.1} tokens/s\n\
         latency    {:.2} ms median, {:.2} to {:.2}, 90 % within {p90:.2}\n\
         weights    {} a decode step, read at {:.1} GB/s\n\
         memory     {:.1} GB/s when the same threads sum 2 GiB\n",
        report.model,
        report.dtype,
        report.device,
        report.mode,
        prefill.median,
        prefill.min,
        prefill.max,
        decode.median,
        decode.min,
        decode.max,
        steps_per_s * *batch_size as f64,
        latency.median,
        latency.min,
        latency.max,
        bytes(report.weight_bytes),
        report.read_gb_per_s,
        report.probe_gb_per_s,
    )
}
