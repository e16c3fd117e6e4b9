//! The table of the driver's rules: the fake follows it, and the page shows it.

use std::path::PathBuf;
use std::process::{Command, Output};

/// Runs `driver_check`, which cargo builds along with the tests of the package.
fn driver_check(args: &[&str], report: Option<&PathBuf>) -> Output {
    let program = std::env::current_exe().unwrap();
    let profile = program.parent().and_then(|deps| deps.parent()).unwrap();
    let program = profile.join("examples").join("driver_check");
    assert!(program.is_file(), "build it first: cargo build --package fake-cuda --examples");
    let mut command = Command::new(program);
    command.args(args);
    if let Some(path) = report {
        command.env("FAKE_CUDA_REPORT", path);
    }
    command.output().unwrap()
}

#[test]
fn the_fake_driver_answers_as_its_model_says() {
    let report = std::env::temp_dir().join(format!("fake-cuda-report-{}", std::process::id()));
    let library = fake_cuda::beside_executable().unwrap();
    let output = driver_check(&[library.to_str().unwrap()], Some(&report));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(" 0 differences"), "{text}");

    // The rows leave things behind, and every process says which.
    let report_text = std::fs::read_to_string(&report).unwrap();
    std::fs::remove_file(&report).unwrap();
    for line in ["leak memory ", "leak stream ", "calls ", "kernel "] {
        assert!(report_text.lines().any(|found| found.starts_with(line)), "no {line}in the report");
    }
}

#[test]
fn the_page_shows_the_rows_that_are_checked() {
    let output = driver_check(&["--table"], None);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cuda-driver-model.md");
    let page = std::fs::read_to_string(page).unwrap();
    let missing: Vec<&str> = table.lines().filter(|line| !page.contains(line)).collect();
    assert!(missing.is_empty(), "paste the output of `driver_check --table`: {missing:#?}");
    let num_rows = |text: &str| text.lines().filter(|line| line.contains("| yes |")).count();
    assert_eq!(num_rows(&page), num_rows(&table), "the page has rows that are not checked");
}
