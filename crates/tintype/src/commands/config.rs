//! `tintype config`: what the engine flags resolve to, without a model.

use anyhow::Result;
use serde::Serialize;
use tintype_config::{Backend, Compilation, EngineConfig, Note, resolve};
use tintype_ops::{ReadProbe, Stream};

use crate::args::ConfigArgs;
use crate::console::Console;
use crate::device::{Job, with_stream};
use crate::output::{print, print_json};

/// The outcome; its field names are those of `--json`.
#[derive(Serialize)]
struct Outcome {
    compilation: Compilation,
    notes: Vec<Note>,
}

/// The fields of a [`Compilation`], in the order in which people ask for them.
const RESOLVED: [&str; 7] = [
    "level",
    "cudagraph_mode",
    "use_cuda_graph",
    "splitting_ops",
    "cudagraph_num_of_warmups",
    "max_cudagraph_capture_size",
    "cudagraph_capture_sizes",
];

pub(super) fn run(args: ConfigArgs, console: &Console) -> Result<()> {
    let config = args.engine.config();
    let backend = with_stream(args.engine.device, console, AskBackend)?;
    let (compilation, notes) = resolve(&config, &backend)?;
    let outcome = Outcome { compilation, notes };
    if args.json { print_json(&outcome) } else { print(&text(&config, &outcome)?) }
}

/// Asks the device what the rules must know about it.
struct AskBackend;

impl Job for AskBackend {
    type Output = Backend;

    fn run<S: Stream + ReadProbe>(self, stream: S) -> Result<Backend> {
        Ok(tintype_graph::backend_of(&stream))
    }
}

fn text(config: &EngineConfig, outcome: &Outcome) -> Result<String> {
    let mut text = String::from("asked:\n");
    for (field, value) in asked(config)? {
        text += &format!("  {field:<28}{value}\n");
    }
    text += "resolves to:\n";
    let fields = serde_json::to_value(&outcome.compilation)?;
    for field in RESOLVED {
        text += &format!("  {field:<28}{}\n", fields[field]);
    }
    match outcome.notes.as_slice() {
        [] => text += "notes: none about graphs, they are what you asked for\n",
        notes => {
            text += "notes:\n";
            notes.iter().for_each(|note| text += &format!("  {note}\n"));
        }
    }
    Ok(text)
}

/// The fields that take part in the rules, as far as they were given or have a default.
fn asked(config: &EngineConfig) -> Result<Vec<(String, String)>> {
    let mut fields = vec![
        ("max_num_seqs".to_owned(), config.max_num_seqs.to_string()),
        ("max_num_batched_tokens".to_owned(), config.max_num_batched_tokens.to_string()),
    ];
    if let Some(level) = config.optimization_level {
        fields.push(("optimization_level".to_owned(), level.to_string()));
    }
    if config.enforce_eager {
        fields.push(("enforce_eager".to_owned(), "true".to_owned()));
    }
    let compilation = serde_json::to_value(&config.compilation)?;
    for (field, value) in compilation.as_object().into_iter().flatten() {
        fields.push((field.clone(), value.to_string()));
    }
    Ok(fields)
}
