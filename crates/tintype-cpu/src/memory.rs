//! Everything that a stream's ops may name: its buffers and its weights.

use tintype_ops::{
    Allocations, Buffer, Error, KvCache, MemoryInfo, Result, Tensor, Weight, WeightSource,
};

use crate::storage::Storage;
use crate::view::{FloatMatrix, Floats, Matrix, byte_rows_mut};
use crate::weights::WeightStore;

/// Buffers and weights, each with a numbering of its own.
#[derive(Default)]
pub(crate) struct Memory {
    buffers: Vec<Storage>,
    weights: Vec<WeightStore>,
}

impl Memory {
    /// Allocates a buffer of `bytes` bytes, of which `available` says how many there are.
    pub(crate) fn alloc(&mut self, bytes: u64, available: MemoryInfo) -> Result<Buffer> {
        let storage = usize::try_from(bytes).ok().filter(|_| bytes <= available.free_bytes);
        let storage = storage.and_then(Storage::alloc).ok_or(Error::OutOfMemory {
            requested_bytes: bytes,
            available_bytes: available.free_bytes,
        })?;
        let buffer = Buffer::after(self.buffers.len())?;
        self.buffers.push(storage);
        Ok(buffer)
    }

    pub(crate) fn load_weight(&mut self, source: WeightSource) -> Result<Weight> {
        let buffer = Buffer::after(self.weights.len())?;
        let (rows, cols, dtype) = (source.rows(), source.cols(), source.dtype());
        self.weights.push(WeightStore::new(source)?);
        Ok(Weight { buffer, rows, cols, dtype })
    }

    /// A whole buffer.
    pub(crate) fn storage_mut(&mut self, buffer: Buffer) -> Result<&mut Storage> {
        self.require_bytes(buffer, 0, 0)?;
        Ok(&mut self.buffers[buffer.index() as usize])
    }

    /// Copies closely packed rows from the host.
    pub(crate) fn upload(&mut self, dst: Tensor, src: &[u8]) -> Result<()> {
        self.require_host_copy("upload", dst, src.len())?;
        let storage = &mut self.buffers[dst.buffer.index() as usize];
        for (dst, src) in byte_rows_mut(storage, dst).zip(src.chunks(row_bytes(dst))) {
            dst.copy_from_slice(src);
        }
        Ok(())
    }

    /// Copies rows to the host, closely packed.
    pub(crate) fn download(&self, dst: &mut [u8], src: Tensor) -> Result<()> {
        self.require_host_copy("download", src, dst.len())?;
        let rows = Matrix::bytes(&self.buffers[src.buffer.index() as usize], src);
        for (dst, src) in dst.chunks_mut(row_bytes(src)).zip(rows.rows()) {
            dst.copy_from_slice(src);
        }
        Ok(())
    }

    /// Takes the buffers of an op's outputs out, so that they can be written while everything
    /// else is read. They are put back when the value is dropped.
    pub(crate) fn take<const N: usize>(&mut self, buffers: [Buffer; N]) -> Taken<'_, N> {
        let storages = buffers.map(|b| std::mem::take(&mut self.buffers[b.index() as usize]));
        Taken { memory: self, buffers, storages }
    }

    pub(crate) fn floats(&self, tensor: Tensor) -> FloatMatrix<'_> {
        FloatMatrix::new(&self.buffers[tensor.buffer.index() as usize], tensor)
    }

    pub(crate) fn f32s(&self, tensor: Tensor) -> Matrix<'_, f32> {
        Matrix::new(&self.buffers[tensor.buffer.index() as usize], tensor)
    }

    pub(crate) fn i32s(&self, tensor: Tensor) -> Matrix<'_, i32> {
        Matrix::new(&self.buffers[tensor.buffer.index() as usize], tensor)
    }

    pub(crate) fn u32s(&self, tensor: Tensor) -> Matrix<'_, u32> {
        Matrix::new(&self.buffers[tensor.buffer.index() as usize], tensor)
    }

    /// All elements of one side of a cache, `side` being its `k` or its `v`.
    pub(crate) fn cache_side(&self, cache: KvCache, side: Buffer) -> Floats<'_> {
        Floats::new(&self.buffers[side.index() as usize], cache.dtype)
    }

    pub(crate) fn weight(&self, weight: Weight) -> &WeightStore {
        &self.weights[weight.buffer.index() as usize]
    }
}

impl Allocations for Memory {
    fn buffer_bytes(&self, buffer: Buffer) -> Option<u64> {
        self.buffers.get(buffer.index() as usize).map(|storage| storage.len() as u64)
    }

    fn loaded_weight(&self, buffer: Buffer) -> Option<Weight> {
        let store = self.weights.get(buffer.index() as usize)?;
        let (rows, cols, dtype) = (store.rows() as u32, store.cols() as u32, store.dtype());
        Some(Weight { buffer, rows, cols, dtype })
    }
}

/// Bytes of a row; 1 where there are none, so that one can cut by it.
fn row_bytes(tensor: Tensor) -> usize {
    (tensor.cols as usize * tensor.dtype.size_bytes()).max(1)
}

/// Buffers that were taken out of their memory, to be written while the rest is read.
pub(crate) struct Taken<'a, const N: usize> {
    memory: &'a mut Memory,
    buffers: [Buffer; N],
    storages: [Storage; N],
}

impl<const N: usize> Taken<'_, N> {
    /// What was taken, and everything else.
    pub(crate) fn split(&mut self) -> (&mut [Storage; N], &Memory) {
        (&mut self.storages, self.memory)
    }
}

impl<const N: usize> Drop for Taken<'_, N> {
    fn drop(&mut self) {
        for (buffer, storage) in self.buffers.iter().zip(&mut self.storages) {
            self.memory.buffers[buffer.index() as usize] = std::mem::take(storage);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;

    #[test]
    fn buffers_are_put_back_when_an_op_panics() {
        let mut memory = Memory::default();
        let available = MemoryInfo { free_bytes: 1 << 20, total_bytes: 1 << 20 };
        let buffers = [4, 100].map(|bytes| memory.alloc(bytes, available).unwrap());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut taken = memory.take(buffers);
            let ([first, _], rest) = taken.split();
            first.as_mut_slice::<f32>()[0] = 7.0;
            assert_eq!(rest.buffers[1].len(), 0, "what was taken is not in memory");
            resume_unwind(Box::new("stop"));
        }));
        assert!(panicked.is_err());
        let lens = buffers.map(|buffer| memory.storage_mut(buffer).unwrap().len());
        assert_eq!(lens, [4, 100]);
        let tensor = Tensor::new(buffers[0], 1, 1, tintype_ops::DType::F32);
        assert_eq!(memory.f32s(tensor).row(0), [7.0]);
    }
}
