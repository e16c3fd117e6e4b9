//! Documents: every link and every file they name must exist.

use std::path::{Component, Path, PathBuf};

use super::Problem;
use super::workspace::{Document, Workspace};

/// A place in the workspace that a document points at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The line of the document, from 1.
    line: usize,
    /// What the document says.
    spelling: String,
    /// Where that is, relative to the root; `None` if it leads out of the workspace.
    path: Option<PathBuf>,
}

/// Follows the links of one document.
pub(super) fn check(document: &Document, workspace: &Workspace) -> Vec<Problem> {
    targets(document)
        .filter(|target| !target.path.as_ref().is_some_and(|path| workspace.has(path)))
        .map(|target| {
            let place = format!("{}:{}", document.path, target.line);
            Problem::new(place, format!("`{}` leads nowhere: no such file", target.spelling))
        })
        .collect()
}

/// Links, relative to the document, and file names in backticks, relative to the root.
///
/// Code blocks are left out, and so are links to the web and within the page.
pub(super) fn targets(document: &Document) -> impl Iterator<Item = Target> + '_ {
    let folder = Path::new(&document.path).parent().unwrap_or(Path::new(""));
    prose(&document.text).flat_map(move |(line, text)| {
        let links = links(text).map(move |link| (link, folder.join(link)));
        let names = named_files(text).map(|name| (name, PathBuf::from(name)));
        links.chain(names).map(move |(spelling, path)| Target {
            line,
            spelling: spelling.into(),
            path: normalised(&path),
        })
    })
}

/// The numbered lines outside fenced code blocks.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The files that a line links to: what stands in `](…)`, up to an anchor.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .filter(|(link, _)| !link.contains("://") && !link.starts_with("mailto:"))
        .map(|(link, _)| link.split('#').next().unwrap_or(link))
        .filter(|link| !link.is_empty())
}

/// Top-level folders; a name in backticks that starts with one of them is a file of ours.
const FOLDERS: &[&str] = &["crates/", "docs/", "kernels/", "tests/", "xtask/"];

/// The files that a line names in backticks. A pattern such as `tests/<name>` names none.
fn named_files(line: &str) -> impl Iterator<Item = &str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    line.split('`')
        .skip(1)
        .step_by(2)
        .filter(move |name| FOLDERS.iter().any(|folder| name.starts_with(folder)))
        .filter(move |name| name.chars().all(plain))
}

/// `path` without `.` and `..`.
fn normalised(path: &Path) -> Option<PathBuf> {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => normal.push(name),
            Component::CurDir => {}
            Component::ParentDir if normal.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String)> {
        let document = Document::new("docs/a.md", text);
        let path = |target: &Target| match &target.path {
            Some(path) => path.to_string_lossy().into_owned(),
            None => "outside".into(),
        };
        targets(&document).map(|target| (target.line, path(&target))).collect()
    }

    #[test]
    fn links_are_relative_to_the_document_and_names_to_the_root() {
        let text = "[b](b.md#c) [r](../README.md)\nIn `crates/x/src/lib.rs` and `docs/`.\n";
        let expected =
            [(1, "docs/b.md"), (1, "README.md"), (2, "crates/x/src/lib.rs"), (2, "docs")];
        assert_eq!(found(text), expected.map(|(line, path)| (line, path.to_owned())));
    }

    #[test]
    fn the_web_the_page_itself_patterns_and_code_blocks_are_left_out() {
        let text = "[a](https://x.org/y.md) [b](#c) [d](mailto:e@f) `tests/<name>` `let x = 1`\n\
                    ```\n[g](h.md) `docs/i.md`\n```\n";
        assert_eq!(found(text), []);
    }

    #[test]
    fn a_link_out_of_the_workspace_leads_nowhere() {
        assert_eq!(found("[a](../../b.md)"), [(1, "outside".into())]);
        assert_eq!(found("[a](/etc/hosts)"), [(1, "outside".into())]);
    }

    #[test]
    fn a_link_to_a_missing_file_is_a_problem_and_one_to_a_file_is_none() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf();
        let (packages, sources, documents) = (Vec::new(), Vec::new(), Vec::new());
        let workspace = Workspace { root, packages, sources, documents };
        let document = Document::new("src/a.md", "\n[a](lib.rs) [b](gone.rs)\n");
        let problems = check(&document, &workspace);
        let expected = [Problem::new("src/a.md:2", "`gone.rs` leads nowhere: no such file")];
        assert_eq!(problems, expected);
    }
}
