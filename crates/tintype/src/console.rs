//! What is said on stderr: notes, progress and errors. Results never go through here.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use tracing::Level;

use crate::args::MessageArgs;
use crate::progress::Progress;

/// The only writer to stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    quiet: bool,
    terminal: bool,
}

impl Console {
    /// Also sends what the libraries trace to stderr, as far as the flags ask for it.
    pub(crate) fn new(args: MessageArgs) -> Self {
        let level = match (args.quiet, args.verbose) {
            (true, _) => Level::ERROR,
            (false, 0) => Level::WARN,
            (false, 1) => Level::INFO,
            (false, _) => Level::DEBUG,
        };
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(io::stderr)
            .with_ansi(false)
            .without_time()
            .init();
        Self { quiet: args.quiet, terminal: io::stderr().is_terminal() }
    }

    /// One line for people, unless they asked for quiet.
    pub(crate) fn line(&self, text: impl Display) {
        if !self.quiet {
            write_line(text);
        }
    }

    /// Why the run failed; not even `--quiet` hides it.
    pub(crate) fn error(&self, text: impl Display) {
        write_line(format_args!("error: {text}"));
    }

    /// Starts to report on something that may take long, for example `loading weights`.
    pub(crate) fn progress(&self, what: &'static str, unit: crate::progress::Unit) -> Progress {
        Progress::new(*self, what, unit)
    }

    /// Whether a progress bar can be drawn and is wanted.
    pub(crate) fn draws_bars(&self) -> bool {
        self.terminal && !self.quiet
    }
}

/// There is nobody left to tell when stderr cannot be written.
fn write_line(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}
