//! A stream that tests can look at, and make fail.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use tintype_cpu::{CpuGraph, CpuGraphExec};
use tintype_graph::GraphOptions;
use tintype_ops::{
    Buffer, DType, DeviceInfo, Enqueue, Error, GraphInfo, MemoryInfo, Op, Result, Stream, Tensor,
    Weight, WeightSource,
};

use super::*;

/// What fails.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Fault {
    #[default]
    None,
    Enqueue,
    Replay,
    Upload,
    Download,
    Instantiate,
}

/// Something that the engine asked of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// Queues the draw of tokens.
    Sample,
    Capture,
    Replay,
    Upload,
    /// Queues a copy to the host.
    StartDownload,
    /// Waits for the device.
    Download,
}

/// A test's hold on the stream of its engine.
#[derive(Clone, Default)]
pub(super) struct Watch {
    pub(super) fault: Rc<Cell<Fault>>,
    pub(super) calls: Rc<RefCell<Vec<Call>>>,
    /// How long each download takes.
    pub(super) delay: Rc<Cell<Duration>>,
}

impl Watch {
    /// The calls since it was asked last.
    pub(super) fn take_calls(&self) -> Vec<Call> {
        self.calls.take()
    }
}

/// The CPU, watched, with a fault that tests switch on and off.
pub(super) struct WatchedStream {
    inner: CpuStream,
    watch: Watch,
}

impl WatchedStream {
    pub(super) fn open(watch: &Watch) -> Self {
        Self { inner: CpuStream::new(Some(1)).unwrap(), watch: watch.clone() }
    }

    fn log(&self, call: Call) {
        self.watch.calls.borrow_mut().push(call);
    }

    fn check(&self, fault: Fault) -> Result<()> {
        match self.watch.fault.get() == fault {
            true => Err(Error::Device("xid 79: the device fell off the bus".into())),
            false => Ok(()),
        }
    }
}

impl Enqueue for WatchedStream {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        self.check(Fault::Enqueue)?;
        if matches!(op, Op::Sample { .. }) {
            self.log(Call::Sample);
        }
        self.inner.enqueue(op)
    }
}

impl Stream for WatchedStream {
    type Graph = CpuGraph;
    type GraphExec = CpuGraphExec;
    type Download = Vec<u8>;

    fn device_info(&self) -> DeviceInfo {
        self.inner.device_info()
    }

    fn memory_info(&self) -> Result<MemoryInfo> {
        self.inner.memory_info()
    }

    fn activation_dtype(&self, weights: DType) -> DType {
        self.inner.activation_dtype(weights)
    }

    fn alloc(&mut self, bytes: u64) -> Result<Buffer> {
        self.inner.alloc(bytes)
    }

    fn load_weight(&mut self, source: WeightSource) -> Result<Weight> {
        self.inner.load_weight(source)
    }

    fn upload(&mut self, dst: Tensor, src: &[u8]) -> Result<()> {
        self.check(Fault::Upload)?;
        self.log(Call::Upload);
        self.inner.upload(dst, src)
    }

    fn download(&mut self, dst: &mut [u8], src: Tensor) -> Result<()> {
        self.check(Fault::Download)?;
        self.log(Call::Download);
        thread::sleep(self.watch.delay.get());
        self.inner.download(dst, src)
    }

    fn start_download(&mut self, src: Tensor) -> Result<Vec<u8>> {
        self.log(Call::StartDownload);
        self.inner.start_download(src)
    }

    fn finish_download(&mut self, download: Vec<u8>, dst: &mut [u8]) -> Result<()> {
        self.check(Fault::Download)?;
        self.log(Call::Download);
        thread::sleep(self.watch.delay.get());
        self.inner.finish_download(download, dst)
    }

    fn synchronize(&mut self) -> Result<()> {
        self.inner.synchronize()
    }

    fn capture(
        &mut self,
        record: &mut dyn FnMut(&mut dyn Enqueue) -> Result<()>,
    ) -> Result<CpuGraph> {
        self.log(Call::Capture);
        self.inner.capture(record)
    }

    fn instantiate(&mut self, graph: CpuGraph) -> Result<CpuGraphExec> {
        self.check(Fault::Instantiate)?;
        self.inner.instantiate(graph)
    }

    fn upload_graph(&mut self, exec: &CpuGraphExec) -> Result<()> {
        self.inner.upload_graph(exec)
    }

    fn replay(&mut self, exec: &CpuGraphExec) -> Result<()> {
        self.check(Fault::Replay)?;
        self.log(Call::Replay);
        self.inner.replay(exec)
    }

    fn graph_info(&self, exec: &CpuGraphExec) -> GraphInfo {
        self.inner.graph_info(exec)
    }
}

/// An engine of [`LLAMA`] on a watched stream, and the watch.
pub(super) fn engine(
    config: &EngineConfig,
    graphs: GraphOptions,
) -> (Engine<WatchedStream>, Watch) {
    engine_with(config, EngineOptions { graphs, ..EngineOptions::default() })
}

/// The same, with other options.
pub(super) fn engine_with(
    config: &EngineConfig,
    options: EngineOptions,
) -> (Engine<WatchedStream>, Watch) {
    let watch = Watch::default();
    let options = EngineOptions { num_kv_blocks: Some(64), ..options };
    let stream = WatchedStream::open(&watch);
    let engine = Engine::new(stream, &files(LLAMA), config, options, &mut |_| ()).unwrap();
    watch.take_calls();
    (engine, watch)
}
