//! `tintype graphs`.

use std::fs;

use crate::process::{keys, scratch, tintype};

const SMALL: [&str; 3] = ["graphs", "--max-num-seqs", "2"];

#[test]
fn each_graph_is_reported_largest_first() {
    let simple = r#"{"simple_cuda_graph": true}"#;
    let flags = ["--compilation-config", simple, "--json"];
    let report = tintype(&[&SMALL[..], &flags].concat()).ok().json();
    assert_eq!(keys(&report), ["graphs", "modes", "notes"]);
    let graphs = report["graphs"].as_array().unwrap();
    assert!(!graphs.is_empty());
    for graph in graphs {
        assert_eq!(graph["mode"], "FULL");
        assert_eq!((graph["num_graphs"].as_u64(), graph["replays"].as_u64()), (Some(1), Some(0)));
        assert!(graph["num_ops"].as_u64() > Some(10), "{graph}");
        assert!(graph["capture_ms"].as_f64() >= Some(0.0), "{graph}");
    }
}

#[test]
fn every_graph_is_captured_whatever_the_policy() {
    let keys = |policy: &str| {
        let flags = ["--json", "--capture", policy];
        let run = tintype(&[&SMALL[..], &flags].concat()).ok();
        assert!(!run.stderr.contains("will be captured"), "{}", run.stderr);
        let report = run.json();
        let graphs = report["graphs"].as_array().unwrap().clone();
        let key = |graph: &serde_json::Value| (graph["mode"].clone(), graph["num_tokens"].clone());
        graphs.iter().map(key).collect::<Vec<_>>()
    };
    let startup = keys("startup");
    assert_eq!([keys("background"), keys("lazy")], [startup.clone(), startup]);
}

#[test]
fn piecewise_graphs_come_first_and_have_a_piece_more_than_layers() {
    let report = tintype(&[&SMALL[..], &["--json"]].concat()).ok().json();
    let graphs = report["graphs"].as_array().unwrap();
    let modes: Vec<_> = graphs.iter().map(|graph| graph["mode"].as_str().unwrap()).collect();
    let first_full = modes.iter().position(|mode| *mode == "FULL").unwrap();
    assert!(modes[..first_full].iter().all(|mode| *mode == "PIECEWISE"), "{modes:?}");
    assert!(modes[first_full..].iter().all(|mode| *mode == "FULL"), "{modes:?}");
    // The demo model has 3 layers.
    assert_eq!(graphs[0]["num_graphs"], 4);
}

#[test]
fn the_text_has_a_line_per_graph_and_one_per_mode() {
    let text = tintype(&SMALL).ok().stdout;
    assert!(text.starts_with("mode"), "{text}");
    assert!(text.contains("PIECEWISE: ") && text.contains("FULL: "), "{text}");
}

#[test]
fn without_graphs_the_report_says_so() {
    let flags = ["--enforce-eager"];
    let text = tintype(&[&SMALL[..], &flags].concat()).ok().stdout;
    assert!(text.contains("no graphs"), "{text}");
    let report = tintype(&[&SMALL[..], &flags, &["--json"]].concat()).ok().json();
    assert_eq!(report["graphs"].as_array().unwrap().len(), 0);
}

#[test]
fn the_op_list_is_drawn() {
    let path = scratch("dot").join("graph.dot");
    let path = path.to_str().unwrap();
    tintype(&[&SMALL[..], &["--dot", path]].concat()).ok();
    let dot = fs::read_to_string(path).unwrap();
    assert!(dot.starts_with("digraph"), "{dot}");
    for op in ["embed", "attention", "matmul"] {
        assert!(dot.contains(op), "no {op} in {dot}");
    }
}
