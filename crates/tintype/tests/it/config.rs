//! `tintype config`.

use serde_json::json;

use crate::process::{keys, tintype};

#[test]
fn simple_cuda_graph_is_level_0_and_full_graphs() {
    let simple = r#"{"simple_cuda_graph": true, "cudagraph_capture_sizes": [4, 2, 1]}"#;
    let flags = ["--compilation-config", simple, "--max-num-seqs", "4"];
    let outcome = tintype(&[&["config", "--json"][..], &flags].concat()).ok().json();
    let expected = json!({
        "compilation": {
            "level": 0,
            "cudagraph_mode": "FULL",
            "cudagraph_capture_sizes": [1, 2, 4],
            "max_cudagraph_capture_size": 4,
            "cudagraph_num_of_warmups": 0,
            "splitting_ops": [],
            "use_cuda_graph": true,
        },
        "notes": [],
    });
    assert_eq!(outcome["compilation"], expected["compilation"]);
    assert_eq!(keys(&outcome), ["compilation", "notes"]);
}

#[test]
fn what_is_printed_can_be_given_back() {
    for flags in [&[][..], &["-O0"], &["-O1", "--max-num-seqs", "3"]] {
        let config = |more: &[&str]| {
            let args = [&["config", "--json"], flags, more].concat();
            tintype(&args).ok().json()
        };
        let printed = config(&[])["compilation"].to_string();
        let again = config(&["--compilation-config", &printed]);
        assert_eq!(again["compilation"].to_string(), printed);
        assert_eq!(again["notes"], json!([]), "{flags:?}");
    }
}

#[test]
fn the_default_is_full_and_piecewise_up_to_512() {
    let outcome = tintype(&["config", "--json"]).ok().json();
    let compilation = &outcome["compilation"];
    assert_eq!(compilation["level"], 3);
    assert_eq!(compilation["cudagraph_mode"], "FULL_AND_PIECEWISE");
    assert_eq!(compilation["cudagraph_capture_sizes"].as_array().unwrap().len(), 51);
    assert_eq!(compilation["max_cudagraph_capture_size"], 512);
    assert_eq!(compilation["splitting_ops"], json!(["attention"]));
    assert_eq!(outcome["notes"], json!([]));
}

#[test]
fn the_presets_fill_what_is_unset() {
    for (flag, level, mode) in [
        ("-O0", 0, "NONE"),
        ("-O1", 3, "PIECEWISE"),
        ("-O2", 3, "FULL_AND_PIECEWISE"),
        ("-O3", 3, "FULL_AND_PIECEWISE"),
    ] {
        let outcome = tintype(&["config", "--json", flag]).ok().json();
        assert_eq!(outcome["compilation"]["level"], level, "{flag}");
        assert_eq!(outcome["compilation"]["cudagraph_mode"], mode, "{flag}");
    }
}

#[test]
fn what_is_overridden_is_noted() {
    let flags =
        ["--enforce-eager", "--compilation-config", r#"{"cudagraph_mode": "full", "level": 0}"#];
    let outcome = tintype(&[&["config", "--json"][..], &flags].concat()).ok().json();
    assert_eq!(outcome["compilation"]["use_cuda_graph"], false);
    let notes = outcome["notes"].as_array().unwrap();
    let mode = notes.iter().find(|note| note["field"] == "cudagraph_mode").unwrap();
    assert_eq!(keys(mode), ["asked", "field", "got", "why"]);
    assert_eq!((&mode["asked"], &mode["got"]), (&json!("FULL"), &json!("NONE")));
    assert!(mode["why"].as_str().unwrap().contains("enforce_eager"), "{mode}");

    let text = tintype(&[&["config"][..], &flags].concat()).ok().stdout;
    assert!(text.contains("cudagraph_mode: asked FULL, got NONE"), "{text}");
}

#[test]
fn the_text_shows_what_was_asked_and_what_it_becomes() {
    let simple = r#"{"simple_cuda_graph": true}"#;
    let text = tintype(&["config", "--compilation-config", simple]).ok().stdout;
    let (asked, resolved) = text.split_once("resolves to:").unwrap();
    assert!(asked.contains("simple_cuda_graph"), "{text}");
    assert!(resolved.contains("\"FULL\""), "{text}");
    assert!(resolved.contains("notes: none about graphs"), "{text}");
}

#[test]
fn contradictions_name_both_sides_and_exit_with_2() {
    let config = |json: &str| tintype(&["config", "--compilation-config", json]);
    config(r#"{"simple_cuda_graph": true, "level": 3}"#)
        .fails(2, &["`simple_cuda_graph` = true", "`level` = 3"]);
    config(r#"{"simple_cuda_graph": true, "cudagraph_mode": "NONE"}"#)
        .fails(2, &["simple_cuda_graph", "cudagraph_mode", "NONE"]);
    config(r#"{"cudagraph_capture_sizes": [1, 2, 4], "max_cudagraph_capture_size": 8}"#)
        .fails(2, &["max_cudagraph_capture_size"]);
    tintype(&["config", "--max-num-seqs", "0"]).fails(2, &["max_num_seqs"]);
    tintype(&["config", "--max-num-seqs", "64", "--max-num-batched-tokens", "8"])
        .fails(2, &["max_num_batched_tokens", "max_num_seqs"]);
}

#[test]
fn json_that_is_wrong_is_named_and_exits_with_2() {
    let config = |json: &str| tintype(&["config", "--compilation-config", json]);
    config("{").fails(2, &["--compilation-config", "not a JSON object"]);
    config("[1]").fails(2, &["not a JSON object"]);
    config(r#"{"simple_cudagraph": true}"#)
        .fails(2, &["unknown field `simple_cudagraph`", "simple_cuda_graph"]);
    config(r#"{"level": 2}"#).fails(2, &["level", "torch.compile"]);
    config(r#"{"cudagraph_mode": "SOME"}"#).fails(2, &["SOME", "FULL_DECODE_ONLY"]);
}
