//! The device: its name, its attributes, its limits.

use crate::driver::Driver;
use crate::error::{Code, Result};
use crate::launch::Shape;
use crate::module::Function;
use crate::types::Uuid;

/// What `cuDeviceGetName` says.
pub(crate) const NAME: &str = "fake-cuda (interpreted PTX)";

/// The device's identity; the bytes spell where it comes from.
pub(crate) const UUID: Uuid = *b"fake-cuda device";

/// Shared memory that the system takes from each block, in bytes.
const RESERVED_SHARED: u32 = 1 << 10;

/// Registers that every kernel is said to use: the interpreter allocates none.
pub(crate) const NUM_REGISTERS: u32 = 32;

/// The last `CUdevice_attribute` of CUDA 13.0.
const LAST_ATTRIBUTE: u32 = 147;

/// What the chip can hold and what a launch may ask of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    pub(crate) num_sms: u32,
    pub(crate) max_threads: u32,
    pub(crate) max_block_z: u32,
    pub(crate) max_grid_x: u32,
    pub(crate) max_grid_yz: u32,
    pub(crate) threads_per_sm: u32,
    pub(crate) blocks_per_sm: u32,
    pub(crate) shared_per_sm: u32,
    /// Most shared memory of a block, with the attribute set.
    pub(crate) shared_opt_in: u32,
    pub(crate) has_clusters: bool,
}

impl Limits {
    /// Blocks of a kernel that one multiprocessor holds at a time.
    pub(crate) fn blocks_per_sm(
        &self,
        threads: u32,
        static_shared: u32,
        dynamic_shared: u32,
    ) -> u32 {
        if threads == 0 || threads > self.max_threads {
            return 0;
        }
        let by_threads = self.threads_per_sm / threads.next_multiple_of(32);
        let by_shared = self.shared_per_sm / (static_shared + dynamic_shared + RESERVED_SHARED);
        by_threads.min(by_shared).min(self.blocks_per_sm)
    }

    /// Blocks of a launch that the whole chip holds at a time.
    pub(crate) fn resident_blocks(&self, shape: &Shape, function: &Function) -> u32 {
        let shared = function.kernel().shared_bytes();
        self.num_sms * self.blocks_per_sm(shape.threads() as u32, shared, shape.shared_bytes)
    }
}

impl Driver {
    /// The limits of a chip of the configured compute capability (CUDA programming guide, table of
    /// technical specifications).
    pub(crate) fn limits(&self) -> Limits {
        let capability = self.config.compute_capability;
        let (threads_per_sm, blocks_per_sm, shared_per_sm) = match capability {
            90.. => (2048, 32, 228 << 10),
            89 => (1536, 24, 100 << 10),
            86..89 => (1536, 16, 100 << 10),
            80..86 => (2048, 32, 164 << 10),
            _ => (1024, 16, 64 << 10),
        };
        let shared_opt_in =
            if capability >= 80 { shared_per_sm - RESERVED_SHARED } else { shared_per_sm };
        Limits {
            num_sms: self.config.num_sms,
            max_threads: 1024,
            max_block_z: 64,
            max_grid_x: i32::MAX as u32,
            max_grid_yz: 65535,
            threads_per_sm,
            blocks_per_sm,
            shared_per_sm,
            shared_opt_in,
            has_clusters: capability >= 90,
        }
    }

    /// # Errors
    /// `INVALID_DEVICE` for any ordinal but 0.
    pub(crate) fn check_device(&self, device: i32) -> Result<()> {
        match device {
            0 => Ok(()),
            _ => Code::INVALID_DEVICE.err(format!("device {device}: there is only device 0")),
        }
    }

    /// `cuDeviceGetAttribute`, by the numbers of `CUdevice_attribute`. What is not modelled is 0:
    /// the device does not have it.
    pub(crate) fn device_attribute(&self, attribute: u32) -> Result<u32> {
        let limits = self.limits();
        let capability = self.config.compute_capability;
        Ok(match attribute {
            1 => limits.max_threads,
            2 | 3 => limits.max_threads,
            4 => limits.max_block_z,
            5 => limits.max_grid_x,
            6 | 7 => limits.max_grid_yz,
            8 => crate::launch::DEFAULT_SHARED,
            // Constant memory.
            9 => 64 << 10,
            // Warp size.
            10 => 32,
            // Most bytes from row to row of a copy.
            11 => i32::MAX as u32,
            // Registers per block, and per multiprocessor.
            12 | 82 => 64 << 10,
            // Clock in kHz, of memory too; the width of its bus.
            13 | 36 => 1_000_000,
            37 => 128,
            16 => limits.num_sms,
            // Concurrent kernels, copy engines, unified addresses, stream priorities.
            31 | 40 | 41 | 78 => 1,
            // L2 cache.
            38 => 1 << 20,
            39 => limits.threads_per_sm,
            75 => capability / 10,
            76 => capability % 10,
            81 => limits.shared_per_sm,
            // Cooperative launches, registration of host memory, virtual memory, memory pools.
            95 | 99 | 102 | 115 => 1,
            97 => limits.shared_opt_in,
            106 => limits.blocks_per_sm,
            111 => RESERVED_SHARED,
            120 => u32::from(limits.has_clusters),
            // NUMA node of the host memory: none.
            134 => u32::MAX,
            _ if (1..=LAST_ATTRIBUTE).contains(&attribute) => 0,
            _ => return Code::INVALID_VALUE.err(format!("unknown device attribute {attribute}")),
        })
    }
}
