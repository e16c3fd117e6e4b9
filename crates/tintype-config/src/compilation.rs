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
    /// False turns graphs off. Default: true. Alias: `use_cuda_graph`, as a
    /// [`Compilation`](crate::Compilation) prints it.
    #[serde(alias = "use_cuda_graph", skip_serializing_if = "Option::is_none")]
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
    "use_cuda_graph",
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
        check_spellings(&fields)?;
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

/// Names that stand for another one, with that one.
const ALIASES: [(&str, &str); 2] = [("mode", "level"), ("use_cuda_graph", "use_cudagraph")];

/// Refuses two spellings of one field: which of them counts is a guess.
fn check_spellings(fields: &Map<String, Value>) -> Result<(), ConfigError> {
    let is_twice =
        |(alias, name): &&(&str, &str)| fields.contains_key(*alias) && fields.contains_key(*name);
    match ALIASES.iter().find(is_twice) {
        Some(&(alias, name)) => {
            let problem = format!(
                "it is another spelling of `{name}`, which is {}; give only one",
                fields[name]
            );
            Err(ConfigError::value(alias, &fields[alias], problem))
        }
        None => Ok(()),
    }
}

/// serde names no field when a value has the wrong type; reading one field at a time does.
fn check_field(name: &str, value: &Value) -> Result<(), ConfigError> {
    if !FIELDS.contains(&name) {
        return Err(ConfigError::UnknownField { field: name.into(), valid: FIELDS });
    }
    let alone = Map::from_iter([(name.to_owned(), value.clone())]);
    let Err(error) = CompilationConfig::deserialize(Value::Object(alone)) else { return Ok(()) };
    let mut problem = error.to_string();
    // In vLLM the two are easily taken for each other, and share the name PIECEWISE.
    if name == "mode" && CudaGraphMode::deserialize(value).is_ok() {
        problem += "; `mode` is another spelling of `level`, graphs are set by `cudagraph_mode`";
    }
    Err(ConfigError::value(name, value, problem))
}

#[cfg(test)]
mod tests;
