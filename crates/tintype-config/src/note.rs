//! What `resolve` changed about what the user asked for, and why.

use std::fmt;

use serde::Serialize;

/// One override: the user asked for something and gets something else.
///
/// Nothing is changed silently. A value that the rules merely fill in where the user said nothing
/// is no override and makes no note, unless it turns out to be impossible on this backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The field, spelt as in the JSON that the user writes.
    pub field: &'static str,
    /// The value asked for.
    pub asked: String,
    /// The value in force.
    pub got: String,
    /// Which rule or limit made the difference.
    pub why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: asked {}, got {}: {}", self.field, self.asked, self.got, self.why)
    }
}
