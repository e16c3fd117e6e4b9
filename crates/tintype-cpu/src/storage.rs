//! The memory of one buffer: aligned, zeroed lazily, poisoned in debug builds.

use bytemuck::AnyBitPattern;
use bytemuck::NoUninit;

/// Alignment of every buffer: a cache line, and a whole AVX-512 vector.
const ALIGN: usize = 64;
const WORD: usize = size_of::<u64>();

/// Written over fresh memory in debug builds: every float type reads it as NaN.
const POISON: u8 = 0xFF;

/// Bytes that start on a cache line.
///
/// They lie inside a vector of words because the allocator hands out lazily zeroed pages only for
/// ordinary alignments: a KV cache of many GiB costs nothing until it is written.
#[derive(Default)]
pub(crate) struct Storage {
    words: Vec<u64>,
    start: usize,
    len: usize,
    resident: bool,
}

impl Storage {
    /// Allocates `len` bytes; `None` when there is no room.
    pub(crate) fn alloc(len: usize) -> Option<Self> {
        let num_words = len.checked_add(2 * ALIGN)? / WORD;
        let words: Vec<u64> = bytemuck::try_zeroed_vec(num_words).ok()?;
        let start = words.as_ptr().addr().next_multiple_of(ALIGN) - words.as_ptr().addr();
        let mut storage = Self { words, start, len, resident: false };
        if cfg!(debug_assertions) {
            storage.bytes_mut().fill(POISON);
        }
        Some(storage)
    }

    /// Size in bytes, as asked for.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The bytes, up to the end of the last cache line.
    pub(crate) fn bytes(&self) -> &[u8] {
        let end = self.start + self.len.next_multiple_of(ALIGN);
        bytemuck::cast_slice(&self.words).get(self.start..end).unwrap_or_default()
    }

    /// The bytes, up to the end of the last cache line.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let end = self.start + self.len.next_multiple_of(ALIGN);
        bytemuck::cast_slice_mut(&mut self.words).get_mut(self.start..end).unwrap_or_default()
    }

    /// The bytes as elements; `T` is at most a cache line.
    pub(crate) fn as_slice<T: AnyBitPattern>(&self) -> &[T] {
        bytemuck::cast_slice(self.bytes())
    }

    /// The bytes as elements; `T` is at most a cache line.
    pub(crate) fn as_mut_slice<T: AnyBitPattern + NoUninit>(&mut self) -> &mut [T] {
        bytemuck::cast_slice_mut(self.bytes_mut())
    }

    /// Writes every page once, unchanged, so that a read of it comes from memory and not from the
    /// one page of zeros that stands for all untouched ones.
    pub(crate) fn make_resident(&mut self) {
        const PAGE_WORDS: usize = 4096 / WORD;
        if !self.resident {
            for page in self.words.chunks_mut(PAGE_WORDS) {
                page[0] = std::hint::black_box(page[0]);
            }
            self.resident = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_aligned_and_holds_what_was_asked_for() {
        for len in [0, 1, 63, 64, 65, 1000] {
            let storage = Storage::alloc(len).unwrap();
            assert_eq!(storage.len(), len);
            assert_eq!(storage.bytes().as_ptr().addr() % ALIGN, 0);
            assert_eq!(storage.bytes().len(), len.next_multiple_of(ALIGN));
        }
    }

    #[test]
    fn fresh_memory_is_nan_in_debug_builds() {
        let storage = Storage::alloc(256).unwrap();
        let poisoned = storage.as_slice::<f32>().iter().all(|value| value.is_nan());
        assert_eq!(poisoned, cfg!(debug_assertions));
    }

    #[test]
    fn an_impossible_size_is_refused() {
        assert!(Storage::alloc(usize::MAX).is_none());
        assert!(Storage::alloc(isize::MAX as usize).is_none());
    }

    #[test]
    fn touching_pages_changes_nothing() {
        let mut storage = Storage::alloc(10_000).unwrap();
        storage.as_mut_slice::<u32>().fill(7);
        storage.make_resident();
        assert!(storage.as_slice::<u32>().iter().all(|&value| value == 7));
    }
}
