//! What wins over what the user asked for, and the note that says so.

use super::*;

#[test]
fn enforce_eager_beats_everything() {
    let json = r#"{"level": 3, "simple_cuda_graph": true, "full_cuda_graph": true,
        "use_cudagraph": true, "cudagraph_mode": "PIECEWISE", "cudagraph_capture_sizes": [4, 2],
        "max_cudagraph_capture_size": 8, "cudagraph_num_of_warmups": 1,
        "splitting_ops": ["attention"]}"#;
    let eager = EngineConfig { enforce_eager: true, ..optimized(3, json) };
    let (compilation, notes) = ok(&eager, &backend());
    assert_eq!(compilation, Compilation::eager());
    let why = "enforce_eager runs every step eagerly";
    let expected = [
        "level: asked 3, got 0",
        "simple_cuda_graph: asked true, got false",
        "full_cuda_graph: asked true, got false",
        "cudagraph_mode: asked PIECEWISE, got NONE",
        "splitting_ops: asked [\"attention\"], got []",
        "use_cudagraph: asked true, got false",
        "cudagraph_capture_sizes: asked [4,2], got []",
        "max_cudagraph_capture_size: asked 8, got 0",
        "cudagraph_num_of_warmups: asked 1, got 0",
    ];
    assert_eq!(notes, expected.map(|change| format!("{change}: {why}")));
}

#[test]
fn enforce_eager_notes_only_what_it_changes() {
    let json = r#"{"level": 0, "cudagraph_mode": "NONE", "simple_cuda_graph": false,
        "use_cudagraph": false, "cudagraph_capture_sizes": []}"#;
    let eager = EngineConfig { enforce_eager: true, ..engine(json) };
    assert_eq!(quiet(&eager), Compilation::eager());
    let nothing = EngineConfig { enforce_eager: true, ..EngineConfig::default() };
    assert_eq!(quiet(&nothing), Compilation::eager());
}

#[test]
fn simple_graphs_mean_level_0_and_full() {
    for json in [
        r#"{"simple_cuda_graph": true}"#,
        r#"{"simple_cuda_graph": true, "level": 0, "full_cuda_graph": true}"#,
    ] {
        assert_eq!(outcome(&quiet(&engine(json))), (0, "FULL", vec![]), "{json}");
    }
}

#[test]
fn full_graphs_are_not_cut() {
    let full = quiet(&engine(r#"{"full_cuda_graph": true}"#));
    assert_eq!(outcome(&full), (3, "FULL", vec![]));
}

#[test]
fn level_0_alone_has_no_graphs() {
    assert_eq!(outcome(&quiet(&engine(r#"{"level": 0}"#))), (0, "NONE", vec![]));
    let off = quiet(&engine(r#"{"use_cudagraph": false}"#));
    assert_eq!(outcome(&off), (3, "NONE", vec!["attention"]));
    assert!(off.capture_sizes().is_empty());
}

#[test]
fn level_0_notes_what_it_ignores() {
    let json = r#"{"level": 0, "use_cudagraph": true, "cudagraph_capture_sizes": [1, 2],
        "splitting_ops": ["attention"]}"#;
    let (compilation, notes) = ok(&engine(json), &backend());
    assert_eq!(compilation, Compilation::eager());
    let why = "level 0 uses graphs only if simple_cuda_graph or cudagraph_mode asks for them";
    assert_eq!(
        notes,
        [
            "splitting_ops: asked [\"attention\"], got []: level 0 does not cut the op list".into(),
            format!("use_cudagraph: asked true, got false: {why}"),
            format!("cudagraph_capture_sizes: asked [1,2], got []: {why}"),
        ]
    );
}

#[test]
fn mode_none_notes_unused_sizes() {
    let json = r#"{"cudagraph_mode": "none", "max_cudagraph_capture_size": 64,
        "cudagraph_num_of_warmups": 2}"#;
    let (compilation, notes) = ok(&engine(json), &backend());
    assert_eq!((compilation.use_cuda_graph(), compilation.num_of_warmups()), (false, 0));
    assert_eq!(
        notes,
        [
            "max_cudagraph_capture_size: asked 64, got 0: cudagraph_mode is NONE",
            "cudagraph_num_of_warmups: asked 2, got 0: cudagraph_mode is NONE",
        ]
    );
}

#[test]
fn a_backend_that_cannot_capture_turns_graphs_off() {
    let backend = Backend { can_capture: false, graph_support: GraphSupport::Never, ..backend() };
    let why = "the cpu backend cannot capture graphs";
    for (json, asked) in [
        ("{}", "FULL_AND_PIECEWISE"),
        (r#"{"cudagraph_mode": "FULL"}"#, "FULL"),
        (r#"{"simple_cuda_graph": true}"#, "FULL"),
    ] {
        let (compilation, notes) = ok(&engine(json), &backend);
        assert!(!compilation.use_cuda_graph());
        assert_eq!(notes, [format!("cudagraph_mode: asked {asked}, got NONE: {why}")]);
    }
    let (_, notes) = ok(&engine(r#"{"cudagraph_mode": "NONE"}"#), &backend);
    assert!(notes.is_empty());
}

#[test]
fn mixed_batches_are_lowered_where_attention_cannot_follow() {
    for support in [GraphSupport::UniformSingleTokenDecode, GraphSupport::UniformBatch] {
        let why = format!("attention of the cpu backend supports full graphs: {support}");
        let table = [
            (r#"{"cudagraph_mode": "FULL"}"#, "FULL_AND_PIECEWISE"),
            (r#"{"cudagraph_mode": "FULL", "level": 0}"#, "FULL_DECODE_ONLY"),
            (r#"{"cudagraph_mode": "FULL", "splitting_ops": []}"#, "FULL_DECODE_ONLY"),
            (r#"{"simple_cuda_graph": true}"#, "FULL_DECODE_ONLY"),
            (r#"{"full_cuda_graph": true}"#, "FULL_DECODE_ONLY"),
        ];
        for (json, got) in table {
            let (compilation, notes) = ok(&engine(json), &supporting(support));
            assert_eq!(compilation.mode().name(), got, "{json}");
            assert_eq!(notes, [format!("cudagraph_mode: asked FULL, got {got}: {why}")]);
        }
        for mode in ["NONE", "PIECEWISE", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE"] {
            let engine = engine(&format!(r#"{{"cudagraph_mode": "{mode}"}}"#));
            let (compilation, notes) = ok(&engine, &supporting(support));
            assert_eq!((compilation.mode().name(), notes.len()), (mode, 0));
        }
    }
}

#[test]
fn decode_batches_are_lowered_without_support() {
    let never = supporting(GraphSupport::Never);
    let why = "attention of the cpu backend supports full graphs: Never";
    let (compilation, notes) = ok(&engine("{}"), &never);
    assert_eq!(outcome(&compilation), (3, "PIECEWISE", vec!["attention"]));
    let change = "cudagraph_mode: asked FULL_AND_PIECEWISE, got PIECEWISE";
    assert_eq!(notes, [format!("{change}: {why}")]);

    let (compilation, notes) = ok(&engine(r#"{"splitting_ops": []}"#), &never);
    assert_eq!(outcome(&compilation), (3, "NONE", vec![]));
    assert_eq!(notes.len(), 2);
    assert_eq!(notes[1], format!("cudagraph_mode: asked FULL, got NONE: {why}"));
}

#[test]
fn pieces_that_hold_attention_are_no_way_out() {
    use GraphSupport::{Always, Never, UniformBatch};
    for (mode, support, got) in [
        ("FULL", UniformBatch, "FULL_DECODE_ONLY"),
        ("FULL_AND_PIECEWISE", UniformBatch, "FULL_DECODE_ONLY"),
        ("PIECEWISE", UniformBatch, "FULL_DECODE_ONLY"),
        ("PIECEWISE", Never, "NONE"),
        ("PIECEWISE", Always, "PIECEWISE"),
    ] {
        let json = format!(r#"{{"cudagraph_mode": "{mode}", "splitting_ops": ["rms_norm"]}}"#);
        let (compilation, notes) = ok(&engine(&json), &supporting(support));
        assert_eq!((compilation.mode().name(), notes.len()), (got, usize::from(got != mode)));
    }
}

#[test]
fn warmups_are_kept() {
    assert_eq!(quiet(&engine("{}")).num_of_warmups(), 0);
    let warm = quiet(&engine(r#"{"cudagraph_num_of_warmups": 3}"#));
    assert_eq!(warm.num_of_warmups(), 3);
}

#[test]
fn resolved_json_is_what_the_cli_prints() {
    let compilation = quiet(&engine_of(2, r#"{"cudagraph_num_of_warmups": 1}"#));
    assert_eq!(
        serde_json::to_string(&compilation).unwrap(),
        r#"{"level":3,"cudagraph_mode":"FULL_AND_PIECEWISE","cudagraph_capture_sizes":[1,2,4],"#
            .to_owned()
            + r#""max_cudagraph_capture_size":4,"cudagraph_num_of_warmups":1,"#
            + r#""splitting_ops":["attention"],"use_cuda_graph":true}"#
    );
    let note = Note { field: "level", asked: "3".into(), got: "0".into(), why: "so".into() };
    assert_eq!(
        serde_json::to_string(&note).unwrap(),
        r#"{"field":"level","asked":"3","got":"0","why":"so"}"#
    );
}
