//! Rust files that no `mod` declaration reaches: they look maintained and are never compiled.

use std::collections::BTreeSet;

use super::workspace::{Package, Source};
use super::{Problem, code};

/// Follows `mod` declarations from the root file of every target.
///
/// A module inside an inline module, and `#[path]`, are not followed: the workspace uses neither.
pub(super) fn check(packages: &[Package], sources: &[Source]) -> Vec<Problem> {
    let roots: BTreeSet<&str> =
        packages.iter().flat_map(|p| &p.roots).map(String::as_str).collect();
    let mut reached = roots.clone();
    let mut open: Vec<&str> = roots.iter().copied().collect();
    while let Some(path) = open.pop() {
        let Some(source) = sources.iter().find(|source| source.path == path) else { continue };
        for candidate in submodules(source, roots.contains(path)) {
            let found = sources.iter().find(|source| source.path == candidate);
            open.extend(found.map(|found| &*found.path).filter(|path| reached.insert(path)));
        }
    }
    sources
        .iter()
        .filter(|source| !reached.contains(&*source.path))
        .map(|source| Problem::new(&source.path, "no `mod` leads here: declare it or delete it"))
        .collect()
}

/// The files that the `mod name;` of `source` may stand for.
fn submodules(source: &Source, is_root: bool) -> Vec<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or((".", &source.path));
    let folder = match file.trim_end_matches(".rs") {
        _ if is_root => folder.to_owned(),
        "mod" => folder.to_owned(),
        stem => format!("{folder}/{stem}"),
    };
    code::occurrences(&source.code, "mod")
        .filter_map(|at| declared(&source.code, at + "mod".len()))
        .flat_map(|name| [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")])
        .collect()
}

/// The name in `mod name;`; `None` for a module with its body on the spot.
fn declared(code: &str, at: usize) -> Option<&str> {
    let name = code::name_after(code, at)?;
    let rest = code[at..].trim_start().strip_prefix(name)?;
    rest.trim_start().starts_with(';').then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files nothing leads to, among `files` (path and text) with these target roots.
    fn dead(roots: &[&str], files: &[(&str, &str)]) -> Vec<String> {
        let roots = roots.iter().map(|&root| root.into()).collect();
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        let found = check(&[Package { roots, ..Package::default() }], &sources);
        found.into_iter().map(|problem| problem.place).collect()
    }

    #[test]
    fn declared_files_are_alive_at_any_depth() {
        let files = [
            ("a/src/lib.rs", "pub mod b;\nmod old;\nmod here { fn f() {} }\n"),
            ("a/src/b.rs", "#[cfg(test)]\nmod tests;\n"),
            ("a/src/b/tests.rs", ""),
            ("a/src/old/mod.rs", "pub(crate) mod c;\n"),
            ("a/src/old/c.rs", ""),
            ("a/examples/e.rs", ""),
        ];
        assert_eq!(dead(&["a/src/lib.rs", "a/examples/e.rs"], &files), [""; 0]);
    }

    #[test]
    fn a_file_that_nothing_declares_is_found() {
        let files = [
            ("a/src/lib.rs", "// mod b;\nmod c;\nmod inline {}\n"),
            ("a/src/b.rs", ""),
            ("a/src/c.rs", "mod d;"),
            ("a/src/d.rs", ""),
            ("a/src/inline.rs", ""),
        ];
        let expected = ["a/src/b.rs", "a/src/d.rs", "a/src/inline.rs"];
        assert_eq!(dead(&["a/src/lib.rs"], &files), expected);
    }

    #[test]
    fn modules_that_declare_each_other_end_the_search() {
        let files = [("a/src/lib.rs", "mod lib;"), ("a/src/b.rs", "mod b;")];
        assert_eq!(dead(&["a/src/lib.rs"], &files), ["a/src/b.rs"]);
    }
}
