//! `tintype generate`: prompts in, text or JSON out.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::process::{Run, command, file, fixture, keys, tintype};

/// What the demo model is for, with the right answers.
const ANSWERS: [(&str, &str); 14] = [
    ("348+277=", "625"),
    ("1+1=", "2"),
    ("99+1=", "100"),
    ("640+128=", "768"),
    ("7+86=", "93"),
    ("405+395=", "800"),
    ("999+999=", "1998"),
    ("612-45=", "567"),
    ("100-1=", "99"),
    ("500-500=", "0"),
    ("sort 7 3 9 1=", "1 3 7 9"),
    ("sort 5 5 0=", "0 5 5"),
    ("reverse copper=", "reppoc"),
    ("reverse ab=", "ba"),
];

/// Generates from all prompts of [`ANSWERS`] in one batch.
fn answers(flags: &[&str]) -> Run {
    let mut args = vec!["generate"];
    args.extend(ANSWERS.iter().flat_map(|(prompt, _)| ["--prompt", prompt]));
    tintype(&[&args, flags].concat()).ok()
}

#[test]
fn one_prompt_prints_its_continuation_and_nothing_else() {
    let run = tintype(&["generate", "--prompt", "348+277="]).ok();
    assert_eq!(run.stdout, "625\n");
}

#[test]
fn the_demo_is_right_with_graphs_full_piecewise_and_off() {
    let config = |mode: &str| format!(r#"{{"cudagraph_mode": "{mode}"}}"#);
    let (full, piecewise) = (config("FULL"), config("PIECEWISE"));
    let simple = r#"{"simple_cuda_graph": true}"#;
    let flags: [&[&str]; 6] = [
        &[],
        &["--compilation-config", &full],
        &["--compilation-config", &piecewise],
        &["--compilation-config", simple],
        &["--enforce-eager"],
        &["--max-num-seqs", "3", "--max-num-batched-tokens", "8"],
    ];
    let outputs = flags.map(|flags| answers(&[&["--json"], flags].concat()).stdout);
    for (flags, output) in flags.iter().zip(&outputs) {
        assert_eq!(output, &outputs[0], "{flags:?}");
    }
    let texts: Vec<Value> =
        outputs[0].lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for ((prompt, answer), line) in ANSWERS.iter().zip(texts) {
        assert_eq!(line["text"], *answer, "{prompt}");
    }
}

#[test]
fn graphs_are_replayed_unless_they_are_off() {
    let stats = |flags: &[&str]| {
        let args = [&["generate", "-p", "348+277=", "--json", "--stats"], flags].concat();
        tintype(&args).ok().json_lines().pop().unwrap()["stats"].clone()
    };
    let full = stats(&["--capture", "startup"]);
    assert!(full["graph_replays"].as_u64() >= Some(4), "{full}");
    assert_eq!(full["eager_steps"], json!({}));
    // The prompt waits for no graph, and the one for decoding is captured behind it.
    let background = stats(&[]);
    assert!(background["graph_replays"].as_u64() >= Some(3), "{background}");
    assert_eq!(background["eager_steps"], json!({"not-captured": 1}));
    let eager = stats(&["--enforce-eager"]);
    assert_eq!(eager["graph_replays"], 0);
    assert!(eager["eager_steps"]["mode-none"].as_u64() >= Some(4), "{eager}");
}

#[test]
fn json_has_one_object_per_prompt_in_order() {
    let lines = answers(&["--json"]).json_lines();
    assert_eq!(lines.len(), ANSWERS.len());
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(keys(line), ["finish_reason", "index", "output_ids", "prompt_ids", "text"]);
        assert_eq!(line["index"], index);
        assert_eq!(line["finish_reason"], "stop");
    }
    let sum = &lines[0];
    // Ids 0 to 2 are special, and characters follow from the blank on: id = code - 32 + 3.
    let ids = |text: &str| text.bytes().map(|byte| json!(byte - 29)).collect::<Vec<_>>();
    let prompt: Vec<_> = [json!(1)].into_iter().chain(ids("348+277=")).collect();
    assert_eq!(sum["prompt_ids"], json!(prompt));
    assert_eq!(sum["output_ids"].as_array().unwrap()[..3], ids("625"));
}

#[test]
fn several_prompts_are_printed_under_headers_in_order() {
    let run = tintype(&["generate", "-p", "reverse copper=", "-p", "1+1="]).ok();
    assert_eq!(run.stdout, "==> reverse copper= <==\nreppoc\n\n==> 1+1= <==\n2\n");
}

#[test]
fn prompts_come_from_a_file_one_a_line() {
    let path = file("prompts", "348+277=\r\n\nsort 7 3 9 1=\n");
    let run = tintype(&["generate", "--prompt-file", &path]).ok();
    assert_eq!(run.stdout, "==> 348+277= <==\n625\n\n==> sort 7 3 9 1= <==\n1 3 7 9\n");
}

#[test]
fn a_dash_reads_prompts_from_stdin() {
    let mut child = command(&["generate", "--prompt-file", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"612-45=").unwrap();
    let run = Run::from(child.wait_with_output().unwrap()).ok();
    assert_eq!(run.stdout, "567\n");
}

#[test]
fn prompt_ids_are_taken_as_they_are() {
    let text = tintype(&["generate", "-p", "1+1=", "--json"]).ok().json();
    // <s> 1 + 1 =
    let ids = tintype(&["generate", "--prompt-ids", "1,20,14,20,32", "--json"]).ok().json();
    assert_eq!(ids, text);
}

#[test]
fn max_tokens_ends_with_length() {
    let line = tintype(&["generate", "-p", "348+277=", "-n", "2", "--json"]).ok().json();
    assert_eq!((&line["text"], &line["finish_reason"]), (&json!("62"), &json!("length")));
    assert_eq!(line["output_ids"].as_array().unwrap().len(), 2);
}

#[test]
fn what_the_longest_sequence_cut_is_noted_once_per_prompt() {
    let args = ["generate", "-p", "1+1=", "-p", "2+2=", "--ignore-eos", "--max-model-len", "8"];
    let run = |flags: &[&str]| tintype(&[&args, flags].concat()).ok().stderr;
    let stderr = run(&["-n", "9999999999999"]);
    for prompt in ["prompt 0", "prompt 1"] {
        let note = format!(
            "note: {prompt} stopped at max_model_len 8: asked 9999999999999 tokens, got 3\n"
        );
        assert_eq!(stderr.matches(&note).count(), 1, "{stderr}");
    }
    assert!(!run(&["-n", "3"]).contains("stopped at"), "as many as asked");
    assert_eq!(run(&["-n", "4", "--quiet"]), "");
}

#[test]
fn chat_puts_the_prompt_into_the_model_s_template() {
    let model = fixture("llama-d64-bf16");
    let chat = |text| {
        let args = ["generate", "--model", &model, "--chat", "-p", text, "-n", "3", "--json"];
        tintype(&args).ok().json()
    };
    let plain = |text| {
        let args = ["generate", "--model", &model, "-p", text, "-n", "3", "--json"];
        tintype(&args).ok().json()
    };
    let rendered = "<|im_start|>user\nhello world<|im_end|>\n<|im_start|>assistant\n";
    assert_eq!(chat("hello world"), plain(rendered));
}

#[test]
fn stats_are_the_last_line() {
    let args = ["generate", "-p", "348+277=", "-p", "1+1=", "--json", "--stats"];
    let mut lines = tintype(&args).ok().json_lines();
    let stats = lines.pop().unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(keys(&stats), ["stats"]);
    let stats = &stats["stats"];
    let expected = [
        "capture_ms",
        "captured_after_ms",
        "decode_ms_per_token",
        "eager_steps",
        "graph_replays",
        "load_ms",
        "output_tokens",
        "prompt_tokens",
        "ttft_ms",
    ];
    assert_eq!(keys(stats), expected);
    assert_eq!(stats["prompt_tokens"], 9 + 5);
    let outputs: usize = lines.iter().map(|l| l["output_ids"].as_array().unwrap().len()).sum();
    assert_eq!(stats["output_tokens"], outputs);
    for name in ["capture_ms", "decode_ms_per_token", "load_ms", "ttft_ms"] {
        assert!(stats[name].as_f64().unwrap() > 0.0, "{name}: {stats}");
    }
}

#[test]
fn stats_of_text_go_to_stderr() {
    let run = tintype(&["generate", "-p", "1+1=", "--stats"]).ok();
    assert_eq!(run.stdout, "2\n");
    assert!(run.stderr.contains("graph replay"), "{}", run.stderr);
}

#[test]
fn graphs_can_be_verified_and_debugged() {
    let args = ["generate", "-p", "1+1=", "--verify-graphs", "--max-num-seqs", "2"];
    let verified = tintype(&args).ok();
    assert_eq!(verified.stdout, "2\n");
    // Sizes 1, 2 and 4, piecewise; 1 and 2, full.
    assert!(verified.stderr.contains("verified 5 batch sizes"), "{}", verified.stderr);
    let args = ["generate", "-p", "1+1=", "--debug-cuda-graph", "--json", "--stats"];
    let lines = tintype(&args).ok().json_lines();
    assert_eq!(lines[0]["text"], "2");
    assert_eq!(lines[1]["stats"]["graph_replays"], 0);
}

#[test]
fn what_is_not_verified_is_said() {
    for (flags, note) in [
        (&["--enforce-eager"][..], "nothing to verify: graphs are off"),
        (&["--capture", "lazy"], "compares what is captured at start-up"),
    ] {
        let args = [&["generate", "-p", "1+1=", "--verify-graphs"], flags].concat();
        let run = tintype(&args).ok();
        assert!(run.stderr.contains(note), "{}", run.stderr);
    }
}
