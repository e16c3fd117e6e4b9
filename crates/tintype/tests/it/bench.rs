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
fn a_batch_that_the_engine_cannot_run_is_refused() {
    tintype(&["bench", "latency", "--input-len", "300", "--num-iters", "1"]).fails(2, &["256"]);
    tintype(&["bench", "latency", "--batch-size", "0"]).fails(2, &["--batch-size"]);
}
