//! What goes to stdout and what to stderr, closed pipes, and Ctrl-C.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::process::{Run, command, tintype};

#[test]
fn stderr_has_plain_lines_without_a_terminal_and_nothing_with_quiet() {
    let run = tintype(&["generate", "-p", "1+1="]).ok();
    assert!(run.stderr.contains("device: cpu"), "{}", run.stderr);
    assert!(run.stderr.contains("loaded demo"), "{}", run.stderr);
    assert!(run.stderr.contains("batch sizes will be captured, behind"), "{}", run.stderr);
    assert!(!run.stderr.contains(['\r', '\x1b']), "{:?}", run.stderr);

    let run = tintype(&["generate", "-p", "1+1=", "--capture", "startup"]).ok();
    assert!(run.stderr.contains("captured FULL"), "{}", run.stderr);

    let quiet = tintype(&["generate", "-p", "1+1=", "--quiet"]).ok();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("2\n", ""));
}

#[test]
fn overrides_are_noted_on_stderr() {
    let sizes = r#"{"cudagraph_capture_sizes": [1, 2, 4096]}"#;
    let args = ["generate", "-p", "1+1=", "--compilation-config", sizes, "--max-num-seqs", "2"];
    let run = tintype(&args).ok();
    assert_eq!(run.stdout, "2\n");
    assert!(run.stderr.contains("note: cudagraph_capture_sizes"), "{}", run.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_stdout_that_takes_nothing_is_named() {
    for args in [&["config"][..], &["generate", "-p", "1+1="]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let run = Run::from(command(args).stdout(full).output().unwrap());
        run.fails(1, &["error: cannot write to stdout: No space left"]);
    }
}

#[test]
fn quiet_does_not_hide_errors() {
    let run = tintype(&["generate", "-p", "1+1=", "--device", "cuda:0", "-q"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.starts_with("error: "), "{}", run.stderr);
}

#[test]
fn a_reader_that_has_had_enough_is_no_error() {
    for args in [&["generate", "-p", "1+1=", "--json"][..], &["config"], &["doctor"]] {
        let mut child =
            command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(!run.stderr.contains("error"), "{}", run.stderr);
    }
}

/// A run of some seconds that prints something at once.
fn long_run() -> Child {
    let args = [
        "generate",
        "--model",
        "synthetic:tiny",
        "--prompt-ids",
        "1",
        "--ignore-eos",
        "-n",
        "4000",
        "--max-num-seqs",
        "1",
    ];
    command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_after_the_step_and_ends_the_line() {
    let mut child = long_run();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut output = Vec::new();
    stdout.read_until(b',', &mut output).unwrap();
    let pid = child.id().to_string();
    assert!(Command::new("sh").args(["-c", "kill -INT $0", &pid]).status().unwrap().success());
    stdout.read_to_end(&mut output).unwrap();
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(run.stderr.contains("interrupted"), "{}", run.stderr);
    let text = String::from_utf8(output).unwrap();
    let ids: Vec<u32> = text.strip_suffix('\n').unwrap().split(',').map(parse).collect();
    assert!((1..4000).contains(&ids.len()), "{}", ids.len());
}

fn parse(id: &str) -> u32 {
    id.parse().unwrap_or_else(|_| panic!("{id:?} is no token id"))
}
