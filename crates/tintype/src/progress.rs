//! Progress of long work: a bar where stderr is a terminal, a line now and then where it is not.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::console::Console;
use crate::output::bytes;

/// Work that is done sooner gets no bar: it would only flicker, and drawing takes time.
const BAR_DELAY: Duration = Duration::from_millis(300);

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
    /// When it started, or when the last line was printed.
    since: Instant,
}

impl Progress {
    pub(crate) fn new(console: Console, what: &'static str, unit: Unit) -> Self {
        Self { console, what, unit, bar: None, since: Instant::now() }
    }

    /// `done` of `total` is done; a total of 0 is unknown.
    pub(crate) fn set(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        } else if self.console.draws_bars() {
            if self.since.elapsed() >= BAR_DELAY {
                self.bar = Some(bar(self.what, self.unit, done, total));
            }
        } else if self.since.elapsed() >= LINE_INTERVAL {
            self.since = Instant::now();
            self.console.line(text(self.what, self.unit, done, total));
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

fn text(what: &str, unit: Unit, done: u64, total: u64) -> String {
    let show = |value| match unit {
        Unit::Bytes => bytes(value),
        Unit::Items => value.to_string(),
    };
    match total {
        0 => format!("{what}: {}", show(done)),
        _ => format!("{what}: {} of {}", show(done), show(total)),
    }
}

fn bar(what: &'static str, unit: Unit, done: u64, total: u64) -> ProgressBar {
    let (bar, template) = match (unit, total) {
        (Unit::Bytes, 0) => (ProgressBar::no_length(), "{msg} {decimal_bytes}"),
        (Unit::Items, 0) => (ProgressBar::no_length(), "{msg} {pos}"),
        (Unit::Bytes, _) => (
            ProgressBar::new(total),
            "{msg} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {eta}",
        ),
        (Unit::Items, _) => (ProgressBar::new(total), "{msg} [{bar:30}] {pos}/{len} {eta}"),
    };
    let style = ProgressStyle::with_template(template).expect("the templates are constants");
    bar.with_style(style.progress_chars("=> ")).with_message(what).with_position(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_it_has_come() {
        assert_eq!(text("loading", Unit::Bytes, 1_500_000, 3_000_000), "loading: 1.5 MB of 3.0 MB");
        assert_eq!(text("loading", Unit::Bytes, 1_500_000, 0), "loading: 1.5 MB");
        assert_eq!(text("capturing", Unit::Items, 3, 51), "capturing: 3 of 51");
    }

    #[test]
    fn every_bar_has_a_template_that_parses() {
        for unit in [Unit::Bytes, Unit::Items] {
            for total in [0, 10] {
                assert_eq!(bar("x", unit, 5, total).position(), 5);
            }
        }
    }
}
