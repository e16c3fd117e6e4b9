//! `cargo xtask gpu-bundle`: everything that a machine with nothing but a driver needs to test and
//! measure the program.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cargo;

/// What `run` does there: first the driver's rules, then the tests on the GPU.
const SCRIPT: &str = r#"#!/usr/bin/env bash
# Tests the program on this machine's GPU. Further arguments go to the tests.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
status=0
echo "== the driver's rules"
./driver-check || status=1
echo "== the tests"
TINTYPE_TEST_DEVICE=gpu TINTYPE_TEST_FIXTURES="$PWD/fixtures" ./it on_cuda "$@" || status=1
exit $status
"#;

/// Builds the folder and prints its path as the last line.
///
/// # Errors
/// When something does not build or cannot be copied.
pub(crate) fn run(root: &Path) -> Result<()> {
    let folder = root.join("target/gpu-bundle");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("clearing {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    for (args, target, name) in [
        (&["build", "--profile", "bundle", "--package", "tintype"][..], "tintype", "tintype"),
        (
            &[
                "build",
                "--profile",
                "bundle",
                "--package",
                "fake-cuda",
                "--example",
                "driver_check",
            ],
            "driver_check",
            "driver-check",
        ),
        (&["test", "--no-run", "--profile", "bundle", "--package", "tintype-tests"], "it", "it"),
    ] {
        let built = cargo::build(root, args)?;
        let program =
            built.executable(target).with_context(|| format!("cargo built no {target}"))?;
        copy(program, &folder.join(name))?;
    }
    copy_folder(&root.join("tests/fixtures"), &folder.join("fixtures"))?;
    let script = folder.join("run");
    fs::write(&script, SCRIPT).with_context(|| format!("writing {}", script.display()))?;
    // A copy has the permissions of what it copies, and so can be made executable without a call
    // that only some systems have.
    fs::set_permissions(&script, fs::metadata(folder.join("it"))?.permissions())?;
    println!("{}", folder.display());
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("reading {}", from.display()))?;
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        match path.is_dir() {
            true => copy_folder(&path, &to.join(name))?,
            false => copy(&path, &to.join(name))?,
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))
        .map(drop)
}
