//! Counts on the command line. A message names the range that is accepted.

use std::num::NonZeroUsize;

use tintype_config::MAX_LIMIT;
use tintype_cpu::MAX_THREADS;

/// A count of which there must be one.
pub(super) fn at_least_1(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true if text.bytes().any(|byte| byte != b'0') => format!("expected at most {}", usize::MAX),
        _ => "expected a whole number, at least 1".into(),
    })
}

/// A limit of the engine, whose range is the configuration's business once it is a number.
pub(super) fn limit(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("expected 1 to {MAX_LIMIT}"))
}

/// How many threads work on a step.
pub(super) fn threads(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse() {
        Ok(threads) if NonZeroUsize::get(threads) <= MAX_THREADS => Ok(threads),
        _ => Err(format!("expected 1 to {MAX_THREADS}")),
    }
}

/// `--top-k`, where 0 and, as in vLLM, -1 are all tokens.
pub(super) fn top_k(text: &str) -> Result<u32, String> {
    match text {
        "-1" => Ok(0),
        _ => text.parse().map_err(|_| "expected at least 1, or 0 or -1 for all tokens".into()),
    }
}
