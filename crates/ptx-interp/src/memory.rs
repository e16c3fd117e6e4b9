//! Device memory: synthetic addresses, every access checked, shared by all threads.

mod reserve;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::scratch::Scratch;

/// Every allocation starts at a multiple of this many bytes.
const ALIGNMENT: u64 = 512;

/// First address handed out. Low enough to leave the windows of the other state spaces alone,
/// and never mapped in a process of ours: a synthetic address used as a pointer crashes at once.
const FIRST_ADDRESS: u64 = 0x10_0000_0000;

/// Bytes that no allocation owns behind each one, so that an access far past an end does not
/// land in the next allocation.
const GUARD_BYTES: u64 = 1 << 16;

/// Locks that make operations on more than four bytes atomic; see [`Memory::lock`].
const NUM_LOCKS: usize = 64;

/// The global memory of one device.
///
/// Addresses are synthetic and never reused, so the use of freed memory is always found. Fresh
/// memory is filled with `0xFF`: NaN in every float format. All methods take `&self`; accesses
/// from several threads behave as relaxed 32-bit atomics.
///
/// ```
/// let memory = ptx_interp::Memory::new(1 << 20);
/// let address = memory.alloc(8)?;
/// memory.write(address, &7u64.to_le_bytes())?;
/// let mut bytes = [0; 8];
/// memory.read(address, &mut bytes)?;
/// assert_eq!(u64::from_le_bytes(bytes), 7);
/// memory.free(address)?;
/// assert!(memory.read(address, &mut bytes).is_err());
/// # Ok::<(), ptx_interp::MemoryError>(())
/// ```
#[derive(Debug)]
pub struct Memory {
    total_bytes: u64,
    table: RwLock<Arc<Table>>,
    locks: [Mutex<()>; NUM_LOCKS],
    scratch: Scratch,
}

/// Why device memory refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// There is no room for an allocation.
    #[error("out of device memory: asked for {requested_bytes} bytes, {free_bytes} are free")]
    OutOfMemory {
        /// Bytes asked for.
        requested_bytes: u64,
        /// Bytes that could still be allocated.
        free_bytes: u64,
    },
    /// An allocation of no bytes.
    #[error("an allocation of 0 bytes; ask for at least 1")]
    Empty,
    /// An address range that leaves its allocation or lies in none.
    #[error("bytes {address:#x}..+{len} are outside device memory{}", near(*.allocation))]
    OutOfBounds {
        /// First byte of the range.
        address: u64,
        /// Length of the range in bytes.
        len: u64,
        /// Base and length of the closest allocation, if one is close.
        allocation: Option<(u64, u64)>,
    },
    /// An address range in memory that was freed.
    #[error("bytes {address:#x}..+{len} are in freed device memory")]
    Freed {
        /// First byte of the range.
        address: u64,
        /// Length of the range in bytes.
        len: u64,
    },
    /// A free of an address that no allocation starts at.
    #[error("cannot free {address:#x}: no allocation starts there (freed twice?)")]
    NotAllocated {
        /// The address.
        address: u64,
    },
}

fn near(allocation: Option<(u64, u64)>) -> String {
    match allocation {
        Some((base, len)) => format!("; the closest allocation is {base:#x}..+{len}"),
        None => String::new(),
    }
}

impl Memory {
    /// An empty memory of `total_bytes` bytes.
    pub fn new(total_bytes: u64) -> Self {
        let table = Table { live: Vec::new(), next: FIRST_ADDRESS, used_bytes: 0 };
        let locks = std::array::from_fn(|_| Mutex::new(()));
        Self {
            total_bytes,
            table: RwLock::new(Arc::new(table)),
            locks,
            scratch: Scratch::default(),
        }
    }

    /// Allocates `bytes` bytes of `0xFF` and returns their address, a multiple of 512.
    ///
    /// # Errors
    /// When the memory has no room for them, or for 0 bytes.
    pub fn alloc(&self, bytes: u64) -> Result<u64, MemoryError> {
        if bytes == 0 {
            return Err(MemoryError::Empty);
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let free_bytes = self.total_bytes - table.used_bytes;
        let rounded = bytes.checked_next_multiple_of(ALIGNMENT).filter(|&b| b <= free_bytes);
        let Some(rounded) = rounded else {
            return Err(MemoryError::OutOfMemory { requested_bytes: bytes, free_bytes });
        };
        let table = Arc::make_mut(&mut table);
        let base = table.next;
        let words = (0..bytes.div_ceil(4)).map(|_| AtomicU32::new(!0)).collect();
        table.live.push(Allocation { base, bytes, words });
        table.next += rounded + GUARD_BYTES;
        table.used_bytes += rounded;
        Ok(base)
    }

    /// Frees the allocation that starts at `address`.
    ///
    /// # Errors
    /// When no allocation starts there.
    pub fn free(&self, address: u64) -> Result<(), MemoryError> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        let index = table.live.binary_search_by_key(&address, |a| a.base);
        let index = index.map_err(|_| MemoryError::NotAllocated { address })?;
        let table = Arc::make_mut(&mut table);
        let freed = table.live.remove(index);
        table.used_bytes -= freed.bytes.next_multiple_of(ALIGNMENT);
        Ok(())
    }

    /// Copies the bytes at `address` to `out`.
    ///
    /// # Errors
    /// When the range is not inside one allocation.
    pub fn read(&self, address: u64, out: &mut [u8]) -> Result<(), MemoryError> {
        let table = self.table();
        let (allocation, start) = table.range(address, out.len() as u64)?;
        let whole = whole_words(start, out.len());
        let (words, rest) = out.split_at_mut(whole);
        let source = &allocation.words[start / 4..];
        for (bytes, word) in words.as_chunks_mut::<4>().0.iter_mut().zip(source) {
            *bytes = word.load(Ordering::Relaxed).to_le_bytes();
        }
        for Piece { word, skip, len, at } in pieces(start + whole, rest.len()) {
            let word = allocation.words[word].load(Ordering::Relaxed).to_le_bytes();
            rest[at..at + len].copy_from_slice(&word[skip..skip + len]);
        }
        Ok(())
    }

    /// Copies `bytes` to `address`.
    ///
    /// # Errors
    /// When the range is not inside one allocation.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let table = self.table();
        let (allocation, start) = table.range(address, bytes.len() as u64)?;
        let (words, rest) = bytes.split_at(whole_words(start, bytes.len()));
        for (bytes, word) in words.as_chunks::<4>().0.iter().zip(&allocation.words[start / 4..]) {
            word.store(u32::from_le_bytes(*bytes), Ordering::Relaxed);
        }
        allocation.write_with(start + words.len(), rest.len(), |at, out| {
            out.copy_from_slice(&rest[at..at + out.len()]);
        });
        Ok(())
    }

    /// Repeats `pattern` over `count` times its length from `address` on.
    ///
    /// # Errors
    /// When the range is not inside one allocation.
    pub fn fill(&self, address: u64, pattern: &[u8], count: usize) -> Result<(), MemoryError> {
        let table = self.table();
        let len = pattern.len().saturating_mul(count);
        let (allocation, start) = table.range(address, len as u64)?;
        if let Ok(word) = <[u8; 4]>::try_from(pattern)
            && start.is_multiple_of(4)
        {
            for to in &allocation.words[start / 4..start / 4 + count] {
                to.store(u32::from_le_bytes(word), Ordering::Relaxed);
            }
            return Ok(());
        }
        allocation.write_with(start, len, |at, out| {
            for (i, byte) in out.iter_mut().enumerate() {
                *byte = pattern[(at + i) % pattern.len()];
            }
        });
        Ok(())
    }

    /// Bytes that can still be allocated.
    pub fn free_bytes(&self) -> u64 {
        self.total_bytes - self.table().used_bytes
    }

    /// Bytes in all.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Base address and length in bytes of the allocation that `address` lies in.
    pub fn allocation(&self, address: u64) -> Option<(u64, u64)> {
        let table = self.table();
        let allocation = &table.live[table.find(address)?];
        allocation.contains(address, 1).then_some((allocation.base, allocation.bytes))
    }

    /// Base address and length in bytes of every allocation, in ascending order.
    pub fn allocations(&self) -> Vec<(u64, u64)> {
        self.table().live.iter().map(|a| (a.base, a.bytes)).collect()
    }

    /// The allocations of now. Memory freed later stays readable through it.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What launches on this memory have left to later ones.
    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The lock under which an access wider than four bytes to `address` is atomic.
    pub(crate) fn lock(&self, address: u64) -> MutexGuard<'_, ()> {
        let lock = &self.locks[(address / 8) as usize % NUM_LOCKS];
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The allocations, sorted by address.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    live: Vec<Allocation>,
    next: u64,
    used_bytes: u64,
}

impl Table {
    /// Index of the last allocation that starts at or before `address`.
    pub(crate) fn find(&self, address: u64) -> Option<usize> {
        self.live.partition_point(|a| a.base <= address).checked_sub(1)
    }

    /// The allocation at `index`, as [`Table::find`] gave it.
    pub(crate) fn get(&self, index: usize) -> Option<&Allocation> {
        self.live.get(index)
    }

    /// The allocation that owns `len` bytes from `address` on, and the offset of the first.
    fn range(&self, address: u64, len: u64) -> Result<(&Allocation, usize), MemoryError> {
        match self.find(address).map(|index| &self.live[index]) {
            Some(a) if a.contains(address, len) => Ok((a, (address - a.base) as usize)),
            _ => Err(self.explain(address, len)),
        }
    }

    /// Fails unless one allocation owns `len` bytes from `address` on.
    pub(crate) fn check(&self, address: u64, len: u64) -> Result<(), MemoryError> {
        self.range(address, len).map(|_| ())
    }

    /// Why no allocation owns `len` bytes from `address` on.
    pub(crate) fn explain(&self, address: u64, len: u64) -> MemoryError {
        let index = self.find(address);
        let below = index.map(|index| &self.live[index]);
        let above = self.live.get(index.map_or(0, |index| index + 1));
        let half = GUARD_BYTES / 2;
        let below = below.filter(|a| address - a.base < a.bytes + half);
        let above = above.filter(|a| a.base - address <= half);
        match below.or(above).map(|a| (a.base, a.bytes)) {
            None if (FIRST_ADDRESS..self.next).contains(&address) => {
                MemoryError::Freed { address, len }
            }
            allocation => MemoryError::OutOfBounds { address, len, allocation },
        }
    }
}

/// One allocation.
#[derive(Debug, Clone)]
pub(crate) struct Allocation {
    /// Address of the first byte.
    pub(crate) base: u64,
    /// Length in bytes.
    pub(crate) bytes: u64,
    /// The contents, little-endian, the last word padded.
    pub(crate) words: Arc<[AtomicU32]>,
}

impl Allocation {
    /// Whether all of `len` bytes from `address` on are in here.
    pub(crate) fn contains(&self, address: u64, len: u64) -> bool {
        let offset = address.wrapping_sub(self.base);
        offset <= self.bytes && len <= self.bytes - offset
    }

    /// Writes `len` bytes from offset `start` on, of which `source` gives those from one on.
    fn write_with(&self, start: usize, len: usize, source: impl Fn(usize, &mut [u8])) {
        for Piece { word, skip, len, at } in pieces(start, len) {
            let mut bytes = [0; 4];
            source(at, &mut bytes[skip..skip + len]);
            let mask = (!0u32 >> (32 - 8 * len)) << (8 * skip);
            self.store_bits(word, mask, u32::from_le_bytes(bytes));
        }
    }

    /// Sets the bits of `mask` in a word to those of `bits`, leaving the others to other threads.
    pub(crate) fn store_bits(&self, word: usize, mask: u32, bits: u32) {
        let word = &self.words[word];
        if mask == !0 {
            return word.store(bits, Ordering::Relaxed);
        }
        let mut old = word.load(Ordering::Relaxed);
        let merge = |old: u32| (old & !mask) | (bits & mask);
        while let Err(now) =
            word.compare_exchange_weak(old, merge(old), Ordering::Relaxed, Ordering::Relaxed)
        {
            old = now;
        }
    }
}

/// The part of a byte range that lies in one word.
struct Piece {
    /// Index of the word.
    word: usize,
    /// Bytes of the word before the part.
    skip: usize,
    /// Bytes of the part, 1 to 4.
    len: usize,
    /// Offset of the part in the range.
    at: usize,
}

/// How many of `len` bytes from byte `start` on can be copied as whole words.
fn whole_words(start: usize, len: usize) -> usize {
    if start.is_multiple_of(4) { len / 4 * 4 } else { 0 }
}

/// Splits `len` bytes from byte `start` on at the borders of words.
fn pieces(start: usize, len: usize) -> impl Iterator<Item = Piece> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let skip = (start + at) % 4;
        let piece = Piece { word: (start + at) / 4, skip, len: (4 - skip).min(len - at), at };
        at += piece.len;
        (piece.len > 0).then_some(piece)
    })
}
