//! A stream that runs nothing: loading a model leaves a trace, a forward pass leaves its ops.

use tintype_ops::{
    Buffer, DType, DeviceInfo, Enqueue, Error, GraphInfo, GraphSupport, MemoryInfo, Op, Result,
    Stream, Tensor, Weight, WeightSource, require_copy_size,
};

/// Hands out indices, as any stream does, and keeps the weights' sources.
#[derive(Default)]
pub(super) struct Recorder {
    pub(super) num_buffers: u32,
    pub(super) weights: Vec<WeightSource>,
    pub(super) ops: Vec<Op>,
}

impl Enqueue for Recorder {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        self.ops.enqueue(op)
    }
}

impl Stream for Recorder {
    type Graph = ();
    type GraphExec = ();
    type Download = ();

    fn device_info(&self) -> DeviceInfo {
        DeviceInfo {
            name: "recorder".into(),
            num_workers: 1,
            can_capture: false,
            graph_support: GraphSupport::Never,
            is_async: false,
        }
    }

    fn memory_info(&self) -> Result<MemoryInfo> {
        Ok(MemoryInfo { free_bytes: 0, total_bytes: 0 })
    }

    /// Unlike the CPU's, the weights' own: what a GPU would say.
    fn activation_dtype(&self, weights: DType) -> DType {
        weights
    }

    fn alloc(&mut self, _bytes: u64) -> Result<Buffer> {
        self.num_buffers += 1;
        Ok(Buffer::from_index(self.num_buffers - 1))
    }

    fn load_weight(&mut self, source: WeightSource) -> Result<Weight> {
        let buffer = Buffer::from_index(self.weights.len() as u32);
        let weight =
            Weight { buffer, rows: source.rows(), cols: source.cols(), dtype: source.dtype() };
        self.weights.push(source);
        Ok(weight)
    }

    fn upload(&mut self, dst: Tensor, src: &[u8]) -> Result<()> {
        require_copy_size(src.len() as u64, dst.size_bytes())
    }

    fn download(&mut self, _dst: &mut [u8], _src: Tensor) -> Result<()> {
        Err(Error::Device("a recorder computes nothing".into()))
    }

    fn start_download(&mut self, _src: Tensor) -> Result<()> {
        Err(Error::Device("a recorder computes nothing".into()))
    }

    fn finish_download(&mut self, (): (), _dst: &mut [u8]) -> Result<()> {
        Err(Error::Device("a recorder computes nothing".into()))
    }

    fn synchronize(&mut self) -> Result<()> {
        Ok(())
    }

    fn capture(
        &mut self,
        _record: &mut dyn FnMut(&mut dyn Enqueue) -> Result<()>,
    ) -> Result<Self::Graph> {
        Err(Error::CaptureUnsupported)
    }

    fn instantiate(&mut self, _graph: Self::Graph) -> Result<Self::GraphExec> {
        Err(Error::CaptureUnsupported)
    }

    fn upload_graph(&mut self, _exec: &Self::GraphExec) -> Result<()> {
        Err(Error::CaptureUnsupported)
    }

    fn replay(&mut self, _exec: &Self::GraphExec) -> Result<()> {
        Err(Error::CaptureUnsupported)
    }

    fn graph_info(&self, _exec: &Self::GraphExec) -> GraphInfo {
        GraphInfo { num_ops: 0, num_launches: 0, size_bytes: 0 }
    }
}
