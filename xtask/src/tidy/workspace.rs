//! What the rules look at: packages, Rust files and documents, read once.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};

use super::{code, metadata};

/// Everything that a rule may look at. Paths in it are relative to the root, with forward slashes.
pub(super) struct Workspace {
    pub(super) root: PathBuf,
    pub(super) packages: Vec<Package>,
    pub(super) sources: Vec<Source>,
    pub(super) documents: Vec<Document>,
}

/// A package as its manifest describes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) folder: String,
    pub(super) dependencies: Vec<Dependency>,
    /// The root file of each library, program, test, example and benchmark.
    pub(super) roots: Vec<String>,
    /// Names of its cargo features.
    pub(super) features: Vec<String>,
    /// Whether the manifest has a table of lints, of its own or the workspace's.
    pub(super) has_lints: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// A package of this workspace rather than of the registry.
    pub(super) ours: bool,
    /// Needed by tests, examples and benchmarks only, so it never reaches a user.
    pub(super) dev: bool,
}

/// A Rust file.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    /// The text without comments and literals.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = code::without_comments_and_literals(text);
        Self { path: path.into(), text: text.into(), code }
    }
}

/// A Markdown file.
pub(super) struct Document {
    pub(super) path: String,
    pub(super) text: String,
}

impl Document {
    pub(super) fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

impl Workspace {
    /// Reads the workspace in `root`: its packages' Rust files, and the Markdown files of its
    /// packages, of `docs` and of the root itself.
    pub(super) fn load(root: &Path) -> Result<Self> {
        let packages = metadata::packages(root)?;
        let (mut sources, mut documents) = (Vec::new(), Vec::new());
        for folder in packages.iter().map(|package| root.join(&package.folder)) {
            sources.extend(files(&folder, "rs")?);
            documents.extend(files(&folder, "md")?);
        }
        documents.extend(files(&root.join("docs"), "md")?);
        documents.extend(entries(root)?.into_iter().filter(|path| has_extension(path, "md")));
        Ok(Self {
            root: root.into(),
            packages,
            sources: read_all(root, &sources, Source::new)?,
            documents: read_all(root, &documents, Document::new)?,
        })
    }

    /// Whether there is a file or folder at `path`, which is relative to the root.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.root.join(path).exists()
    }
}

/// Reads `paths` and makes a `T` of each from its path relative to `root` and its text.
fn read_all<T>(root: &Path, paths: &[PathBuf], new: fn(&str, &str) -> T) -> Result<Vec<T>> {
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        Ok(new(&relative(root, path), &text))
    };
    paths.iter().map(read).collect()
}

/// `path` as the rules and their messages spell it.
pub(super) fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).unwrap_or(path);
    path.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// All files under `folder` with this extension. Hidden folders and cargo's own are left out.
fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in entries(folder)? {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'.');
        if path.is_dir() && !hidden && !path.join("CACHEDIR.TAG").exists() {
            found.extend(files(&path, extension)?);
        } else if has_extension(&path, extension) {
            found.push(path);
        }
    }
    Ok(found)
}

/// What lies directly in `folder`, in order of name.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect();
    let paths: io::Result<Vec<_>> = list();
    let mut paths = paths.with_context(|| format!("cannot list {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}
