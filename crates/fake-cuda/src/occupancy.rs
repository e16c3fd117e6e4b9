//! Attributes of functions, and how many of their blocks fit the chip.

use crate::driver::Driver;
use crate::error::{Code, Result};
use crate::handle::Handle;
use crate::launch::{Shape, volume};

/// `CUfunction_attribute`s that can be set.
const MAX_DYNAMIC_SHARED: u32 = 8;
const PREFERRED_CARVEOUT: u32 = 9;
const NON_PORTABLE_CLUSTER: u32 = 14;
const CLUSTER_SCHEDULING: u32 = 15;
/// The last one.
const LAST: u32 = 15;

impl Driver {
    /// `cuFuncGetAttribute`.
    pub(crate) fn function_attribute(&self, handle: Handle, attribute: u32) -> Result<u32> {
        let function = self.functions.get(handle)?;
        let kernel = function.kernel();
        let (major, minor) = function.image.loaded().module().version();
        Ok(match attribute {
            0 => kernel.max_threads().unwrap_or(self.limits().max_threads),
            1 => kernel.shared_bytes(),
            3 => kernel.local_bytes(),
            4 => crate::device::NUM_REGISTERS,
            5 => major * 10 + minor,
            6 => self.config.compute_capability,
            MAX_DYNAMIC_SHARED => function.max_dynamic_shared_bytes,
            // No preference.
            PREFERRED_CARVEOUT => u32::MAX,
            NON_PORTABLE_CLUSTER => function.large_clusters.into(),
            _ if attribute <= LAST => 0,
            _ => return Code::INVALID_VALUE.err(format!("unknown function attribute {attribute}")),
        })
    }

    /// `cuFuncSetAttribute`.
    pub(crate) fn set_function_attribute(
        &mut self,
        handle: Handle,
        attribute: u32,
        value: i32,
    ) -> Result<()> {
        let most = self.limits().shared_opt_in;
        let function = self.functions.get_mut(handle)?;
        match attribute {
            MAX_DYNAMIC_SHARED => {
                let room = most.saturating_sub(function.kernel().shared_bytes());
                match u32::try_from(value) {
                    Ok(bytes) if bytes <= room => function.max_dynamic_shared_bytes = bytes,
                    _ => {
                        let why = format!("{value} bytes of dynamic shared memory, {room} at most");
                        return Code::INVALID_VALUE.err(why);
                    }
                }
            }
            NON_PORTABLE_CLUSTER => function.large_clusters = value != 0,
            PREFERRED_CARVEOUT | CLUSTER_SCHEDULING => {}
            _ => return Code::INVALID_VALUE.err(format!("attribute {attribute} cannot be set")),
        }
        Ok(())
    }

    /// Offset and size of parameter `index`, for `cuFuncGetParamInfo`.
    ///
    /// # Errors
    /// `INVALID_VALUE` past the last parameter.
    pub(crate) fn param_info(&self, handle: Handle, index: usize) -> Result<(usize, usize)> {
        match self.functions.get(handle)?.kernel().params().get(index) {
            Some(param) => Ok((param.offset as usize, param.size as usize)),
            None => Code::INVALID_VALUE.err(format!("the kernel has no parameter {index}")),
        }
    }

    /// Blocks of `threads` threads that one multiprocessor holds at a time.
    pub(crate) fn occupancy(&self, handle: Handle, threads: i32, dynamic: usize) -> Result<i32> {
        let shared = self.functions.get(handle)?.kernel().shared_bytes();
        let (Ok(threads), Ok(dynamic)) = (u32::try_from(threads), u32::try_from(dynamic)) else {
            return Code::INVALID_VALUE.err("a block or shared memory of a negative size");
        };
        if threads == 0 {
            return Code::INVALID_VALUE.err("a block of no threads");
        }
        Ok(self.limits().blocks_per_sm(threads, shared, dynamic.min(1 << 30)) as i32)
    }

    /// Dynamic shared memory that each of `blocks` blocks on a multiprocessor can have.
    pub(crate) fn shared_per_block(&self, handle: Handle, blocks: i32) -> Result<usize> {
        let own = self.functions.get(handle)?.kernel().shared_bytes();
        let limits = self.limits();
        match u32::try_from(blocks) {
            Ok(blocks @ 1..) => {
                let each = (limits.shared_per_sm / blocks).min(limits.shared_opt_in + (1 << 10));
                Ok(each.saturating_sub(own + (1 << 10)) as usize)
            }
            _ => Code::INVALID_VALUE.err(format!("{blocks} blocks")),
        }
    }

    /// Clusters of a launch that the chip holds at a time.
    pub(crate) fn resident_clusters(&self, handle: Handle, shape: &Shape) -> Result<i32> {
        let function = self.functions.get(handle)?;
        let cluster = volume(shape.cluster).max(1);
        Ok((u64::from(self.limits().resident_blocks(shape, function)) / cluster) as i32)
    }
}
