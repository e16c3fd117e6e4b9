//! Device memory: who owns which range, and how much is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use ptx_interp::{Memory, MemoryError};

use crate::capture::Unsafe;
use crate::config::expires;
use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::handle::Handle;

/// What every allocation's size is rounded up to in the accounts; 512 was seen on a GPU.
const GRANULE: u64 = 512;

/// Where an allocation came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// `cuMemAlloc`.
    Alloc,
    /// `cuMemAllocAsync`, from this pool.
    Pool(Handle),
    /// An allocation node of a graph.
    Graph,
}

/// A living allocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Allocation {
    pub(crate) bytes: u64,
    pub(crate) origin: Origin,
}

/// The memory of the device.
///
/// The limit is kept here and not in the interpreter's memory, since physical memory that is mapped
/// nowhere counts too.
#[derive(Debug)]
pub(crate) struct DeviceMemory {
    space: Arc<Memory>,
    total: u64,
    used: u64,
    allocations: BTreeMap<u64, Allocation>,
}

impl DeviceMemory {
    pub(crate) fn new(total: u64) -> DeviceMemory {
        let space = Arc::new(Memory::new(u64::MAX));
        DeviceMemory { space, total, used: 0, allocations: BTreeMap::new() }
    }

    /// What kernels run on.
    pub(crate) fn space(&self) -> &Arc<Memory> {
        &self.space
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    pub(crate) fn free_bytes(&self) -> u64 {
        self.total - self.used
    }

    /// Takes `bytes` of what is left.
    ///
    /// # Errors
    /// `OUT_OF_MEMORY`.
    pub(crate) fn claim(&mut self, bytes: u64) -> Result<()> {
        let free = self.free_bytes();
        match bytes.checked_next_multiple_of(GRANULE) {
            Some(rounded) if rounded <= free => {
                self.used += rounded;
                Ok(())
            }
            _ => Code::OUT_OF_MEMORY.err(format!("{bytes} bytes asked for, {free} are left")),
        }
    }

    /// Gives back what `claim` took.
    pub(crate) fn release(&mut self, bytes: u64) {
        self.used -= bytes.next_multiple_of(GRANULE);
    }

    pub(crate) fn alloc(&mut self, bytes: u64, origin: Origin) -> Result<u64> {
        if bytes == 0 {
            return Code::INVALID_VALUE.err("an allocation of 0 bytes");
        }
        self.claim(bytes)?;
        let address = self.space.alloc(bytes).map_err(refused)?;
        self.allocations.insert(address, Allocation { bytes, origin });
        Ok(address)
    }

    /// Makes the reserved range at `address` an allocation.
    pub(crate) fn alloc_at(&mut self, address: u64, bytes: u64, origin: Origin) -> Result<()> {
        self.claim(bytes)?;
        self.space.alloc_at(address, bytes).map_err(refused)?;
        self.allocations.insert(address, Allocation { bytes, origin });
        Ok(())
    }

    /// # Errors
    /// `INVALID_VALUE` if no allocation starts at `address`.
    pub(crate) fn free(&mut self, address: u64) -> Result<Allocation> {
        let Some(allocation) = self.allocations.remove(&address) else {
            return Code::INVALID_VALUE.err(self.not_an_allocation(address));
        };
        self.release(allocation.bytes);
        self.space.free(address).map_err(refused)?;
        Ok(allocation)
    }

    fn not_an_allocation(&self, address: u64) -> String {
        match self.space.allocation(address) {
            Some((base, _)) => {
                format!("{address:#x} is {} bytes into the allocation {base:#x}", address - base)
            }
            None => format!("{address:#x} is no allocation; freed twice?"),
        }
    }

    pub(crate) fn owner(&self, address: u64) -> Option<Allocation> {
        self.allocations.get(&address).copied()
    }

    pub(crate) fn allocations(&self) -> impl Iterator<Item = (u64, Allocation)> {
        self.allocations.iter().map(|(&address, &allocation)| (address, allocation))
    }

    /// Splits a range at the borders of mappings, which may lie side by side.
    fn pieces(&self, address: u64, bytes: u64) -> Result<Vec<(u64, usize)>, String> {
        let mut pieces = Vec::new();
        let (mut at, end) = (address, address.saturating_add(bytes));
        while at < end {
            let Some((base, len)) = self.space.allocation(at) else {
                return Err(format!(
                    "{bytes} bytes at {address:#x} leave device memory at {at:#x}"
                ));
            };
            let next = end.min(base + len);
            pieces.push((at, (next - at) as usize));
            at = next;
        }
        Ok(pieces)
    }

    /// # Errors
    /// `INVALID_VALUE` if some of the range is not device memory.
    pub(crate) fn check(&self, address: u64, bytes: u64) -> Result<()> {
        self.pieces(address, bytes).map(drop).map_err(|why| Code::INVALID_VALUE.because(why))
    }

    /// # Errors
    /// Why the range cannot be read.
    pub(crate) fn read(&self, address: u64, bytes: u64) -> Result<Vec<u8>, String> {
        let pieces = self.pieces(address, bytes)?;
        let mut out = vec![0; bytes as usize];
        for (at, len) in pieces {
            let start = (at - address) as usize;
            self.space.read(at, &mut out[start..start + len]).map_err(|e| e.to_string())?;
        }
        Ok(out)
    }

    /// # Errors
    /// Why the range cannot be written.
    pub(crate) fn write(&self, address: u64, bytes: &[u8]) -> Result<(), String> {
        for (at, len) in self.pieces(address, bytes.len() as u64)? {
            let start = (at - address) as usize;
            self.space.write(at, &bytes[start..start + len]).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// Repeats `pattern` from `address` on; `address` is a multiple of its length.
    ///
    /// # Errors
    /// Why the range cannot be written.
    pub(crate) fn fill(&self, address: u64, pattern: &[u8], count: u64) -> Result<(), String> {
        for (at, len) in self.pieces(address, count * pattern.len() as u64)? {
            self.space.fill(at, pattern, len / pattern.len()).map_err(|e| e.to_string())?;
        }
        Ok(())
    }
}

fn refused(error: MemoryError) -> crate::error::Failure {
    let code = match error {
        MemoryError::OutOfMemory { .. } => Code::OUT_OF_MEMORY,
        _ => Code::INVALID_VALUE,
    };
    code.because(error.to_string())
}

impl Driver {
    /// Counts an allocation of any kind, and fails it if it is the one to fail.
    pub(crate) fn admit_allocation(&mut self) -> Result<()> {
        self.counters.allocations += 1;
        if expires(&mut self.config.fail_alloc) {
            return Code::OUT_OF_MEMORY.err("injected failure of an allocation");
        }
        Ok(())
    }

    /// `cuMemAlloc`.
    pub(crate) fn mem_alloc(&mut self, bytes: u64, caller: &Caller) -> Result<u64> {
        self.forbid_in_capture(Unsafe("cuMemAlloc"), caller)?;
        self.admit_allocation()?;
        self.memory.alloc(bytes, Origin::Alloc)
    }

    /// `cuMemFree`: waits for all queued work first.
    pub(crate) fn mem_free(&mut self, address: u64, caller: &Caller) -> Result<()> {
        self.forbid_in_capture(Unsafe("cuMemFree"), caller)?;
        if address == 0 {
            return Ok(());
        }
        self.run_everything();
        self.healthy()?;
        self.memory.free(address).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_kept_in_granules() {
        let mut memory = DeviceMemory::new(2048);
        let address = memory.alloc(1, Origin::Alloc).unwrap();
        assert_eq!(memory.free_bytes(), 2048 - 512);
        assert_eq!(memory.alloc(1537, Origin::Alloc).unwrap_err().code, Code::OUT_OF_MEMORY);
        memory.alloc(1536, Origin::Alloc).unwrap();
        memory.free(address).unwrap();
        assert_eq!(memory.free_bytes(), 512);
    }

    #[test]
    fn a_range_may_cross_mappings_but_no_gap() {
        let mut memory = DeviceMemory::new(1 << 20);
        let base = memory.space().reserve(4096);
        memory.alloc_at(base, 1024, Origin::Graph).unwrap();
        memory.alloc_at(base + 1024, 1024, Origin::Graph).unwrap();
        let bytes: Vec<u8> = (0..100).collect();
        memory.write(base + 980, &bytes).unwrap();
        assert_eq!(memory.read(base + 980, 100).unwrap(), bytes);
        memory.fill(base + 1020, &[1, 2], 4).unwrap();
        assert_eq!(memory.read(base + 1020, 8).unwrap(), [1, 2, 1, 2, 1, 2, 1, 2]);
        assert!(memory.write(base + 1000, &[0; 1100]).is_err());
        assert_eq!(memory.check(base + 2048, 1).unwrap_err().code, Code::INVALID_VALUE);
    }
}
