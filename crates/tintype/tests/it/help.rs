//! `--help` and `--version`.

use crate::process::tintype;

const COMMANDS: [&[&str]; 9] = [
    &[],
    &["generate"],
    &["config"],
    &["graphs"],
    &["info"],
    &["doctor"],
    &["bench"],
    &["bench", "latency"],
    &["bench", "start"],
];

#[test]
fn every_command_explains_itself_with_an_example() {
    for command in COMMANDS {
        let run = tintype(&[command, &["--help"]].concat()).ok();
        assert_eq!(run.stderr, "");
        let example = format!("Example:\n  tintype {}", command.join(" "));
        assert!(run.stdout.contains(&example), "{command:?}: {}", run.stdout);
    }
}

/// What follows `Example:` must parse, or it is no example.
#[test]
fn the_examples_of_config_run() {
    for args in [
        &["config", "--compilation-config", r#"{"simple_cuda_graph": true}"#][..],
        &["config", "-O1", "--max-num-seqs", "8", "--json"],
    ] {
        tintype(args).ok();
    }
}

#[test]
fn the_version_is_the_package_s() {
    let expected = format!("tintype {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(tintype(&["--version"]).ok().stdout, expected);
}

#[test]
fn no_command_shows_the_help_and_is_an_error() {
    let run = tintype(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.contains("Usage: tintype"), "{}", run.stderr);
}
