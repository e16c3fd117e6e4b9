//! Addresses apart from memory: ranges set aside now, and allocated or freed at will later.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, PoisonError};

use super::{ALIGNMENT, Allocation, GUARD_BYTES, Memory, MemoryError};

impl Memory {
    /// Sets aside `bytes` addresses, which nothing else will ever get. No memory lies behind them:
    /// see [`Memory::alloc_at`]. The first is a multiple of 512.
    pub fn reserve(&self, bytes: u64) -> u64 {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let table = Arc::make_mut(&mut table);
        let base = table.next;
        table.next += bytes.next_multiple_of(ALIGNMENT) + GUARD_BYTES;
        base
    }

    /// Allocates `bytes` bytes of `0xFF` at `address`, in a range that [`Memory::reserve`] gave and
    /// where nothing is allocated now. Unlike other addresses, these can be allocated again after
    /// [`Memory::free`].
    ///
    /// # Errors
    /// When the range was never handed out or is in use, when the memory has no room for it, or
    /// for 0 bytes.
    pub fn alloc_at(&self, address: u64, bytes: u64) -> Result<(), MemoryError> {
        if bytes == 0 {
            return Err(MemoryError::Empty);
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let free_bytes = self.total_bytes - table.used_bytes;
        let rounded = bytes.checked_next_multiple_of(ALIGNMENT).filter(|&b| b <= free_bytes);
        let Some(rounded) = rounded else {
            return Err(MemoryError::OutOfMemory { requested_bytes: bytes, free_bytes });
        };
        let index = table.live.partition_point(|a| a.base <= address);
        let below = index.checked_sub(1).map(|index| &table.live[index]);
        let end_below = below.map_or(super::FIRST_ADDRESS, |a| a.base + a.bytes);
        let start_above = table.live.get(index).map_or(table.next, |a| a.base);
        if address < end_below || address + bytes > start_above {
            let allocation = below.map(|a| (a.base, a.bytes));
            return Err(MemoryError::OutOfBounds { address, len: bytes, allocation });
        }
        let table = Arc::make_mut(&mut table);
        let words = (0..bytes.div_ceil(4)).map(|_| AtomicU32::new(!0)).collect();
        table.live.insert(index, Allocation { base: address, bytes, words });
        table.used_bytes += rounded;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_addresses_can_be_allocated_again_and_again() {
        let memory = Memory::new(1 << 20);
        let address = memory.reserve(8192);
        let other = memory.alloc(16).unwrap();
        assert!(other >= address + 8192);
        assert!(memory.write(address, &[1]).is_err());
        for _ in 0..2 {
            memory.alloc_at(address + 512, 1024).unwrap();
            memory.write(address + 512, &[1]).unwrap();
            assert!(memory.alloc_at(address, 1024).is_err());
            memory.free(address + 512).unwrap();
            assert!(memory.write(address + 512, &[1]).is_err());
        }
        assert!(memory.alloc_at(other + (1 << 30), 16).is_err());
    }

    #[test]
    fn allocations_side_by_side_do_not_overlap() {
        let memory = Memory::new(1 << 20);
        let address = memory.reserve(8192);
        memory.alloc_at(address + 4096, 4096).unwrap();
        memory.alloc_at(address, 4096).unwrap();
        assert_eq!(memory.allocation(address + 4096), Some((address + 4096, 4096)));
        assert!(memory.alloc_at(address, 4096).is_err());
        assert_eq!(memory.free_bytes(), (1 << 20) - 8192);
    }
}
