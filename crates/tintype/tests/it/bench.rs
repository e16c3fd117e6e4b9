//! `tintype bench latency`.

use crate::process::{keys, tintype};

#[test]
fn latency_reports_times_and_rates() {
    let args = [
        "bench",
        "latency",
        "--input-len",
        "4",
        "--output-len",
        "4",
        "--batch-size",
        "2",
        "--num-iters",
        "2",
        "--threads",
        "1",
        "--json",
    ];
    let report = tintype(&args).ok().json();
    let expected = [
        "batch_size",
        "decode_ms_per_step",
        "device",
        "dtype",
        "input_len",
        "latency_ms",
        "mode",
        "model",
        "num_iters",
        "output_len",
        "prefill_ms",
        "probe_gb_per_s",
        "read_gb_per_s",
        "threads",
        "weight_bytes",
    ];
    assert_eq!(keys(&report), expected);
    assert_eq!((report["model"].as_str(), report["dtype"].as_str()), (Some("demo"), Some("bf16")));
    assert_eq!((report["batch_size"].as_u64(), report["threads"].as_u64()), (Some(2), Some(1)));
    assert_eq!(keys(&report["prefill_ms"]), ["max", "median", "min"]);
    assert_eq!(keys(&report["decode_ms_per_step"]), ["max", "median", "min"]);
    assert_eq!(keys(&report["latency_ms"]), ["max", "median", "min", "p90"]);
    for rate in ["read_gb_per_s", "probe_gb_per_s"] {
        assert!(report[rate].as_f64().unwrap() > 0.0, "{report}");
    }
}

#[test]
fn what_was_not_measured_is_left_out() {
    let args = ["bench", "latency", "--input-len", "4", "--output-len", "1", "--num-iters", "1"];
    let report = tintype(&[&args[..], &["--json"]].concat()).ok().json();
    assert!(report["decode_ms_per_step"].is_null() && report["read_gb_per_s"].is_null());
    assert!(report["latency_ms"]["median"].as_f64() > Some(0.0), "{report}");
    let text = tintype(&args).ok().stdout;
    assert!(text.contains("latency ") && !text.contains("decode"), "{text}");
    assert!(text.contains("8 prompts of 4 tokens, 1 token each, 1 run\n"), "{text}");
}

#[test]
fn a_batch_that_the_engine_cannot_run_is_refused() {
    tintype(&["bench", "latency", "--input-len", "300", "--num-iters", "1"]).fails(2, &["256"]);
    tintype(&["bench", "latency", "--batch-size", "0"]).fails(2, &["--batch-size"]);
}

#[test]
fn sequences_that_would_end_early_are_not_measured() {
    let args = ["bench", "latency", "--input-len", "32", "--output-len", "9"];
    let run = tintype(&[&args[..], &["--max-model-len", "40"]].concat());
    run.fails(2, &["input_len = 32", "output_len = 9", "max_model_len = 40", "up to 256"]);
    assert!(!run.stderr.contains("loaded"), "{}", run.stderr);
    let run = tintype(&[&args[..], &["--num-kv-blocks", "2", "--block-size", "20"]].concat());
    run.fails(2, &["max_model_len = 40", "raise num_kv_blocks: it is 2 at a block_size of 20"]);
    let largest = usize::MAX.to_string();
    tintype(&["bench", "latency", "--output-len", &largest]).fails(2, &["max_model_len = 256"]);
}
