//! How errors become messages and exit codes.

use std::error::Error;
use std::fmt;
use std::io;
use std::process::ExitCode;

use tintype_config::ConfigError;
use tintype_model::ModelError;
use tintype_runner::{ChatError, EngineError, RequestError};

use crate::console::Console;
use crate::interrupt::Interrupted;

/// The run failed.
const FAILED: u8 = 1;
/// The command line or the configuration is at fault; clap ends with this code too.
const USAGE: u8 = 2;
/// Stopped by Ctrl-C: 128 + SIGINT, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// An argument that turned out to be impossible only after parsing.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for UsageError {}

/// Says what went wrong and chooses the exit code.
pub(crate) fn report(error: &anyhow::Error, console: &Console) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read our output has had enough; that is no failure of ours.
        return ExitCode::SUCCESS;
    }
    let code = code(error);
    if code == INTERRUPTED {
        console.line(message(error));
    } else {
        console.error(message(error));
    }
    ExitCode::from(code)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().filter_map(|cause| cause.downcast_ref()).any(broken)
}

/// The code of the first cause that has one of its own.
fn code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(code_of).unwrap_or(FAILED)
}

fn code_of(cause: &(dyn Error + 'static)) -> Option<u8> {
    if cause.is::<Interrupted>() {
        return Some(INTERRUPTED);
    }
    if cause.is::<UsageError>() || cause.is::<ConfigError>() {
        return Some(USAGE);
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(code_of_model(error));
    }
    if let Some(error) = cause.downcast_ref() {
        return Some(code_of_engine(error));
    }
    let refused =
        cause.is::<RequestError>() || matches!(cause.downcast_ref(), Some(ChatError::NoTemplate));
    refused.then_some(USAGE)
}

/// A model that does not exist is a bad argument, and so is a limit that no model takes; a model
/// that is broken is a failed run, also where what is broken is its config.
fn code_of_model(error: &ModelError) -> u8 {
    match error {
        ModelError::NoFolder { .. }
        | ModelError::UnknownSynthetic { .. }
        | ModelError::Limits { .. } => USAGE,
        _ => FAILED,
    }
}

fn code_of_engine(error: &EngineError) -> u8 {
    match error {
        EngineError::Config(_) | EngineError::BeyondPositions { .. } | EngineError::Request(_) => {
            USAGE
        }
        EngineError::Model(error) => code_of_model(error),
        _ => FAILED,
    }
}

/// The causes from the outside in, leaving out those that an outer one has already told.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = cause.to_string();
        if text.is_empty() {
            text = part;
        } else if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn a_bad_argument_is_2_and_a_failed_run_1() {
        let config = tintype_config::CompilationConfig::from_json("{").unwrap_err();
        let unknown = ModelError::UnknownSynthetic { name: "x".into(), known: "y".into() };
        let limit = ModelError::Limits { name: "max_num_tokens", found: 0, max: 1 };
        let interrupted = Interrupted { num_done: 1, num_total: 2 };
        let broken = ModelError::Contradiction("x".into());
        assert_eq!(code(&anyhow::Error::from(config)), USAGE);
        assert_eq!(code(&anyhow::Error::from(UsageError("x".into())).context("y")), USAGE);
        assert_eq!(code(&anyhow::Error::from(unknown)), USAGE);
        assert_eq!(code(&anyhow::Error::from(EngineError::from(limit))), USAGE);
        assert_eq!(code(&anyhow::Error::from(EngineError::from(RequestError::EmptyPrompt))), USAGE);
        assert_eq!(code(&anyhow::Error::from(ChatError::NoTemplate)), USAGE);
        assert_eq!(code(&anyhow::Error::from(broken)), FAILED);
        assert_eq!(code(&anyhow!("anything else")), FAILED);
        assert_eq!(code(&anyhow::Error::from(interrupted)), INTERRUPTED);
    }

    #[test]
    fn a_model_with_a_bad_config_is_a_failed_run() {
        let source = tintype_config::CompilationConfig::from_json("{").unwrap_err();
        let error = ModelError::Config { file: "config.json".into(), source: source.into() };
        assert_eq!(code(&anyhow::Error::from(error)), FAILED);
    }

    #[test]
    fn a_message_tells_each_cause_once() {
        let source = io::Error::other("disk on fire");
        let error = ModelError::Io { file: "a.json".into(), source };
        let error = Err::<(), _>(error).context("opening the model").unwrap_err();
        assert_eq!(message(&error), "opening the model: cannot read a.json: disk on fire");
    }

    #[test]
    fn a_closed_pipe_is_recognised() {
        let closed = io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_broken_pipe(&anyhow::Error::from(closed).context("writing")));
        assert!(!is_broken_pipe(&anyhow!("broken pipe")));
    }
}
