//! What every command with an engine does first: start it, and say how that went.

use anyhow::Result;
use tintype_model::ModelFiles;
use tintype_ops::Stream;
use tintype_runner::{Engine, Progress as Event};

use crate::args::EngineArgs;
use crate::console::Console;
use crate::output::bytes;
use crate::progress::{Progress, Unit};

/// Starts the engine that the flags ask for.
pub(super) fn start<S: Stream>(
    stream: S,
    files: &ModelFiles,
    args: &EngineArgs,
    console: &Console,
) -> Result<Engine<S>> {
    let mut progress = StartProgress { console: *console, current: None, loaded_bytes: 0 };
    let mut show = |event| progress.show(event);
    let engine = Engine::new(stream, files, &args.config(), args.options(), &mut show)?;
    let StartProgress { loaded_bytes, .. } = progress;
    report(&engine, loaded_bytes, console);
    Ok(engine)
}

/// The bar of the phase that start-up is in.
struct StartProgress {
    console: Console,
    current: Option<(&'static str, Progress)>,
    loaded_bytes: u64,
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
                let bar = self.phase("capturing graphs", Unit::Items);
                bar.set(progress.num_done as u64, progress.num_total as u64);
            }
            Event::Verified(count) => {
                self.current = None;
                self.console.line(format_args!(
                    "verified {count} graphs: replay and eager run give the same bits"
                ));
            }
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

/// What was overridden, and a line for each phase.
fn report<S: Stream>(engine: &Engine<S>, loaded_bytes: u64, console: &Console) {
    for note in engine.notes() {
        console.line(format_args!("note: {note}"));
    }
    let stats = engine.stats();
    let (name, size) = (engine.model_name(), bytes(loaded_bytes));
    console.line(format_args!("loaded {name}: {size} of weights in {:.0} ms", stats.load_ms));
    let captured = engine.capture_report();
    for mode in &captured.modes {
        console.line(format_args!("captured {mode}"));
    }
    for note in &captured.notes {
        console.line(format_args!("note: {note}"));
    }
}
