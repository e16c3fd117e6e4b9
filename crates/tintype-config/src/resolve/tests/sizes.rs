//! Capture sizes: every row of the table, and the notes about sizes.

use super::*;

/// Largest and count, whatever the notes say.
fn summary(engine: &EngineConfig) -> (Option<usize>, usize) {
    let (compilation, _) = ok(engine, &backend());
    (compilation.capture_sizes().largest(), compilation.capture_sizes().len())
}

#[test]
fn table_of_sizes() {
    let table = [
        (256, "{}", (Some(512), 51)),
        (128, "{}", (Some(256), 35)),
        (
            128,
            r#"{"cudagraph_capture_sizes": [1,2,4], "max_cudagraph_capture_size": 4}"#,
            (Some(4), 3),
        ),
        (128, r#"{"cudagraph_capture_sizes": [1,256]}"#, (Some(256), 2)),
        (128, r#"{"cudagraph_capture_sizes": [], "cudagraph_mode": "NONE"}"#, (None, 0)),
        (128, r#"{"max_cudagraph_capture_size": 257}"#, (Some(257), 36)),
        (128, r#"{"cudagraph_capture_sizes": [1,2,4,15]}"#, (Some(15), 4)),
    ];
    for (max_num_seqs, json, expected) in table {
        assert_eq!(summary(&engine_of(max_num_seqs, json)), expected, "{max_num_seqs} {json}");
    }
}

#[test]
fn table_of_refused_sizes() {
    for json in [
        r#"{"cudagraph_capture_sizes": [1,2,4], "max_cudagraph_capture_size": 8}"#,
        r#"{"cudagraph_capture_sizes": []}"#,
        r#"{"max_cudagraph_capture_size": 0}"#,
    ] {
        assert!(resolve(&engine_of(128, json), &backend()).is_err(), "{json}");
    }
}

#[test]
fn sizes_end_where_batches_do() {
    let json = r#"{"max_cudagraph_capture_size": 2048}"#;
    let engine = EngineConfig { max_num_batched_tokens: 257, ..engine_of(128, json) };
    assert_eq!(summary(&engine), (Some(257), 36));
    let why = "no step is larger than max_num_batched_tokens";
    let expected = format!("max_cudagraph_capture_size: asked 2048, got 257: {why}");
    assert_eq!(ok(&engine, &backend()).1, [expected]);

    let json = r#"{"cudagraph_capture_sizes": [1,2,4,15]}"#;
    let engine = EngineConfig { max_num_batched_tokens: 8, ..engine_of(8, json) };
    assert_eq!(summary(&engine), (Some(4), 3));
    let why = "ascending, unique, none above max_num_batched_tokens 8";
    assert_eq!(
        ok(&engine, &backend()).1,
        [
            format!("cudagraph_capture_sizes: asked [1,2,4,15], got [1,2,4]: {why}"),
            "max_num_seqs: asked 8, got graphs up to 4: decode batches of more than 4 sequences \
             run eagerly"
                .to_owned(),
        ]
    );
}

#[test]
fn the_maximum_and_the_full_decode_batch_are_sizes() {
    let compilation = quiet(&engine_of(21, "{}"));
    assert_eq!(compilation.capture_sizes().as_slice(), [1, 2, 4, 8, 16, 21, 24, 32, 40, 42]);
    assert_eq!(quiet(&engine_of(1, "{}")).capture_sizes().as_slice(), [1, 2]);
    assert_eq!(quiet(&engine_of(3, "{}")).capture_sizes().as_slice(), [1, 2, 3, 4, 6]);
}

#[test]
fn sizes_are_sorted_and_merged_with_a_note() {
    let compilation = engine_of(8, r#"{"cudagraph_capture_sizes": [8, 2, 8, 1]}"#);
    let (compilation, notes) = ok(&compilation, &backend());
    assert_eq!(compilation.capture_sizes().as_slice(), [1, 2, 8]);
    let why = "ascending, unique, none above max_num_batched_tokens 2048";
    assert_eq!(notes, [format!("cudagraph_capture_sizes: asked [8,2,8,1], got [1,2,8]: {why}")]);
}

#[test]
fn the_eager_cliff_is_noted() {
    let cliff = |seqs, largest| {
        format!(
            "max_num_seqs: asked {seqs}, got graphs up to {largest}: decode batches of more than \
             {largest} sequences run eagerly"
        )
    };
    let notes = |engine| ok(&engine, &backend()).1;
    assert_eq!(notes(engine_of(1000, "{}")), [cliff(1000, 512)]);
    assert_eq!(notes(engine_of(8, r#"{"max_cudagraph_capture_size": 4}"#)), [cliff(8, 4)]);
    assert_eq!(notes(engine_of(8, r#"{"cudagraph_capture_sizes": [4]}"#)), [cliff(8, 4)]);
    let known = r#"{"cudagraph_capture_sizes": [4], "max_cudagraph_capture_size": 4}"#;
    assert!(notes(engine_of(8, known)).is_empty());
}
