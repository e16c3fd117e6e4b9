//! Reading `--compilation-config`.

use super::*;

fn error(json: &str) -> String {
    CompilationConfig::from_json(json).unwrap_err().to_string()
}

fn parse(json: &str) -> CompilationConfig {
    CompilationConfig::from_json(json).unwrap()
}

#[test]
fn nothing_given_and_null_are_unset() {
    assert_eq!(parse("{}"), CompilationConfig::default());
    assert_eq!(parse(r#"{"level": null, "use_cudagraph": null}"#), CompilationConfig::default());
    assert_eq!(parse(r#"{"use_cudagraph": true}"#).use_cudagraph, Some(true));
}

#[test]
fn level_has_numbers_names_and_an_alias() {
    let level = |json: &str| parse(json).level.unwrap();
    for spelling in ["0", r#""NO_COMPILATION""#, r#""NONE""#] {
        for field in ["level", "mode"] {
            let json = format!(r#"{{"{field}": {spelling}}}"#);
            assert_eq!(level(&json), CompilationLevel::NoCompilation, "{json}");
        }
    }
    for spelling in ["3", r#""PIECEWISE""#, r#""VLLM_COMPILE""#, r#""vllm_compile""#] {
        for field in ["level", "mode"] {
            let json = format!(r#"{{"{field}": {spelling}}}"#);
            assert_eq!(level(&json), CompilationLevel::Piecewise, "{json}");
        }
    }
}

#[test]
fn use_cuda_graph_is_the_printed_spelling_of_use_cudagraph() {
    assert_eq!(parse(r#"{"use_cuda_graph": false}"#).use_cudagraph, Some(false));
}

#[test]
fn a_mode_of_graphs_is_no_level() {
    for mode in ["FULL", "FULL_DECODE_ONLY", "full_and_piecewise"] {
        let message = error(&format!(r#"{{"mode": "{mode}"}}"#));
        assert!(message.starts_with(&format!("`mode` = \"{mode}\": unknown level")), "{message}");
        assert!(message.ends_with("graphs are set by `cudagraph_mode`"), "{message}");
    }
    assert!(!error(r#"{"level": "FAST"}"#).contains("cudagraph_mode"));
}

#[test]
fn two_spellings_of_one_field_are_refused() {
    assert_eq!(
        error(r#"{"level": 0, "mode": 3}"#),
        "`mode` = 3: it is another spelling of `level`, which is 0; give only one"
    );
    assert_eq!(
        error(r#"{"use_cudagraph": true, "use_cuda_graph": true}"#),
        "`use_cuda_graph` = true: it is another spelling of `use_cudagraph`, which is true; give \
         only one"
    );
}

#[test]
fn cudagraph_mode_takes_any_letter_case() {
    let config = parse(r#"{"cudagraph_mode": "full_And_Piecewise"}"#);
    assert_eq!(config.cudagraph_mode, Some(CudaGraphMode::FullAndPiecewise));
}

#[test]
fn full_config_round_trips_with_every_field_known() {
    let config = CompilationConfig {
        level: Some(CompilationLevel::Piecewise),
        simple_cuda_graph: Some(false),
        full_cuda_graph: Some(true),
        use_cudagraph: Some(true),
        cudagraph_mode: Some(CudaGraphMode::FullDecodeOnly),
        cudagraph_capture_sizes: Some(vec![1, 8]),
        max_cudagraph_capture_size: Some(8),
        cudagraph_num_of_warmups: Some(2),
        splitting_ops: Some(vec!["attention".into()]),
    };
    let json = serde_json::to_value(&config).unwrap();
    assert_eq!(parse(&json.to_string()), config);
    let written: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known = FIELDS.to_vec();
    known.retain(|&name| ALIASES.iter().all(|(alias, _)| *alias != name));
    known.sort_unstable();
    assert_eq!(written, known);
    assert_eq!(serde_json::to_string(&CompilationConfig::default()).unwrap(), "{}");
}

#[test]
fn unknown_field_lists_the_fields() {
    assert_eq!(
        error(r#"{"cudagraph_sizes": [1]}"#),
        "unknown field `cudagraph_sizes`; the fields are level, mode, simple_cuda_graph, \
         full_cuda_graph, use_cudagraph, use_cuda_graph, cudagraph_mode, \
         cudagraph_capture_sizes, max_cudagraph_capture_size, cudagraph_num_of_warmups, \
         splitting_ops"
    );
}

#[test]
fn unknown_mode_lists_the_modes() {
    for found in [r#""HALF""#, "2", "true", "[]"] {
        assert_eq!(
            error(&format!(r#"{{"cudagraph_mode": {found}}}"#)),
            format!(
                "`cudagraph_mode` = {found}: unknown mode; the modes are NONE, PIECEWISE, FULL, \
                 FULL_DECODE_ONLY, FULL_AND_PIECEWISE"
            )
        );
    }
}

#[test]
fn unknown_level_lists_the_levels() {
    for (value, shown) in [("4", "4"), ("-1", "-1"), ("\"FAST\"", "\"FAST\""), ("3.5", "3.5")] {
        assert_eq!(
            error(&format!(r#"{{"level": {value}}}"#)),
            format!(
                "`level` = {shown}: unknown level; the levels are 0, NONE or NO_COMPILATION, and \
                 3, VLLM_COMPILE or PIECEWISE"
            )
        );
    }
}

#[test]
fn levels_of_torch_compile_are_refused() {
    for number in [1, 2] {
        assert_eq!(
            error(&format!(r#"{{"mode": {number}}}"#)),
            format!(
                "`mode` = {number}: level {number} is torch.compile's own; the levels are 0, \
                 NONE or NO_COMPILATION, and 3, VLLM_COMPILE or PIECEWISE"
            )
        );
    }
}

#[test]
fn wrong_types_name_the_field() {
    for (json, field) in [
        (r#"{"use_cudagraph": "yes"}"#, "use_cudagraph"),
        (r#"{"cudagraph_capture_sizes": [1, -2]}"#, "cudagraph_capture_sizes"),
        (r#"{"cudagraph_capture_sizes": 4}"#, "cudagraph_capture_sizes"),
        (r#"{"max_cudagraph_capture_size": 1.5}"#, "max_cudagraph_capture_size"),
        (r#"{"splitting_ops": [1]}"#, "splitting_ops"),
    ] {
        let message = error(json);
        assert!(message.starts_with(&format!("`{field}` = ")), "{message}");
        assert!(message.contains("expected"), "{message}");
    }
}

#[test]
fn what_is_no_object_is_refused() {
    for json in ["", "{", "3", "[]", r#"{"level": 1e999}"#] {
        let message = error(json);
        assert!(message.starts_with("not a JSON object of fields: "), "{message}");
    }
    assert!(error(r#"{"level": 3, "level": 3}"#).contains("duplicate field `level`"));
}
