//! Everything that a stream's ops may name: its buffers and its weights.

use std::sync::Arc;

use tintype_ops::{Allocations, Buffer, DType, Error, Op, Result, Weight, check};

use crate::driver::{Context, DeviceBuffer, DriverError, Queue};
use crate::launch::{Chip, Layout, Placed, Placement, RecentSplits, Split, Workspace};

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
    splits: RecentSplits,
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
            splits: RecentSplits::default(),
            chip,
            context: Arc::clone(context),
        })
    }

    /// Allocates a buffer; debug builds fill it with NaNs, in the order of `queue`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], and what the driver refused.
    pub(crate) fn alloc(&mut self, bytes: u64, queue: &Queue) -> Result<Buffer> {
        let buffer = Buffer::after(self.buffers.len())?;
        let mut memory = alloc_bytes(&self.context, bytes)?;
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
        let buffer = Buffer::after(self.weights.len())?;
        let weight = Weight { buffer, rows, cols, dtype };
        let buffer = alloc_bytes(&self.context, weight.size_bytes())?;
        let address = buffer.address();
        self.weights.push(StoredWeight { buffer, weight, layout });
        Ok((weight, address))
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
        self.require_operands(op)
    }
}

/// Allocates device memory, or says how much there is.
///
/// # Errors
/// [`Error::OutOfMemory`], and what the driver refused.
pub(crate) fn alloc_bytes(context: &Arc<Context>, bytes: u64) -> Result<DeviceBuffer> {
    DeviceBuffer::alloc(context, bytes).map_err(|error| {
        match (error.is_out_of_memory(), context.memory_info()) {
            (true, Ok(info)) => {
                Error::OutOfMemory { requested_bytes: bytes, available_bytes: info.free_bytes }
            }
            _ => error.into(),
        }
    })
}

impl Allocations for Memory {
    fn buffer_bytes(&self, buffer: Buffer) -> Option<u64> {
        self.buffers.get(buffer.index() as usize).map(DeviceBuffer::len)
    }

    fn loaded_weight(&self, buffer: Buffer) -> Option<Weight> {
        self.weights.get(buffer.index() as usize).map(|stored| stored.weight)
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

    fn split(&self, shape: [u32; 3], find: &dyn Fn() -> Option<Split>) -> Option<Split> {
        self.splits.get(shape, find)
    }
}
