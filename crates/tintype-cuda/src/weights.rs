//! Cutting a weight into chunks that loader threads take one by one.

use std::ops::Range;

use tintype_ops::WeightSource;

use crate::launch::Layout;

/// Bytes of a chunk. So little stays in the cache between the fill and the copy, and is locked
/// quickly; with eight threads it is enough to keep the bus busy.
pub(crate) const CHUNK_BYTES: usize = 2 << 20;

/// Rows of a unit of the packed layout.
const UNIT_ROWS: usize = 16;

/// A weight on its way to the device.
pub(crate) struct WeightUpload {
    source: WeightSource,
    address: u64,
    layout: Layout,
}

/// A part of it that one thread handles at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Bytes of the stacked row-major matrix, one range after the other.
    pub(crate) parts: [Range<usize>; 2],
    /// Address of its first byte in the device's layout.
    pub(crate) address: u64,
    /// How to get there from row-major, where that is needed.
    pub(crate) pack: Option<Pack>,
}

/// Repacking of a chunk: a row-major matrix of its own, packed into whole units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pack {
    /// A multiple of 16.
    pub(crate) rows: u32,
    /// Elements of a row.
    pub(crate) cols: u32,
    /// Whether the upper half of the rows is gate and the lower half the matching up.
    pub(crate) gate_up: bool,
}

impl Chunk {
    /// Its size.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(Range::len).sum()
    }
}

impl WeightUpload {
    /// Brings `source` to `address` in `layout`.
    pub(crate) fn new(source: WeightSource, address: u64, layout: Layout) -> Self {
        Self { source, address, layout }
    }

    /// Whether whole units of a packed weight of this width fit into chunks.
    pub(crate) fn can_pack(source: &WeightSource) -> bool {
        UNIT_ROWS * row_bytes(source) <= CHUNK_BYTES
    }

    /// How many chunks there are.
    pub(crate) fn num_chunks(&self) -> usize {
        self.total_bytes().div_ceil(self.stride())
    }

    /// The chunk of this index.
    pub(crate) fn chunk(&self, index: usize) -> Chunk {
        let stride = self.stride();
        let bytes = index * stride..self.total_bytes().min((index + 1) * stride);
        let address = self.address + bytes.start as u64;
        let Layout::Packed { gate_up } = self.layout else {
            return Chunk { parts: [bytes, 0..0], address, pack: None };
        };
        let (rows, cols) = ((bytes.len() / row_bytes(&self.source)) as u32, self.source.cols());
        let pack = Some(Pack { rows, cols, gate_up });
        let parts = match gate_up {
            true => {
                // Units interleave the halves, so as many bytes come from each.
                let (start, end) = (bytes.start / 2, bytes.end / 2);
                let half = self.total_bytes() / 2;
                [start..end, half + start..half + end]
            }
            false => [bytes, 0..0],
        };
        Chunk { parts, address, pack }
    }

    /// Copies the chunk's bytes, row-major, to the start of `to`.
    pub(crate) fn read(&self, chunk: &Chunk, to: &mut [u8]) {
        let mut to = to;
        for part in &chunk.parts {
            let (head, rest) = to.split_at_mut(part.len());
            self.read_range(part.clone(), head);
            to = rest;
        }
    }

    /// Copies a range of the stacked pieces' bytes.
    fn read_range(&self, range: Range<usize>, mut to: &mut [u8]) {
        let mut first = 0;
        for piece in self.source.pieces() {
            let bytes = piece.bytes.as_slice();
            let start = range.start.clamp(first, first + bytes.len()) - first;
            let end = range.end.clamp(first, first + bytes.len()) - first;
            let (head, rest) = to.split_at_mut(end - start);
            head.copy_from_slice(&bytes[start..end]);
            to = rest;
            first += bytes.len();
        }
    }

    /// Bytes from the start of one chunk to the start of the next.
    fn stride(&self) -> usize {
        match self.layout {
            Layout::RowMajor => CHUNK_BYTES,
            Layout::Packed { .. } => {
                let unit = UNIT_ROWS * row_bytes(&self.source);
                (CHUNK_BYTES / unit).max(1) * unit
            }
        }
    }

    fn total_bytes(&self) -> usize {
        self.source.rows() as usize * row_bytes(&self.source)
    }
}

fn row_bytes(source: &WeightSource) -> usize {
    source.cols() as usize * source.dtype().size_bytes()
}

#[cfg(test)]
mod tests {
    use tintype_ops::{DType, SharedBytes, WeightPiece, WeightRole};

    use super::*;

    /// A weight whose bytes count up, in pieces of these numbers of rows.
    fn upload(pieces: &[u32], cols: u32, layout: Layout) -> WeightUpload {
        let mut next = 0usize;
        let pieces = pieces.iter().map(|&rows| {
            let len = rows as usize * cols as usize * 2;
            let bytes: Vec<u8> = (next..next + len).map(byte).collect();
            next += len;
            WeightPiece { rows, bytes: SharedBytes::new(bytes) }
        });
        let source =
            WeightSource::new(pieces.collect(), cols, DType::Bf16, WeightRole::Plain).unwrap();
        WeightUpload::new(source, 1 << 40, layout)
    }

    fn byte(index: usize) -> u8 {
        (index % 251) as u8
    }

    fn chunks(upload: &WeightUpload) -> Vec<Chunk> {
        (0..upload.num_chunks()).map(|index| upload.chunk(index)).collect()
    }

    fn read(upload: &WeightUpload, chunk: &Chunk) -> Vec<u8> {
        let mut bytes = vec![0; chunk.len()];
        upload.read(chunk, &mut bytes);
        bytes
    }

    #[test]
    fn row_major_chunks_cover_the_weight_in_order() {
        let upload = upload(&[3000, 1, 999], 1000, Layout::RowMajor);
        let chunks = chunks(&upload);
        assert_eq!(chunks.len(), 4);
        let mut next = 0;
        for chunk in &chunks {
            assert_eq!(chunk.address, (1 << 40) + next as u64);
            assert!(chunk.len() <= CHUNK_BYTES && chunk.pack.is_none());
            let expected: Vec<u8> = (next..next + chunk.len()).map(byte).collect();
            assert_eq!(read(&upload, chunk), expected);
            next += chunk.len();
        }
        assert_eq!(next, 4000 * 1000 * 2);
    }

    #[test]
    fn packed_chunks_are_whole_units() {
        let upload = upload(&[64, 32], 14_336, Layout::Packed { gate_up: false });
        let rows: Vec<_> = chunks(&upload).iter().map(|chunk| chunk.pack.unwrap().rows).collect();
        assert_eq!(rows, [64, 32]);
        assert_eq!(upload.chunk(1).address, (1 << 40) + 64 * 14_336 * 2);
        let expected: Vec<u8> = (0..64 * 14_336 * 2).map(byte).collect();
        assert_eq!(read(&upload, &upload.chunk(0)), expected);
    }

    #[test]
    fn packed_chunks_of_gate_and_up_take_the_same_rows_of_both() {
        let upload = upload(&[48, 48], 14_336, Layout::Packed { gate_up: true });
        let (row, half) = (14_336 * 2, 48 * 14_336 * 2);
        let last = upload.chunk(1);
        assert_eq!(last.parts, [32 * row..48 * row, half + 32 * row..half + 48 * row]);
        assert_eq!(last.pack, Some(Pack { rows: 32, cols: 14_336, gate_up: true }));
        assert_eq!(last.address, (1 << 40) + 64 * row as u64);
        let expected: Vec<u8> = last.parts.iter().cloned().flatten().map(byte).collect();
        assert_eq!(read(&upload, &last), expected);
    }

    #[test]
    fn rows_too_long_for_a_unit_in_a_chunk_are_not_packed() {
        let can_pack = |cols| WeightUpload::can_pack(&upload(&[16], cols, Layout::RowMajor).source);
        assert!(can_pack(65_536));
        assert!(!can_pack(65_600));
    }
}
