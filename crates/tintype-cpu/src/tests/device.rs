//! A stream with random contents, and what tests compare.

use half::{bf16, f16};
use tintype_ops::{
    Buffer, DType, Enqueue, Op, SharedBytes, Stream, Tensor, Weight, WeightPiece, WeightRole,
    WeightSource,
};

use crate::CpuStream;

/// Fills everything that a test does not write: NaN in every float type.
const POISON: u8 = 0xFF;

/// Elements before a tensor and between its rows.
const GAP: u32 = 3;

/// A row-major matrix, as the reference computes with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Values {
    pub(crate) cols: usize,
    pub(crate) data: Vec<f64>,
}

impl Values {
    pub(crate) fn new(cols: usize, data: Vec<f64>) -> Self {
        Self { cols, data }
    }

    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.data[row * self.cols..][..self.cols]
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.data.chunks(self.cols)
    }

    /// The same matrix with each row changed.
    pub(crate) fn map_rows(&self, f: impl Fn(usize, &[f64]) -> Vec<f64>) -> Self {
        let rows: Vec<Vec<f64>> = self.rows().enumerate().map(|(i, row)| f(i, row)).collect();
        Self { cols: rows[0].len(), data: rows.concat() }
    }
}

/// A stream and a source of random numbers.
pub(crate) struct Device {
    pub(crate) stream: CpuStream,
    state: u64,
}

impl Device {
    pub(crate) fn new() -> Self {
        Self::with_threads(2)
    }

    pub(crate) fn with_threads(threads: usize) -> Self {
        Self { stream: CpuStream::new(Some(threads)).unwrap(), state: 1 }
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.state;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A value in ±1.
    fn value(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// A buffer of poison.
    pub(crate) fn buffer(&mut self, bytes: u64) -> Buffer {
        let buffer = self.stream.alloc(bytes).unwrap();
        let words = Tensor::new(buffer, 1, (bytes / 2) as u32, DType::F16);
        self.stream.upload(words, &vec![POISON; words.size_bytes() as usize]).unwrap();
        buffer
    }

    /// A tensor that nothing was written to, with gaps around its rows.
    pub(crate) fn tensor(&mut self, rows: u32, cols: u32, dtype: DType) -> Tensor {
        let stride = cols + GAP;
        let elements = u64::from(GAP) + u64::from(rows) * u64::from(stride);
        let buffer = self.buffer((elements * dtype.size_bytes() as u64).next_multiple_of(2));
        Tensor { buffer, offset: u64::from(GAP), rows, cols, stride, dtype }
    }

    /// Random values in ±1, rounded to `dtype`.
    pub(crate) fn floats(&mut self, rows: u32, cols: u32, dtype: DType) -> (Tensor, Values) {
        let tensor = self.tensor(rows, cols, dtype);
        let values: Vec<f32> = (0..rows * cols).map(|_| self.value()).collect();
        self.write(tensor, &values);
        (tensor, self.read(tensor))
    }

    pub(crate) fn ints(&mut self, cols: u32, values: &[i32]) -> Tensor {
        let tensor = self.tensor(values.len() as u32 / cols, cols, DType::I32);
        self.stream.upload(tensor, bytemuck::cast_slice(values)).unwrap();
        tensor
    }

    /// Random weights in ±1, rounded to `dtype`, in two pieces where there are two rows.
    pub(crate) fn weight(&mut self, rows: u32, cols: u32, dtype: DType) -> (Weight, Values) {
        let values: Vec<f32> = (0..rows * cols).map(|_| self.value()).collect();
        let bytes = SharedBytes::new(to_bytes(&values, dtype));
        let row_bytes = cols as usize * dtype.size_bytes();
        let cut = rows / 2;
        let piece = |rows: std::ops::Range<u32>| WeightPiece {
            rows: rows.len() as u32,
            bytes: bytes
                .slice(rows.start as usize * row_bytes..rows.end as usize * row_bytes)
                .unwrap(),
        };
        let pieces = [0..cut, cut..rows].into_iter().filter(|rows| !rows.is_empty());
        let pieces = pieces.map(piece).collect();
        let source = WeightSource::new(pieces, cols, dtype, WeightRole::Plain).unwrap();
        let weight = self.stream.load_weight(source).unwrap();
        let values = from_bytes(bytes.as_slice(), dtype);
        (weight, Values::new(cols as usize, values))
    }

    /// Stores `values`, rounded to the tensor's dtype.
    pub(crate) fn write(&mut self, tensor: Tensor, values: &[f32]) {
        self.stream.upload(tensor, &to_bytes(values, tensor.dtype)).unwrap();
    }

    pub(crate) fn read(&mut self, tensor: Tensor) -> Values {
        let bytes = self.bytes(tensor);
        Values::new(tensor.cols as usize, from_bytes(&bytes, tensor.dtype))
    }

    pub(crate) fn bytes(&mut self, tensor: Tensor) -> Vec<u8> {
        let mut bytes = vec![0; tensor.size_bytes() as usize];
        self.stream.download(&mut bytes, tensor).unwrap();
        bytes
    }

    pub(crate) fn read_ints(&mut self, tensor: Tensor) -> Vec<i32> {
        self.read(tensor).data.iter().map(|&value| value as i32).collect()
    }

    pub(crate) fn run(&mut self, op: Op) {
        self.stream.enqueue(op).unwrap();
    }

    /// The message of an op that must fail.
    pub(crate) fn error(&mut self, op: Op) -> String {
        self.stream.enqueue(op).unwrap_err().to_string()
    }

    /// Asserts that a result is `expected`, up to its own rounding and the accumulated error of
    /// sums whose terms have magnitudes that add up to `scale`; and that nothing around it was
    /// written.
    pub(crate) fn assert_close(&mut self, tensor: Tensor, expected: &Values, scale: f64) {
        let found = self.read(tensor);
        assert_eq!((found.cols, found.data.len()), (expected.cols, expected.data.len()));
        for (i, (found, expected)) in found.data.iter().zip(&expected.data).enumerate() {
            let tolerance = epsilon(tensor.dtype) * expected.abs() + 1e-6 * scale;
            let (row, col) = (i / tensor.cols as usize, i % tensor.cols as usize);
            assert!(
                (found - expected).abs() <= tolerance,
                "{tensor} row {row}, column {col}: found {found}, expected {expected}"
            );
        }
        self.assert_gaps_untouched(tensor);
    }

    /// Asserts that the elements around a tensor's rows still hold poison.
    pub(crate) fn assert_gaps_untouched(&mut self, tensor: Tensor) {
        let before = Tensor { offset: 0, cols: GAP, ..tensor };
        assert!(self.bytes(before).iter().all(|&byte| byte == POISON), "{tensor}: a gap changed");
    }

    pub(crate) fn is_poisoned(&mut self, tensor: Tensor) -> bool {
        self.bytes(tensor).iter().all(|&byte| byte == POISON)
    }
}

/// Half a unit in the last place, relative.
fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 1.0 / 2048.0,
        DType::Bf16 => 1.0 / 256.0,
        _ => 1e-6,
    }
}

fn to_bytes(values: &[f32], dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        DType::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

fn from_bytes(bytes: &[u8], dtype: DType) -> Vec<f64> {
    let value = |bytes: &[u8]| match (dtype, bytes) {
        (DType::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f64(),
        (DType::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f64(),
        (DType::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
        (_, &[a, b, c, d]) => f64::from(i32::from_le_bytes([a, b, c, d])),
        _ => unreachable!("an element has 2 or 4 bytes"),
    };
    bytes.chunks(dtype.size_bytes()).map(value).collect()
}
