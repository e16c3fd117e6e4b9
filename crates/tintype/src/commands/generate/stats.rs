//! `--stats`.

use anyhow::Result;
use serde::Serialize;
use tintype_runner::Stats;

use crate::console::Console;
use crate::output::{plural, print_json};

/// The last line of `generate --json --stats`.
#[derive(Serialize)]
struct StatsLine<'a> {
    stats: &'a Stats,
}

/// On stdout as JSON, else on stderr for people.
pub(super) fn report(stats: &Stats, json: bool, console: &Console) -> Result<()> {
    if stats.preemptions > 0 {
        console.line(format_args!(
            "note: the KV cache was too small for all sequences at once: {}",
            plural(stats.preemptions, "preemption")
        ));
    }
    if json {
        return print_json(&StatsLine { stats });
    }
    console.line(text(stats));
    Ok(())
}

fn text(stats: &Stats) -> String {
    let reasons = stats.steps.iter_eager().map(|(reason, count)| format!("{count} {reason}"));
    let eager = match stats.steps.total_eager() {
        0 => "no eager steps".into(),
        _ => format!("eager steps: {}", reasons.collect::<Vec<_>>().join(", ")),
    };
    let captured = match stats.captured_after_ms {
        Some(ms) => format!("done {ms:.1} ms after the start of loading"),
        None => "not all graphs yet".into(),
    };
    format!(
        "stats: load {:.1} ms, capture {:.1} ms, {captured}\n\
         stats: {}, first token after {:.1} ms\n\
         stats: {}, {:.2} ms each after the first\n\
         stats: {}, {eager}",
        stats.load_ms,
        stats.capture_ms,
        plural(stats.prompt_tokens, "prompt token"),
        stats.ttft_ms,
        plural(stats.output_tokens, "output token"),
        stats.decode_ms_per_token,
        plural(stats.steps.total_replays(), "graph replay"),
    )
}
