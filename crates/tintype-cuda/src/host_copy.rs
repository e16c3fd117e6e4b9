//! Cutting a copy between the host and a tensor into parts that fit into a pinned buffer.

use tintype_ops::Tensor;

use crate::driver::CopyPart;

/// The longest way from row to row that the driver's 2D copies take.
const MAX_PITCH: usize = i32::MAX as usize;

/// Walks over the rows of a tensor, in order and without gaps on the host's side.
#[derive(Clone, Debug)]
pub(crate) struct HostCopy {
    /// Bytes of a run without gaps in device memory.
    width: usize,
    /// Number of runs.
    height: usize,
    /// Bytes from run to run in device memory.
    pitch: usize,
    /// Address of the first run.
    device: u64,
    /// Run that comes next, and how many of its bytes are done.
    row: usize,
    col: usize,
}

impl HostCopy {
    /// A copy of all of `tensor`, whose first element is at `address`.
    pub(crate) fn new(tensor: Tensor, address: u64) -> Self {
        let size = tensor.dtype.size_bytes();
        let (width, pitch) = (tensor.cols as usize * size, tensor.stride as usize * size);
        let (mut width, mut height) = (width, tensor.rows as usize);
        if tensor.is_contiguous() {
            (width, height) = (width * height, 1);
        }
        if width == 0 {
            height = 0;
        }
        Self { width, height, pitch, device: address, row: 0, col: 0 }
    }

    /// Bytes that are best not cut: the rest of the run that comes next; 0 at the end.
    pub(crate) fn next_run(&self) -> usize {
        if self.row < self.height { self.width - self.col } else { 0 }
    }

    /// The next part, of at most `limit` bytes, for the pinned bytes from `host` on. `None` at the
    /// end. `limit` is at least 1.
    pub(crate) fn next(&mut self, host: usize, limit: usize) -> Option<CopyPart> {
        if self.row == self.height {
            return None;
        }
        let device = self.device + (self.row * self.pitch + self.col) as u64;
        let whole_runs = limit / self.width;
        let (width, height) = match (self.col, whole_runs) {
            (0, 2..) if self.pitch <= MAX_PITCH => {
                (self.width, whole_runs.min(self.height - self.row))
            }
            _ => (limit.min(self.width - self.col), 1),
        };
        self.advance(width, height);
        Some(CopyPart { host, device, width, height, pitch: self.pitch })
    }

    fn advance(&mut self, width: usize, height: usize) {
        self.col += width;
        if self.col == self.width {
            (self.row, self.col) = (self.row + height, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use tintype_ops::{Buffer, DType};

    use super::*;

    fn tensor(rows: u32, cols: u32, stride: u32) -> Tensor {
        Tensor { stride, ..Tensor::new(Buffer::from_index(0), rows, cols, DType::I32) }
    }

    /// Width and height of each part, after checking that the parts follow one another.
    fn parts(tensor: Tensor, limit: usize) -> Vec<(usize, usize)> {
        let mut copy = HostCopy::new(tensor, 1 << 20);
        let mut covered = Vec::new();
        let mut shapes = Vec::new();
        while let Some(part) = copy.next(0, limit) {
            assert!(part.width * part.height <= limit);
            for row in 0..part.height {
                let start = part.device - (1 << 20) + (row * part.pitch) as u64;
                covered.extend(start..start + part.width as u64);
            }
            shapes.push((part.width, part.height));
        }
        assert_eq!(copy.next_run(), 0);
        let (row_bytes, pitch) = (u64::from(tensor.cols) * 4, u64::from(tensor.stride) * 4);
        let rows = 0..u64::from(tensor.rows);
        let expected = rows.flat_map(|row| row * pitch..row * pitch + row_bytes);
        assert_eq!(covered, expected.collect::<Vec<_>>());
        shapes
    }

    #[test]
    fn rows_without_gaps_are_one_run() {
        assert_eq!(parts(tensor(4, 8, 8), 1000), [(128, 1)]);
        assert_eq!(parts(tensor(4, 8, 8), 100), [(100, 1), (28, 1)]);
        assert_eq!(parts(tensor(1, 8, 99), 100), [(32, 1)]);
    }

    #[test]
    fn rows_with_gaps_are_copied_as_many_at_a_time_as_fit() {
        assert_eq!(parts(tensor(5, 8, 10), 1000), [(32, 5)]);
        assert_eq!(parts(tensor(5, 8, 10), 100), [(32, 3), (32, 2)]);
        assert_eq!(parts(tensor(2, 8, 10), 63), [(32, 1), (32, 1)]);
    }

    #[test]
    fn rows_that_do_not_fit_are_cut() {
        assert_eq!(parts(tensor(2, 8, 10), 20), [(20, 1), (12, 1), (20, 1), (12, 1)]);
    }

    #[test]
    fn an_empty_tensor_has_no_parts() {
        assert_eq!(parts(tensor(0, 8, 8), 20), []);
        assert_eq!(parts(tensor(3, 0, 8), 20), []);
    }

    #[test]
    fn rows_that_are_too_far_apart_are_copied_one_by_one() {
        let mut copy = HostCopy::new(tensor(3, 1, 1 << 30), 0);
        let shapes = std::iter::from_fn(|| copy.next(0, 64)).map(|part| (part.width, part.height));
        assert_eq!(shapes.collect::<Vec<_>>(), [(4, 1); 3]);
    }
}
