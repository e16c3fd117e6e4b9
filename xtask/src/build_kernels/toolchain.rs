//! Finding nvcc, or fetching it, and calling it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The only version whose output is committed. Its PTX is of ISA 9.0, which driver 580 takes; a
/// later one writes PTX that this driver refuses.
pub(super) const VERSION: &str = "13.0.88";

/// What `--fetch-toolchain` installs: nvcc with what it needs to compile to PTX.
const WHEELS: [&str; 5] = [
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
];

/// How the committed PTX is compiled, besides the target.
pub(super) const FLAGS: [&str; 4] = ["-O3", "-std=c++17", "-I", "include"];

/// nvcc, and ptxas beside it.
pub(super) struct Toolchain {
    nvcc: PathBuf,
    ptxas: PathBuf,
}

impl Toolchain {
    /// The nvcc named by `nvcc`, `$NVCC`, `$CUDA_HOME` or `$PATH`, in this order; a private one
    /// under `target` where `fetch` is set.
    ///
    /// # Errors
    /// When there is none, or it is not version [`VERSION`].
    pub(super) fn find(nvcc: Option<&Path>, fetch: bool, target: &Path) -> Result<Self> {
        let nvcc = match nvcc {
            Some(nvcc) => nvcc.to_owned(),
            None if fetch => fetched(&target.join(format!("nvcc-{VERSION}")))?,
            None => installed().context(
                "no nvcc in $NVCC, $CUDA_HOME or on the PATH; name one with --nvcc, or let \
                 --fetch-toolchain install one under target/",
            )?,
        };
        let nvcc = fs::canonicalize(&nvcc).with_context(|| format!("no {}", nvcc.display()))?;
        let toolchain = Self { ptxas: nvcc.with_file_name("ptxas"), nvcc };
        toolchain.check_version()?;
        Ok(toolchain)
    }

    fn check_version(&self) -> Result<()> {
        let printed = output(Command::new(&self.nvcc).arg("--version"))?.stdout;
        let found = version(&printed).unwrap_or("of an unknown version");
        ensure!(
            found == VERSION,
            "{} is {found}, the committed PTX is of {VERSION}: let --fetch-toolchain install it",
            self.nvcc.display()
        );
        Ok(())
    }

    /// Compiles `source`, a path relative to `folder`, to PTX for `arch` (`compute_80`, ...).
    ///
    /// # Errors
    /// What the compiler says.
    pub(super) fn compile(
        &self,
        folder: &Path,
        source: &str,
        arch: &str,
        ptx: &Path,
    ) -> Result<()> {
        let mut nvcc = self.nvcc(folder, source, arch);
        output(nvcc.arg("--ptx").arg("-o").arg(ptx))?;
        Ok(())
    }

    /// What [`Self::compile`] compiles, after the preprocessor.
    ///
    /// # Errors
    /// What the compiler says.
    pub(super) fn preprocess(&self, folder: &Path, source: &str, arch: &str) -> Result<String> {
        Ok(output(self.nvcc(folder, source, arch).arg("-E"))?.stdout)
    }

    fn nvcc(&self, folder: &Path, source: &str, arch: &str) -> Command {
        let mut nvcc = Command::new(&self.nvcc);
        nvcc.current_dir(folder).args(FLAGS).arg(format!("-arch={arch}")).arg(source);
        nvcc
    }

    /// Assembles `ptx` for `arch` (`sm_80`, ...) to `cubin`; gives what `ptxas -v` says about it.
    ///
    /// # Errors
    /// What the assembler says.
    pub(super) fn assemble(&self, ptx: &Path, arch: &str, cubin: &Path) -> Result<String> {
        let mut ptxas = Command::new(&self.ptxas);
        ptxas.arg("-v").arg(format!("-arch={arch}")).arg(ptx).arg("-o").arg(cubin);
        Ok(output(&mut ptxas)?.stderr)
    }
}

fn installed() -> Option<PathBuf> {
    if let Some(nvcc) = env::var_os("NVCC") {
        return Some(nvcc.into());
    }
    let home = env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = home.into_iter().chain(env::split_paths(&path));
    folders.map(|folder| folder.join("nvcc")).find(|nvcc| nvcc.is_file())
}

/// The nvcc of a Python environment in `folder`, made at the first call.
fn fetched(folder: &Path) -> Result<PathBuf> {
    let done = folder.join("complete");
    if !done.is_file() {
        output(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
        let mut pip = Command::new(folder.join("bin/python"));
        output(pip.args(["-m", "pip", "install", "--quiet", "--no-deps"]).args(WHEELS))?;
        fs::write(&done, WHEELS.join("\n"))?;
    }
    let lib = folder.join("lib");
    for python in fs::read_dir(&lib).with_context(|| format!("no {}", lib.display()))? {
        let nvcc = python?.path().join("site-packages/nvidia/cu13/bin/nvcc");
        if nvcc.is_file() {
            return Ok(nvcc);
        }
    }
    bail!("the wheels in {} hold no nvcc: delete the folder and try again", folder.display())
}

/// `13.0.88` of a line `Cuda compilation tools, release 13.0, V13.0.88`.
fn version(printed: &str) -> Option<&str> {
    let (_, rest) = printed.split_once(", V")?;
    rest.split_whitespace().next()
}

struct Printed {
    stdout: String,
    stderr: String,
}

/// Runs `command` to its end.
fn output(command: &mut Command) -> Result<Printed> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} failed:\n{stdout}{stderr}");
    Ok(Printed { stdout, stderr })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        let printed = "nvcc: NVIDIA\nCuda compilation tools, release 13.0, V13.0.88\nBuild x";
        assert_eq!(version(printed), Some(VERSION));
        assert_eq!(version("gcc 12"), None);
    }

    #[test]
    fn another_program_is_not_taken_for_nvcc() {
        let error = Toolchain::find(Some(Path::new("/bin/true")), false, Path::new("target"));
        let message = error.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("--fetch-toolchain"), "{message}");
        let error = Toolchain::find(Some(Path::new("/no/nvcc")), false, Path::new("target"));
        assert!(error.is_err_and(|error| error.to_string().contains("/no/nvcc")));
    }
}
