//! Cutting a weight into chunks that loader threads take one by one.

use std::ops::Range;

use tintype_ops::WeightSource;

use crate::launch::Layout;

/// Bytes of a chunk. So little stays in the cache between the fill and the copy, and is locked
/// quickly; with eight threads it is enough to keep the bus busy.
pub(crate) const CHUNK_BYTES: usize = 2 << 20;

/// A weight on its way to the device.
pub(crate) struct WeightUpload {
    source: WeightSource,
    address: u64,
    layout: Layout,
}

/// A part of it that one thread handles at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Bytes of the stacked row-major matrix.
    pub(crate) bytes: Range<usize>,
    /// The rows that begin in them. Chunks of a packed weight are these rows and nothing else.
    pub(crate) rows: Range<u32>,
}

impl WeightUpload {
    /// Brings `source` to `address` in `layout`.
    pub(crate) fn new(source: WeightSource, address: u64, layout: Layout) -> Self {
        Self { source, address, layout }
    }

    /// Whether whole rows fit into chunks, without which a weight cannot be packed.
    pub(crate) fn can_pack(source: &WeightSource) -> bool {
        row_bytes(source) <= CHUNK_BYTES
    }

    /// Its matrix.
    pub(crate) fn source(&self) -> &WeightSource {
        &self.source
    }

    /// Address of its first byte on the device.
    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    /// How its elements lie there.
    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// How many chunks there are.
    pub(crate) fn num_chunks(&self) -> usize {
        self.total_bytes().div_ceil(self.stride())
    }

    /// The chunk of this index.
    pub(crate) fn chunk(&self, index: usize) -> Chunk {
        let stride = self.stride();
        let bytes = index * stride..self.total_bytes().min((index + 1) * stride);
        let row = |byte: usize| byte.div_ceil(row_bytes(&self.source)) as u32;
        Chunk { rows: row(bytes.start)..row(bytes.end), bytes }
    }

    /// Copies the chunk's bytes, row-major, to `to`, which has their size.
    pub(crate) fn read(&self, chunk: &Chunk, mut to: &mut [u8]) {
        let mut first = 0;
        for piece in self.source.pieces() {
            let bytes = piece.bytes.as_slice();
            let end = first + bytes.len();
            let part = chunk.bytes.start.clamp(first, end)..chunk.bytes.end.clamp(first, end);
            let (head, rest) = to.split_at_mut(part.len());
            head.copy_from_slice(&bytes[part.start - first..part.end - first]);
            (to, first) = (rest, end);
        }
    }

    /// Bytes from the start of one chunk to the start of the next.
    fn stride(&self) -> usize {
        let row = row_bytes(&self.source);
        match self.layout {
            Layout::RowMajor => CHUNK_BYTES,
            // As many rows as fit; whole tiles where there are some.
            Layout::Packed { .. } => match CHUNK_BYTES / row {
                rows @ TILE_ROWS.. => rows / TILE_ROWS * TILE_ROWS * row,
                rows => rows.max(1) * row,
            },
        }
    }

    fn total_bytes(&self) -> usize {
        self.source.rows() as usize * row_bytes(&self.source)
    }
}

/// Rows of the packed layout that lie side by side.
const TILE_ROWS: usize = 16;

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

    /// Checks that the chunks cover the weight in order, each with the bytes that belong there.
    fn chunks(upload: &WeightUpload) -> Vec<Chunk> {
        let chunks: Vec<_> = (0..upload.num_chunks()).map(|index| upload.chunk(index)).collect();
        let mut next = 0;
        for chunk in &chunks {
            assert_eq!(chunk.bytes.start, next);
            assert!((1..=CHUNK_BYTES).contains(&chunk.bytes.len()));
            let mut bytes = vec![0; chunk.bytes.len()];
            upload.read(chunk, &mut bytes);
            assert!(bytes.iter().copied().eq(chunk.bytes.clone().map(byte)));
            next = chunk.bytes.end;
        }
        assert_eq!(next, upload.total_bytes());
        chunks
    }

    fn packed_rows(pieces: &[u32], cols: u32) -> Vec<Range<u32>> {
        let upload = upload(pieces, cols, Layout::Packed { gate_up: false });
        chunks(&upload).into_iter().map(|chunk| chunk.rows).collect()
    }

    #[test]
    fn row_major_chunks_are_full() {
        let upload = upload(&[3000, 1, 999], 1000, Layout::RowMajor);
        let chunks = chunks(&upload);
        let lens: Vec<_> = chunks.iter().map(|chunk| chunk.bytes.len()).collect();
        let rest = 8_000_000 - 3 * CHUNK_BYTES;
        assert_eq!(lens, [CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES, rest]);
    }

    #[test]
    fn packed_chunks_are_whole_tiles_where_these_fit() {
        assert_eq!(packed_rows(&[64, 32], 14_336), [0..64, 64..96]);
        assert_eq!(packed_rows(&[48], 32_768), [0..32, 32..48]);
    }

    #[test]
    fn packed_chunks_of_long_rows_are_whole_rows() {
        let rows = packed_rows(&[16], 131_072);
        assert_eq!(rows, [0..8, 8..16]);
    }

    #[test]
    fn rows_longer_than_a_chunk_are_not_packed() {
        let can_pack = |cols| WeightUpload::can_pack(&upload(&[1], cols, Layout::RowMajor).source);
        assert!(can_pack(1 << 20));
        assert!(!can_pack((1 << 20) + 1));
    }
}
