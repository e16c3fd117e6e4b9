//! Everything that a stream's ops may name: its buffers and its weights.

use std::sync::Arc;

use tintype_ops::{
    Buffer, DType, Error, KvCache, Memory as Operand, Op, Result, Tensor, Weight, check,
};

use crate::driver::{Context, DeviceBuffer, DriverError, Queue};
use crate::launch::{Chip, Layout, Placed, Placement, Workspace};

/// Written over fresh buffers in debug builds: every float type reads it as NaN.
const POISON: u8 = 0xFF;

/// Partial results of one op, on a device of this size and on smaller ones.
const WORKSPACE_BYTES: u64 = 32 << 20;
const SMALL_WORKSPACE_BYTES: u64 = 16 << 20;
const LARGE_DEVICE_BYTES: u64 = 4 << 30;

/// A weight matrix.
struct StoredWeight {
    buffer: DeviceBuffer,
    weight: Weight,
    layout: Layout,
}

/// Buffers and weights, each with a numbering of its own. None is freed before the stream.
pub(crate) struct Memory {
    buffers: Vec<DeviceBuffer>,
    weights: Vec<StoredWeight>,
    workspace: DeviceBuffer,
    chip: Chip,
    context: Arc<Context>,
}

impl Memory {
    /// No buffers and no weights, on a device of `total_bytes`.
    ///
    /// # Errors
    /// When the device has no room for the workspace.
    pub(crate) fn new(
        context: &Arc<Context>,
        chip: Chip,
        total_bytes: u64,
    ) -> std::result::Result<Self, DriverError> {
        let bytes = match total_bytes {
            LARGE_DEVICE_BYTES.. => WORKSPACE_BYTES,
            _ => SMALL_WORKSPACE_BYTES,
        };
        Ok(Self {
            buffers: Vec::new(),
            weights: Vec::new(),
            workspace: DeviceBuffer::alloc(context, bytes)?,
            chip,
            context: Arc::clone(context),
        })
    }

    /// Allocates a buffer; debug builds fill it with NaNs, in the order of `queue`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and what the driver refused.
    pub(crate) fn alloc(&mut self, bytes: u64, queue: &Queue) -> Result<Buffer> {
        let buffer = Buffer::from_index(next_index(self.buffers.len())?);
        let mut memory = self.alloc_bytes(bytes)?;
        if cfg!(debug_assertions) && bytes > 0 {
            memory.fill(POISON, queue)?;
        }
        self.buffers.push(memory);
        Ok(buffer)
    }

    /// Allocates a weight in `layout` and says where it is. Its elements are still to be written.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub(crate) fn alloc_weight(
        &mut self,
        rows: u32,
        cols: u32,
        dtype: DType,
        layout: Layout,
    ) -> Result<(Weight, u64)> {
        let buffer = Buffer::from_index(next_index(self.weights.len())?);
        let weight = Weight { buffer, rows, cols, dtype };
        let buffer = self.alloc_bytes(weight.size_bytes())?;
        let address = buffer.address();
        self.weights.push(StoredWeight { buffer, weight, layout });
        Ok((weight, address))
    }

    fn alloc_bytes(&self, bytes: u64) -> Result<DeviceBuffer> {
        DeviceBuffer::alloc(&self.context, bytes).map_err(|error| {
            match (error.is_out_of_memory(), self.context.memory_info()) {
                (true, Ok(info)) => {
                    Error::OutOfMemory { requested_bytes: bytes, available_bytes: info.free_bytes }
                }
                _ => error.into(),
            }
        })
    }

    /// A buffer's address and size.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    pub(crate) fn buffer_range(&self, buffer: Buffer) -> Result<(u64, u64)> {
        self.require_bytes(buffer, 0, 0)?;
        let memory = &self.buffers[buffer.index() as usize];
        Ok((memory.address(), memory.len()))
    }

    /// Checks an op against its rule, and its operands against this memory.
    ///
    /// # Errors
    /// What breaks the rule, or lies elsewhere.
    pub(crate) fn check(&self, op: &Op) -> Result<()> {
        check::check(op)?;
        let mut result = Ok(());
        op.for_each_operand(&mut |operand| {
            if result.is_ok() {
                result = match operand.memory {
                    Operand::Tensor(tensor) => self.require_tensor(tensor),
                    Operand::Cache(cache) => self.require_cache(cache),
                    Operand::Weight(weight) => self.require_weight(op.name(), weight),
                };
            }
        });
        result
    }

    /// Checks a copy between `found` bytes of the host and a tensor.
    ///
    /// # Errors
    /// When the tensor's rows overlap or lie elsewhere, or the sizes differ.
    pub(crate) fn require_host_copy(
        &self,
        op: &'static str,
        tensor: Tensor,
        found: usize,
    ) -> Result<()> {
        let Tensor { rows, cols, stride, .. } = tensor;
        if rows > 1 && stride < cols {
            let what = format!("the tensor has {cols} columns but a stride of {stride}");
            return Err(Error::InvalidOp { op, what });
        }
        self.require_tensor(tensor)?;
        let (found_bytes, expected_bytes) = (found as u64, tensor.size_bytes());
        if found_bytes != expected_bytes {
            return Err(Error::HostCopySize { found_bytes, expected_bytes });
        }
        Ok(())
    }

    fn require_tensor(&self, tensor: Tensor) -> Result<()> {
        let (start, end) = tensor.byte_range();
        self.require_bytes(tensor.buffer, start, end)
    }

    fn require_cache(&self, cache: KvCache) -> Result<()> {
        self.require_bytes(cache.k, 0, cache.side_bytes())?;
        self.require_bytes(cache.v, 0, cache.side_bytes())
    }

    fn require_bytes(&self, buffer: Buffer, start: u64, end: u64) -> Result<()> {
        let index = buffer.index();
        let found = self.buffers.get(index as usize).map(DeviceBuffer::len);
        let len = found.unwrap_or(0);
        if found.is_none() || end > len {
            return Err(Error::OutOfBounds { buffer: index, start, end, len });
        }
        Ok(())
    }

    fn require_weight(&self, op: &'static str, weight: Weight) -> Result<()> {
        let stored = self.weights.get(weight.buffer.index() as usize);
        if stored.is_some_and(|stored| stored.weight == weight) {
            return Ok(());
        }
        let what = format!("{weight} is not a weight of this stream; use the one that loaded it");
        Err(Error::InvalidOp { op, what })
    }
}

impl Placement for Memory {
    fn chip(&self) -> Chip {
        self.chip
    }

    fn buffer(&self, buffer: Buffer) -> u64 {
        self.buffers[buffer.index() as usize].address()
    }

    fn weight(&self, weight: Weight) -> Placed {
        let StoredWeight { buffer, layout, .. } = &self.weights[weight.buffer.index() as usize];
        Placed { address: buffer.address(), layout: *layout }
    }

    fn workspace(&self) -> Workspace {
        Workspace { address: self.workspace.address(), bytes: self.workspace.len() }
    }
}

fn next_index(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| Error::Device("2^32 allocations, the most there can be".into()))
}
