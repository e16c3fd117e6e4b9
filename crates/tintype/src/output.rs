//! Results on stdout, and how quantities are written for people.

mod ordered;

use std::io::{self, Write};

use anyhow::{Context, Result};
use serde::Serialize;

pub(crate) use ordered::{Layout, Ordered};

/// Prints one JSON object on a line of its own.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    write_all(&line)
}

/// Prints text as it is; it brings its line ends.
pub(crate) fn print(text: &str) -> Result<()> {
    write_all(text.as_bytes())
}

fn write_all(bytes: &[u8]) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).context(WRITING)
}

/// What was being done when a result could not be printed.
pub(crate) const WRITING: &str = "cannot write to stdout";

/// A size in the largest decimal unit that leaves at least 1 before the point.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", count as f64 / *size as f64),
        None => format!("{count} B"),
    }
}

/// How many of what: `1 token`, `2 tokens`, `1 000 tokens`.
pub(crate) fn plural(count: u64, what: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {what}{ending}", thousands(count))
}

/// A number with its thousands apart.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_the_unit_that_fits() {
        let table = [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (3_596_320, "3.6 MB")];
        for (count, text) in table {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(2_470_000_000), "2.5 GB");
    }

    #[test]
    fn one_of_something_is_singular() {
        assert_eq!(plural(1, "batch size"), "1 batch size");
        assert_eq!([plural(0, "run"), plural(1200, "run")], ["0 runs", "1 200 runs"]);
    }

    #[test]
    fn thousands_stand_apart() {
        let table = [(7, "7"), (1000, "1 000"), (123_456, "123 456"), (1_234_567, "1 234 567")];
        for (count, text) in table {
            assert_eq!(thousands(count), text);
        }
    }
}
