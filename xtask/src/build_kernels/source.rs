//! The CUDA sources, and what each is made of.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// A `.cu` file: what one image is built from.
pub(super) struct Module {
    /// The file's name without `.cu`.
    pub(super) name: String,
    /// SHA-256 of the file and of every header of ours that it includes, by path relative to the
    /// folder of the kernels.
    pub(super) sources: BTreeMap<String, String>,
}

impl Module {
    /// The path of the `.cu` file, relative to the folder of the kernels.
    pub(super) fn path(&self) -> String {
        format!("{}.cu", self.name)
    }

    fn read(folder: &Path, name: &str) -> Result<Self> {
        let mut sources = BTreeMap::new();
        let mut pending = vec![format!("{name}.cu")];
        while let Some(path) = pending.pop() {
            if sources.contains_key(&path) {
                continue;
            }
            let text = fs::read_to_string(folder.join(&path));
            let text = text.with_context(|| format!("cannot read kernels/{path}"))?;
            pending.extend(includes(&text).map(|header| resolve(folder, &path, header)));
            sources.insert(path, sha256(text.as_bytes()));
        }
        Ok(Self { name: name.into(), sources })
    }
}

/// The modules in `folder`, in order of name; those in `only`, where it names any.
///
/// # Errors
/// When a file cannot be read, or `only` names one that does not exist.
pub(super) fn modules(folder: &Path, only: &[String]) -> Result<Vec<Module>> {
    let names = names(folder)?;
    for name in only {
        ensure!(names.contains(name), "no kernels/{name}.cu; there are: {}", names.join(", "));
    }
    let wanted = names.iter().filter(|name| only.is_empty() || only.contains(name));
    wanted.map(|name| Module::read(folder, name)).collect()
}

/// Names of the modules in `folder`, in order.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        names.extend(name.strip_suffix(".cu").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// What a file includes by `#include "..."`: headers of ours. System headers stand in angles.
fn includes(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix("#include")?.trim_start();
        rest.strip_prefix('"')?.split('"').next()
    })
}

/// The file that `header` names in the file `from`: beside it, or in `include/`, as the compiler
/// looks for it. All paths are relative to `folder`.
fn resolve(folder: &Path, from: &str, header: &str) -> String {
    let beside = from.rsplit_once('/').map_or_else(String::new, |(parent, _)| format!("{parent}/"));
    let beside = without_dots(&format!("{beside}{header}"));
    if folder.join(&beside).is_file() { beside } else { without_dots(&format!("include/{header}")) }
}

/// `a/../b` is `b`.
fn without_dots(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            ".." if !parts.is_empty() => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// Lower-case hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hmac_sha256::Hash::hash(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_ours_are_found() {
        let text =
            "#include <cstdint>\n#include \"view.cuh\"\n  #include \"params/rows.cuh\" // x\n";
        assert_eq!(includes(text).collect::<Vec<_>>(), ["view.cuh", "params/rows.cuh"]);
    }

    #[test]
    fn headers_lie_beside_the_file_or_in_the_include_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels");
        assert_eq!(resolve(&folder, "x.cu", "view.cuh"), "include/view.cuh");
        assert_eq!(resolve(&folder, "include/params/x.cuh", "../view.cuh"), "include/view.cuh");
        assert_eq!(resolve(&folder, "include/x.cuh", "pdl.cuh"), "include/pdl.cuh");
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), expected);
    }

    #[test]
    fn a_module_that_is_not_there_is_named() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels");
        let error = modules(&folder, &["nothing".into()]).err().unwrap().to_string();
        assert!(error.starts_with("no kernels/nothing.cu"), "{error}");
    }
}
