//! What the compiler and clippy do not check: the workspace's own rules.
//!
//! [`check`] reads the workspace and hands it to one small function per rule. The rules that are
//! data (who may depend on whom, what is banned where, how long is too long) are in `tables`; a new
//! crate or an exception is a line there. Every rule has a unit test with planted bad input, so a
//! rule that cannot fail is caught as well.

mod bans;
mod code;
mod dead_files;
mod layers;
mod links;
mod metadata;
mod sizes;
mod tables;
mod workspace;

use std::fmt;
use std::path::Path;

use anyhow::Result;
use workspace::Workspace;

/// One breach of one rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// File, or file and line, relative to the root of the workspace: `crates/x/src/lib.rs:12`.
    pub place: String,
    /// What was found, what was expected, and what to do.
    pub what: String,
}

impl Problem {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// What [`check`] looked at and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Packages whose manifests were compared with the layer table.
    pub packages: usize,
    /// Rust files read.
    pub sources: usize,
    /// Functions measured in them.
    pub functions: usize,
    /// Markdown files read.
    pub documents: usize,
    /// Links and file names followed in them.
    pub links: usize,
    /// Every breach, ordered by place.
    pub problems: Vec<Problem>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "tidy: {} packages, {} Rust files, {} functions, {} documents, {} links; problems: {}",
            self.packages,
            self.sources,
            self.functions,
            self.documents,
            self.links,
            self.problems.len()
        )?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
    }
}

/// Checks the workspace whose root manifest lies in `root`.
///
/// # Errors
/// Cargo cannot describe the workspace, or a file in it cannot be read.
pub fn check(root: &Path) -> Result<Report> {
    Ok(inspect(&Workspace::load(root)?))
}

/// Applies every rule.
fn inspect(workspace: &Workspace) -> Report {
    let Workspace { packages, sources, documents, .. } = workspace;
    let mut problems = layers::check(packages, tables::CRATES);
    problems.extend(sources.iter().flat_map(sizes::check));
    problems.extend(sources.iter().flat_map(bans::check));
    problems.extend(dead_files::check(packages, sources));
    problems.extend(documents.iter().flat_map(|document| links::check(document, workspace)));
    problems.sort();
    Report {
        packages: packages.len(),
        sources: sources.len(),
        functions: sources.iter().map(|source| code::functions(&source.code).count()).sum(),
        documents: documents.len(),
        links: documents.iter().map(|document| links::targets(document).count()).sum(),
        problems,
    }
}

#[cfg(test)]
mod tests;
