//! How long a file, a function and a line may be, and how a file begins.

use super::workspace::Source;
use super::{Problem, code, tables};

/// Measures one file.
pub(super) fn check(source: &Source) -> Vec<Problem> {
    let mut problems = header(source);
    problems.extend(file(source));
    problems.extend(lines(source));
    problems.extend(functions(source));
    problems
}

fn header(source: &Source) -> Vec<Problem> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![Problem::new(&source.path, "the first line is no `//!` header: say what the file is for")]
}

fn file(source: &Source) -> Vec<Problem> {
    let (len, max) = (source.text.lines().count(), tables::MAX_FILE_LINES);
    if len <= max {
        return Vec::new();
    }
    vec![Problem::new(&source.path, format!("{len} lines, at most {max}: split the file"))]
}

fn lines(source: &Source) -> Vec<Problem> {
    let max = tables::MAX_COLUMNS;
    let widths = source.text.lines().map(|line| line.chars().count());
    widths
        .zip(1..)
        .filter(|&(width, _)| width > max)
        .map(|(width, line)| {
            let place = format!("{}:{line}", source.path);
            Problem::new(place, format!("{width} columns, at most {max}"))
        })
        .collect()
}

fn functions(source: &Source) -> Vec<Problem> {
    let max = tables::MAX_FUNCTION_LINES;
    code::functions(&source.code)
        .filter(|function| function.len > max)
        .map(|function| {
            let place = format!("{}:{}", source.path, function.line);
            let (name, len) = (function.name, function.len);
            Problem::new(place, format!("`{name}` is a function of {len} lines, at most {max}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        check(&Source::new("a.rs", text)).iter().map(Problem::to_string).collect()
    }

    /// A function of `len` lines.
    fn function(len: usize) -> String {
        format!("fn f() {{\n{}}}\n", "    g();\n".repeat(len - 2))
    }

    #[test]
    fn what_is_at_the_limit_passes() {
        let line = format!("//! {}\n", "é".repeat(tables::MAX_COLUMNS - 4));
        let text = line + &function(tables::MAX_FUNCTION_LINES);
        let fill = tables::MAX_FILE_LINES - text.lines().count();
        assert_eq!(problems(&(text + &"\n".repeat(fill))), [""; 0]);
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        for text in ["", "fn f() {}\n", "// Not a header.\n", "\n//! Late.\n"] {
            assert_eq!(
                problems(text),
                ["a.rs: the first line is no `//!` header: say what the file is for"]
            );
        }
    }

    #[test]
    fn a_long_file_is_found() {
        let text = "//! Long.\n".to_owned() + &"\n".repeat(tables::MAX_FILE_LINES);
        assert_eq!(problems(&text), ["a.rs: 501 lines, at most 500: split the file"]);
    }

    #[test]
    fn a_long_line_is_found() {
        let text = format!("//! Wide.\n// {}\n", "x".repeat(tables::MAX_COLUMNS - 2));
        assert_eq!(problems(&text), ["a.rs:2: 101 columns, at most 100"]);
    }

    #[test]
    fn a_long_function_is_found() {
        let text = "//! Long.\n\n".to_owned() + &function(tables::MAX_FUNCTION_LINES + 1);
        assert_eq!(problems(&text), ["a.rs:3: `f` is a function of 71 lines, at most 70"]);
    }
}
