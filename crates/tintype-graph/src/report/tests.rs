//! The report as text and as JSON.

use super::*;
use crate::BatchDescriptor;

fn graph(mode: GraphMode, descriptor: BatchDescriptor, num_graphs: usize) -> GraphReport {
    let cost = Cost {
        num_graphs,
        num_launches: 10,
        size_bytes: 4096,
        capture: Duration::from_micros(1500),
        instantiate: Duration::from_micros(250),
        upload: Duration::from_micros(250),
    };
    GraphReport::new(GraphKey { mode, descriptor }, 12, &cost, 7)
}

fn report() -> CaptureReport {
    let graphs = vec![
        graph(GraphMode::Piecewise, BatchDescriptor::mixed(512, 256), 3),
        graph(GraphMode::Piecewise, BatchDescriptor::mixed(8, 256), 3),
        graph(GraphMode::Full, BatchDescriptor::decode(8), 1),
    ];
    let key = GraphKey { mode: GraphMode::Full, descriptor: BatchDescriptor::decode(4) };
    CaptureReport::new(graphs, vec![CaptureNote { key, why: "out of memory".into() }])
}

#[test]
fn totals_are_sums_by_mode() {
    let report = report();
    let [piecewise, full] = report.modes.as_slice() else { panic!("{:?}", report.modes) };
    assert_eq!((piecewise.mode, full.mode), (GraphMode::Piecewise, GraphMode::Full));
    assert_eq!((piecewise.num_graphs, full.num_graphs), (6, 1));
    assert_eq!((piecewise.num_launches, piecewise.replays, piecewise.size_bytes), (20, 14, 8192));
    assert_eq!(
        (piecewise.mixed_sizes.as_slice(), full.decode_sizes.as_slice()),
        (&[8, 512][..], &[8][..])
    );
    assert!((report.total_ms() - 6.0).abs() < 1e-9);
    assert_eq!(report.size_bytes(), 3 * 4096);
}

#[test]
fn prints_as_an_aligned_table() {
    let text = report().to_string();
    let lines: Vec<&str> = text.lines().collect();
    let width = lines[0].len();
    assert!(lines[1..4].iter().all(|line| line.len() == width), "{text}");
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(lines[1]), "PIECEWISE mixed 512 256 12 3 10 1.500 0.250 0.250 4096 7");
    assert_eq!(words(lines[3]), "FULL decode 8 8 12 1 10 1.500 0.250 0.250 4096 7");
    assert_eq!(lines[4], "PIECEWISE: 2 mixed sizes 8..=512, 6 graphs in 0.004 s, 8192 bytes");
    assert_eq!(lines[5], "FULL: 1 decode sizes 8..=8, 1 graph in 0.002 s, 4096 bytes");
    assert!(lines[6].starts_with("note: "), "{text}");
}

#[test]
fn serialises_one_flat_object_per_graph() {
    let json = serde_json::to_value(report()).unwrap();
    let graph = &json["graphs"][0];
    assert_eq!(graph["mode"], "PIECEWISE");
    assert_eq!(graph["descriptor"]["num_tokens"], 512);
    assert_eq!(graph["descriptor"]["num_seqs"], 256);
    assert_eq!(graph["descriptor"]["uniform"], false);
    assert_eq!((&graph["num_ops"], &graph["replays"]), (&12.into(), &7.into()));
    assert_eq!(json["modes"][1]["mode"], "FULL");
    assert_eq!(json["notes"][0]["why"], "out of memory");
}

#[test]
fn an_empty_report_has_no_totals() {
    let report = CaptureReport::new(Vec::new(), Vec::new());
    assert_eq!((report.modes.len(), report.size_bytes()), (0, 0));
    assert_eq!(report.to_string().lines().count(), 1);
}
