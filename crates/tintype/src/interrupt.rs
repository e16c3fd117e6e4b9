//! Ctrl-C: the first one asks the run to stop after its step, the second one ends the process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::exit;

/// Whether Ctrl-C was pressed. Clones share the answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over Ctrl-C for the rest of the process; to be called once.
    pub(crate) fn install() -> Result<Self> {
        let interrupt = Self::default();
        let pressed = interrupt.clone();
        let handler = move || {
            if pressed.0.swap(true, Ordering::Relaxed) {
                std::process::exit(exit::INTERRUPTED.into());
            }
        };
        ctrlc::set_handler(handler).context("cannot take over Ctrl-C")?;
        Ok(interrupt)
    }

    /// Whether the run should stop.
    pub(crate) fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The run was stopped by Ctrl-C; what is done is done and printed.
#[derive(Debug)]
pub(crate) struct Interrupted {
    /// Prompts that are complete.
    pub(crate) num_done: usize,
    /// Prompts.
    pub(crate) num_total: usize,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted: {} of {} prompts are complete", self.num_done, self.num_total)
    }
}

impl std::error::Error for Interrupted {}
