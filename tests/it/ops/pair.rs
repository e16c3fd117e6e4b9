//! Two streams with the same contents, one of them the reference.

use std::collections::BTreeMap;

use half::{bf16, f16};
use tintype_cpu::CpuStream;
use tintype_ops::{
    Access, Buffer, DType, Enqueue, KvCache, Memory, Op, SharedBytes, Stream, Tensor, Weight,
    WeightPiece, WeightRole, WeightSource,
};

use crate::model::relative_error;
use crate::streams::TestStream;

/// Fills everything that a test does not write: NaN in every float type.
const POISON: u8 = 0xFF;

/// How the rows of a tensor lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rows {
    /// One after the other, from the start of the buffer: what models have.
    Packed,
    /// With gaps around them that no op may touch, at no particular alignment.
    Gapped,
}

/// The CPU backend and a stream to compare with it. Both allocate in step, so that one op names
/// the same memory on both.
pub(super) struct Pair<S> {
    reference: CpuStream,
    tested: S,
    random: u64,
    /// Of each op, the largest error so far.
    worst: BTreeMap<&'static str, f64>,
    /// How the tensors that are made next lie.
    pub(super) rows: Rows,
}

impl<S: TestStream> Pair<S> {
    pub(super) fn new(rows: Rows) -> Self {
        let (reference, tested) = (CpuStream::open(), S::open());
        Self { reference, tested, random: 1, worst: BTreeMap::new(), rows }
    }

    /// SplitMix64.
    pub(super) fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.random;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// `count` values in ±1.
    fn values(&mut self, count: u64) -> Vec<f32> {
        let mut value = || (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
        (0..count).map(|_| value()).collect()
    }

    /// A buffer of poison.
    fn buffer(&mut self, bytes: u64) -> Buffer {
        let buffer = self.reference.alloc(bytes).unwrap();
        assert_eq!(self.tested.alloc(bytes).unwrap(), buffer, "buffers are numbered from 0");
        let all = Tensor::new(buffer, 1, (bytes / 2) as u32, DType::F16);
        self.upload(all, &vec![POISON; all.size_bytes() as usize]);
        buffer
    }

    /// A tensor that nothing was written to.
    pub(super) fn tensor(&mut self, rows: u32, cols: u32, dtype: DType) -> Tensor {
        let gap = if self.rows == Rows::Gapped { 3 } else { 0 };
        let elements = u64::from(gap) + u64::from(rows) * u64::from(cols + gap);
        let buffer = self.buffer((elements * dtype.size_bytes() as u64).next_multiple_of(2));
        Tensor { buffer, offset: gap.into(), rows, cols, stride: cols + gap, dtype }
    }

    /// Random values in ±1, rounded to `dtype`.
    pub(super) fn floats(&mut self, rows: u32, cols: u32, dtype: DType) -> Tensor {
        let tensor = self.tensor(rows, cols, dtype);
        let values = self.values(tensor.num_elements());
        self.upload(tensor, &to_bytes(&values, dtype));
        tensor
    }

    pub(super) fn ints(&mut self, cols: u32, values: &[i32]) -> Tensor {
        let tensor = self.tensor(values.len() as u32 / cols, cols, DType::I32);
        self.upload(tensor, bytemuck::cast_slice(values));
        tensor
    }

    /// Random weights in ±1 over the root of the columns, in two pieces of whole parts.
    pub(super) fn weight(
        &mut self,
        [rows, cols]: [u32; 2],
        dtype: DType,
        role: WeightRole,
    ) -> Weight {
        let scale = 1.0 / (cols as f32).sqrt();
        let values = self.values(u64::from(rows) * u64::from(cols));
        let values: Vec<f32> = values.iter().map(|value| value * scale).collect();
        let bytes = SharedBytes::new(to_bytes(&values, dtype));
        let row_bytes = cols as usize * dtype.size_bytes();
        let piece = |rows: std::ops::Range<u32>| WeightPiece {
            rows: rows.len() as u32,
            bytes: bytes
                .slice(rows.start as usize * row_bytes..rows.end as usize * row_bytes)
                .unwrap(),
        };
        let pieces = [0..rows / 2, rows / 2..rows].into_iter().filter(|rows| !rows.is_empty());
        let source = WeightSource::new(pieces.map(piece).collect(), cols, dtype, role).unwrap();
        let weight = self.reference.load_weight(source.clone()).unwrap();
        assert_eq!(self.tested.load_weight(source).unwrap(), weight);
        weight
    }

    /// A cache full of random values.
    pub(super) fn cache(&mut self, shape: KvCache) -> KvCache {
        let cols = shape.num_kv_heads * shape.head_dim;
        let rows = shape.num_blocks * shape.block_size;
        let rows_before = std::mem::replace(&mut self.rows, Rows::Packed);
        let [k, v] = [(); 2].map(|()| self.floats(rows, cols, shape.dtype).buffer);
        self.rows = rows_before;
        KvCache { k, v, ..shape }
    }

    pub(super) fn upload(&mut self, tensor: Tensor, bytes: &[u8]) {
        self.reference.upload(tensor, bytes).unwrap();
        self.tested.upload(tensor, bytes).unwrap();
    }

    /// A tensor's bytes on the stream that is tested.
    pub(super) fn download(&mut self, tensor: Tensor) -> Vec<u8> {
        let [_, bytes] = self.both(tensor);
        bytes
    }

    /// Runs `op` on both and compares what it writes; the worst relative error of an output.
    pub(super) fn compare(&mut self, op: Op) -> f64 {
        self.reference.enqueue(op).unwrap();
        self.tested.enqueue(op).unwrap_or_else(|error| panic!("{op}: {error}"));
        let tolerance = tolerance(&op);
        let mut worst = 0.0f64;
        let compared = |access| matches!(access, Access::Write | Access::Update);
        for operand in op.operands().into_iter().filter(|operand| compared(operand.access)) {
            for tensor in tensors(operand.memory) {
                let error = self.difference(&op, tensor);
                assert!(error <= tolerance, "{op}: {} is off by {error:.2e}", operand.name);
                worst = worst.max(error);
            }
        }
        let so_far = self.worst.entry(op.name()).or_default();
        *so_far = so_far.max(worst);
        worst
    }

    /// Relative error of a tensor; whole numbers, NaNs and gaps must be equal.
    fn difference(&mut self, op: &Op, tensor: Tensor) -> f64 {
        let [theirs, ours] = self.both(tensor);
        if !tensor.dtype.is_float() {
            let ids = |bytes: &[u8]| bytemuck::pod_collect_to_vec::<u8, i32>(bytes);
            assert_eq!(ids(&ours), ids(&theirs), "{op}");
            return 0.0;
        }
        if self.rows == Rows::Gapped && tensor.offset > 0 {
            let gap = Tensor { offset: 0, cols: 3, ..tensor };
            let [_, ours] = self.both(gap);
            assert!(ours.iter().all(|&byte| byte == POISON), "{op}: a gap was written");
        }
        let [theirs, ours] = [theirs, ours].map(|bytes| from_bytes(&bytes, tensor.dtype));
        let nans = |values: &[f32]| values.iter().map(|v| v.is_nan()).collect::<Vec<_>>();
        assert_eq!(nans(&ours), nans(&theirs), "{op}");
        let finite = |values: Vec<f32>| values.into_iter().filter(|v| !v.is_nan()).collect();
        let [theirs, ours]: [Vec<f32>; 2] = [theirs, ours].map(finite);
        if ours == theirs { 0.0 } else { relative_error(&ours, &theirs) }
    }

    /// A tensor's bytes on the reference, then on the other.
    fn both(&mut self, tensor: Tensor) -> [Vec<u8>; 2] {
        let mut bytes = [(); 2].map(|()| vec![0; tensor.size_bytes() as usize]);
        self.reference.download(&mut bytes[0], tensor).unwrap();
        self.tested.download(&mut bytes[1], tensor).unwrap();
        bytes
    }
}

impl<S> Drop for Pair<S> {
    fn drop(&mut self) {
        for (op, worst) in &self.worst {
            println!("{op}: worst relative error {worst:.1e}");
        }
    }
}

/// How far an op's results may lie from the reference: by the rounding of its coarsest operand, of
/// which a fused norm makes one more.
fn tolerance(op: &Op) -> f64 {
    let rounding = |dtype| match dtype {
        DType::Bf16 => 8e-3,
        DType::F16 => 1e-3,
        _ => 1e-5,
    };
    let dtype = |memory| match memory {
        Memory::Tensor(tensor) => tensor.dtype,
        Memory::Weight(weight) => weight.dtype,
        Memory::Cache(cache) => cache.dtype,
    };
    op.operands().iter().map(|operand| rounding(dtype(operand.memory))).fold(0.0, f64::max)
}

/// What is written through an operand.
fn tensors(memory: Memory) -> Vec<Tensor> {
    match memory {
        Memory::Tensor(tensor) => vec![tensor],
        Memory::Weight(_) => vec![],
        Memory::Cache(cache) => {
            let cols = cache.num_kv_heads * cache.head_dim;
            let rows = cache.num_blocks * cache.block_size;
            [cache.k, cache.v].map(|side| Tensor::new(side, rows, cols, cache.dtype)).into()
        }
    }
}

fn to_bytes(values: &[f32], dtype: DType) -> Vec<u8> {
    match dtype {
        DType::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        DType::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}

fn from_bytes(bytes: &[u8], dtype: DType) -> Vec<f32> {
    let value = |bytes: &[u8]| match (dtype, bytes) {
        (DType::F16, &[a, b]) => f16::from_le_bytes([a, b]).to_f32(),
        (DType::Bf16, &[a, b]) => bf16::from_le_bytes([a, b]).to_f32(),
        (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        _ => unreachable!("an element has 2 or 4 bytes"),
    };
    bytes.chunks(dtype.size_bytes()).map(value).collect()
}
