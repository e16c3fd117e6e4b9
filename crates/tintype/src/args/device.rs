//! `--device` and what belongs to it.

use std::fmt;
use std::num::NonZeroUsize;
use std::str::FromStr;

use clap::Args;

use super::count::threads;

/// Where ops run.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct DeviceArgs {
    /// Where to run; `auto` takes the best device there is and says which
    #[arg(long, value_name = "auto|cpu|cuda:N", default_value_t, help_heading = "Device")]
    pub(crate) device: DeviceChoice,
    /// CPU threads [default: all]
    #[arg(long, value_name = "N", help_heading = "Device")]
    #[arg(value_parser = threads, allow_negative_numbers = true)]
    pub(crate) threads: Option<NonZeroUsize>,
}

/// A device as the user names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// The best there is.
    #[default]
    Auto,
    /// This machine's processor.
    Cpu,
    /// The CUDA device of this ordinal.
    Cuda(u32),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let choice = match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()).map(Self::Cuda),
        };
        choice.ok_or_else(|| "expected auto, cpu or cuda:N, for example cuda:0".into())
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}
