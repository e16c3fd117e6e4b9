//! The workspace keeps its own rules: layers, sizes, headers, bans, links, dead files.

use std::path::Path;

#[test]
fn the_workspace_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let report = xtask::tidy::check(root).unwrap();
    println!("{report}");
    assert!(report.packages > 0 && report.functions > 0 && report.links > 0, "nothing was checked");
    assert!(report.problems.is_empty(), "{report}");
}
