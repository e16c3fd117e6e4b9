//! Why a configuration is refused.

use std::fmt;

/// A configuration that cannot be honoured. The message names what was found and the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is not JSON, or not an object, or gives one field of an engine's config twice.
    #[error("not a JSON object of fields: {0}")]
    Json(String),
    /// A field without which nothing can be said, and which has no default.
    #[error("`{field}` is missing; expected {expected}")]
    Missing {
        /// The field.
        field: String,
        /// What it should hold.
        expected: String,
    },
    /// A field that does not exist.
    #[error("unknown field `{field}`; the fields are {}", valid.join(", "))]
    UnknownField {
        /// The name that was found.
        field: String,
        /// Every name that is accepted.
        valid: &'static [&'static str],
    },
    /// A value that is wrong on its own, whatever the other fields say.
    #[error("`{field}` = {found}: {problem}")]
    Value {
        /// The field that holds it.
        field: String,
        /// The value, as JSON.
        found: String,
        /// What is wrong with it and what is accepted.
        problem: String,
    },
    /// Two settings that contradict each other.
    #[error("{first} contradicts {second}: {why}; {fix}")]
    Conflict {
        /// One of the two.
        first: Setting,
        /// The other, or the limit that it meets.
        second: Setting,
        /// Why both cannot hold.
        why: &'static str,
        /// What to write instead.
        fix: &'static str,
    },
}

impl ConfigError {
    pub(crate) fn value(field: &str, found: impl fmt::Display, problem: impl Into<String>) -> Self {
        Self::Value { field: field.into(), found: found.to_string(), problem: problem.into() }
    }
}

/// A field and its value, as an error shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The field, spelt as the user writes it.
    pub field: &'static str,
    /// Its value, as JSON without quotes.
    pub value: String,
}

impl Setting {
    pub(crate) fn new(field: &'static str, value: impl fmt::Display) -> Self {
        Self { field, value: value.to_string() }
    }

    /// A setting whose value is a list.
    pub(crate) fn list<T: fmt::Debug>(field: &'static str, values: &[T]) -> Self {
        Self { field, value: format!("{values:?}") }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` = {}", self.field, self.value)
    }
}
