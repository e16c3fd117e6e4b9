//! `tintype bench start`.

use crate::process::tintype;

#[test]
fn a_start_is_reported_phase_by_phase() {
    let report = tintype(&["bench", "start", "--threads", "1", "--json"]).ok().json();
    let ms = |field: &str| report[field].as_f64().unwrap();
    let phases = ["open_ms", "ready_ms", "first_token_ms"].map(ms);
    assert!(phases.is_sorted() && phases[0] > 0.0, "{report}");
    assert!(ms("load_ms") + ms("capture_ms") <= ms("ready_ms"), "{report}");
    assert!(ms("load_gb_per_s") > 0.0 && report["num_launches"].as_u64() > Some(0), "{report}");
}
