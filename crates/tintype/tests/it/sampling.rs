//! Sampling flags of `tintype generate`.

use serde_json::{Value, json};

use crate::process::{fixture, keys, tintype};

/// The JSON of one prompt that a model with random weights continues.
fn sample(flags: &[&str]) -> Value {
    let model = fixture("llama-gqa-f32");
    let args = ["generate", "--model", &model, "--json", "-n", "12", "-p", "hello world"];
    tintype(&[&args, flags].concat()).ok().json_lines().swap_remove(0)
}

#[test]
fn the_same_seed_gives_the_same_text_in_any_batch() {
    let flags = ["--temperature", "1", "--ignore-eos", "--seed"];
    let seeded = |seed, more: &[&str]| sample(&[&flags[..], &[seed], more].concat());
    let alone = seeded("7", &[]);
    assert_eq!(seeded("7", &["-p", "another", "-p", "and one more"]), alone);
    assert_eq!(seeded("7", &["--enforce-eager"]), alone);
    assert_ne!(seeded("8", &[])["output_ids"], alone["output_ids"]);
}

#[test]
fn filters_that_leave_one_token_are_greedy() {
    let greedy = sample(&[]);
    for filter in [["--top-k", "1"], ["--top-p", "0.000001"], ["--min-p", "1"]] {
        let flags = [&["--temperature", "1", "--seed", "3"][..], &filter].concat();
        assert_eq!(sample(&flags)["output_ids"], greedy["output_ids"], "{filter:?}");
    }
}

#[test]
fn penalties_change_what_is_drawn() {
    let ids = |flags: &[&str]| -> Vec<u64> {
        let line = sample(&[&["--ignore-eos"], flags].concat());
        line["output_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
    };
    let distinct = |ids: &[u64]| ids.iter().collect::<std::collections::BTreeSet<_>>().len();
    // Never to be drawn twice: every repetition costs more than any logit gains.
    let penalised = ids(&["--repetition-penalty", "1000"]);
    assert_eq!(distinct(&penalised), penalised.len(), "{penalised:?}");
    for flag in ["--presence-penalty", "--frequency-penalty"] {
        assert!(distinct(&ids(&[flag, "2"])) >= distinct(&ids(&[flag, "-2"])), "{flag}");
    }
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let run = |flags: &[&str]| {
        let args = [&["generate", "-p", "reverse copper=", "--json"], flags].concat();
        tintype(&args).ok().json()
    };
    let line = run(&["--stop", "po"]);
    assert_eq!((&line["text"], &line["finish_reason"]), (&json!("rep"), &json!("stop")));
    let line = run(&["--stop", "zzz", "--stop", "c"]);
    assert_eq!(line["text"], "reppo");
    // p
    let line = run(&["--stop-token-id", "83"]);
    assert_eq!((&line["text"], &line["finish_reason"]), (&json!("re"), &json!("stop")));
}

#[test]
fn ignore_eos_goes_on_to_the_length() {
    let args = ["generate", "-p", "1+1=", "--ignore-eos", "-n", "10", "--json"];
    let line = tintype(&args).ok().json();
    assert_eq!(line["finish_reason"], "length");
    assert_eq!(line["output_ids"].as_array().unwrap().len(), 10);
}

#[test]
fn a_filter_without_a_temperature_is_noted() {
    let run = tintype(&["generate", "-p", "1+1=", "--top-k", "5"]).ok();
    assert_eq!(run.stdout, "2\n");
    assert!(run.stderr.contains("--top-k has no effect"), "{}", run.stderr);
}

#[test]
fn logprobs_are_reported_per_token() {
    let args = ["generate", "-p", "348+277=", "--json", "--logprobs", "2"];
    let line = tintype(&args).ok().json();
    let expected = ["finish_reason", "index", "logprobs", "output_ids", "prompt_ids", "text"];
    assert_eq!(keys(&line), expected);
    let logprobs = line["logprobs"].as_array().unwrap();
    assert_eq!(logprobs.len(), line["output_ids"].as_array().unwrap().len());
}
