//! Pinned host memory: allocated here or registered by the program.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;

use ptx_interp::Memory;

use crate::capture::Unsafe;
use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::ffi::{HostAddress, HostSpan};

/// What `cuMemHostAlloc` hands out is page-aligned.
const PAGE: usize = 4096;

/// Fresh pinned memory holds this, a NaN in every float format.
const POISON: u8 = 0xff;

/// Memory that the library owns and the program uses by address.
#[derive(Debug)]
struct Block {
    base: NonNull<u8>,
    layout: Layout,
}

#[allow(unsafe_code)]
mod block {
    use super::*;

    impl Block {
        pub(super) fn new(bytes: usize) -> Option<Block> {
            let layout = Layout::from_size_align(bytes.max(1), PAGE).ok()?;
            // SAFETY: the layout has a size above 0.
            let base = NonNull::new(unsafe { alloc(layout) })?;
            // SAFETY: the block was just allocated with this size.
            unsafe { base.write_bytes(POISON, layout.size()) };
            Some(Block { base, layout })
        }
    }

    impl Drop for Block {
        fn drop(&mut self) {
            // SAFETY: allocated in `new` with this layout, and freed only here.
            unsafe { dealloc(self.base.as_ptr(), self.layout) }
        }
    }

    // SAFETY: a block is plain memory, owned by the value; nothing about it belongs to a thread.
    unsafe impl Send for Block {}
}

#[derive(Debug)]
struct Pinned {
    bytes: usize,
    flags: u32,
    /// None if the program registered memory of its own.
    block: Option<Block>,
    /// Where kernels find it, once the program has asked.
    device: Option<u64>,
}

/// Pinned memory that kernels can use, as it was before they ran.
pub(crate) struct Mapped {
    host: HostSpan,
    device: u64,
    before: Vec<u8>,
}

/// The pinned ranges, by their first address.
#[derive(Debug, Default)]
pub(crate) struct HostAllocations {
    ranges: BTreeMap<usize, Pinned>,
}

impl HostAllocations {
    fn around(&self, address: usize) -> Option<(usize, &Pinned)> {
        let (&base, pinned) = self.ranges.range(..=address).next_back()?;
        (address - base < pinned.bytes).then_some((base, pinned))
    }

    /// Whether all of the range is pinned: a copy then uses it in place, when it runs.
    pub(crate) fn is_pinned(&self, address: usize, bytes: usize) -> bool {
        self.around(address).is_some_and(|(base, pinned)| address - base + bytes <= pinned.bytes)
    }

    /// First address and size of the pinned range that `address` is in.
    pub(crate) fn range(&self, address: usize) -> Option<(usize, usize)> {
        self.around(address).map(|(base, pinned)| (base, pinned.bytes))
    }

    /// Lets kernels see what the program has written to the ranges that have a device address.
    pub(crate) fn show_to_kernels(&self, space: &Memory) -> Result<Vec<Mapped>, String> {
        let mut shown = Vec::new();
        for (&base, pinned) in &self.ranges {
            let Some(device) = pinned.device else { continue };
            let host = HostSpan::new(HostAddress(base), pinned.bytes);
            let host = host.map_err(|failure| failure.why.into_owned())?;
            let before = host.read();
            space.write(device, &before).map_err(|error| error.to_string())?;
            shown.push(Mapped { host, device, before });
        }
        Ok(shown)
    }

    /// First address, size, and whether the library allocated it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, usize, bool)> {
        self.ranges.iter().map(|(&base, pinned)| (base, pinned.bytes, pinned.block.is_some()))
    }
}

impl Mapped {
    /// Lets the program see what kernels have written. The rest may be in use by the program.
    pub(crate) fn show_to_program(&self, space: &Memory) -> Result<(), String> {
        let mut after = vec![0; self.before.len()];
        space.read(self.device, &mut after).map_err(|error| error.to_string())?;
        let changed = |index: &usize| after[*index] != self.before[*index];
        for index in (0..after.len()).filter(changed) {
            self.host.part(index, 1).write(&after[index..=index]);
        }
        Ok(())
    }
}

impl Driver {
    /// `cuMemHostGetDevicePointer`. Another address than the host's, as the manual allows.
    pub(crate) fn host_device_pointer(&mut self, host: HostAddress, flags: u32) -> Result<u64> {
        if flags != 0 {
            return Code::INVALID_VALUE.err(format!("flags {flags:#x}: there are none"));
        }
        let base = self.host.range(host.0).map(|(base, _)| base);
        let pinned = base.and_then(|base| self.host.ranges.get_mut(&base));
        let (Some(base), Some(pinned @ Pinned { block: Some(_), .. })) = (base, pinned) else {
            return Code::INVALID_VALUE.err(format!("{:#x} was not allocated pinned", host.0));
        };
        let device = match pinned.device {
            Some(device) => device,
            None => match self.memory.space().alloc(pinned.bytes as u64) {
                Ok(device) => *pinned.device.insert(device),
                Err(error) => return Code::OUT_OF_MEMORY.err(error.to_string()),
            },
        };
        Ok(device + (host.0 - base) as u64)
    }

    /// `cuMemHostAlloc`.
    pub(crate) fn host_alloc(
        &mut self,
        bytes: usize,
        flags: u32,
        caller: &Caller,
    ) -> Result<usize> {
        self.forbid_in_capture(Unsafe("cuMemHostAlloc"), caller)?;
        if bytes == 0 {
            return Code::INVALID_VALUE.err("an allocation of 0 bytes");
        }
        self.admit_allocation()?;
        let Some(block) = Block::new(bytes) else {
            return Code::OUT_OF_MEMORY.err(format!("the host has no {bytes} bytes left"));
        };
        let base = block.base.as_ptr() as usize;
        self.host.ranges.insert(base, Pinned { bytes, flags, block: Some(block), device: None });
        Ok(base)
    }

    /// `cuMemFreeHost`: waits for all queued work first.
    pub(crate) fn host_free(&mut self, address: HostAddress, caller: &Caller) -> Result<()> {
        self.forbid_in_capture(Unsafe("cuMemFreeHost"), caller)?;
        self.run_everything();
        match self.host.ranges.get(&address.0) {
            Some(Pinned { block: Some(_), device, .. }) => {
                let freed = device.map_or(Ok(()), |device| self.memory.space().free(device));
                self.host.ranges.remove(&address.0);
                freed.or_else(|error| Code::UNKNOWN.err(error.to_string()))
            }
            _ => Code::INVALID_VALUE.err(format!("{:#x} is no pinned allocation", address.0)),
        }
    }

    /// `cuMemHostRegister`.
    pub(crate) fn host_register(
        &mut self,
        address: HostAddress,
        bytes: usize,
        flags: u32,
        caller: &Caller,
    ) -> Result<()> {
        self.forbid_in_capture(Unsafe("cuMemHostRegister"), caller)?;
        if address.0 == 0 || bytes == 0 {
            return Code::INVALID_VALUE.err("a null pointer or no bytes to register");
        }
        let (first, end) = (address.0, address.0.saturating_add(bytes));
        let overlaps =
            self.host.range(first).is_some() || self.host.ranges.range(first..end).next().is_some();
        if overlaps {
            return Err(Code::HOST_MEMORY_ALREADY_REGISTERED.into());
        }
        self.admit_allocation()?;
        self.host.ranges.insert(first, Pinned { bytes, flags, block: None, device: None });
        Ok(())
    }

    /// `cuMemHostUnregister`: waits for all queued work first.
    pub(crate) fn host_unregister(&mut self, address: HostAddress, caller: &Caller) -> Result<()> {
        self.forbid_in_capture(Unsafe("cuMemHostUnregister"), caller)?;
        self.run_everything();
        match self.host.ranges.get(&address.0) {
            Some(Pinned { block: None, .. }) => {
                self.host.ranges.remove(&address.0);
                Ok(())
            }
            _ => Err(Code::HOST_MEMORY_NOT_REGISTERED.into()),
        }
    }

    /// `cuMemHostGetFlags`.
    pub(crate) fn host_flags(&self, address: HostAddress) -> Result<u32> {
        match self.host.around(address.0) {
            Some((_, pinned)) => Ok(pinned.flags),
            None => Code::INVALID_VALUE.err(format!("{:#x} is not pinned", address.0)),
        }
    }
}
