//! Launches: their limits, and the parameters that they take along.

use std::sync::Arc;

use ptx_interp::Param;

use crate::config::expires;
use crate::device::Limits;
use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::ffi::{Extra, KernelParams};
use crate::handle::Handle;
use crate::module::{Function, Image};
use crate::operation::Operation;
use crate::types::{KernelNodeParams, LaunchAttribute, launch_attribute};

/// Shared memory of a block, static and dynamic, that needs no attribute.
pub(crate) const DEFAULT_SHARED: u32 = 48 << 10;

/// Most blocks of a cluster on every chip that has clusters, and with the attribute set.
const PORTABLE_CLUSTER: u32 = 8;
const LARGEST_CLUSTER: u32 = 16;

/// A kernel with everything that one run of it needs.
pub(crate) struct KernelCall {
    pub(crate) function: Handle,
    pub(crate) image: Arc<Image>,
    pub(crate) name: Arc<str>,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) shared_bytes: u32,
    /// The parameter buffer, laid out as the PTX declares it.
    pub(crate) params: Vec<u8>,
}

/// The shape of a launch and what its attributes ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shape {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) shared_bytes: u32,
    pub(crate) cooperative: bool,
    pub(crate) programmatic: bool,
}

impl Shape {
    pub(crate) fn new(grid: [u32; 3], block: [u32; 3], shared_bytes: u32) -> Shape {
        let cluster = [1; 3];
        Shape { grid, block, cluster, shared_bytes, cooperative: false, programmatic: false }
    }

    /// # Errors
    /// `INVALID_VALUE` for an unknown attribute, `NOT_SUPPORTED` for one that is not modelled.
    pub(crate) fn with(mut self, attributes: &[LaunchAttribute]) -> Result<Shape> {
        for attribute in attributes {
            let value = attribute.value.0;
            match attribute.id {
                launch_attribute::IGNORE | launch_attribute::PRIORITY => {}
                launch_attribute::COOPERATIVE => self.cooperative = value[0] != 0,
                launch_attribute::CLUSTER_DIMENSION => {
                    self.cluster = [value[0], value[1], value[2]]
                }
                launch_attribute::PROGRAMMATIC_STREAM_SERIALIZATION => {
                    self.programmatic = value[0] != 0;
                }
                id @ ..=launch_attribute::LAST => {
                    return Code::NOT_SUPPORTED
                        .err(format!("launch attribute {id} is not modelled"));
                }
                id => return Code::INVALID_VALUE.err(format!("unknown launch attribute {id}")),
            }
        }
        Ok(self)
    }

    pub(crate) fn threads(&self) -> u64 {
        volume(self.block)
    }
}

/// The product of three extents; larger than any limit if it would overflow.
pub(crate) fn volume(extents: [u32; 3]) -> u64 {
    extents.iter().fold(1, |product: u64, &extent| product.saturating_mul(extent.into()))
}

/// Checks a launch against what every chip, this one and the kernel allow.
///
/// # Errors
/// `INVALID_VALUE` for nearly all of it: the driver says no more.
pub(crate) fn check_shape(shape: &Shape, function: &Function, limits: &Limits) -> Result<()> {
    let kernel = function.kernel();
    let invalid = |why: String| Code::INVALID_VALUE.err(why);
    let Shape { grid, block, shared_bytes, .. } = *shape;
    let threads = shape.threads();
    if threads == 0 || grid.contains(&0) {
        return invalid(format!("a grid {grid:?} or block {block:?} of nothing"));
    }
    if threads > limits.max_threads.into() || block[2] > limits.max_block_z {
        return invalid(format!(
            "block {block:?} exceeds {} threads, or 64 in z",
            limits.max_threads
        ));
    }
    if grid[0] > limits.max_grid_x || grid[1].max(grid[2]) > limits.max_grid_yz {
        return invalid(format!("grid {grid:?} exceeds 2^31 - 1 in x, or 65535 in y or z"));
    }
    if let Some(most) = kernel.max_threads().filter(|&most| threads > most.into()) {
        return invalid(format!("{threads} threads, {} is compiled for {most}", function.name));
    }
    if let Some(required) = kernel.required_block().filter(|&required| required != block) {
        return invalid(format!("block {block:?}, {} requires {required:?}", function.name));
    }
    if shared_bytes > function.max_dynamic_shared_bytes {
        let most = function.max_dynamic_shared_bytes;
        return invalid(format!("{shared_bytes} bytes of dynamic shared memory, {most} allowed"));
    }
    check_cluster(shape, function, limits)?;
    if shape.cooperative && volume(grid) > u64::from(limits.resident_blocks(shape, function)) {
        return Code::COOPERATIVE_LAUNCH_TOO_LARGE
            .err(format!("grid {grid:?} does not fit at once"));
    }
    Ok(())
}

fn check_cluster(shape: &Shape, function: &Function, limits: &Limits) -> Result<()> {
    let blocks = volume(shape.cluster);
    let most = if function.large_clusters { LARGEST_CLUSTER } else { PORTABLE_CLUSTER };
    if blocks > 1 && !limits.has_clusters {
        return Code::NOT_SUPPORTED.err("clusters need compute capability 9.0");
    }
    if blocks == 0 || blocks > most.into() {
        return Code::INVALID_CLUSTER_SIZE
            .err(format!("cluster {:?}, {most} at most", shape.cluster));
    }
    if shape.grid.iter().zip(shape.cluster).any(|(grid, cluster)| grid % cluster != 0) {
        let why = format!("grid {:?} is no multiple of cluster {:?}", shape.grid, shape.cluster);
        return Code::INVALID_VALUE.err(why);
    }
    Ok(())
}

/// Copies the parameters that a launch passes, each with the size that the PTX declares.
fn gather(params: &[Param], values: KernelParams, extra: Extra) -> Result<Vec<u8>> {
    let bytes = params.last().map_or(0, |last| (last.offset + last.size) as usize);
    if bytes == 0 {
        return Ok(Vec::new());
    }
    if values.is_null() && extra.is_null() {
        return Code::INVALID_VALUE.err("no parameters for a kernel that has some");
    }
    if values.is_null() {
        return from_extra(extra, bytes);
    }
    let mut buffer = vec![0; bytes];
    for (index, param) in params.iter().enumerate() {
        let start = param.offset as usize;
        let value = values.read(index, param.size as usize)?;
        buffer[start..start + value.len()].copy_from_slice(&value);
    }
    Ok(buffer)
}

/// The buffer's size is the one thing about parameters that can be checked. A GPU refuses a large
/// one and reads on behind a small one; here both fail.
fn from_extra(extra: Extra, bytes: usize) -> Result<Vec<u8>> {
    let buffer = extra.buffer()?.read();
    let found = buffer.len();
    match found.cmp(&bytes) {
        std::cmp::Ordering::Equal => Ok(buffer),
        std::cmp::Ordering::Less => Code::INVALID_VALUE
            .err(format!("{found} bytes of parameters, the kernel reads {bytes}")),
        std::cmp::Ordering::Greater => Code::LAUNCH_OUT_OF_RESOURCES
            .err(format!("{found} bytes of parameters, the kernel takes {bytes}")),
    }
}

impl Driver {
    /// Counts a launch, and fails it if it is the one to fail.
    pub(crate) fn admit_launch(&mut self) -> Result<()> {
        self.counters.launches += 1;
        if expires(&mut self.config.fail_launch) {
            return Code::LAUNCH_OUT_OF_RESOURCES.err("injected failure of a launch");
        }
        Ok(())
    }

    /// `cuLaunchKernel`. Any failure invalidates a capture of the stream.
    pub(crate) fn launch_kernel(
        &mut self,
        function: Handle,
        shape: Shape,
        stream: Handle,
        params: KernelParams,
        extra: Extra,
        caller: &Caller,
    ) -> Result<()> {
        let stream = self.streams.resolve(stream, caller)?;
        self.or_invalidate(stream, |driver| {
            let call = driver.kernel_call(function, &shape, params, extra)?;
            driver.admit_launch()?;
            driver.submit(stream, Operation::Kernel(Arc::new(call)), shape.programmatic).map(drop)
        })
    }

    fn kernel_call(
        &self,
        handle: Handle,
        shape: &Shape,
        params: KernelParams,
        extra: Extra,
    ) -> Result<KernelCall> {
        let function = self.functions.get(handle)?;
        check_shape(shape, function, &self.limits())?;
        Ok(KernelCall {
            function: handle,
            image: Arc::clone(&function.image),
            name: Arc::clone(&function.name),
            grid: shape.grid,
            block: shape.block,
            cluster: shape.cluster,
            shared_bytes: shape.shared_bytes,
            params: gather(function.kernel().params(), params, extra)?,
        })
    }

    /// A node's new kernel call. Attributes are not part of the parameters: the cluster stays.
    pub(crate) fn kernel_call_of_node(
        &self,
        params: &KernelNodeParams,
        old: &KernelCall,
    ) -> Result<KernelCall> {
        let shape = Shape {
            cluster: old.cluster,
            ..Shape::new(params.grid, params.block, params.shared_bytes)
        };
        let function =
            if params.function == Handle::NULL { params.kernel } else { params.function };
        self.kernel_call(function, &shape, params.kernel_params, params.extra)
    }
}
