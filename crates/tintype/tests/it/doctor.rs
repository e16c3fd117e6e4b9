//! `tintype doctor`.

use serde_json::json;

use crate::process::{keys, tintype};

#[test]
fn the_cpu_is_found_and_what_is_missing_has_a_reason_and_a_fix() {
    let report = tintype(&["doctor", "--json", "--threads", "1"]).ok().json();
    assert_eq!(keys(&report), ["devices", "version"]);
    let [cpu, cuda] = report["devices"].as_array().unwrap().as_slice() else {
        panic!("{report}");
    };
    assert_eq!((cpu["device"].as_str(), cpu["available"].as_bool()), (Some("cpu"), Some(true)));
    assert_eq!(cpu["num_workers"], 1);
    assert_eq!((&cpu["can_capture"], &cpu["graph_support"]), (&json!(true), &json!("Always")));
    assert!(cpu["total_bytes"].as_u64() >= cpu["free_bytes"].as_u64(), "{cpu}");
    assert!(cpu["free_bytes"].as_u64() > Some(0), "{cpu}");
    assert_eq!(keys(cuda), ["available", "device", "fix", "reason"]);
    assert_eq!(cuda["available"], false);
    assert!(cuda["reason"].as_str().unwrap().contains("finds no device"), "{cuda}");
}

#[test]
fn the_text_says_the_same() {
    let text = tintype(&["doctor"]).ok().stdout;
    assert!(text.contains("cpu: available"), "{text}");
    assert!(text.contains("captured, attention inside for every batch"), "{text}");
    assert!(text.contains("cuda:0: not available"), "{text}");
    assert!(text.contains("fix      check nvidia-smi"), "{text}");
}
