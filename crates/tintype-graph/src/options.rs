//! How a pool behaves, beyond what the compilation config says.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// When graphs are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CapturePolicy {
    /// All of them before the first step, by
    /// [`GraphPool::capture_all`](crate::GraphPool::capture_all).
    #[default]
    Startup,
    /// Each by the first step that needs it. That step pays for the capture.
    Lazy,
    /// One at a time while the device is busy with a step or the caller is idle, by
    /// [`GraphPool::capture_next`](crate::GraphPool::capture_next). Until its turn has come, a
    /// batch runs eagerly, so no result waits for a capture.
    Background,
}

/// What happens when a graph cannot be captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnCaptureFailure {
    /// The error is returned.
    #[default]
    Error,
    /// The batches that the graph was for run eagerly, and the report has a note.
    Eager,
}

/// Options of a [`GraphPool`](crate::GraphPool).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraphOptions {
    /// When graphs are captured.
    pub policy: CapturePolicy,
    /// What happens when one cannot be.
    pub on_capture_failure: OnCaptureFailure,
    /// Checks before each replay that the step queues exactly the ops that were captured, on the
    /// same memory. Debug builds always do.
    pub verify: bool,
    /// Replays nothing: the same steps at the same padded shapes, every op run eagerly with a
    /// synchronise after it, so that a fault names its op.
    pub debug: bool,
    /// Replays nothing: the same steps at the same padded shapes run eagerly. What is computed is
    /// the same to the bit, so the two can be compared.
    pub force_eager: bool,
}

impl GraphOptions {
    pub(crate) const fn checks_operands(&self) -> bool {
        self.verify || cfg!(debug_assertions)
    }
}

impl CapturePolicy {
    /// Every policy.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Lazy, Self::Background];
}

impl OnCaptureFailure {
    /// Both choices.
    pub const ALL: [Self; 2] = [Self::Error, Self::Eager];
}

impl fmt::Display for CapturePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Startup => "startup",
            Self::Lazy => "lazy",
            Self::Background => "background",
        })
    }
}

impl fmt::Display for OnCaptureFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Eager => "eager",
        })
    }
}

impl FromStr for CapturePolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse("capture policy", text, &Self::ALL)
    }
}

impl FromStr for OnCaptureFailure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse("on_capture_failure", text, &Self::ALL)
    }
}

/// The choice that is spelt `text`; the error lists them all.
fn parse<T: Copy + fmt::Display>(what: &str, text: &str, choices: &[T]) -> Result<T, String> {
    let found = choices.iter().find(|choice| choice.to_string() == text);
    found.copied().ok_or_else(|| {
        let valid: Vec<String> = choices.iter().map(T::to_string).collect();
        format!("{what} {text:?} does not exist; choose one of {}", valid.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_parse_as_they_print_and_as_json_spells_them() {
        for policy in CapturePolicy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
            assert_eq!(serde_json::to_string(&policy).unwrap(), format!("\"{policy}\""));
        }
        for choice in OnCaptureFailure::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
            assert_eq!(serde_json::to_string(&choice).unwrap(), format!("\"{choice}\""));
        }
    }

    #[test]
    fn an_unknown_choice_lists_those_there_are() {
        let error = "eagerly".parse::<CapturePolicy>().unwrap_err();
        let expected = "capture policy \"eagerly\" does not exist; \
                        choose one of startup, lazy, background";
        assert_eq!(error, expected);
    }
}
