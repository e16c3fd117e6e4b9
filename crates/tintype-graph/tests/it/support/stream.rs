//! A stream over plain vectors that logs all it does and fails where it is told to.

use std::ops::Range;

use tintype_ops::{
    Buffer, DType, DeviceInfo, Enqueue, Error, GraphInfo, GraphSupport, MemoryInfo, Op, Result,
    Stream, Tensor, Weight, WeightSource, check,
};

/// Something that happened on the stream. Recording an op is no event: nothing happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An op ran outside any graph.
    Op(&'static str),
    /// A capture ended well, with so many ops.
    Capture(usize),
    Instantiate,
    Upload,
    /// A graph of so many ops ran.
    Replay(usize),
    Synchronize,
}

/// Where the stream fails, until told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// When an op of this name is queued outside a capture.
    Op(&'static str),
    /// At the synchronisation after an op of this name, as a device does.
    Late(&'static str),
    /// When an op of this name is recorded.
    Record(&'static str),
    /// At the end of a capture.
    EndCapture,
    Instantiate,
    Upload,
    Replay,
    /// Captures lose their last op.
    LoseOp,
    /// Replays do nothing.
    SkipReplay,
}

#[derive(Default)]
pub(crate) struct TapeStream {
    buffers: Vec<Vec<u8>>,
    pub(crate) events: Vec<Event>,
    pub(crate) fault: Option<Fault>,
    /// A fault that the next synchronisation reports.
    pending: bool,
}

/// Records, and runs nothing.
struct Recorder {
    ops: Vec<Op>,
    fault: Option<Fault>,
}

impl Enqueue for Recorder {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        if self.fault == Some(Fault::Record(op.name())) {
            return Err(broken("recording"));
        }
        self.ops.enqueue(op)
    }
}

fn broken(what: &str) -> Error {
    Error::Device(format!("{what} is broken"))
}

impl TapeStream {
    /// The events since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    fn check(&self, fault: Fault, what: &str) -> Result<()> {
        if self.fault == Some(fault) { Err(broken(what)) } else { Ok(()) }
    }

    fn execute(&mut self, op: Op) {
        match op {
            Op::Gather { out, x, rows } => {
                for row in 0..out.rows {
                    let source = self.get(rows, row, 0) as u32;
                    for col in 0..out.cols {
                        let value = self.get(x, source, col);
                        self.set(out, row, col, value);
                    }
                }
            }
            Op::SiluMul { out, gate_up } => self.map(out, |stream, row, col, _| {
                let gate = stream.get(gate_up, row, col);
                gate / (1.0 + (-gate).exp()) * stream.get(gate_up, row, out.cols + col)
            }),
            Op::Add { out, x } => {
                self.map(out, |stream, row, col, old| old + stream.get(x, row, col));
            }
            other => panic!("the tests queue no {}", other.name()),
        }
    }

    fn map(&mut self, out: Tensor, value: impl Fn(&Self, u32, u32, f32) -> f32) {
        for row in 0..out.rows {
            for col in 0..out.cols {
                let new = value(self, row, col, self.get(out, row, col));
                self.set(out, row, col, new);
            }
        }
    }

    /// Four bytes, as a float: an i32 is converted.
    fn get(&self, tensor: Tensor, row: u32, col: u32) -> f32 {
        let bytes = &self.buffers[tensor.buffer.index() as usize][element(tensor, row, col)];
        let bytes = bytes.try_into().unwrap();
        match tensor.dtype {
            DType::I32 => i32::from_le_bytes(bytes) as f32,
            _ => f32::from_le_bytes(bytes),
        }
    }

    fn set(&mut self, tensor: Tensor, row: u32, col: u32, value: f32) {
        let bytes = &mut self.buffers[tensor.buffer.index() as usize][element(tensor, row, col)];
        bytes.copy_from_slice(&value.to_le_bytes());
    }
}

fn element(tensor: Tensor, row: u32, col: u32) -> Range<usize> {
    let index = tensor.offset as usize + (row * tensor.stride + col) as usize;
    index * 4..index * 4 + 4
}

/// The bytes of each row of a contiguous or strided view.
fn row_ranges(tensor: Tensor) -> impl Iterator<Item = Range<usize>> {
    let row = move |row| {
        let start = element(tensor, row, 0).start;
        start..start + tensor.cols as usize * 4
    };
    (0..tensor.rows).map(row)
}

impl Enqueue for TapeStream {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        check::check(&op)?;
        self.check(Fault::Op(op.name()), "the op")?;
        self.events.push(Event::Op(op.name()));
        self.pending |= self.fault == Some(Fault::Late(op.name()));
        self.execute(op);
        Ok(())
    }
}

impl Stream for TapeStream {
    type Graph = Vec<Op>;
    type GraphExec = Vec<Op>;
    type Download = ();

    fn device_info(&self) -> DeviceInfo {
        DeviceInfo {
            name: "tape".into(),
            num_workers: 1,
            can_capture: true,
            graph_support: GraphSupport::Always,
            is_async: false,
        }
    }

    fn memory_info(&self) -> Result<MemoryInfo> {
        Ok(MemoryInfo { free_bytes: 1 << 20, total_bytes: 1 << 20 })
    }

    fn activation_dtype(&self, _weights: DType) -> DType {
        DType::F32
    }

    fn alloc(&mut self, bytes: u64) -> Result<Buffer> {
        self.buffers.push(vec![0xff; bytes as usize]);
        Ok(Buffer::from_index(self.buffers.len() as u32 - 1))
    }

    fn load_weight(&mut self, _source: WeightSource) -> Result<Weight> {
        Err(Error::InvalidWeight("this stream has none".into()))
    }

    fn upload(&mut self, dst: Tensor, src: &[u8]) -> Result<()> {
        let buffer = &mut self.buffers[dst.buffer.index() as usize];
        for (range, row) in row_ranges(dst).zip(src.chunks(dst.cols as usize * 4)) {
            buffer[range].copy_from_slice(row);
        }
        Ok(())
    }

    fn download(&mut self, dst: &mut [u8], src: Tensor) -> Result<()> {
        let buffer = &self.buffers[src.buffer.index() as usize];
        for (range, row) in row_ranges(src).zip(dst.chunks_mut(src.cols as usize * 4)) {
            row.copy_from_slice(&buffer[range]);
        }
        Ok(())
    }

    fn start_download(&mut self, _src: Tensor) -> Result<()> {
        Err(broken("a copy that no graph needs"))
    }

    fn finish_download(&mut self, (): (), _dst: &mut [u8]) -> Result<()> {
        Err(broken("a copy that no graph needs"))
    }

    fn synchronize(&mut self) -> Result<()> {
        self.events.push(Event::Synchronize);
        if std::mem::take(&mut self.pending) { Err(broken("the device")) } else { Ok(()) }
    }

    fn capture(
        &mut self,
        record: &mut dyn FnMut(&mut dyn Enqueue) -> Result<()>,
    ) -> Result<Vec<Op>> {
        let mut recorder = Recorder { ops: Vec::new(), fault: self.fault };
        record(&mut recorder)?;
        self.check(Fault::EndCapture, "the end of the capture")?;
        if self.fault == Some(Fault::LoseOp) {
            recorder.ops.pop();
        }
        self.events.push(Event::Capture(recorder.ops.len()));
        Ok(recorder.ops)
    }

    fn instantiate(&mut self, graph: Vec<Op>) -> Result<Vec<Op>> {
        self.check(Fault::Instantiate, "instantiation")?;
        self.events.push(Event::Instantiate);
        Ok(graph)
    }

    fn upload_graph(&mut self, _exec: &Vec<Op>) -> Result<()> {
        self.check(Fault::Upload, "the upload")?;
        self.events.push(Event::Upload);
        Ok(())
    }

    fn replay(&mut self, exec: &Vec<Op>) -> Result<()> {
        self.check(Fault::Replay, "the replay")?;
        self.events.push(Event::Replay(exec.len()));
        if self.fault != Some(Fault::SkipReplay) {
            exec.iter().for_each(|&op| self.execute(op));
        }
        Ok(())
    }

    fn graph_info(&self, exec: &Vec<Op>) -> GraphInfo {
        let num_ops = exec.len();
        GraphInfo { num_ops, num_launches: num_ops, size_bytes: 100 * num_ops as u64 }
    }
}
