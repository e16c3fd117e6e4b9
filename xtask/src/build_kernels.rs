//! `cargo xtask build-kernels`: CUDA C++ to the PTX that the program embeds.
//!
//! Each `kernels/*.cu` is compiled once per [`Target`]. The output depends on nothing but the
//! sources and the compiler's version, so it is committed, and `--check` can rebuild and compare.

mod entry_points;
mod files;
mod manifest;
mod source;
mod toolchain;
mod twins;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result, ensure};
use clap::Args;

use entry_points::EntryPoint;
use files::Files;
use source::Module;
use toolchain::Toolchain;
use twins::Twins;

/// How to build.
#[derive(Args)]
pub(crate) struct Options {
    /// Rebuild and compare with what is there, byte for byte; write nothing.
    #[arg(long)]
    check: bool,
    /// Assemble machine code for these architectures too, e.g. sm_90a,sm_89.
    #[arg(long, value_delimiter = ',', value_name = "ARCH")]
    cubin: Vec<String>,
    /// Install the pinned compiler in a private Python environment under target/. Needs python3,
    /// and gcc on the PATH.
    #[arg(long)]
    fetch_toolchain: bool,
    /// The nvcc to use, instead of that of $NVCC, $CUDA_HOME or $PATH.
    #[arg(long, value_name = "PATH", conflicts_with = "fetch_toolchain")]
    nvcc: Option<PathBuf>,
    /// Build only these modules (kernels/NAME.cu), and leave the others as they are.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
}

/// What PTX is built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Compute capability 8.0 and everything later.
    Sm80,
    /// Compute capability 9.0 alone, with all that it offers.
    Sm90a,
}

impl Target {
    const ALL: [Self; 2] = [Self::Sm80, Self::Sm90a];

    const fn name(self) -> &'static str {
        match self {
            Self::Sm80 => "sm_80",
            Self::Sm90a => "sm_90a",
        }
    }

    /// The virtual architecture that nvcc compiles for.
    const fn virtual_arch(self) -> &'static str {
        match self {
            Self::Sm80 => "compute_80",
            Self::Sm90a => "compute_90a",
        }
    }

    const fn runs_on(self) -> &'static str {
        match self {
            Self::Sm80 => "For compute capability 8.0 and later.",
            Self::Sm90a => "For compute capability 9.0.",
        }
    }

    /// Whether machine code for `arch` comes from the PTX for this target.
    fn assembles_to(self, arch: &str) -> bool {
        (arch == "sm_90a") == (self == Self::Sm90a)
    }
}

/// A module, compiled.
struct Built {
    module: Module,
    images: Vec<Image>,
    /// Architecture and ELF image.
    cubins: Vec<(String, Vec<u8>)>,
}

/// A module's PTX for one target.
struct Image {
    target: Target,
    ptx: String,
    entry_points: Vec<EntryPoint>,
}

/// Builds the kernels of the workspace in `root`, or compares with what was built.
///
/// # Errors
/// What the compiler says; kernels that break a rule (see [`problems`]); output that differs from
/// what is there, with [`Options::check`].
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let (folder, target) = (root.join("kernels"), root.join("target"));
    let toolchain = Toolchain::find(options.nvcc.as_deref(), options.fetch_toolchain, &target)?;
    let scratch = target.join("build-kernels");
    fs::create_dir_all(&scratch)?;
    // Two builds at a time would lose each other's entries of the manifest.
    let lock = File::create(scratch.join("lock"))?;
    lock.lock()?;

    let mut files = Files::read(&folder)?;
    let cubins = files.cubins(&options.cubin, options.check || !options.only.is_empty());
    let modules = source::modules(&folder, &options.only)?;
    let build = |module| build(&toolchain, &folder, &scratch, module, &cubins);
    let built = in_parallel(modules, build)?;
    let problems = problems(&built, &Twins::read(&folder)?);
    ensure!(problems.is_empty(), "the kernels break rules:\n{}", problems.join("\n"));
    files.update(&folder, &built, &cubins)?;
    if options.check { files.compare(&folder) } else { files.write(&folder) }
}

/// Applies `build` to each module, on as many threads as the machine has.
fn in_parallel(
    modules: Vec<Module>,
    build: impl Fn(Module) -> Result<Built> + Sync,
) -> Result<Vec<Built>> {
    let queue = Mutex::new(modules.into_iter());
    let next = || queue.lock().ok()?.next();
    let work = || std::iter::from_fn(next).map(&build).collect::<Result<Vec<_>>>();
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let built = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(|worker| worker.join());
        results.collect::<Result<Vec<_>, _>>()
    });
    let built = built.ok().context("a thread that built kernels panicked")?;
    let mut built: Vec<Built> =
        built.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
    built.sort_by(|a, b| a.module.name.cmp(&b.module.name));
    Ok(built)
}

/// Compiles and assembles one module; intermediate files go to `scratch`.
fn build(
    toolchain: &Toolchain,
    folder: &Path,
    scratch: &Path,
    module: Module,
    cubins: &[String],
) -> Result<Built> {
    let (mut images, mut machine_code) = (Vec::new(), Vec::new());
    for target in Target::ALL {
        let file = scratch.join(format!("{}.{}.ptx", module.name, target.name()));
        toolchain.compile(folder, &module.path(), target.virtual_arch(), &file)?;
        let ptx = fs::read_to_string(&file)?;
        let source = toolchain.preprocess(folder, &module.path(), target.virtual_arch())?;
        let cubin = file.with_extension("cubin");
        let report = toolchain.assemble(&file, target.name(), &cubin)?;
        let entry_points = entry_points::read(&ptx, &source, &report);
        let entry_points = entry_points.with_context(|| format!("in kernels/{}", module.path()))?;
        images.push(Image { target, ptx, entry_points });
        for arch in cubins.iter().filter(|arch| target.assembles_to(arch)) {
            toolchain.assemble(&file, arch, &cubin)?;
            machine_code.push((arch.clone(), fs::read(&cubin)?));
        }
    }
    machine_code.sort();
    Ok(Built { module, images, cubins: machine_code })
}

/// Kernels that spill registers, use a stack, or whose parameter has no twin in Rust.
fn problems(built: &[Built], twins: &Twins) -> Vec<String> {
    let mut problems = Vec::new();
    for Built { module, images, .. } in built {
        for Image { target, entry_points, .. } in images {
            for entry_point in entry_points {
                let place = format!("{} for {}", module.path(), target.name());
                let found = cost(entry_point).into_iter().chain(twins.problem(entry_point));
                problems.extend(found.map(|what| format!("  kernels/{place}: {what}")));
            }
        }
    }
    problems
}

fn cost(entry_point: &EntryPoint) -> Option<String> {
    let (name, resources) = (&entry_point.name, entry_point.resources);
    (resources.spill_bytes + resources.stack_bytes > 0).then(|| {
        let (spills, stack) = (resources.spill_bytes, resources.stack_bytes);
        format!("{name} spills {spills} bytes and has a stack of {stack}; both must be 0")
    })
}
