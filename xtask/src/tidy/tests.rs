//! All rules together: each is applied, and the report shows what was seen.

use std::path::PathBuf;

use super::workspace::{Document, Package, Source};
use super::*;

/// A workspace that breaks one rule in each module, held in memory.
fn untidy() -> Workspace {
    let stranger =
        Package { name: "stranger".into(), folder: "elsewhere".into(), ..Package::default() };
    let long_body = "    step();\n".repeat(tables::MAX_FUNCTION_LINES);
    Workspace {
        root: PathBuf::from("there/is/no/such/folder"),
        packages: vec![stranger],
        sources: vec![
            Source::new("elsewhere/src/long.rs", &format!("//! Long.\nfn f() {{\n{long_body}}}\n")),
            Source::new("elsewhere/src/stub.rs", "//! A stub.\nfn f() {\n    todo!()\n}\n"),
        ],
        documents: vec![Document::new("docs/lost.md", "[gone](gone.md)\n")],
    }
}

#[test]
fn every_rule_is_applied() {
    let report = inspect(&untidy());
    for needle in ["layer table", "a function of 72 lines", "`todo!`", "no `mod`", "gone.md"] {
        let found = report.problems.iter().any(|problem| problem.what.contains(needle));
        assert!(found, "nothing says {needle:?}: {report}");
    }
}

#[test]
fn the_report_counts_what_it_saw_and_lists_the_problems() {
    let report = inspect(&untidy());
    let text = report.to_string();
    let head = "tidy: 1 packages, 2 Rust files, 2 functions, 1 documents, 1 links; problems: ";
    assert!(text.starts_with(head), "{text}");
    assert_eq!(text.lines().count(), 1 + report.problems.len());
    assert!(report.problems.is_sorted());
}

#[test]
fn a_folder_that_is_no_workspace_is_an_error() {
    let message = check(&PathBuf::from("/there/is/no/such/folder")).unwrap_err().to_string();
    assert!(message.contains("/there/is/no/such/folder"), "{message}");
}
