//! Typed access to a JSON object, with errors that name the key, the value and what is accepted.
//!
//! serde's derive would name neither the key nor the limits, and here the keys depend on each
//! other and on the family.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::ConfigError;

/// The largest size of any dimension. Far above any model; far below overflow.
pub(super) const MAX_SIZE: usize = 1 << 28;
/// The most layers, experts, or dimensions of a head.
pub(super) const MAX_COUNT: usize = 1 << 16;
/// Token ids travel as i32.
const MAX_TOKEN_ID: u64 = i32::MAX as u64;

/// A JSON object under a name. `null` reads as absent, as in Python.
pub(super) struct Fields<'a> {
    map: Cow<'a, Map<String, Value>>,
    /// `rope_scaling.` for the object under that key; empty at the top.
    prefix: String,
}

impl<'a> Fields<'a> {
    pub(super) fn parse(text: &str) -> Result<Self, ConfigError> {
        match serde_json::from_str(text) {
            Ok(map) => Ok(Self { map: Cow::Owned(map), prefix: String::new() }),
            Err(error) => Err(ConfigError::Json(error.to_string())),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is there, be it `null`.
    pub(super) fn mentions(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// A refusal of what `key` holds.
    pub(super) fn refuse(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        let found = self.map.get(key).unwrap_or(&Value::Null);
        ConfigError::value(&self.name(key), found, problem)
    }

    pub(super) fn missing(&self, key: &str, expected: impl Into<String>) -> ConfigError {
        ConfigError::Missing { field: self.name(key), expected: expected.into() }
    }

    fn name(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn read<'b, T>(
        &'b self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&'b Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(self.refuse(key, format!("expected {expected}"))),
        }
    }

    /// An object; an empty one reads as absent.
    pub(super) fn object(&self, key: &str) -> Result<Option<Fields<'_>>, ConfigError> {
        let map = self.read(key, "an object", Value::as_object)?;
        Ok(map
            .filter(|map| !map.is_empty())
            .map(|map| Fields { map: Cow::Borrowed(map), prefix: format!("{}.", self.name(key)) }))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, ConfigError> {
        self.read(key, "a string", Value::as_str)
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// An integer in `range`.
    pub(super) fn integer(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, ConfigError> {
        let expected = integer_between(&range);
        self.read(key, &expected, |value| unsigned(value).filter(|number| range.contains(number)))
    }

    /// A size of a dimension.
    pub(super) fn size(&self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.integer(key, 1..=MAX_SIZE)
    }

    pub(super) fn required_size(&self, key: &str) -> Result<usize, ConfigError> {
        self.required_integer(key, 1..=MAX_SIZE)
    }

    /// A number of layers or experts.
    pub(super) fn required_count(&self, key: &str) -> Result<usize, ConfigError> {
        self.required_integer(key, 1..=MAX_COUNT)
    }

    fn required_integer(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<usize, ConfigError> {
        let expected = integer_between(&range);
        self.integer(key, range)?.ok_or_else(|| self.missing(key, expected))
    }

    /// A number in `range`, which `expected` describes.
    pub(super) fn number(
        &self,
        key: &str,
        range: RangeInclusive<f64>,
        expected: &str,
    ) -> Result<Option<f64>, ConfigError> {
        self.read(key, expected, |value| value.as_f64().filter(|number| range.contains(number)))
    }

    /// A positive number, for example a scaling factor. Bounded so that it is one in f32 as well.
    pub(super) fn positive(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        self.number(key, 1e-30..=1e30, "a positive number")
    }

    pub(super) fn required_positive(&self, key: &str) -> Result<f64, ConfigError> {
        self.positive(key)?.ok_or_else(|| self.missing(key, "a positive number"))
    }

    /// A list of strings.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, ConfigError> {
        self.read(key, "a list of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect()
        })
    }

    /// A list of integers from 0.
    pub(super) fn integers(&self, key: &str) -> Result<Option<Vec<usize>>, ConfigError> {
        self.read(key, "a list of integers from 0", |value| {
            value.as_array()?.iter().map(unsigned).collect()
        })
    }

    /// One token id or a list of them.
    pub(super) fn token_ids(&self, key: &str) -> Result<Option<Vec<u32>>, ConfigError> {
        self.read(key, "a token id or a list of token ids", |value| match value {
            Value::Array(ids) => ids.iter().map(token_id).collect(),
            id => token_id(id).map(|id| vec![id]),
        })
    }
}

fn integer_between(range: &RangeInclusive<usize>) -> String {
    format!("an integer from {} to {}", range.start(), range.end())
}

fn unsigned(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

fn token_id(value: &Value) -> Option<u32> {
    value.as_u64().filter(|&id| id <= MAX_TOKEN_ID).and_then(|id| u32::try_from(id).ok())
}
