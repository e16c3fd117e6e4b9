//! `--prompt`, `--prompt-ids` and `--prompt-file`: where prompts come from.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

/// The prompts of one batch, in one of three spellings.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PromptArgs {
    /// Text to continue; repeat it for a batch
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true, help_heading = "Prompts")]
    pub(crate) prompt: Vec<String>,
    /// Token ids to continue, taken as they are; repeat it for a batch
    #[arg(long, value_name = "1,2,3", allow_hyphen_values = true, help_heading = "Prompts")]
    pub(crate) prompt_ids: Vec<TokenIds>,
    /// File with one prompt a line, `-` for stdin; empty lines are skipped
    #[arg(long, value_name = "FILE", help_heading = "Prompts")]
    pub(crate) prompt_file: Option<PathBuf>,
}

/// Token ids as written on the command line: separated by commas, blanks allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenIds(pub(crate) Vec<u32>);

impl FromStr for TokenIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = |part: &str| {
            let part = part.trim();
            part.parse().map_err(|_| format!("`{part}` is no token id; expected ids like 1,2,3"))
        };
        text.split(',').map(id).collect::<Result<_, _>>().map(Self)
    }
}
