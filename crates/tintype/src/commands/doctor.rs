//! `tintype doctor`: which devices there are, and why not the others.

use anyhow::Result;
use serde::{Serialize, Serializer};
use tintype_ops::{GraphSupport, ReadProbe, Stream};

use crate::args::{DeviceArgs, DoctorArgs};
use crate::console::Console;
use crate::device::{Job, Unavailable, candidates, with_stream};
use crate::output::{bytes, print, print_json};

/// The outcome; field names are those of `--json`.
#[derive(Serialize)]
struct Report {
    version: &'static str,
    devices: Vec<Device>,
}

#[derive(Serialize)]
struct Device {
    device: String,
    available: bool,
    #[serde(flatten)]
    finding: Finding,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Finding {
    Found(Found),
    Missing { reason: String, fix: String },
}

#[derive(Serialize)]
struct Found {
    name: String,
    num_workers: usize,
    free_bytes: u64,
    total_bytes: u64,
    can_capture: bool,
    #[serde(serialize_with = "name")]
    graph_support: GraphSupport,
}

/// The field's own word for it, as `tintype config` and vLLM have it.
fn name<S: Serializer>(support: &GraphSupport, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{support:?}"))
}

pub(super) fn run(args: DoctorArgs, console: &Console) -> Result<()> {
    let examine = |device| examine(DeviceArgs { device, threads: args.threads }, console);
    let devices = candidates().into_iter().map(examine).collect();
    let report = Report { version: env!("CARGO_PKG_VERSION"), devices };
    if args.json { print_json(&report) } else { print(&text(&report)) }
}

/// Opens the device and asks it, or says why it does not open.
fn examine(args: DeviceArgs, console: &Console) -> Device {
    let outcome = with_stream(args, console, Examine);
    let available = outcome.is_ok();
    let finding = match outcome {
        Ok(found) => Finding::Found(found),
        Err(error) => missing(&error),
    };
    Device { device: args.device.to_string(), available, finding }
}

fn missing(error: &anyhow::Error) -> Finding {
    match error.downcast_ref() {
        Some(Unavailable { error, .. }) => {
            Finding::Missing { reason: error.reason(), fix: error.fix().into() }
        }
        None => Finding::Missing {
            reason: format!("{error:#}"),
            fix: "free memory or lower --threads, then try again".into(),
        },
    }
}

struct Examine;

impl Job for Examine {
    type Output = Found;

    fn run<S: Stream + ReadProbe>(self, stream: S) -> Result<Found> {
        let info = stream.device_info();
        let memory = stream.memory_info()?;
        Ok(Found {
            name: info.name,
            num_workers: info.num_workers,
            free_bytes: memory.free_bytes,
            total_bytes: memory.total_bytes,
            can_capture: info.can_capture,
            graph_support: info.graph_support,
        })
    }
}

fn text(report: &Report) -> String {
    let mut text = format!("tintype {}\n", report.version);
    for Device { device, finding, .. } in &report.devices {
        text += &match finding {
            Finding::Found(found) => found_text(device, found),
            Finding::Missing { reason, fix } => {
                format!("{device}: not available\n  reason   {reason}\n  fix      {fix}\n")
            }
        };
    }
    text
}

/// Which batches have attention inside their graph.
fn attention(support: GraphSupport) -> &'static str {
    match support {
        GraphSupport::Never => "attention outside of them",
        GraphSupport::UniformSingleTokenDecode => "attention inside where every sequence decodes",
        GraphSupport::UniformBatch => "attention inside where all sequences compute as many tokens",
        GraphSupport::Always => "attention inside for every batch",
    }
}

fn found_text(device: &str, found: &Found) -> String {
    let Found { name, num_workers, free_bytes, total_bytes, .. } = found;
    let graphs = match found.can_capture {
        true => format!("captured, {}", attention(found.graph_support)),
        false => "not supported".into(),
    };
    let (free, total) = (bytes(*free_bytes), bytes(*total_bytes));
    format!(
        "{device}: available\n  name     {name}\n  workers  {num_workers}\n  \
         memory   {free} free of {total}\n  graphs   {graphs}\n"
    )
}
