//! `--model`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use tintype_model::{ModelError, ModelFiles, ModelSource};

use crate::demo;

/// Which model.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModelArgs {
    /// A Hugging Face model folder, `demo` (embedded), or `synthetic:NAME` (random weights)
    #[arg(long, value_name = "DIR|demo|synthetic:NAME", default_value_t, help_heading = "Model")]
    pub(crate) model: ModelChoice,
}

/// The three places that a model comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum ModelChoice {
    /// The small model inside the binary.
    #[default]
    Demo,
    /// Random weights in the shape of a known model.
    Synthetic(String),
    /// A folder; write `./demo` for one that is called `demo`.
    Folder(PathBuf),
}

impl ModelChoice {
    /// Reads the model's files; no device is involved.
    pub(crate) fn open(&self) -> Result<ModelFiles, ModelError> {
        let source = match self {
            Self::Demo => ModelSource::Embedded(demo::FILES),
            Self::Synthetic(name) => ModelSource::Synthetic(name.clone()),
            Self::Folder(folder) => ModelSource::Folder(folder.clone()),
        };
        let mut files = ModelFiles::open(source)?;
        files.name = self.to_string();
        Ok(files)
    }
}

impl FromStr for ModelChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("synthetic:") {
            Some(name) => Ok(Self::Synthetic(name.into())),
            None if text.is_empty() => Err("expected a folder, demo or synthetic:NAME".into()),
            None if text == "demo" => Ok(Self::Demo),
            None => Ok(Self::Folder(text.into())),
        }
    }
}

impl fmt::Display for ModelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Demo => f.write_str("demo"),
            Self::Synthetic(name) => write!(f, "synthetic:{name}"),
            Self::Folder(folder) => folder.display().fmt(f),
        }
    }
}
