//! Code that may not occur, save in the files that the table excepts.

use super::tables::{BANS, Ban};
use super::workspace::Source;
use super::{Problem, code};

/// Looks for everything banned in one file.
pub(super) fn check(source: &Source) -> Vec<Problem> {
    BANS.iter().flat_map(|ban| breaches(source, ban)).collect()
}

fn breaches(source: &Source, ban: &Ban) -> Vec<Problem> {
    if ban.except.iter().any(|except| covers(except, &source.path)) {
        return Vec::new();
    }
    code::occurrences(&source.code, ban.code)
        .map(|at| {
            let place = format!("{}:{}", source.path, code::line_of(&source.code, at));
            Problem::new(place, format!("`{}` is banned here: {}", ban.code.trim(), ban.why))
        })
        .collect()
}

/// An exception is a file, or a folder with a slash at its end.
fn covers(except: &str, path: &str) -> bool {
    path == except || (except.ends_with('/') && path.starts_with(except))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `text`, as the file `path`, breaks a ban.
    fn places(path: &str, text: &str) -> Vec<String> {
        check(&Source::new(path, text)).into_iter().map(|problem| problem.place).collect()
    }

    /// Code that breaks each ban.
    const PLANTED: &[(&str, &str)] = &[
        ("unsafe", "fn f() { unsafe { g() } }"),
        ("unsafe", "unsafe impl Send for T {}"),
        ("todo!", "fn f() { todo!() }"),
        ("unimplemented!", "fn f() { unimplemented!(\"later\") }"),
        ("#[ignore", "#[ignore]"),
        ("#[ignore", "#[ignore = \"slow\"]"),
        ("#[should_panic", "#[should_panic(expected = \"x\")]"),
        ("(feature = ", "#[cfg(feature = \"cuda\")]"),
        ("(feature = ", "#[cfg(not(feature = \"cuda\"))]"),
        ("env::var", "fn f() { std::env::var(\"HOME\"); }"),
        ("env::var", "fn f() { env::var_os(\"HOME\"); }"),
    ];

    #[test]
    fn each_ban_finds_what_it_bans() {
        for (code, line) in PLANTED {
            let source = Source::new("crates/a/src/lib.rs", &format!("//! Planted.\n\n{line}\n"));
            let ban = BANS.iter().find(|ban| ban.code == *code).unwrap();
            let problems = check(&source);
            assert_eq!(problems.len(), 1, "{line}: {problems:?}");
            assert_eq!(problems[0].place, "crates/a/src/lib.rs:3");
            assert!(problems[0].what.ends_with(ban.why), "{line}: {problems:?}");
        }
    }

    #[test]
    fn no_ban_is_left_untested() {
        for ban in BANS {
            assert!(PLANTED.iter().any(|(code, _)| *code == ban.code), "{:?}", ban.code);
        }
    }

    #[test]
    fn what_only_looks_alike_is_free() {
        let text = "//! No unsafe, no todo!\n#![forbid(unsafe_code)]\n\
                    #[target_feature(enable = \"avx2\")]\nconst A: &str = \"env::var\";\n";
        assert_eq!(places("crates/tintype-ops/src/a.rs", text), [""; 0]);
    }

    #[test]
    fn an_exception_covers_its_file_or_folder_and_no_other() {
        let read = "fn f() { env::var(\"HOME\"); }";
        assert_eq!(places("crates/tintype/src/main.rs", read), [""; 0]);
        assert_eq!(places("crates/tintype-model/src/a.rs", read).len(), 1);
        let map = "fn f() { unsafe { g() } }";
        assert_eq!(places("crates/tintype-model/src/mmap.rs", map), [""; 0]);
        assert_eq!(places("crates/tintype-model/src/mmap.rs.rs", map).len(), 1);
    }
}
