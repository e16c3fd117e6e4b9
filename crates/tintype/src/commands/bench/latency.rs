//! `tintype bench latency`: times one batch again and again.

use anyhow::Result;
use tintype_graph::CapturePolicy;
use tintype_model::ModelFiles;
use tintype_ops::{ReadProbe, Stream};
use tintype_runner::bench::{LatencyOptions, LatencyReport, Spread, latency};

use crate::args::{EngineArgs, LatencyArgs};
use crate::commands::dtypes::Dtypes;
use crate::commands::start::start;
use crate::console::Console;
use crate::device::{Job, with_stream};
use crate::output::{bytes, plural, print, print_json};
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
    let count = |count: usize, what| plural(count as u64, what);
    let (latency, p90) = (report.latency_ms.spread, report.latency_ms.p90);
    let decode = report.decode_ms_per_step.map(|decode| {
        let tokens_per_s = report.batch_size as f64 * 1e3 / decode.median;
        format!("decode     {}: {tokens_per_s:.1} tokens/s\n", spread(decode, "ms a step"))
    });
    let weights = report.read_gb_per_s.map(|rate| {
        let size = bytes(report.weight_bytes);
        format!("weights    {size} a decode step, read at {rate:.1} GB/s\n")
    });
    format!(
        "model      {} in {}\n\
         device     {}\n\
         graphs     {}\n\
         batch      {} of {}, {} each, {}\n\
         prefill    {}\n\
         {}\
         latency    {}, 90 % within {p90:.2}\n\
         {}\
         memory     {:.1} GB/s when the same threads sum 2 GiB\n",
        report.model,
        report.dtype,
        report.device,
        report.mode,
        count(report.batch_size, "prompt"),
        count(report.input_len, "token"),
        count(report.output_len, "token"),
        count(report.num_iters, "run"),
        spread(report.prefill_ms, "ms"),
        decode.unwrap_or_default(),
        spread(latency, "ms"),
        weights.unwrap_or_default(),
        report.probe_gb_per_s,
    )
}

fn spread(Spread { median, min, max }: Spread, unit: &str) -> String {
    format!("{median:.2} {unit} median, {min:.2} to {max:.2}")
}
