//! What every command with an engine does first: start it, and say how that went.

use anyhow::Result;
use tintype_graph::CapturePolicy;
use tintype_model::ModelFiles;
use tintype_ops::Stream;
use tintype_runner::{Engine, Progress as Event};

use crate::args::EngineArgs;
use crate::console::Console;
use crate::output::{bytes, plural};
use crate::progress::{Progress, Unit};

/// Starts the engine that the flags ask for; they may say when graphs are captured, or leave it at
/// `capture`.
pub(super) fn start<S: Stream>(
    stream: S,
    files: &ModelFiles,
    args: &EngineArgs,
    capture: CapturePolicy,
    console: &Console,
) -> Result<Engine<S>> {
    let mut progress =
        StartProgress { console: *console, current: None, loaded_bytes: 0, num_verified: None };
    let mut show = |event| progress.show(event);
    let engine = Engine::new(stream, files, &args.config(), args.options(capture), &mut show)?;
    progress.current = None;
    report(&engine, &progress);
    if args.compilation.verify_graphs {
        report_verification(progress.num_verified, console);
    }
    Ok(engine)
}

/// The bar of the phase that start-up is in.
struct StartProgress {
    console: Console,
    current: Option<(&'static str, Progress)>,
    loaded_bytes: u64,
    /// `None` where no graph was captured at start-up.
    num_verified: Option<usize>,
}

impl StartProgress {
    fn show(&mut self, event: Event) {
        match event {
            Event::Loading(progress) => {
                self.loaded_bytes = progress.loaded_bytes;
                let bar = self.phase("loading weights", Unit::Bytes);
                bar.set(progress.loaded_bytes, progress.total_bytes);
            }
            Event::Capturing(progress) => {
                let bar = self.phase("capturing batch sizes", Unit::Items);
                bar.set(progress.num_done as u64, progress.num_total as u64);
            }
            Event::Verified(count) => self.num_verified = Some(count),
        }
    }

    fn phase(&mut self, what: &'static str, unit: Unit) -> &mut Progress {
        let current = self.current.take().filter(|(name, _)| *name == what);
        let (_, progress) = self
            .current
            .insert(current.unwrap_or_else(|| (what, self.console.progress(what, unit))));
        progress
    }
}

/// When the graphs are captured that are not there yet, for a command that leaves it to its steps.
pub(super) fn report_missing<S: Stream>(engine: &Engine<S>, console: &Console) {
    let num_missing = engine.graphs().num_missing();
    if num_missing == 0 {
        return;
    }
    let when = match engine.graphs().options().policy {
        CapturePolicy::Lazy => "each by the first step that needs it",
        _ => "behind the first steps",
    };
    let missing = plural(num_missing as u64, "batch size");
    console.line(format_args!("{missing} will be captured, {when}"));
}

/// What was overridden, and a line for each phase.
fn report<S: Stream>(engine: &Engine<S>, progress: &StartProgress) {
    let console = progress.console;
    for note in engine.notes() {
        console.line(format_args!("note: {note}"));
    }
    let (name, size) = (engine.model_name(), bytes(progress.loaded_bytes));
    let load_ms = engine.stats().load_ms;
    console.line(format_args!("loaded {name}: {size} of weights in {load_ms:.0} ms"));
    let captured = engine.capture_report();
    for mode in &captured.modes {
        console.line(format_args!("captured {mode}"));
    }
    for note in &captured.notes {
        console.line(format_args!("note: {note}"));
    }
}

/// What `--verify-graphs` came to. That there was nothing to verify is said too.
fn report_verification(num_verified: Option<usize>, console: &Console) {
    match num_verified {
        Some(0) => console.line("note: --verify-graphs has nothing to verify: graphs are off"),
        Some(count) => {
            let verified = plural(count as u64, "batch size");
            console.line(format_args!("verified {verified}: replays give the bits of eager runs"));
        }
        None => console.line(
            "note: --verify-graphs compares what is captured at start-up; graphs that are \
             captured later have their operands checked on replay only",
        ),
    }
}
