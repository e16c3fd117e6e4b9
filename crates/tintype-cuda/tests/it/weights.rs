//! Weights: loaded in the background, waited for before they are read.

use tintype_cuda::CudaStream;
use tintype_ops::{
    DType, Enqueue, Error, Op, SharedBytes, Stream, Tensor, Weight, WeightPiece, WeightRole,
    WeightSource,
};

use super::fake::{Driver, read, tensor};

/// A `[rows, cols]` matrix whose element is its place, in pieces of these numbers of rows.
fn source(pieces: &[u32], cols: u32) -> WeightSource {
    let mut next = 0u32;
    let pieces = pieces.iter().map(|&rows| {
        let values: Vec<f32> = (next..next + rows * cols).map(value).collect();
        next += rows * cols;
        WeightPiece { rows, bytes: SharedBytes::new(bytemuck::cast_slice(&values).to_vec()) }
    });
    WeightSource::new(pieces.collect(), cols, DType::F32, WeightRole::Plain).unwrap()
}

/// Exact in f32.
fn value(place: u32) -> f32 {
    place as f32
}

/// A lookup of rows of a table.
struct Lookup {
    out: Tensor,
    op: Op,
    expected: Vec<f32>,
}

impl Lookup {
    fn new(stream: &mut CudaStream, table: Weight, rows: &[i32]) -> Self {
        let num_rows = rows.len() as u32;
        let out = tensor::<f32>(stream, (num_rows, table.cols, DType::F32), &[]);
        let ids = tensor(stream, (num_rows, 1, DType::I32), rows);
        let cols = table.cols;
        let row = |&row: &i32| (0..cols).map(move |col| value(row as u32 * cols + col));
        let expected = rows.iter().flat_map(row).collect();
        Self { out, op: Op::Embed { out, ids, table }, expected }
    }

    fn check(&self, stream: &mut CudaStream) {
        assert_eq!(read::<f32>(stream, self.out), self.expected);
    }
}

#[test]
fn an_op_reads_a_weight_that_was_given_just_before() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let table = stream.load_weight(source(&[3, 1, 60], 33)).unwrap();
    let lookup = Lookup::new(&mut stream, table, &[0, 2, 3, 4, 63]);
    stream.enqueue(lookup.op).unwrap();
    lookup.check(&mut stream);
}

/// More than one chunk for each thread's buffers, of several weights.
#[test]
fn large_weights_arrive_whole_and_in_their_places() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let tables = [40_000, 60_001, 5].map(|rows| stream.load_weight(source(&[rows], 64)).unwrap());
    for table in tables {
        let last = table.rows as i32 - 1;
        let rows: Vec<i32> = (0..=64).map(|step| last * step / 64).collect();
        let lookup = Lookup::new(&mut stream, table, &rows);
        stream.enqueue(lookup.op).unwrap();
        lookup.check(&mut stream);
    }
}

/// In bf16 and of these sizes a table is packed, by a launch for each chunk.
#[test]
fn packed_weights_arrive_whole_and_in_their_places() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let (rows, cols) = (16 * 1000, 128);
    let bits = |place: u32| ((place % 251) as f32).to_bits() >> 16;
    let elements: Vec<u16> = (0..rows * cols).map(|place| bits(place) as u16).collect();
    let bytes = SharedBytes::new(bytemuck::cast_slice(&elements).to_vec());
    let pieces = vec![WeightPiece { rows, bytes }];
    let source = WeightSource::new(pieces, cols, DType::Bf16, WeightRole::Plain).unwrap();
    let table = stream.load_weight(source).unwrap();
    let ids: Vec<i32> = (0..64).map(|step| step * 253).collect();
    let out = tensor::<u16>(&mut stream, (64, cols, DType::Bf16), &[]);
    let ids_tensor = tensor(&mut stream, (64, 1, DType::I32), &ids);
    stream.enqueue(Op::Embed { out, ids: ids_tensor, table }).unwrap();
    let row = |&row: &i32| &elements[row as usize * cols as usize..][..cols as usize];
    assert_eq!(read::<u16>(&mut stream, out), ids.iter().map(row).collect::<Vec<_>>().concat());
    // Two chunks, and the lookup.
    assert_eq!((stream.counters().num_launches, stream.counters().num_kernels), (3, 2));
}

#[test]
fn a_graph_captured_while_weights_load_waits_for_them_when_it_is_replayed() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    let table = stream.load_weight(source(&[40_000], 64)).unwrap();
    let lookup = Lookup::new(&mut stream, table, &[39_999, 20_000, 0]);
    let graph = stream.capture(&mut |queue| queue.enqueue(lookup.op)).unwrap();
    let exec = stream.instantiate(graph).unwrap();
    stream.upload_graph(&exec).unwrap();
    stream.replay(&exec).unwrap();
    lookup.check(&mut stream);
}

#[test]
fn a_stream_may_be_dropped_while_weights_load() {
    let driver = Driver::get();
    let mut stream = driver.stream();
    for _ in 0..3 {
        stream.load_weight(source(&[40_000], 64)).unwrap();
    }
    drop(stream);
}

#[test]
fn weights_of_other_streams_are_refused() {
    let driver = Driver::get();
    let [mut stream, mut other] = [driver.stream(), driver.stream()];
    let table = stream.load_weight(source(&[4], 8)).unwrap();
    let lookup = Lookup::new(&mut other, table, &[0]);
    let error = other.enqueue(lookup.op).unwrap_err();
    assert!(matches!(error, Error::InvalidOp { op: "embed", .. }), "{error}");
}
