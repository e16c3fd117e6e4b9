//! The kernels of one chip: loaded, resolved and compared with what the host passes them.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};

use tintype_kernels::{EntryPoint, Image};
use tintype_ops::{Error, Result};

use crate::OpenError;
use crate::driver::{Attribute, Context, DriverError, Function, LaunchConfig, Module, Queue};
use crate::launch::{Chip, Launch};

/// One entry point.
struct Kernel {
    function: Function,
    params_bytes: usize,
    was_used: AtomicBool,
}

/// Every kernel that the chip can run. All are loaded at once: a capture may not load any, on older
/// drivers, and a first launch should not be the one that pays.
pub(crate) struct Kernels {
    // Functions before their modules.
    kernels: HashMap<&'static str, Kernel>,
    _modules: Vec<Module>,
    num_launches: AtomicU64,
}

impl Kernels {
    /// Loads `images`.
    ///
    /// # Errors
    /// When one does not load, lacks an entry point, or takes other parameters than the host
    /// passes.
    pub(crate) fn load(
        context: &Arc<Context>,
        chip: Chip,
        images: &[Image],
    ) -> std::result::Result<Self, OpenError> {
        let mut kernels = HashMap::new();
        let modules = load_all(context, chip, images)?;
        for (module, image) in modules.iter().zip(images) {
            for entry in image.entry_points {
                let kernel = Kernel::new(module, chip, entry).map_err(|error| {
                    OpenError::Kernels { what: format!("{}: {}: {error}", image.name, entry.name) }
                })?;
                kernels.insert(entry.name, kernel);
            }
        }
        Ok(Self { kernels, _modules: modules, num_launches: AtomicU64::new(0) })
    }

    /// Queues a launch.
    ///
    /// # Errors
    /// When there is no such kernel, it takes parameters of another size, or the driver refuses.
    ///
    /// # Safety
    /// With these parameters the kernel accesses only live device memory that nothing else uses
    /// until it has run.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn launch(&self, queue: &Queue, launch: &Launch) -> Result<()> {
        let kernel = self.kernel(launch)?;
        let config = config(launch);
        // SAFETY: the kernel takes one parameter of this size, which was checked when it was
        // loaded and now; the rest is the caller's promise.
        let outcome = unsafe { kernel.function.launch(queue, &config, &launch.params) };
        outcome.map_err(|error| Error::from(error).context(describe(launch)))?;
        kernel.was_used.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Clusters of `launch` that the device holds at a time.
    ///
    /// # Errors
    /// When there is no such kernel, it takes parameters of another size, or the driver refuses.
    pub(crate) fn max_clusters(&self, launch: &Launch) -> Result<u32> {
        let clusters = self.kernel(launch)?.function.max_clusters(&config(launch));
        clusters.map_err(|error| Error::from(error).context(describe(launch)))
    }

    fn kernel(&self, launch: &Launch) -> Result<&Kernel> {
        let name = launch.kernel;
        let kernel = self.kernels.get(name).ok_or_else(|| {
            Error::Device(format!("the kernels built for this chip have no {name}"))
        })?;
        let (found, expected) = (launch.params.len(), kernel.params_bytes);
        if found != expected {
            let what = format!("{name} takes {expected} bytes of parameters, given {found}");
            return Err(Error::Device(what));
        }
        Ok(kernel)
    }

    /// Adds to the launches that were run.
    pub(crate) fn count_launches(&self, count: usize) {
        self.num_launches.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Launches that were run.
    pub(crate) fn num_launches(&self) -> u64 {
        self.num_launches.load(Ordering::Relaxed)
    }

    /// Different kernels that were launched or recorded.
    pub(crate) fn num_used(&self) -> usize {
        self.kernels.values().filter(|kernel| kernel.was_used.load(Ordering::Relaxed)).count()
    }
}

impl Kernel {
    fn new(module: &Module, chip: Chip, entry: &EntryPoint) -> std::result::Result<Self, String> {
        let text = |error: DriverError| error.to_string();
        let function = module.function(entry.name).map_err(text)?;
        let found = function.param_bytes(0).map_err(text)?;
        let (expected, params) = (entry.params_bytes, entry.params);
        if found != expected {
            return Err(format!("it takes {found} bytes, but {params} has {expected}"));
        }
        function.allow_shared_bytes(chip.max_shared_bytes).map_err(text)?;
        Ok(Self { function, params_bytes: expected, was_used: AtomicBool::new(false) })
    }
}

/// Loads the images side by side: where they are compiled first, that takes long.
fn load_all(
    context: &Arc<Context>,
    chip: Chip,
    images: &[Image],
) -> std::result::Result<Vec<Module>, OpenError> {
    thread::scope(|scope| {
        let start = |image| {
            let load = move || load(context, chip, image);
            thread::Builder::new().spawn_scoped(scope, load).map_err(|_| image)
        };
        let threads: Vec<_> = images.iter().map(start).collect();
        let module = |thread: std::result::Result<ScopedJoinHandle<'_, _>, _>| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
            // The system gives no more threads; this one is left.
            Err(image) => load(context, chip, image),
        };
        threads.into_iter().map(module).collect()
    })
}

#[allow(unsafe_code)]
fn load(
    context: &Arc<Context>,
    chip: Chip,
    image: &Image,
) -> std::result::Result<Module, OpenError> {
    context.bind()?;
    if let Some(cubin) = image.cubin(chip.compute_capability) {
        // SAFETY: the assembler wrote it, and it was embedded whole.
        match unsafe { Module::load_cubin(context, cubin) } {
            // A driver that does not take the machine code may still take what it came from.
            Err(error) if error.source.is_other_machine() => {}
            outcome => return outcome.map_err(OpenError::loading(image.name)),
        }
    }
    Module::compile(context, image.ptx).map_err(OpenError::loading(image.name))
}

/// A launch as the driver takes it.
fn config(launch: &Launch) -> LaunchConfig {
    let cluster = (launch.cluster > 1).then_some(Attribute::ClusterDimension(launch.cluster));
    let programmatic = launch.programmatic.then_some(Attribute::ProgrammaticStreamSerialization);
    LaunchConfig {
        grid: launch.grid,
        block: launch.block,
        shared_bytes: launch.shared_bytes,
        attributes: [cluster, programmatic],
    }
}

/// A launch as errors name it.
fn describe(launch: &Launch) -> String {
    let Launch { kernel, grid, block, cluster, shared_bytes, .. } = launch;
    format!(
        "launching {kernel} with grid {grid:?}, block {block:?}, cluster {cluster} and \
         {shared_bytes} bytes of shared memory"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_launch_has_no_attributes() {
        let launch = Launch::new("k", [1, 2, 3], [32, 1, 1], &7u32);
        let expected = LaunchConfig {
            grid: [1, 2, 3],
            block: [32, 1, 1],
            shared_bytes: 0,
            attributes: [None; 2],
        };
        assert_eq!(config(&launch), expected);
    }

    #[test]
    fn clusters_and_early_starts_are_attributes() {
        let launch = Launch::new("k", [8, 1, 1], [32, 1, 1], &7u32);
        let launch = Launch { cluster: 4, programmatic: true, shared_bytes: 99, ..launch };
        let config = config(&launch);
        let cluster = Attribute::ClusterDimension(4);
        let expected = [Some(cluster), Some(Attribute::ProgrammaticStreamSerialization)];
        assert_eq!((config.attributes, config.shared_bytes), (expected, 99));
    }

    #[test]
    fn a_refused_launch_is_named_with_its_shape() {
        let launch = Launch::new("add_f32", [8, 1, 1], [32, 1, 1], &7u32);
        let expected = "launching add_f32 with grid [8, 1, 1], block [32, 1, 1], cluster 1 and 0 \
                        bytes of shared memory";
        assert_eq!(describe(&launch), expected);
    }
}
