//! `CompilationConfig`: what the user wrote, nothing inferred.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CompilationLevel, ConfigError, CudaGraphMode};

/// The argument of `--compilation-config`, with vLLM's field names and spellings.
///
/// Every field is optional and `None` means that the user did not say; JSON `null` reads as `None`
/// too. What the fields mean together is decided once, by [`resolve`](crate::resolve).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompilationConfig {
    /// 3 = the op list is cut at `splitting_ops`; 0 = run as the model queues it. Alias: `mode`.
    #[serde(alias = "mode", skip_serializing_if = "Option::is_none")]
    pub level: Option<CompilationLevel>,
    /// Full CUDA graphs with no compilation: level 0 and mode FULL. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simple_cuda_graph: Option<bool>,
    /// Capture the whole forward pass rather than the pieces. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full_cuda_graph: Option<bool>,
    /// False turns graphs off. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_cudagraph: Option<bool>,
    /// Which batches replay which kind of graph, in any letter case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cudagraph_mode: Option<CudaGraphMode>,
    /// The batch sizes to capture, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cudagraph_capture_sizes: Option<Vec<usize>>,
    /// The largest batch size to capture, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cudagraph_capture_size: Option<usize>,
    /// Eager runs of a size before its capture. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cudagraph_num_of_warmups: Option<usize>,
    /// Names of the ops at which level 3 cuts. Default: `["attention"]` at level 3, else `[]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub splitting_ops: Option<Vec<String>>,
}

/// Every name that the JSON may use, for the message about one that it may not.
const FIELDS: &[&str] = &[
    "level",
    "mode",
    "simple_cuda_graph",
    "full_cuda_graph",
    "use_cudagraph",
    "cudagraph_mode",
    "cudagraph_capture_sizes",
    "max_cudagraph_capture_size",
    "cudagraph_num_of_warmups",
    "splitting_ops",
];

impl CompilationConfig {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// [`ConfigError`] names the field that is unknown or holds a value of the wrong kind, and
    /// lists what is accepted.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let json_error = |error: serde_json::Error| ConfigError::Json(error.to_string());
        let fields: Map<String, Value> = serde_json::from_str(text).map_err(json_error)?;
        for (name, value) in &fields {
            check_field(name, value)?;
        }
        // Each field is good alone, so what can still fail is a field given twice.
        serde_json::from_str(text).map_err(json_error)
    }

    /// Whether the user asked for full graphs without compilation.
    pub(crate) fn is_simple(&self) -> bool {
        self.simple_cuda_graph == Some(true)
    }

    /// The flag that asks for whole-pass graphs, if one does.
    pub(crate) fn full_flag(&self) -> Option<&'static str> {
        if self.is_simple() {
            Some("simple_cuda_graph")
        } else if self.full_cuda_graph == Some(true) {
            Some("full_cuda_graph")
        } else {
            None
        }
    }
}

/// serde names no field when a value has the wrong type; reading one field at a time does.
fn check_field(name: &str, value: &Value) -> Result<(), ConfigError> {
    if !FIELDS.contains(&name) {
        return Err(ConfigError::UnknownField { field: name.into(), valid: FIELDS });
    }
    let alone = Map::from_iter([(name.to_owned(), value.clone())]);
    match CompilationConfig::deserialize(Value::Object(alone)) {
        Ok(_) => Ok(()),
        Err(error) => Err(ConfigError::value(name, value, error.to_string())),
    }
}

#[cfg(test)]
mod tests;
