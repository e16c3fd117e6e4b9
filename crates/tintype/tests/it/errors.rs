//! Bad input: what is said, and the exit code.

use crate::process::{Run, command, fixture, fixture_without, scratch, tintype};

#[test]
fn a_model_that_does_not_exist_is_a_bad_argument() {
    tintype(&["generate", "-p", "x", "--model", "no/such/folder"])
        .fails(2, &["no model folder at no/such/folder", "config.json"]);
    tintype(&["info", "--model", "no/such/folder"]).fails(2, &["no/such/folder"]);
    tintype(&["generate", "--prompt-ids", "1", "--model", "synthetic:nothing"])
        .fails(2, &["no synthetic model \"nothing\"", "llama-3.2-1b"]);
}

#[test]
fn a_model_folder_that_is_not_whole_is_a_failed_run() {
    let empty = scratch("empty-model");
    let empty = empty.to_str().unwrap();
    tintype(&["info", "--model", empty]).fails(1, &["no config.json"]);
    let folder = fixture_without("model.safetensors", "model-without-weights");
    tintype(&["info", "--model", &folder]).fails(1, &["model.safetensors"]);
}

#[test]
fn text_without_a_tokenizer_is_refused_and_ids_are_not() {
    let folder = fixture_without("tokenizer.json", "model-without-tokenizer");
    let text = tintype(&["generate", "-p", "x", "--model", &folder]);
    text.fails(2, &["no tokenizer", "--prompt-ids"]);
    let ids = ["generate", "--prompt-ids", "3,4", "-n", "4", "--model", &folder];
    let output = tintype(&ids).ok().stdout;
    let ids: Vec<u32> = output.trim_end().split(',').map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.len(), 4, "{output}");
}

#[test]
fn a_prompt_that_the_model_cannot_take_is_a_bad_argument() {
    tintype(&["generate", "--prompt-ids", "1,99"])
        .fails(2, &["prompt 0", "token id 99", "vocabulary of 99"]);
    tintype(&["generate", "--model", &fixture("llama-gqa-f32"), "-p", ""])
        .fails(2, &["prompt 0", "empty"]);
    let long = "1".repeat(300);
    tintype(&["generate", "-p", "1+1=", "-p", &long])
        .fails(2, &["prompt 1", "301 tokens", "max_model_len is 256"]);
    tintype(&["generate", "-p", "1234567890", "--max-model-len", "8"])
        .fails(2, &["prompt 0", "max_model_len is 8", "raise max_model_len, up to 256"]);
    let few = ["generate", "-p", "348+277=", "--num-kv-blocks", "1", "--block-size", "8"];
    let run: Run = command(&few).output().unwrap().into();
    run.fails(2, &["max_model_len is 8", "raise num_kv_blocks: it is 1 at a block_size of 8"]);
}

#[test]
fn a_sequence_longer_than_the_model_is_a_bad_configuration() {
    tintype(&["generate", "-p", "1+1=", "--max-model-len", "257"])
        .fails(2, &["max_model_len = 257", "256 positions"]);
}

#[test]
fn sampling_that_means_nothing_is_a_bad_argument() {
    tintype(&["generate", "-p", "1+1=", "--temperature", "-1"]).fails(2, &["temperature"]);
    tintype(&["generate", "-p", "1+1=", "--top-p", "1.5"]).fails(2, &["top_p", "at most 1"]);
    tintype(&["generate", "-p", "1+1=", "--stop", ""]).fails(2, &["stop"]);
    tintype(&["generate", "-p", "1+1=", "--max-tokens", "0"]).fails(2, &["--max-tokens"]);
    tintype(&["generate", "-p", "1+1=", "--logprobs", "2"]).fails(2, &["--json"]);
}

#[test]
fn what_the_files_and_flags_can_say_is_said_before_the_model_is_loaded() {
    let no_tokenizer = fixture_without("tokenizer.json", "early-without-tokenizer");
    let long = ["1"; 300].join(",");
    for (flags, part) in [
        (&["-p", "1+1=", "--temperature", "nan"][..], "temperature = NaN"),
        (&["-p", "1+1=", "--top-p", "2"], "top_p = 2"),
        (&["-p", "1+1=", "--stop", ""], "stop = \"\""),
        (&["-p", "1+1=", "--chat"], "no chat template"),
        (&["-p", "1+1=", "--max-model-len", "0"], "max_model_len"),
        (&["-p", "1+1=", "--max-model-len", "257"], "256 positions"),
        (&["--prompt-ids", "1,99"], "prompt 0: token id 99"),
        (&["--prompt-ids", "1", "--prompt-ids", &long], "prompt 1: the prompt has 300 tokens"),
        (&["-p", "x", "--model", &no_tokenizer], "no tokenizer.json"),
        (&["--prompt-ids", "1", "--stop", "x", "--model", &no_tokenizer], "need a tokenizer"),
    ] {
        let run = tintype(&[&["generate"], flags].concat());
        run.fails(2, &[part]);
        let is_first = run.stderr.starts_with("error: ") && !run.stderr.contains("device:");
        assert!(is_first, "a device was opened: {}", run.stderr);
    }
}

#[test]
fn prompts_must_come_from_somewhere() {
    tintype(&["generate"]).fails(2, &["--prompt"]);
    tintype(&["generate", "-p", "a", "--prompt-ids", "1"]).fails(2, &["cannot be used with"]);
    tintype(&["generate", "--prompt-ids", "1,two"]).fails(2, &["`two` is no token id"]);
    tintype(&["generate", "--prompt-file", "no/such/file"]).fails(2, &["no/such/file"]);
    tintype(&["generate", "--prompt-file", "-"]).fails(2, &["stdin", "no prompt"]);
}

#[test]
fn a_chat_needs_a_template() {
    tintype(&["generate", "--chat", "-p", "1+1="]).fails(2, &["no chat template"]);
}

#[test]
fn a_drawing_that_cannot_be_written_fails_the_run() {
    let run = tintype(&["graphs", "--dot", "no/such/folder/graph.dot", "--max-num-seqs", "1"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.contains("no/such/folder/graph.dot"), "{}", run.stderr);
}
