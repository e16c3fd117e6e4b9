//! `tintype bench start`.

use serde_json::Value;

use crate::process::tintype;

fn report(flags: &[&str]) -> Value {
    let args = ["bench", "start", "--threads", "1", "--max-num-seqs", "8", "--json"];
    tintype(&[&args, flags].concat()).ok().json()
}

fn ms<const N: usize>(report: &Value, fields: [&str; N]) -> [f64; N] {
    fields.map(|field| report[field].as_f64().unwrap())
}

#[test]
fn a_start_is_reported_phase_by_phase() {
    let report = report(&["--capture", "startup"]);
    let phases = ms(&report, ["open_ms", "captured_ms", "ready_ms", "first_token_ms"]);
    assert!(phases.is_sorted() && phases[0] > 0.0, "{report}");
    let [load, capture, ready] = ms(&report, ["load_ms", "capture_ms", "ready_ms"]);
    assert!(load + capture <= ready && capture > 0.0, "{report}");
    let [rate] = ms(&report, ["load_gb_per_s"]);
    assert!(rate > 0.0 && report["num_launches"].as_u64() > Some(0), "{report}");
}

#[test]
fn a_prompt_that_is_too_long_is_refused_before_the_model_is_loaded() {
    for input_len in ["256", "18446744073709551615"] {
        let run = tintype(&["bench", "start", "--input-len", input_len]);
        run.fails(2, &["--input-len", input_len, "max_model_len is 256"]);
        assert!(!run.stderr.contains("loaded"), "{}", run.stderr);
    }
}

#[test]
fn the_first_token_waits_for_no_graph_unless_told_to() {
    let [background, startup] = [&[][..], &["--capture", "startup"]].map(report);
    let phases = ms(&background, ["open_ms", "ready_ms", "first_token_ms", "captured_ms"]);
    assert!(phases.is_sorted(), "{background}");
    for field in ["num_graphs", "num_launches"] {
        assert_eq!(background[field], startup[field], "in the end all are there: {field}");
    }
}
