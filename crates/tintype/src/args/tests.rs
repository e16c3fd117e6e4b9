//! The command line, parsed.

use clap::{CommandFactory, Parser, error::ErrorKind};
use tintype_config::{CompilationLevel, EngineConfig};
use tintype_graph::CapturePolicy;

use super::model::ModelChoice;
use super::*;

fn parse(args: &[&str]) -> Result<Command, clap::Error> {
    let args = std::iter::once("tintype").chain(args.iter().copied());
    Cli::try_parse_from(args).map(|cli| cli.command)
}

/// The engine configuration that `tintype config` reads from `args`.
fn config(args: &[&str]) -> EngineConfig {
    match parse(&[&["config"], args].concat()).unwrap() {
        Command::Config(args) => args.engine.config(),
        other => panic!("{other:?}"),
    }
}

fn generate(args: &[&str]) -> GenerateArgs {
    match parse(&[&["generate"], args].concat()).unwrap() {
        Command::Generate(args) => *args,
        other => panic!("{other:?}"),
    }
}

fn error(args: &[&str]) -> String {
    parse(args).unwrap_err().to_string()
}

#[test]
fn clap_finds_no_fault_in_the_definitions() {
    Cli::command().debug_assert();
}

#[test]
fn no_flags_mean_the_defaults() {
    assert_eq!(config(&[]), EngineConfig::default());
    assert_eq!(generate(&["-p", "x"]).engine.model.model, ModelChoice::Demo);
}

#[test]
fn the_level_is_written_with_or_without_a_blank() {
    for args in [&["-O3"][..], &["-O", "3"], &["-O=3"], &["--optimization-level", "3"]] {
        assert_eq!(config(args).optimization_level, Some(3), "{args:?}");
    }
    assert!(error(&["config", "-O4"]).contains("expected 0, 1, 2 or 3"));
    assert!(error(&["config", "-O", "{}"]).contains("go into --compilation-config"));
}

#[test]
fn a_compilation_config_is_pasted_from_vllm() {
    let json = r#"{"level": 0, "simple_cuda_graph": true}"#;
    let compilation = config(&["--compilation-config", json]).compilation;
    assert_eq!(compilation.simple_cuda_graph, Some(true));
    assert_eq!(compilation.level, Some(CompilationLevel::NoCompilation));
    let unknown = error(&["config", "--compilation-config", r#"{"simple": true}"#]);
    assert!(unknown.contains("unknown field `simple`"), "{unknown}");
}

#[test]
fn graphs_are_captured_when_the_command_wants_unless_the_user_says() {
    let policy = |flags: &[&str]| {
        let args = generate(&[&["-p", "x"], flags].concat());
        args.engine.options(CapturePolicy::Background).graphs.policy
    };
    assert_eq!(policy(&[]), CapturePolicy::Background);
    assert_eq!(policy(&["--capture", "lazy"]), CapturePolicy::Lazy);
    assert_eq!(policy(&["--verify-graphs"]), CapturePolicy::Startup);
    let both = ["--verify-graphs", "--capture", "background"];
    assert_eq!(policy(&both), CapturePolicy::Background);
}

#[test]
fn limits_reach_the_configuration() {
    let args = ["--max-num-seqs", "4", "--max-num-batched-tokens", "64", "--max-model-len", "128"];
    let config = config(&args);
    assert_eq!((config.max_num_seqs, config.max_num_batched_tokens), (4, 64));
    assert_eq!(config.max_model_len, Some(128));
}

#[test]
fn models_are_the_demo_a_shape_or_a_folder() {
    let model = |text| generate(&["-p", "x", "--model", text]).engine.model.model;
    assert_eq!(model("demo"), ModelChoice::Demo);
    assert_eq!(model("synthetic:tiny"), ModelChoice::Synthetic("tiny".into()));
    assert_eq!(model("./demo"), ModelChoice::Folder("./demo".into()));
}

#[test]
fn devices_are_auto_cpu_or_cuda_with_an_ordinal() {
    let device = |text| generate(&["-p", "x", "--device", text]).engine.device.device;
    assert_eq!(device("auto"), DeviceChoice::Auto);
    assert_eq!(device("cpu"), DeviceChoice::Cpu);
    assert_eq!(device("cuda"), DeviceChoice::Cuda(0));
    assert_eq!(device("cuda:3"), DeviceChoice::Cuda(3));
    for bad in ["gpu", "cuda:", "cuda:x", "cpu:0"] {
        let message = error(&["config", "--device", bad]);
        assert!(message.contains("expected auto, cpu or cuda:N"), "{message}");
    }
}

#[test]
fn prompts_come_from_exactly_one_place() {
    assert_eq!(generate(&["-p", "a", "--prompt", "-b"]).prompts.prompt, ["a", "-b"]);
    let ids = generate(&["--prompt-ids", "1,2, 3", "--prompt-ids", "4"]).prompts.prompt_ids;
    assert_eq!(ids.iter().map(|ids| ids.0.as_slice()).collect::<Vec<_>>(), [&[1, 2, 3][..], &[4]]);
    let none = parse(&["generate"]).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::MissingRequiredArgument);
    let two = parse(&["generate", "-p", "a", "--prompt-ids", "1"]).unwrap_err();
    assert_eq!(two.kind(), ErrorKind::ArgumentConflict);
    assert!(error(&["generate", "--prompt-ids", "1,x"]).contains("`x` is no token id"));
    assert!(error(&["generate", "--prompt-ids", ""]).contains("no token id"));
}

#[test]
fn counts_below_1_are_refused_with_the_range() {
    let generate = ["generate", "-p", "x"];
    let latency = ["bench", "latency"];
    for (command, flag) in [
        (&generate[..], "-n"),
        (&generate, "--num-kv-blocks"),
        (&latency, "--input-len"),
        (&latency, "--output-len"),
        (&latency, "--batch-size"),
        (&latency, "--num-iters"),
    ] {
        for count in ["0", "-1", "x"] {
            let message = error(&[command, &[flag, count]].concat());
            assert!(message.contains("expected a whole number, at least 1"), "{message}");
        }
        let message = error(&[command, &[flag, "99999999999999999999"]].concat());
        assert!(message.contains("expected at most 18446744073709551615"), "{message}");
    }
    for threads in ["0", "-1", "1025", "99999999999999999999"] {
        for command in ["doctor", "config"] {
            let message = error(&[command, "--threads", threads]);
            assert!(message.contains("expected 1 to 1024"), "{message}");
        }
    }
}

#[test]
fn what_is_negative_is_a_value_and_no_flag() {
    for flag in ["--top-k", "--seed", "--stop-token-id", "--max-num-seqs", "--prompt-ids"] {
        let message = error(&["generate", "-p", "x", flag, "-2"]);
        assert!(message.contains("invalid value '-2'"), "{message}");
    }
    let message = error(&["config", "--max-num-seqs", "-2"]);
    assert!(message.contains("expected 1 to 16777216"), "{message}");
}

#[test]
fn top_k_is_a_count_or_all() {
    let top_k = |text| generate(&["-p", "x", "--top-k", text]).sampling.top_k;
    assert_eq!([top_k("-1"), top_k("0"), top_k("40")], [Some(0), Some(0), Some(40)]);
    assert!(error(&["generate", "-p", "x", "--top-k", "-2"]).contains("0 or -1 for all"));
}

#[test]
fn a_prompt_may_be_empty_here_and_is_judged_by_the_model() {
    assert_eq!(generate(&["-p", ""]).prompts.prompt, [""]);
}

#[test]
fn every_help_has_an_example() {
    fn visit(command: &clap::Command, path: &str) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Example:\n  tintype "), "{path} has no example");
        for command in command.get_subcommands() {
            visit(command, &format!("{path} {}", command.get_name()));
        }
    }
    visit(&Cli::command(), "tintype");
}
