//! Weight matrices as the CPU reads them: row-major, in the file's dtype, in place where possible.

use std::ops::Range;

use bytemuck::Pod;
use half::{bf16, f16};
use tintype_ops::{DType, Result, SharedBytes, WeightPiece, WeightSource};

/// A `[rows, cols]` matrix in one or several pieces, one on top of the other.
///
/// A piece whose bytes are aligned to the dtype is read where it lies, most often in a mapped
/// file; any other is copied once.
#[derive(Debug)]
pub(crate) struct WeightStore {
    rows: usize,
    cols: usize,
    dtype: DType,
    pieces: Vec<Piece>,
}

/// Rows `first_row..` of the matrix.
#[derive(Debug)]
struct Piece {
    first_row: usize,
    num_rows: usize,
    memory: Memory,
}

#[derive(Debug)]
enum Memory {
    Shared(SharedBytes),
    /// Words, so that every dtype is aligned; `len` bytes of them are the piece.
    Copied {
        words: Vec<u32>,
        len: usize,
    },
}

impl WeightStore {
    /// Takes the pieces of `source`, whose shapes and sizes were checked when it was made.
    ///
    /// # Errors
    /// None today; loading is fallible so that a backend may refuse.
    pub(crate) fn new(source: WeightSource) -> Result<Self> {
        let dtype = source.dtype();
        let mut rows = 0;
        let mut pieces = Vec::with_capacity(source.pieces().len());
        for piece in source.pieces() {
            pieces.push(Piece::new(rows, piece, dtype));
            rows += piece.rows as usize;
        }
        Ok(Self { rows, cols: source.cols() as usize, dtype, pieces })
    }

    /// Rows of all pieces together.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Elements in a row.
    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    /// Type of the stored elements.
    pub(crate) fn dtype(&self) -> DType {
        self.dtype
    }

    /// The stretches of whole rows that make up `rows`, top first. `T` has the size of the dtype.
    pub(crate) fn stretches<T: Pod>(&self, rows: Range<usize>) -> impl Iterator<Item = &[T]> {
        debug_assert_eq!(size_of::<T>(), self.dtype.size_bytes());
        debug_assert!(rows.end <= self.rows);
        let first = self.pieces.partition_point(|piece| piece.end_row() <= rows.start);
        let overlapping = self.pieces[first..].iter().take_while({
            let end = rows.end;
            move |piece| piece.first_row < end
        });
        overlapping.map(move |piece| {
            let start = rows.start.max(piece.first_row) - piece.first_row;
            let end = rows.end.min(piece.end_row()) - piece.first_row;
            &piece.elements::<T>()[start * self.cols..end * self.cols]
        })
    }

    /// One row, converted exactly. `out` has `cols` elements.
    pub(crate) fn read_row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.cols, "a row has {} elements", self.cols);
        match self.dtype {
            DType::F16 => self.convert_row(row, out, f16::to_f32),
            DType::Bf16 => self.convert_row(row, out, bf16::to_f32),
            _ => self.convert_row(row, out, |element: f32| element),
        }
    }

    fn convert_row<T: Pod>(&self, row: usize, out: &mut [f32], to_f32: impl Fn(T) -> f32) {
        let elements = self.stretches::<T>(row..row + 1).flatten();
        for (out, &element) in out.iter_mut().zip(elements) {
            *out = to_f32(element);
        }
    }
}

impl Piece {
    fn new(first_row: usize, piece: &WeightPiece, dtype: DType) -> Self {
        let memory = Memory::new(&piece.bytes, dtype);
        Self { first_row, num_rows: piece.rows as usize, memory }
    }

    fn end_row(&self) -> usize {
        self.first_row + self.num_rows
    }

    fn elements<T: Pod>(&self) -> &[T] {
        bytemuck::cast_slice(self.memory.as_bytes())
    }
}

impl Memory {
    fn new(bytes: &SharedBytes, dtype: DType) -> Self {
        let address = bytes.as_slice().as_ptr() as usize;
        if address.is_multiple_of(dtype.size_bytes()) {
            return Self::Shared(bytes.clone());
        }
        let mut words = vec![0u32; bytes.len().div_ceil(4)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes.as_slice());
        Self::Copied { words, len: bytes.len() }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes.as_slice(),
            Self::Copied { words, len } => &bytemuck::cast_slice(words)[..*len],
        }
    }
}

#[cfg(test)]
mod tests {
    use tintype_ops::WeightRole;

    use super::*;

    /// Pieces of 3 and 2 rows of 5 bf16 columns, counting up, at the given offset into their
    /// allocation.
    fn store(offset: usize) -> WeightStore {
        let mut next = 0;
        let mut piece = |rows: u32| {
            // Aligned to 4 bytes, so that an offset of 1 is surely misaligned.
            let mut words = vec![0u32; 32];
            let bytes = bytemuck::cast_slice_mut::<u32, u8>(&mut words);
            let len = rows as usize * 5 * 2;
            for element in bytes[offset..offset + len].chunks_exact_mut(2) {
                element.copy_from_slice(&bf16::from_f32(next as f32).to_le_bytes());
                next += 1;
            }
            let bytes = SharedBytes::new(bytes.to_vec());
            WeightPiece { rows, bytes: bytes.slice(offset..offset + len).expect("fits") }
        };
        let pieces = vec![piece(3), piece(2)];
        let source = WeightSource::new(pieces, 5, DType::Bf16, WeightRole::Plain);
        WeightStore::new(source.expect("valid")).expect("loads")
    }

    #[test]
    fn rows_are_read_across_pieces_at_any_alignment() {
        for offset in 0..3 {
            let store = store(offset);
            assert_eq!((store.rows(), store.cols()), (5, 5));
            for row in 0..5 {
                let mut out = [f32::NAN; 5];
                store.read_row(row, &mut out);
                let expected = std::array::from_fn(|col| (row * 5 + col) as f32);
                assert_eq!(out, expected, "row {row} at offset {offset}");
            }
        }
    }

    #[test]
    fn aligned_pieces_are_not_copied() {
        let copied = |store: &WeightStore| {
            store.pieces.iter().any(|piece| matches!(piece.memory, Memory::Copied { .. }))
        };
        assert!(!copied(&store(0)));
        assert!(copied(&store(1)));
    }

    #[test]
    fn a_range_of_rows_is_cut_where_pieces_meet() {
        let store = store(0);
        let lens = |rows| store.stretches::<u16>(rows).map(<[u16]>::len).collect::<Vec<_>>();
        assert_eq!(lens(0..5), [15, 10]);
        assert_eq!(lens(1..4), [10, 5]);
        assert_eq!(lens(3..5), [10]);
        assert!(lens(2..2).iter().sum::<usize>() == 0);
    }
}
