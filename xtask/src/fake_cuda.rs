//! `cargo xtask fake-cuda`: a folder that makes any program run on the fake driver.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cargo;

/// Names by which programs look for the driver.
const NAMES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];

/// Builds the fake driver and prints the folder to put on `LD_LIBRARY_PATH` as the last line.
///
/// # Errors
/// When it does not build or cannot be copied.
pub(crate) fn run(root: &Path) -> Result<()> {
    println!("{}", build(root)?.display());
    Ok(())
}

/// The folder.
fn build(root: &Path) -> Result<PathBuf> {
    let built = cargo::build(root, &["build", "--release", "--package", "fake-cuda"])?;
    let library = built.library("fake_cuda").context("cargo built no fake driver")?;
    let folder = root.join("target/fake-cuda");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    for name in NAMES {
        let copy = folder.join(name);
        fs::copy(library, &copy).with_context(|| format!("writing {}", copy.display()))?;
    }
    Ok(folder)
}
