//! Allocations, and plain-data views of them.

use std::fmt;

use crate::{Error, Result};

/// The index of an allocation in its stream. A buffer is never freed before its stream, so an
/// address that was captured once stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Buffer(u32);

impl Buffer {
    /// Names the allocation with this index. Only streams hand out indices that mean something.
    #[must_use]
    pub const fn from_index(index: u32) -> Self {
        Self(index)
    }

    /// Names the allocation that comes after `len` others.
    ///
    /// # Errors
    /// [`Error::Device`] when there can be no more.
    pub fn after(len: usize) -> Result<Self> {
        let index = u32::try_from(len);
        let index =
            index.map_err(|_| Error::Device("2^32 allocations, the most there can be".into()))?;
        Ok(Self(index))
    }

    /// The index that the stream gave this allocation.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0
    }
}

/// The type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    Bf16,
    /// 32-bit signed integer: token ids, positions, slots, lengths, block tables.
    I32,
    /// 32-bit unsigned integer: the bits of sampling parameters.
    U32,
}

impl DType {
    /// Bytes of one element.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Whether this is one of the floating-point types that weights and activations come in.
    #[must_use]
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::Bf16)
    }

    /// The spelling used in messages and kernel names: `f32`, `f16`, `bf16`, `i32`, `u32`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::I32 => "i32",
            Self::U32 => "u32",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A row-major matrix inside a buffer. Plain data, so that ops can be printed, compared, recorded.
///
/// Vectors are single columns (`cols == 1`, one value per token or sequence) or single rows
/// (`rows == 1`, a norm's weight or a bias), as each op says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tensor {
    /// The allocation.
    pub buffer: Buffer,
    /// Where the view starts, in elements from the start of the buffer.
    pub offset: u64,
    /// Number of rows.
    pub rows: u32,
    /// Elements in a row.
    pub cols: u32,
    /// Elements from the start of one row to the start of the next; at least `cols`.
    pub stride: u32,
    /// Type of one element.
    pub dtype: DType,
}

impl Tensor {
    /// The contiguous `[rows, cols]` matrix at the start of `buffer`.
    #[must_use]
    pub const fn new(buffer: Buffer, rows: u32, cols: u32, dtype: DType) -> Self {
        Self { buffer, offset: 0, rows, cols, stride: cols, dtype }
    }

    /// The first `rows` rows.
    ///
    /// # Panics
    /// When there are fewer: the caller sized the buffer wrongly.
    #[must_use]
    pub fn first_rows(self, rows: u32) -> Self {
        assert!(rows <= self.rows, "{rows} rows of a tensor that has {}", self.rows);
        Self { rows, ..self }
    }

    /// Columns `start..start + cols` of every row.
    ///
    /// # Panics
    /// When they leave the row.
    #[must_use]
    pub fn columns(self, start: u32, cols: u32) -> Self {
        let fits = start.checked_add(cols).is_some_and(|end| end <= self.cols);
        assert!(fits, "columns {start}+{cols} of a tensor that has {}", self.cols);
        Self { offset: self.offset + u64::from(start), cols, ..self }
    }

    /// Whether rows follow each other without a gap.
    #[must_use]
    pub const fn is_contiguous(&self) -> bool {
        self.stride == self.cols || self.rows <= 1
    }

    /// Number of elements, gaps between rows not counted.
    #[must_use]
    pub const fn num_elements(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }

    /// Size in bytes, gaps between rows not counted.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.num_elements().saturating_mul(self.dtype.size_bytes() as u64)
    }

    /// The bytes of the buffer that the view spans, gaps included: `start..end`.
    #[must_use]
    pub const fn byte_range(&self) -> (u64, u64) {
        let size = self.dtype.size_bytes() as u64;
        let start = self.offset.saturating_mul(size);
        if self.rows == 0 || self.cols == 0 {
            return (start, start);
        }
        let last_row = (self.rows as u64 - 1) * self.stride as u64;
        let len = (last_row + self.cols as u64).saturating_mul(size);
        (start, start.saturating_add(len))
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}x{}]@b{}", self.dtype, self.rows, self.cols, self.buffer.0)?;
        if self.offset != 0 {
            write!(f, "+{}", self.offset)?;
        }
        if !self.is_contiguous() {
            write!(f, "/{}", self.stride)?;
        }
        Ok(())
    }
}

/// A weight matrix of `rows` output features by `cols` input features, in whatever layout the
/// backend chose when it was loaded. Nothing but that backend looks inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Weight {
    /// The allocation, in the numbering of the stream that loaded it.
    pub buffer: Buffer,
    /// Output features, all pieces and experts together.
    pub rows: u32,
    /// Input features.
    pub cols: u32,
    /// Type of the stored elements.
    pub dtype: DType,
}

impl Weight {
    /// Bytes that one pass over the matrix reads.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.rows as u64 * self.cols as u64 * self.dtype.size_bytes() as u64
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}x{}]@w{}", self.dtype, self.rows, self.cols, self.buffer.0)
    }
}

/// One layer's paged KV cache. K and V each have the shape
/// `[num_blocks, num_kv_heads, block_size, head_dim]`, row-major.
///
/// The slot of a token is `block * block_size + position_in_block`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KvCache {
    /// The keys.
    pub k: Buffer,
    /// The values.
    pub v: Buffer,
    /// Number of blocks.
    pub num_blocks: u32,
    /// Tokens in a block.
    pub block_size: u32,
    /// KV heads.
    pub num_kv_heads: u32,
    /// Elements of one head.
    pub head_dim: u32,
    /// Type of one element.
    pub dtype: DType,
}

impl KvCache {
    /// Bytes of `k`, and of `v`.
    #[must_use]
    pub const fn side_bytes(&self) -> u64 {
        self.num_slots()
            * self.num_kv_heads as u64
            * self.head_dim as u64
            * self.dtype.size_bytes() as u64
    }

    /// Tokens that the cache has room for.
    #[must_use]
    pub const fn num_slots(&self) -> u64 {
        self.num_blocks as u64 * self.block_size as u64
    }
}

impl fmt::Display for KvCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { k, v, num_blocks, block_size, num_kv_heads, head_dim, dtype } = self;
        write!(f, "kv {dtype}[{num_blocks}x{num_kv_heads}x{block_size}x{head_dim}]")?;
        write!(f, "@b{},b{}", k.0, v.0)
    }
}
