//! Pinned host memory: allocated here or registered by the program.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;

use crate::capture::Unsafe;
use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::ffi::HostAddress;

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

    /// First address, size, and whether the library allocated it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, usize, bool)> {
        self.ranges.iter().map(|(&base, pinned)| (base, pinned.bytes, pinned.block.is_some()))
    }
}

impl Driver {
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
        self.host.ranges.insert(base, Pinned { bytes, flags, block: Some(block) });
        Ok(base)
    }

    /// `cuMemFreeHost`: waits for all queued work first.
    pub(crate) fn host_free(&mut self, address: HostAddress, caller: &Caller) -> Result<()> {
        self.forbid_in_capture(Unsafe("cuMemFreeHost"), caller)?;
        self.run_everything();
        match self.host.ranges.get(&address.0) {
            Some(Pinned { block: Some(_), .. }) => {
                self.host.ranges.remove(&address.0);
                Ok(())
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
        self.host.ranges.insert(first, Pinned { bytes, flags, block: None });
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
