//! Values that an op reads from memory and that must be in a range: a wrong one is an error that
//! names it, never a panic and never a write in a wrong place.

use std::fmt;

use tintype_ops::{Error, Result};

/// `value` as an index below `len`.
///
/// # Errors
/// Names the op, the row that holds the value, what it is and the values expected.
pub(crate) fn checked_index(
    op: &'static str,
    row: usize,
    what: impl fmt::Display,
    value: i32,
    len: usize,
) -> Result<usize> {
    let index = usize::try_from(value).ok().filter(|&index| index < len);
    index.ok_or_else(|| {
        let what = format!("row {row} has {what} {value}, expected one in 0..{len}");
        Error::InvalidOp { op, what }
    })
}
