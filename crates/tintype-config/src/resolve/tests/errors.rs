//! The message of every refusal.

use super::*;

/// Checks the message of one config on a backend that can do everything.
fn check(json: &str, message: &str) {
    assert_eq!(error(&engine(json), &backend()), message, "{json}");
}

#[test]
fn unknown_splitting_op_lists_the_ops() {
    check(
        r#"{"splitting_ops": ["attention", "vllm::unified_attention"]}"#,
        "`splitting_ops` = \"vllm::unified_attention\": unknown op; the ops are attention, \
         rms_norm",
    );
}

#[test]
fn warmups_have_a_limit() {
    check(
        r#"{"cudagraph_num_of_warmups": 1001}"#,
        "`cudagraph_num_of_warmups` = 1001: expected at most 1000 eager runs before a capture",
    );
    let most = quiet(&engine(r#"{"cudagraph_num_of_warmups": 1000}"#));
    assert_eq!(most.num_of_warmups(), 1000);
}

#[test]
fn simple_graphs_at_level_3() {
    check(
        r#"{"simple_cuda_graph": true, "level": 3}"#,
        "`simple_cuda_graph` = true contradicts `level` = 3: simple graphs are captured without \
         compilation; leave level out or set it to 0, or use full_cuda_graph",
    );
}

#[test]
fn full_graphs_with_graphs_off() {
    for flag in ["simple_cuda_graph", "full_cuda_graph"] {
        check(
            &format!(r#"{{"{flag}": true, "use_cudagraph": false}}"#),
            &format!(
                "`{flag}` = true contradicts `use_cudagraph` = false: one asks for graphs and the \
                 other turns them off; remove one of the two"
            ),
        );
    }
}

#[test]
fn full_graphs_with_another_mode() {
    for flag in ["simple_cuda_graph", "full_cuda_graph"] {
        for mode in CudaGraphMode::ALL {
            let json = format!(r#"{{"{flag}": true, "cudagraph_mode": "{mode}"}}"#);
            if mode == CudaGraphMode::Full {
                assert_eq!(quiet(&engine(&json)).mode(), mode);
                continue;
            }
            check(
                &json,
                &format!(
                    "`{flag}` = true contradicts `cudagraph_mode` = {mode}: the flag means mode \
                     FULL; remove the flag, or set cudagraph_mode to FULL"
                ),
            );
        }
    }
}

#[test]
fn full_graphs_with_splitting_ops() {
    for flag in ["simple_cuda_graph", "full_cuda_graph"] {
        check(
            &format!(r#"{{"{flag}": true, "splitting_ops": ["attention"]}}"#),
            &format!(
                "`{flag}` = true contradicts `splitting_ops` = [\"attention\"]: the whole forward \
                 pass is one graph and is not cut; remove splitting_ops, or remove the flag and \
                 set cudagraph_mode"
            ),
        );
        assert_eq!(
            quiet(&engine(&format!(r#"{{"{flag}": true, "splitting_ops": []}}"#))).mode(),
            CudaGraphMode::Full
        );
    }
}

#[test]
fn a_mode_with_graphs_off() {
    for mode in CudaGraphMode::ALL {
        let json = format!(r#"{{"use_cudagraph": false, "cudagraph_mode": "{mode}"}}"#);
        if mode == CudaGraphMode::None {
            assert!(!quiet(&engine(&json)).use_cuda_graph());
            continue;
        }
        check(
            &json,
            &format!(
                "`cudagraph_mode` = {mode} contradicts `use_cudagraph` = false: one asks for \
                 graphs and the other turns them off; remove use_cudagraph, or set \
                 cudagraph_mode to NONE"
            ),
        );
    }
}

#[test]
fn pieces_where_nothing_is_cut() {
    for mode in ["PIECEWISE", "FULL_AND_PIECEWISE"] {
        check(
            &format!(r#"{{"level": 0, "cudagraph_mode": "{mode}"}}"#),
            &format!(
                "`cudagraph_mode` = {mode} contradicts `level` = 0: only level 3 cuts the forward \
                 pass into pieces; set level to 3, or cudagraph_mode to FULL or FULL_DECODE_ONLY"
            ),
        );
        check(
            &format!(r#"{{"splitting_ops": [], "cudagraph_mode": "{mode}"}}"#),
            &format!(
                "`cudagraph_mode` = {mode} contradicts `splitting_ops` = []: without a splitting \
                 op there are no pieces; remove splitting_ops, or set cudagraph_mode to FULL"
            ),
        );
    }
}

#[test]
fn no_size_to_capture() {
    let fix = "give a size that fits, leave the list out, or set cudagraph_mode to NONE";
    check(
        r#"{"cudagraph_capture_sizes": []}"#,
        &format!(
            "`cudagraph_capture_sizes` = [] contradicts `cudagraph_mode` = FULL_AND_PIECEWISE: \
             graphs are on and no size is given; {fix}"
        ),
    );
    check(
        r#"{"cudagraph_capture_sizes": [4096, 8192]}"#,
        &format!(
            "`cudagraph_capture_sizes` = [4096, 8192] contradicts `max_num_batched_tokens` = \
             2048: graphs are on and no step is as large as any of the sizes; {fix}"
        ),
    );
}

#[test]
fn impossible_sizes() {
    check(
        r#"{"cudagraph_capture_sizes": [1, 0]}"#,
        "`cudagraph_capture_sizes` = 0: a batch of 0 tokens cannot be captured; remove the 0",
    );
    check(
        r#"{"max_cudagraph_capture_size": 0}"#,
        "`max_cudagraph_capture_size` = 0 contradicts `cudagraph_mode` = FULL_AND_PIECEWISE: \
         graphs are on and nothing may be captured; raise the maximum, leave it out, or set \
         cudagraph_mode to NONE",
    );
    check(
        r#"{"cudagraph_capture_sizes": [1, 2, 4], "max_cudagraph_capture_size": 8}"#,
        "`max_cudagraph_capture_size` = 8 contradicts `cudagraph_capture_sizes` = [1, 2, 4]: the \
         maximum is not the largest size within max_num_batched_tokens; give only one of the two, \
         or make them agree",
    );
}

#[test]
fn sizes_beyond_any_device() {
    let huge = |json| EngineConfig { max_num_batched_tokens: 1 << 24, ..engine(json) };
    assert_eq!(
        error(&huge(r#"{"max_cudagraph_capture_size": 9000000}"#), &backend()),
        "`max_cudagraph_capture_size` = 9000000: at most 1048576 tokens can be captured"
    );
    assert_eq!(
        error(&huge(r#"{"cudagraph_capture_sizes": [1, 9000000]}"#), &backend()),
        "`cudagraph_capture_sizes` = 9000000: at most 1048576 tokens can be captured"
    );
    assert_eq!(ok(&huge("{}"), &backend()).0.capture_sizes().largest(), Some(512));
}

#[test]
fn impossible_limits() {
    let base = EngineConfig::default;
    let table = [
        ("max_num_seqs", EngineConfig { max_num_seqs: 0, ..base() }),
        ("max_num_batched_tokens", EngineConfig { max_num_batched_tokens: 0, ..base() }),
        ("max_model_len", EngineConfig { max_model_len: Some(0), ..base() }),
        ("block_size", EngineConfig { block_size: 0, ..base() }),
    ];
    for (field, engine) in table {
        let expected = format!("`{field}` = 0: expected 1 to 16777216");
        assert_eq!(error(&engine, &backend()), expected);
        let eager = EngineConfig { enforce_eager: true, ..engine };
        assert_eq!(error(&eager, &backend()), expected);
    }
}

#[test]
fn limits_beyond_any_device_name_the_field_as_given() {
    let engine = EngineConfig { max_num_batched_tokens: 100_000_000, ..EngineConfig::default() };
    let expected = "`max_num_batched_tokens` = 100000000: expected 1 to 16777216";
    assert_eq!(error(&engine, &backend()), expected);
}

#[test]
fn fewer_tokens_than_sequences() {
    let engine = EngineConfig { max_num_batched_tokens: 255, ..EngineConfig::default() };
    assert_eq!(
        error(&engine, &backend()),
        "`max_num_batched_tokens` = 255 contradicts `max_num_seqs` = 256: a decode step takes one \
         token of every sequence; raise max_num_batched_tokens or lower max_num_seqs"
    );
}

#[test]
fn unknown_optimization_level() {
    assert_eq!(
        error(&optimized(4, "{}"), &backend()),
        "`optimization_level` = 4: expected -O0, -O1, -O2 or -O3"
    );
}

#[test]
fn explicit_full_graphs_without_support() {
    let never = supporting(GraphSupport::Never);
    let why = "contradicts `graph_support` = Never: this backend's attention cannot run inside a \
               graph; set cudagraph_mode to PIECEWISE or NONE";
    for mode in ["FULL", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE"] {
        let engine = engine(&format!(r#"{{"cudagraph_mode": "{mode}"}}"#));
        assert_eq!(error(&engine, &never), format!("`cudagraph_mode` = {mode} {why}"));
    }
    for flag in ["simple_cuda_graph", "full_cuda_graph"] {
        let engine = engine(&format!(r#"{{"{flag}": true}}"#));
        assert_eq!(error(&engine, &never), format!("`{flag}` = true {why}"));
    }
}
