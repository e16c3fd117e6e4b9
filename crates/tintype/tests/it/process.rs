//! Runs the command and takes apart what it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// One run that has ended.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// This run, which must have ended well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The one JSON object on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        match self.json_lines().as_slice() {
            [value] => value.clone(),
            values => panic!("{} lines of JSON: {}", values.len(), self.stdout),
        }
    }

    /// The JSON objects on stdout, one a line.
    #[track_caller]
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Checks that the run failed with `code`, printed no result, and said all of `parts`.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        assert_eq!(self.stdout, "");
        assert!(self.stderr.contains("error: "), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in: {}", self.stderr);
        }
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The command, not yet started, with nothing on its stdin, on a machine that has a driver and no
/// device, whatever this machine has.
pub(crate) fn command(args: &[&str]) -> Command {
    command_on(&[("FAKE_CUDA_NO_DEVICE", "1")], args)
}

/// The command on a machine with the fake driver, which takes its settings from `variables`.
pub(crate) fn command_on(variables: &[(&str, &str)], args: &[&str]) -> Command {
    let driver = fake_cuda::driver_folder().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tintype"));
    command.args(args).stdin(Stdio::null());
    command.env("LD_LIBRARY_PATH", driver).envs(variables.iter().copied());
    command
}

/// Runs the command to its end.
pub(crate) fn tintype(args: &[&str]) -> Run {
    let mut command = command(args);
    if args.first() == Some(&"generate") && args.len() > 1 {
        // Debug builds fill the KV cache with NaNs; one for 256 sequences would take longest.
        command.args(["--num-kv-blocks", "64"]);
    }
    command.output().unwrap().into()
}

/// Runs the command to its end on a machine with the fake driver.
pub(crate) fn tintype_on(variables: &[(&str, &str)], args: &[&str]) -> Run {
    command_on(variables, args).output().unwrap().into()
}

/// The names of an object's fields, ascending.
#[track_caller]
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// A tiny model with random weights and a chat template.
pub(crate) fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name);
    assert!(folder.is_dir(), "no fixture {}", folder.display());
    folder.to_str().unwrap().into()
}

/// An empty folder, named so and after this process, for one test of it alone.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let name = format!("{name}-{}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A file with this text, for one test alone.
pub(crate) fn file(name: &str, text: &str) -> String {
    let path = scratch(name).join("file");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().into()
}

/// A copy of a fixture that lacks one file.
pub(crate) fn fixture_without(file: &str, copy: &str) -> String {
    let folder = scratch(copy);
    for entry in fs::read_dir(fixture("llama-gqa-f32")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != file {
            fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    folder.to_str().unwrap().into()
}
