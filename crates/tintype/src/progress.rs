//! Progress of long work: a bar where stderr is a terminal, a line now and then where it is not.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::console::Console;
use crate::output::bytes;

/// Without a terminal, how often a line says how far the work has come.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes, shown as MB or GB.
    Bytes,
    /// Whatever the name of the work says.
    Items,
}

/// One piece of work on its way.
pub(crate) struct Progress {
    console: Console,
    what: &'static str,
    unit: Unit,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    pub(crate) fn new(console: Console, what: &'static str, unit: Unit) -> Self {
        let bar = console.draws_bars().then(|| bar(what, unit));
        Self { console, what, unit, bar, last_line: Instant::now() }
    }

    /// `done` of `total` is done; a total of 0 is unknown.
    pub(crate) fn set(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total.max(done));
            bar.set_position(done);
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            self.console.line(self.text(done, total));
        }
    }

    fn text(&self, done: u64, total: u64) -> String {
        let show = |value| match self.unit {
            Unit::Bytes => bytes(value),
            Unit::Items => value.to_string(),
        };
        match total {
            0 => format!("{}: {}", self.what, show(done)),
            _ => format!("{}: {} of {}", self.what, show(done), show(total)),
        }
    }
}

/// The bar goes when the work ends, by an error too: what is said next takes its place.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &'static str, unit: Unit) -> ProgressBar {
    let count = match unit {
        Unit::Bytes => "{bytes}/{total_bytes}",
        Unit::Items => "{pos}/{len}",
    };
    let template = format!("{{msg}} [{{bar:30}}] {count} {{eta}}");
    let style = ProgressStyle::with_template(&template).expect("the template is a constant");
    ProgressBar::new(0).with_style(style.progress_chars("=> ")).with_message(what)
}
