//! Just enough of Rust's grammar: where code is and where it is not, words, function bodies.

/// `text` with the content of comments, strings and characters replaced by spaces.
///
/// Line breaks stay, so line numbers agree. The result is what the rules search: a banned word in
/// a comment or in a message is no breach, and braces in literals do not count.
pub(super) fn without_comments_and_literals(text: &str) -> String {
    let mut blanked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (skipped, len) = token(rest, first);
        let (token, tail) = rest.split_at(len);
        if skipped {
            blanked.extend(token.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            blanked.push_str(token);
        }
        rest = tail;
    }
    blanked
}

/// Whether the token that `rest` starts with is a comment or a literal, and its length in bytes.
fn token(rest: &str, first: char) -> (bool, usize) {
    match first {
        '/' if rest.starts_with("//") => (true, rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") => (true, block_comment_len(rest)),
        '"' => (true, quoted_len(rest, '"')),
        '\'' => char_literal_len(rest).map_or((false, 1), |len| (true, len)),
        _ if is_word(first) => {
            let len = word_len(rest);
            match raw_string_len(rest, len) {
                Some(literal_len) => (true, literal_len),
                None => (false, len),
            }
        }
        _ => (false, first.len_utf8()),
    }
}

/// Block comments nest.
fn block_comment_len(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(found) = rest[at..].find(['/', '*']) {
        at += found;
        match rest.get(at..at + 2) {
            Some("/*") => (depth, at) = (depth + 1, at + 2),
            Some("*/") if depth == 1 => return at + 2,
            Some("*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a literal that ends with `quote`, both quotes included.
fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `None` for a lifetime or a label, which start with a quote as well.
fn char_literal_len(rest: &str) -> Option<usize> {
    let mut chars = rest.chars().skip(1);
    let (content, next) = (chars.next()?, chars.next()?);
    (content == '\\' || next == '\'').then(|| quoted_len(rest, '\''))
}

/// The length of the raw string whose prefix is the word of `prefix_len` bytes, if it is one.
fn raw_string_len(rest: &str, prefix_len: usize) -> Option<usize> {
    let (prefix, tail) = rest.split_at(prefix_len);
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    if !["r", "br", "cr"].contains(&prefix) || !tail[hashes..].starts_with('"') {
        return None;
    }
    let (open, close) = (prefix_len + hashes + 1, format!("\"{}", &tail[..hashes]));
    let end = rest[open..].find(&close);
    Some(end.map_or(rest.len(), |end| open + end + close.len()))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the identifier, keyword or number that `text` starts with; 0 if there is none.
fn word_len(text: &str) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

/// Offsets at which `needle` occurs in `code` where a word starts.
///
/// A needle that is one word has to end where the word ends: `unsafe` is not `unsafe_code`. A path
/// need not: `env::var` is also in `env::var_os` and `env::vars`, the same thing by other names.
pub(super) fn occurrences<'a>(code: &'a str, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
    let one_word = word_len(needle) == needle.len();
    code.match_indices(needle).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + needle.len()..].chars().next();
        let starts = !needle.starts_with(is_word) || !before.is_some_and(is_word);
        let ends = !one_word || !after.is_some_and(is_word);
        starts && ends
    })
}

/// The 1-based line of the byte `at`.
pub(super) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The word that follows `at`, blanks left out; `None` if something else follows.
pub(super) fn name_after(code: &str, at: usize) -> Option<&str> {
    let rest = code[at..].trim_start();
    let name = &rest[..word_len(rest)];
    (!name.is_empty()).then_some(name)
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    /// The line of `fn`, from 1.
    pub(super) line: usize,
    /// Lines from `fn` to the closing brace.
    pub(super) len: usize,
}

/// Every function with a body in `code`, which has no comments and literals any more.
pub(super) fn functions(code: &str) -> impl Iterator<Item = Function<'_>> {
    occurrences(code, "fn").filter_map(|at| {
        let name = name_after(code, at + "fn".len())?;
        let end = at + body_end(&code[at..])?;
        let len = line_of(&code[at..], end - at);
        Some(Function { name, line: line_of(code, at), len })
    })
}

/// The offset of the brace that closes the item `code` starts with; `None` if it has no body.
fn body_end(code: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && c == '}' {
                    return Some(at);
                }
            }
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
