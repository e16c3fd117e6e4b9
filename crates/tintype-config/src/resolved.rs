//! `Compilation`: the outcome of the rules, complete and immutable.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::{CaptureSizes, CompilationConfig, CompilationLevel, CudaGraphMode};

/// How forward passes run, decided. Made by [`resolve`](crate::resolve) only; nothing downstream
/// looks at the user's flags again.
///
/// Serialises as the object that `tintype config --json` prints. It is also a legal input, which
/// reads as [`to_config`](Self::to_config).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compilation {
    pub(crate) level: CompilationLevel,
    pub(crate) mode: CudaGraphMode,
    pub(crate) capture_sizes: CaptureSizes,
    pub(crate) num_of_warmups: usize,
    pub(crate) splitting_ops: Vec<String>,
}

impl Compilation {
    /// Everything off: ops run as the model queues them.
    pub(crate) fn eager() -> Self {
        Self {
            level: CompilationLevel::NoCompilation,
            mode: CudaGraphMode::None,
            capture_sizes: CaptureSizes::default(),
            num_of_warmups: 0,
            splitting_ops: Vec::new(),
        }
    }

    /// Whether the op list is cut at the splitting ops.
    pub fn level(&self) -> CompilationLevel {
        self.level
    }

    /// Which batches replay which kind of graph.
    pub fn mode(&self) -> CudaGraphMode {
        self.mode
    }

    /// The batch sizes to capture; empty exactly when no graph is used.
    pub fn capture_sizes(&self) -> &CaptureSizes {
        &self.capture_sizes
    }

    /// Eager runs of a size before its capture; 0 when no graph is used.
    pub fn num_of_warmups(&self) -> usize {
        self.num_of_warmups
    }

    /// The names of the ops between the pieces; empty at level 0.
    pub fn splitting_ops(&self) -> &[String] {
        &self.splitting_ops
    }

    /// Whether any batch replays a graph.
    pub fn use_cuda_graph(&self) -> bool {
        self.mode != CudaGraphMode::None
    }

    /// The same decisions as a config with every field of consequence given.
    ///
    /// Resolving it again with the same engine and backend gives this `Compilation` and no notes.
    /// The flags that imply other fields stay unset, since what they implied is written out.
    pub fn to_config(&self) -> CompilationConfig {
        CompilationConfig {
            level: Some(self.level),
            cudagraph_mode: Some(self.mode),
            cudagraph_capture_sizes: Some(self.capture_sizes.as_slice().to_vec()),
            max_cudagraph_capture_size: Some(self.max_capture_size()),
            cudagraph_num_of_warmups: Some(self.num_of_warmups),
            splitting_ops: Some(self.splitting_ops.clone()),
            simple_cuda_graph: None,
            full_cuda_graph: None,
            use_cudagraph: Some(self.use_cuda_graph()),
        }
    }

    fn max_capture_size(&self) -> usize {
        self.capture_sizes.largest().unwrap_or(0)
    }
}

impl Serialize for Compilation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Compilation", 7)?;
        fields.serialize_field("level", &self.level)?;
        fields.serialize_field("cudagraph_mode", &self.mode)?;
        fields.serialize_field("cudagraph_capture_sizes", self.capture_sizes.as_slice())?;
        fields.serialize_field("max_cudagraph_capture_size", &self.max_capture_size())?;
        fields.serialize_field("cudagraph_num_of_warmups", &self.num_of_warmups)?;
        fields.serialize_field("splitting_ops", &self.splitting_ops)?;
        fields.serialize_field("use_cuda_graph", &self.use_cuda_graph())?;
        fields.end()
    }
}
