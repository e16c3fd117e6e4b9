//! What all blocks of a launch have in common.

use std::sync::Arc;

use super::order::Order;
use crate::instruction::{Code, Constant};
use crate::lanes::Register;
use crate::memory::Table;
use crate::{Fault, FaultKind, Kernel, Launch, Memory, Options};

/// Most shared memory of a block, static and dynamic, that any chip has: that of `sm_90`.
pub(crate) const MAX_SHARED_BYTES: u32 = 227 << 10;

/// Most blocks of a grid in x, y and z.
const MAX_GRID: [u32; 3] = [i32::MAX as u32, 65_535, 65_535];

/// Most threads of a block.
const MAX_THREADS: u32 = 1024;

/// Most blocks of a cluster.
const MAX_CLUSTER: u32 = 16;

/// One launch, ready to run.
pub(crate) struct Env<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) code: &'a Code,
    pub(crate) memory: &'a Memory,
    /// The allocations when the launch began.
    pub(crate) table: Arc<Table>,
    pub(crate) launch: &'a Launch<'a>,
    /// The parameter buffer, padded to whole words.
    pub(crate) params: Vec<u32>,
    /// Registers that hold constants, and their values.
    pub(crate) constants: Vec<(Register, u64)>,
    /// Shared memory of a block, static and dynamic.
    pub(crate) shared_bytes: u32,
    pub(crate) order: Order,
    pub(crate) max_steps: u64,
}

impl<'a> Env<'a> {
    /// Checks a launch against the rules and prepares it.
    pub(crate) fn new(
        memory: &'a Memory,
        launch: &'a Launch<'a>,
        options: &Options,
    ) -> Result<Self, Fault> {
        let kernel = launch.module.module().kernel(launch.kernel);
        let kernel = kernel.ok_or_else(|| invalid("the module has no such kernel".to_owned()))?;
        check(kernel, launch)?;
        let addresses = launch.module.addresses();
        let constants = kernel.code.constants.iter().map(|&(register, constant)| {
            let value = match constant {
                Constant::Value(value) => value,
                Constant::Global(index, offset) => addresses[index].wrapping_add_signed(offset),
                Constant::DynamicShared(_) => unreachable!("resolved by the parser"),
            };
            (register, value)
        });
        let mut padded = launch.params.to_vec();
        padded.resize(launch.params.len().next_multiple_of(4), 0);
        let words = padded.chunks_exact(4);
        let words = words.map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]));
        Ok(Self {
            kernel,
            code: &kernel.code,
            memory,
            table: memory.table(),
            launch,
            params: words.collect(),
            constants: constants.collect(),
            shared_bytes: shared_bytes(kernel, launch),
            order: Order::new(options.seed),
            max_steps: options.max_steps,
        })
    }

    pub(crate) fn threads_per_block(&self) -> u32 {
        self.launch.block.iter().product()
    }

    pub(crate) fn warps_per_block(&self) -> u32 {
        self.threads_per_block().div_ceil(32)
    }

    pub(crate) fn blocks_per_cluster(&self) -> u32 {
        self.launch.cluster.iter().product()
    }

    /// Clusters of the grid in x, y and z.
    pub(crate) fn clusters(&self) -> [u32; 3] {
        std::array::from_fn(|i| self.launch.grid[i] / self.launch.cluster[i])
    }

    pub(crate) fn num_clusters(&self) -> u64 {
        self.clusters().iter().map(|&n| u64::from(n)).product()
    }
}

fn shared_bytes(kernel: &Kernel, launch: &Launch<'_>) -> u32 {
    match launch.dynamic_shared_bytes {
        0 => kernel.shared_bytes,
        dynamic => kernel.dynamic_shared_offset.saturating_add(dynamic),
    }
}

fn invalid(message: String) -> Fault {
    Fault::new(FaultKind::InvalidLaunch, message)
}

/// The rules of a launch that do not depend on the device.
fn check(kernel: &Kernel, launch: &Launch<'_>) -> Result<(), Fault> {
    let Launch { grid, block, cluster, params, .. } = launch;
    let (expected, found) = (kernel.params_bytes() as usize, params.len());
    if found != expected {
        return Err(invalid(format!("{found} bytes of parameters, expected {expected}")));
    }
    if [grid, block, cluster].iter().any(|extent| extent.contains(&0)) {
        let message = format!("grid {grid:?}, block {block:?}, cluster {cluster:?}: 0 is no size");
        return Err(invalid(message));
    }
    if grid.iter().zip(MAX_GRID).any(|(grid, most)| *grid > most) {
        return Err(invalid(format!("a grid of {grid:?} blocks, the most are {MAX_GRID:?}")));
    }
    let shared = shared_bytes(kernel, launch);
    if shared > MAX_SHARED_BYTES {
        let most = MAX_SHARED_BYTES;
        return Err(invalid(format!("{shared} bytes of shared memory, the most are {most}")));
    }
    let threads = block.iter().try_fold(1u32, |product, &n| product.checked_mul(n));
    let most = kernel.max_threads.unwrap_or(MAX_THREADS).min(MAX_THREADS);
    if threads.is_none_or(|threads| threads > most) {
        return Err(invalid(format!("a block of {block:?} threads, the most are {most}")));
    }
    if kernel.required_block.is_some_and(|required| required != *block) {
        let required = kernel.required_block;
        return Err(invalid(format!("a block of {block:?} threads, required {required:?}")));
    }
    if kernel.required_cluster.is_some_and(|required| required != *cluster) {
        let required = kernel.required_cluster;
        return Err(invalid(format!("a cluster of {cluster:?} blocks, required {required:?}")));
    }
    let in_cluster = cluster.iter().try_fold(1u32, |product, &n| product.checked_mul(n));
    if in_cluster.is_none_or(|blocks| blocks > MAX_CLUSTER) {
        return Err(invalid(format!(
            "a cluster of {cluster:?} blocks, the most are {MAX_CLUSTER}"
        )));
    }
    if grid.iter().zip(cluster).any(|(grid, cluster)| grid % cluster != 0) {
        let message = format!("a grid of {grid:?} blocks is not made of clusters of {cluster:?}");
        return Err(invalid(message));
    }
    Ok(())
}
