//! `tintype info`: what a model is and what it takes, without loading its weights.

use anyhow::Result;
use serde::Serialize;
use tintype_model::{ModelFiles, ModelInfo};
use tintype_ops::{DType, MemoryInfo, ReadProbe, SharedBytes, Stream};
use tintype_runner::{ChatTemplate, EngineOptions};

use super::dtypes::Dtypes;
use crate::args::InfoArgs;
use crate::console::Console;
use crate::device::{Job, with_stream};
use crate::output::{bytes, plural, print, print_json, thousands};

/// The outcome; field names are those of `--json`.
#[derive(Debug, Serialize)]
struct Info {
    model: String,
    architecture: &'static str,
    num_parameters: u64,
    weight_bytes: u64,
    dtype: String,
    num_hidden_layers: usize,
    hidden_size: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    has_tokenizer: bool,
    has_chat_template: bool,
    kv_dtype: &'static str,
    kv_bytes_per_token: u64,
    device: String,
    free_bytes: u64,
    total_bytes: u64,
    fits: Fits,
}

/// What the free memory holds.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Fits {
    weights: bool,
    /// Tokens of KV cache in the part of the memory beside the weights that an engine takes.
    kv_tokens: u64,
    /// Sequences of the model's full length that this is.
    full_length_sequences: u64,
}

pub(super) fn run(args: InfoArgs, console: &Console) -> Result<()> {
    let files = args.model.model.open()?;
    let dtypes = Dtypes::of(&files)?;
    let device = with_stream(args.device, console, AskDevice { weights: dtypes.first })?;
    let info = Info::new(&files, &dtypes, device);
    if args.json { print_json(&info) } else { print(&text(&info)) }
}

/// Asks the device how it would keep the model.
struct AskDevice {
    weights: DType,
}

struct Device {
    name: String,
    memory: MemoryInfo,
    kv_dtype: DType,
}

impl Job for AskDevice {
    type Output = Device;

    fn run<S: Stream + ReadProbe>(self, stream: S) -> Result<Device> {
        Ok(Device {
            name: stream.device_info().name,
            memory: stream.memory_info()?,
            kv_dtype: stream.activation_dtype(self.weights),
        })
    }
}

impl Info {
    fn new(files: &ModelFiles, dtypes: &Dtypes, device: Device) -> Self {
        let config = &files.config;
        let sizes = ModelInfo::new(files);
        let ModelInfo { num_parameters, weight_bytes, .. } = sizes;
        let kv_bytes_per_token = sizes.kv_bytes_per_token(device.kv_dtype);
        let tokenizer_config = files.tokenizer_config.as_ref().map(SharedBytes::as_slice);
        let template = files.chat_template.as_ref().map(SharedBytes::as_slice);
        let free_bytes = device.memory.free_bytes;
        let full_length = config.max_position_embeddings as u64;
        Self {
            model: files.name.clone(),
            architecture: config.architecture.name(),
            num_parameters,
            weight_bytes,
            dtype: dtypes.names.clone(),
            num_hidden_layers: config.num_hidden_layers,
            hidden_size: config.hidden_size,
            num_attention_heads: config.num_attention_heads,
            num_key_value_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            vocab_size: config.vocab_size,
            max_position_embeddings: config.max_position_embeddings,
            has_tokenizer: files.tokenizer_json.is_some(),
            has_chat_template: ChatTemplate::new(tokenizer_config, template).is_ok(),
            kv_dtype: device.kv_dtype.name(),
            kv_bytes_per_token,
            device: device.name,
            free_bytes,
            total_bytes: device.memory.total_bytes,
            fits: Fits::new(free_bytes, weight_bytes, kv_bytes_per_token, full_length),
        }
    }
}

impl Fits {
    fn new(free_bytes: u64, weight_bytes: u64, kv_bytes_per_token: u64, full_length: u64) -> Self {
        let left_bytes = free_bytes.saturating_sub(weight_bytes);
        let kv_bytes = (left_bytes as f64 * EngineOptions::default().kv_memory_fraction) as u64;
        let kv_tokens = kv_bytes / kv_bytes_per_token.max(1);
        Self {
            weights: weight_bytes <= free_bytes,
            kv_tokens,
            full_length_sequences: kv_tokens / full_length.max(1),
        }
    }
}

fn text(info: &Info) -> String {
    let Info { num_hidden_layers, hidden_size, head_dim, num_key_value_heads, .. } = info;
    let yes_no = |has| if has { "yes" } else { "no" };
    let fits = match &info.fits {
        Fits { weights: false, .. } => "no: the weights alone are larger than free memory".into(),
        fits => format!(
            "yes, with {} tokens of KV cache in {} of the memory left: {} of full length",
            thousands(fits.kv_tokens),
            EngineOptions::default().kv_memory_fraction,
            plural(fits.full_length_sequences, "sequence")
        ),
    };
    let rows = [
        ("model", info.model.clone()),
        ("architecture", info.architecture.into()),
        ("parameters", thousands(info.num_parameters)),
        ("weights", format!("{} in {}", bytes(info.weight_bytes), info.dtype)),
        ("layers", format!("{num_hidden_layers} of width {hidden_size}")),
        (
            "attention",
            format!(
                "{} query heads, {num_key_value_heads} KV heads of {head_dim}",
                info.num_attention_heads
            ),
        ),
        ("vocabulary", thousands(info.vocab_size as u64)),
        ("full length", format!("{} tokens", thousands(info.max_position_embeddings as u64))),
        ("tokenizer", yes_no(info.has_tokenizer).into()),
        ("chat template", yes_no(info.has_chat_template).into()),
        ("KV cache", format!("{} a token in {}", bytes(info.kv_bytes_per_token), info.kv_dtype)),
        ("device", info.device.clone()),
        ("memory", format!("{} free of {}", bytes(info.free_bytes), bytes(info.total_bytes))),
        ("fits", fits),
    ];
    rows.iter().map(|(name, value)| format!("{name:<15}{value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_half_of_what_the_weights_leave_as_an_engine_takes_it() {
        let expected = Fits { weights: true, kv_tokens: 30, full_length_sequences: 1 };
        assert_eq!(Fits::new(1000, 400, 10, 25), expected);
        let expected = Fits { weights: false, kv_tokens: 0, full_length_sequences: 0 };
        assert_eq!(Fits::new(1000, 1001, 10, 25), expected);
    }
}
