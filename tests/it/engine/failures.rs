//! A device that fails: every request fails with it, and the engine stays well-behaved.

use std::cell::Cell;
use std::rc::Rc;

use tintype_cpu::{CpuGraph, CpuGraphExec, CpuStream};
use tintype_ops::{
    Buffer, DType, DeviceInfo, Enqueue, Error, GraphInfo, MemoryInfo, Op, Result, Stream, Tensor,
    Weight, WeightSource,
};
use tintype_runner::{EngineOptions, RequestId};

use super::*;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Enqueue,
    Replay,
    Upload,
    Download,
}

/// The CPU with a fault that tests switch on and off.
struct FaultyStream {
    inner: CpuStream,
    fault: Rc<Cell<Fault>>,
}

impl FaultyStream {
    fn check(&self, fault: Fault) -> Result<()> {
        match self.fault.get() == fault {
            true => Err(Error::Device("xid 79: the device fell off the bus".into())),
            false => Ok(()),
        }
    }
}

impl Enqueue for FaultyStream {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        self.check(Fault::Enqueue)?;
        self.inner.enqueue(op)
    }
}

impl Stream for FaultyStream {
    type Graph = CpuGraph;
    type GraphExec = CpuGraphExec;

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
        self.inner.upload(dst, src)
    }

    fn download(&mut self, dst: &mut [u8], src: Tensor) -> Result<()> {
        self.check(Fault::Download)?;
        self.inner.download(dst, src)
    }

    fn synchronize(&mut self) -> Result<()> {
        self.inner.synchronize()
    }

    fn capture(
        &mut self,
        record: &mut dyn FnMut(&mut dyn Enqueue) -> Result<()>,
    ) -> Result<CpuGraph> {
        self.inner.capture(record)
    }

    fn instantiate(&mut self, graph: CpuGraph) -> Result<CpuGraphExec> {
        self.inner.instantiate(graph)
    }

    fn upload_graph(&mut self, exec: &CpuGraphExec) -> Result<()> {
        self.inner.upload_graph(exec)
    }

    fn replay(&mut self, exec: &CpuGraphExec) -> Result<()> {
        self.check(Fault::Replay)?;
        self.inner.replay(exec)
    }

    fn graph_info(&self, exec: &CpuGraphExec) -> GraphInfo {
        self.inner.graph_info(exec)
    }
}

fn faulty_engine() -> (Engine<FaultyStream>, Rc<Cell<Fault>>) {
    let fault = Rc::new(Cell::new(Fault::None));
    let inner = CpuStream::new(Some(1)).unwrap();
    let stream = FaultyStream { inner, fault: Rc::clone(&fault) };
    let options = EngineOptions { num_kv_blocks: Some(64), ..EngineOptions::default() };
    let engine = Engine::new(stream, &files(LLAMA), &config("{}"), options, &mut |_| ()).unwrap();
    (engine, fault)
}

#[test]
fn a_fault_fails_every_request_and_leaves_nothing_behind() {
    let (mut engine, fault) = faulty_engine();
    // More than run at once, so that some fail while they wait.
    let requests: Vec<_> = prompts(12, 9).into_iter().map(|prompt| greedy(prompt, 5)).collect();
    let expected = engine.generate(requests.clone()).unwrap();
    let mut next_id = requests.len() as u64;
    for kind in [Fault::Enqueue, Fault::Replay, Fault::Upload, Fault::Download] {
        for request in &requests {
            engine.add_request(request.clone()).unwrap();
        }
        engine.step().unwrap();
        fault.set(kind);
        let error = engine.step().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("12 requests") && text.contains("fell off the bus"), "{text}");
        let EngineError::Step { failed, .. } = error else { panic!("{kind:?}: {error:?}") };
        assert_eq!(failed, (next_id..next_id + 12).map(RequestId).collect::<Vec<_>>());
        next_id += 12;
        assert!(!engine.has_unfinished());
        assert!(engine.step().unwrap().outputs.is_empty(), "{kind:?}: a step of nothing failed");
        // Once the device is back, all blocks are free and the same text comes.
        fault.set(Fault::None);
        assert_eq!(engine.generate(requests.clone()).unwrap(), expected, "after {kind:?}");
        next_id += 12;
    }
}

#[test]
fn a_fault_while_starting_is_an_error() {
    for kind in [Fault::Upload, Fault::Enqueue] {
        let fault = Rc::new(Cell::new(kind));
        let stream = FaultyStream { inner: CpuStream::new(Some(1)).unwrap(), fault };
        let warm = config(r#"{"cudagraph_num_of_warmups": 1}"#);
        let options = EngineOptions::default();
        match Engine::new(stream, &files(LLAMA), &warm, options, &mut |_| ()) {
            Ok(_) => panic!("{kind:?} went unnoticed"),
            Err(error) => assert!(error.to_string().contains("fell off the bus"), "{error}"),
        }
    }
}
