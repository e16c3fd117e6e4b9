//! What cargo built, from its own report.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The files that a call of cargo built or found up to date.
pub(crate) struct Built {
    artifacts: Vec<Artifact>,
}

struct Artifact {
    /// Of the target, e.g. a binary's.
    name: String,
    executable: Option<PathBuf>,
    files: Vec<PathBuf>,
}

/// Runs cargo in `root` with `args`, which build something.
///
/// # Errors
/// When it cannot be started or fails.
pub(crate) fn build(root: &Path, args: &[&str]) -> Result<Built> {
    let line = format!("cargo {}", args.join(" "));
    eprintln!("{line}");
    let output = Command::new("cargo")
        .args(args)
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start `{line}`: is cargo on the PATH?"))?;
    ensure!(output.status.success(), "`{line}` failed");
    let report = String::from_utf8(output.stdout).context("cargo's report is no UTF-8")?;
    Ok(Built { artifacts: report.lines().filter_map(artifact).collect() })
}

fn artifact(line: &str) -> Option<Artifact> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let path = |value: &Value| value.as_str().map(PathBuf::from);
    Some(Artifact {
        name: message["target"]["name"].as_str()?.to_owned(),
        executable: path(&message["executable"]),
        files: message["filenames"].as_array()?.iter().filter_map(path).collect(),
    })
}

impl Built {
    /// The program that was built from the target `name`.
    pub(crate) fn executable(&self, name: &str) -> Option<&Path> {
        let mut named = self.artifacts.iter().filter(|artifact| artifact.name == name);
        named.find_map(|artifact| artifact.executable.as_deref())
    }

    /// The shared library that was built from the target `name`.
    pub(crate) fn library(&self, name: &str) -> Option<&Path> {
        let named = self.artifacts.iter().filter(|artifact| artifact.name == name);
        let mut files = named.flat_map(|artifact| &artifact.files);
        files.find(|file| file.extension().is_some_and(|e| e == "so")).map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_are_found_by_target() {
        let report = [
            r#"{"reason":"compiler-artifact","target":{"name":"fake_cuda"},"executable":null,
               "filenames":["/t/libfake_cuda.so","/t/libfake_cuda.rlib"]}"#,
            r#"{"reason":"build-finished","success":true}"#,
            r#"{"reason":"compiler-artifact","target":{"name":"it"},"executable":"/t/it-1",
               "filenames":["/t/it-1"]}"#,
        ];
        let built = Built { artifacts: report.into_iter().filter_map(artifact).collect() };
        assert_eq!(built.library("fake_cuda"), Some(Path::new("/t/libfake_cuda.so")));
        assert_eq!(built.executable("it"), Some(Path::new("/t/it-1")));
        assert_eq!((built.library("it"), built.executable("fake_cuda")), (None, None));
    }
}
