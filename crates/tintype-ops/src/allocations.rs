//! Whether what an op or a copy names lies inside the memory of a stream.

use crate::{Buffer, Error, KvCache, Memory, Op, Result, Tensor, Weight};

/// What a stream has allocated. Backends say what there is and get every check of it.
pub trait Allocations {
    /// Bytes of a buffer; `None` if there is no such buffer.
    fn buffer_bytes(&self, buffer: Buffer) -> Option<u64>;

    /// The weight that was loaded under this name, if any was.
    fn loaded_weight(&self, buffer: Buffer) -> Option<Weight>;

    /// Checks that every operand of `op` is of this stream and inside what it names.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`]; [`Error::InvalidOp`] for a weight that is not this stream's.
    fn require_operands(&self, op: &Op) -> Result<()> {
        let mut result = Ok(());
        op.for_each_operand(&mut |operand| {
            if result.is_ok() {
                result = match operand.memory {
                    Memory::Tensor(tensor) => self.require_tensor(tensor),
                    Memory::Cache(cache) => self.require_cache(cache),
                    Memory::Weight(weight) => self.require_weight(op.name(), weight),
                };
            }
        });
        result
    }

    /// Checks a copy between `found` bytes of the host, rows closely packed, and `tensor`. `name`
    /// is that of the copy.
    ///
    /// # Errors
    /// When the tensor's rows overlap or lie elsewhere, or the sizes differ.
    fn require_host_copy(&self, name: &'static str, tensor: Tensor, found: usize) -> Result<()> {
        let Tensor { rows, cols, stride, .. } = tensor;
        if rows > 1 && stride < cols {
            let what = format!("the tensor has {cols} columns but a stride of {stride}");
            return Err(Error::InvalidOp { op: name, what });
        }
        self.require_tensor(tensor)?;
        require_copy_size(found as u64, tensor.size_bytes())
    }

    /// Checks that `start..end` are bytes of a buffer.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    fn require_bytes(&self, buffer: Buffer, start: u64, end: u64) -> Result<()> {
        match self.buffer_bytes(buffer) {
            Some(len) if end <= len => Ok(()),
            found => {
                let (buffer, len) = (buffer.index(), found.unwrap_or(0));
                Err(Error::OutOfBounds { buffer, start, end, len })
            }
        }
    }

    /// Checks that all of `tensor` is inside its buffer.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    fn require_tensor(&self, tensor: Tensor) -> Result<()> {
        let (start, end) = tensor.byte_range();
        self.require_bytes(tensor.buffer, start, end)
    }

    /// Checks that both sides of `cache` are inside their buffers.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`].
    fn require_cache(&self, cache: KvCache) -> Result<()> {
        self.require_bytes(cache.k, 0, cache.side_bytes())?;
        self.require_bytes(cache.v, 0, cache.side_bytes())
    }

    /// Checks that `weight`, an operand of `op`, is one that was loaded.
    ///
    /// # Errors
    /// [`Error::InvalidOp`].
    fn require_weight(&self, op: &'static str, weight: Weight) -> Result<()> {
        if self.loaded_weight(weight.buffer) == Some(weight) {
            return Ok(());
        }
        let what = format!("{weight} is not a weight of this stream; use the one that loaded it");
        Err(Error::InvalidOp { op, what })
    }
}

/// Checks that a host slice of `found_bytes` has room for a copy of exactly `expected_bytes`.
///
/// # Errors
/// [`Error::HostCopySize`].
pub const fn require_copy_size(found_bytes: u64, expected_bytes: u64) -> Result<()> {
    match found_bytes == expected_bytes {
        true => Ok(()),
        false => Err(Error::HostCopySize { found_bytes, expected_bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;

    /// One buffer and one weight, both with the index 0.
    struct One(u64, Weight);

    impl Allocations for One {
        fn buffer_bytes(&self, buffer: Buffer) -> Option<u64> {
            (buffer.index() == 0).then_some(self.0)
        }

        fn loaded_weight(&self, buffer: Buffer) -> Option<Weight> {
            (buffer.index() == 0).then_some(self.1)
        }
    }

    fn weight(index: u32, rows: u32) -> Weight {
        Weight { buffer: Buffer::from_index(index), rows, cols: 4, dtype: DType::Bf16 }
    }

    fn tensor(index: u32, rows: u32) -> Tensor {
        Tensor::new(Buffer::from_index(index), rows, 4, DType::F32)
    }

    #[test]
    fn tensors_end_where_their_buffer_does() {
        let one = One(32, weight(0, 8));
        assert_eq!(one.require_tensor(tensor(0, 2)), Ok(()));
        let error = Error::OutOfBounds { buffer: 0, start: 0, end: 48, len: 32 };
        assert_eq!(one.require_tensor(tensor(0, 3)), Err(error));
        let error = Error::OutOfBounds { buffer: 1, start: 0, end: 16, len: 0 };
        assert_eq!(one.require_tensor(tensor(1, 1)), Err(error));
    }

    #[test]
    fn each_side_of_a_cache_is_checked() {
        let one = One(64, weight(0, 8));
        let cache = |k, v| KvCache {
            k: Buffer::from_index(k),
            v: Buffer::from_index(v),
            num_blocks: 2,
            block_size: 2,
            num_kv_heads: 1,
            head_dim: 4,
            dtype: DType::F32,
        };
        assert_eq!(one.require_cache(cache(0, 0)), Ok(()));
        assert!(one.require_cache(cache(0, 1)).is_err());
        assert!(one.require_cache(cache(1, 0)).is_err());
    }

    #[test]
    fn a_weight_must_be_the_one_that_was_loaded() {
        let one = One(0, weight(0, 8));
        assert_eq!(one.require_weight("embed", weight(0, 8)), Ok(()));
        for other in [weight(0, 9), weight(1, 8)] {
            let error = one.require_weight("embed", other).unwrap_err().to_string();
            assert!(error.contains("is not a weight of this stream"), "{error}");
        }
    }

    #[test]
    fn an_op_is_checked_operand_by_operand() {
        let one = One(32, weight(0, 8));
        let embed = |out, table| Op::Embed { out, ids: tensor(0, 1).columns(0, 1), table };
        assert_eq!(one.require_operands(&embed(tensor(0, 2), weight(0, 8))), Ok(()));
        assert!(one.require_operands(&embed(tensor(0, 3), weight(0, 8))).is_err());
        assert!(one.require_operands(&embed(tensor(0, 2), weight(0, 7))).is_err());
    }

    #[test]
    fn copies_have_the_size_of_their_tensor_and_rows_do_not_overlap() {
        let one = One(64, weight(0, 8));
        assert_eq!(one.require_host_copy("upload", tensor(0, 2), 32), Ok(()));
        let error = Error::HostCopySize { found_bytes: 31, expected_bytes: 32 };
        assert_eq!(one.require_host_copy("upload", tensor(0, 2), 31), Err(error));
        let overlapping = Tensor { stride: 3, ..tensor(0, 2) };
        let error = one.require_host_copy("upload", overlapping, 32).unwrap_err().to_string();
        assert!(error.contains("a stride of 3"), "{error}");
    }
}
