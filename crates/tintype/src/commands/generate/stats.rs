//! `--stats`.

use anyhow::Result;
use serde::Serialize;
use tintype_runner::Stats;

use crate::console::Console;
use crate::output::print_json;

/// The last line of `generate --json --stats`.
#[derive(Serialize)]
struct StatsLine<'a> {
    stats: &'a Stats,
}

/// On stdout as JSON, else on stderr for people.
pub(super) fn report(stats: &Stats, json: bool, console: &Console) -> Result<()> {
    if stats.preemptions > 0 {
        console.line(format_args!(
            "note: the KV cache was too small for all sequences at once: {} preemptions",
            stats.preemptions
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
         stats: {} prompt tokens, first token after {:.1} ms\n\
         stats: {} output tokens, {:.2} ms each after the first\n\
         stats: {} graph replays, {eager}",
        stats.load_ms,
        stats.capture_ms,
        stats.prompt_tokens,
        stats.ttft_ms,
        stats.output_tokens,
        stats.decode_ms_per_token,
        stats.steps.total_replays(),
    )
}
