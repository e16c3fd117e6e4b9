//! What the stream promises: capture and replay, copies, poison, and errors that leave it usable.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tintype_ops::{
    Buffer, DType, Enqueue, Epilogue, Error, GraphSupport, Norm, Op, ReadProbe, Stream, Tensor,
    Weight,
};

use super::device::Device;
use crate::CpuStream;

/// A short forward pass: norm, product, activation, residual.
struct Pass {
    hidden: Tensor,
    ops: Vec<Op>,
    outputs: [Tensor; 3],
}

impl Pass {
    fn new(device: &mut Device) -> Self {
        let dtype = DType::F32;
        let (hidden, _) = device.floats(3, 24, dtype);
        let (weight, _) = device.weight(48, 24, DType::Bf16);
        let (norm, _) = device.floats(1, 24, dtype);
        let norm = Some(Norm { weight: norm, eps: 1e-5 });
        let gate_up = device.tensor(3, 48, dtype);
        let gated = device.tensor(3, 24, dtype);
        let fused = device.tensor(3, 24, dtype);
        let matmul =
            |out, epilogue| Op::Matmul { out, x: hidden, weight, bias: None, norm, epilogue };
        let ops = vec![
            matmul(gate_up, Epilogue::Store),
            Op::SiluMul { out: gated, gate_up },
            matmul(fused, Epilogue::SiluMul),
        ];
        Self { hidden, ops, outputs: [gate_up, gated, fused] }
    }

    fn queue(&self, queue: &mut dyn Enqueue) -> tintype_ops::Result<()> {
        self.ops.iter().try_for_each(|op| queue.enqueue(*op))
    }

    fn bytes(&self, device: &mut Device) -> [Vec<u8>; 3] {
        self.outputs.map(|output| device.bytes(output))
    }
}

#[test]
fn capture_runs_nothing_and_replay_equals_eager() {
    let mut device = Device::new();
    let pass = Pass::new(&mut device);
    let graph = device.stream.capture(&mut |queue| pass.queue(queue)).unwrap();
    let exec = device.stream.instantiate(graph).unwrap();
    for output in pass.outputs {
        assert!(device.is_poisoned(output), "{output} was written during capture");
    }
    device.stream.upload_graph(&exec).unwrap();
    device.stream.replay(&exec).unwrap();
    let replayed = pass.bytes(&mut device);
    pass.queue(&mut device.stream).unwrap();
    assert_eq!(replayed, pass.bytes(&mut device));
    assert_eq!(replayed[1], replayed[2], "the fused op equals the two that it replaces");
    let info = device.stream.graph_info(&exec);
    assert_eq!((info.num_ops, info.num_launches), (3, 3));
    assert!(info.size_bytes > 0);
}

#[test]
fn replay_reads_what_the_addresses_hold_now() {
    let mut device = Device::new();
    let pass = Pass::new(&mut device);
    let graph = device.stream.capture(&mut |queue| pass.queue(queue)).unwrap();
    let exec = device.stream.instantiate(graph).unwrap();
    device.stream.replay(&exec).unwrap();
    let before = pass.bytes(&mut device);
    device.write(pass.hidden, &[0.5; 72]);
    device.stream.replay(&exec).unwrap();
    let after = pass.bytes(&mut device);
    assert_ne!(before, after);
    pass.queue(&mut device.stream).unwrap();
    assert_eq!(after, pass.bytes(&mut device));
}

#[test]
fn an_error_inside_a_capture_leaves_the_stream_usable() {
    let mut device = Device::new();
    let pass = Pass::new(&mut device);
    let failed = device.stream.capture(&mut |queue| {
        pass.queue(queue)?;
        Err(Error::Device("stop".into()))
    });
    assert_eq!(failed.unwrap_err(), Error::Device("stop".into()));
    let bad = Op::Add { out: pass.outputs[0], x: pass.outputs[1] };
    let refused = device.stream.capture(&mut |queue| queue.enqueue(bad)).unwrap_err();
    assert_eq!(refused.to_string(), "add: x has 24 columns, expected 48");
    assert!(device.is_poisoned(pass.outputs[0]));
    pass.queue(&mut device.stream).unwrap();
}

#[test]
fn a_panic_inside_a_capture_leaves_the_stream_usable() {
    let mut device = Device::new();
    let pass = Pass::new(&mut device);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        device.stream.capture(&mut |queue| {
            pass.queue(queue)?;
            std::panic::resume_unwind(Box::new("stop"))
        })
    }));
    assert!(panicked.is_err());
    assert!(device.is_poisoned(pass.outputs[0]));
    pass.queue(&mut device.stream).unwrap();
    assert!(!device.is_poisoned(pass.outputs[0]));
}

#[test]
fn an_op_that_fails_in_a_replay_is_named_and_leaves_the_stream_usable() {
    let mut device = Device::new();
    let pass = Pass::new(&mut device);
    let (table, _) = device.floats(4, 2, DType::F32);
    let positions = device.ints(1, &[0, 4, 0]);
    let rope = Op::Rope { x: pass.hidden, positions, table, head_dim: 24 };
    let graph = device.stream.capture(&mut |queue| {
        pass.queue(queue)?;
        queue.enqueue(rope)
    });
    let exec = device.stream.instantiate(graph.unwrap()).unwrap();
    let error = device.stream.replay(&exec).unwrap_err().to_string();
    assert!(error.starts_with("op 3 of 4: rope: row 1 has position 4"), "{error}");
    device.stream.upload(positions, bytemuck::cast_slice(&[0, 3, 0])).unwrap();
    device.stream.replay(&exec).unwrap();
}

#[test]
fn graphs_stay_with_their_stream() {
    let (mut device, mut other) = (Device::new(), Device::new());
    let pass = Pass::new(&mut device);
    let graph = device.stream.capture(&mut |queue| pass.queue(queue)).unwrap();
    assert!(other.stream.instantiate(graph.clone()).is_err());
    let exec = device.stream.instantiate(graph).unwrap();
    let error = other.stream.replay(&exec).unwrap_err().to_string();
    assert!(error.contains("belongs to another stream"), "{error}");
}

#[test]
fn memory_of_another_stream_is_refused_everywhere() {
    let mut device = Device::new();
    let (x, _) = device.floats(2, 4, DType::F32);
    let (out, _) = device.floats(2, 4, DType::F32);
    let missing = Tensor { buffer: Buffer::from_index(99), ..x };
    let too_long = Tensor { offset: 1 << 40, ..x };
    let huge = Tensor { rows: u32::MAX, stride: u32::MAX, ..x };
    for bad in [missing, too_long, huge] {
        assert!(device.error(Op::Add { out: bad.first_rows(2), x: out }).contains("buffer"));
        assert!(device.stream.upload(bad, &[]).is_err());
        assert!(device.stream.download(&mut [], bad).is_err());
    }
    let op = Op::Add { out, x: missing };
    assert!(device.stream.capture(&mut |queue| queue.enqueue(op)).is_err());
    let (weight, _) = device.weight(4, 4, DType::F32);
    for bad in [Weight { buffer: Buffer::from_index(7), ..weight }, Weight { rows: 3, ..weight }] {
        let ids = device.ints(1, &[0, 0]);
        let error = device.error(Op::Embed { out, ids, table: bad });
        assert!(error.contains("is not a weight of this stream"), "{error}");
    }
}

#[test]
fn copies_honour_strides_and_refuse_other_sizes() {
    let mut device = Device::new();
    let tensor = device.tensor(3, 5, DType::Bf16);
    let bytes: Vec<u8> = (0..30).collect();
    device.stream.upload(tensor, &bytes).unwrap();
    assert_eq!(device.bytes(tensor), bytes);
    device.assert_gaps_untouched(tensor);
    let middle = tensor.columns(1, 2);
    assert_eq!(device.bytes(middle), [2, 3, 4, 5, 12, 13, 14, 15, 22, 23, 24, 25]);
    let error = device.stream.upload(tensor, &bytes[1..]).unwrap_err();
    assert_eq!(error, Error::HostCopySize { found_bytes: 29, expected_bytes: 30 });
    let error = device.stream.download(&mut [0; 31], tensor).unwrap_err();
    assert_eq!(error, Error::HostCopySize { found_bytes: 31, expected_bytes: 30 });
    let overlapping = Tensor { stride: 4, ..tensor };
    assert!(device.stream.upload(overlapping, &bytes).is_err());
    let empty = Tensor { rows: 0, ..tensor };
    device.stream.upload(empty, &[]).unwrap();
}

#[test]
fn memory_that_nothing_wrote_shows_in_debug_builds() {
    let mut device = Device::new();
    let buffer = device.stream.alloc(64).unwrap();
    let x = Tensor::new(buffer, 2, 8, DType::F32);
    let (out, _) = device.floats(2, 8, DType::F32);
    device.run(Op::Add { out, x });
    let poisoned = device.read(out).data.iter().all(|value| value.is_nan());
    assert_eq!(poisoned, cfg!(debug_assertions));
}

#[test]
fn more_memory_than_there_is_is_refused() {
    let mut stream = CpuStream::new(Some(1)).unwrap();
    for requested_bytes in [1 << 62, u64::MAX] {
        let error = stream.alloc(requested_bytes).unwrap_err();
        let Error::OutOfMemory { requested_bytes: found, .. } = error else { panic!("{error}") };
        assert_eq!(found, requested_bytes);
    }
    stream.alloc(0).unwrap();
}

#[test]
fn a_stream_describes_itself() {
    for threads in [0, 1025] {
        let error = CpuStream::new(Some(threads)).err().expect("refused").to_string();
        assert!(error.contains("expected 1 to 1024"), "{error}");
    }
    let stream = CpuStream::new(Some(3)).unwrap();
    let info = stream.device_info();
    assert_eq!((stream.num_threads(), info.num_workers), (3, 3));
    assert!(info.name.starts_with("cpu (3 threads, "), "{}", info.name);
    assert!(info.can_capture);
    assert_eq!(info.graph_support, GraphSupport::Always);
    assert_eq!(stream.activation_dtype(DType::Bf16), DType::F32);
    assert!(CpuStream::new(None).unwrap().num_threads() >= 1);
    assert!(stream.memory_info().unwrap().free_bytes > 0);
}

#[test]
fn streams_and_graphs_may_move_to_another_thread() {
    fn assert_send<T: Send + 'static>() {}
    assert_send::<CpuStream>();
    assert_send::<crate::CpuGraph>();
    assert_send::<crate::CpuGraphExec>();
}

#[test]
fn the_read_probe_reads_a_buffer_of_the_stream() {
    let mut stream = CpuStream::new(Some(2)).unwrap();
    let buffer = stream.alloc(3 << 20).unwrap();
    assert!(stream.read_probe(buffer).unwrap().as_nanos() > 0);
    assert!(stream.read_probe(Buffer::from_index(1)).is_err());
    stream.synchronize().unwrap();
}
