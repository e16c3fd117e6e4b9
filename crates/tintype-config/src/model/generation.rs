//! `generation_config.json`: what the model's makers suggest for sampling.

use super::{Fields, fields::MAX_SIZE};
use crate::ConfigError;

/// Suggested sampling; every field optional, so that only what was said overrides a default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationConfig {
    /// Tokens that end a text. `None` = those of `config.json`.
    pub eos_token_ids: Option<Vec<u32>>,
    /// Whether to draw. If not, the most likely token is taken, after the repetition penalty, and
    /// the other fields have no say.
    pub do_sample: Option<bool>,
    /// Divides the logits; 0 = always the most likely token.
    pub temperature: Option<f32>,
    /// Sample from this many most likely tokens; 0 = from all.
    pub top_k: Option<usize>,
    /// Sample from the least set of tokens with this probability.
    pub top_p: Option<f32>,
    /// Drop tokens less likely than this times the most likely one.
    pub min_p: Option<f32>,
    /// Divides the positive logits of tokens that occurred, multiplies the negative ones.
    pub repetition_penalty: Option<f32>,
}

impl GenerationConfig {
    /// Reads the text of a `generation_config.json`. Keys that are not read may say anything.
    ///
    /// # Errors
    /// [`ConfigError`] names a key whose value is of the wrong kind or out of range.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let fields = Fields::parse(text)?;
        let float = |key, max, expected| -> Result<_, ConfigError> {
            Ok(fields.number(key, 0.0..=max, expected)?.map(|number| number as f32))
        };
        let share = "a number from 0 to 1";
        Ok(Self {
            eos_token_ids: fields.token_ids("eos_token_id")?,
            do_sample: fields.flag("do_sample")?,
            temperature: float("temperature", 1e30, "a number from 0")?,
            top_k: top_k(&fields)?,
            top_p: float("top_p", 1.0, share)?,
            min_p: float("min_p", 1.0, share)?,
            repetition_penalty: fields.positive("repetition_penalty")?.map(|number| number as f32),
        })
    }
}

/// Some folders write -1 for "no limit", as vLLM does.
fn top_k(fields: &Fields<'_>) -> Result<Option<usize>, ConfigError> {
    if fields.get("top_k").and_then(|value| value.as_i64()) == Some(-1) {
        return Ok(Some(0));
    }
    fields.integer("top_k", 0..=MAX_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> GenerationConfig {
        GenerationConfig::from_json(json).unwrap()
    }

    #[test]
    fn everything_is_optional() {
        assert_eq!(parse("{}"), GenerationConfig::default());
        assert_eq!(parse(r#"{"eos_token_id": null, "transformers_version": "4"}"#), parse("{}"));
    }

    #[test]
    fn everything_is_read() {
        let json = r#"{"eos_token_id": [151645, 151643], "do_sample": true, "temperature": 0.6,
            "top_k": 20, "top_p": 0.95, "min_p": 0, "repetition_penalty": 1.05,
            "pad_token_id": 1}"#;
        let expected = GenerationConfig {
            eos_token_ids: Some(vec![151645, 151643]),
            do_sample: Some(true),
            temperature: Some(0.6),
            top_k: Some(20),
            top_p: Some(0.95),
            min_p: Some(0.0),
            repetition_penalty: Some(1.05),
        };
        assert_eq!(parse(json), expected);
        assert_eq!(parse(r#"{"eos_token_id": 2}"#).eos_token_ids, Some(vec![2]));
        assert_eq!(parse(r#"{"top_k": -1}"#).top_k, Some(0));
    }

    #[test]
    fn bad_values_name_their_key() {
        for (json, message) in [
            (r#"{"temperature": -1}"#, "`temperature` = -1: expected a number from 0"),
            (r#"{"top_p": 1.5}"#, "`top_p` = 1.5: expected a number from 0 to 1"),
            (r#"{"top_k": -2}"#, "`top_k` = -2: expected an integer from 0 to 268435456"),
            (
                r#"{"repetition_penalty": 0}"#,
                "`repetition_penalty` = 0: expected a positive number",
            ),
            (
                r#"{"eos_token_id": "</s>"}"#,
                "`eos_token_id` = \"</s>\": expected a token id or a list of token ids",
            ),
        ] {
            assert_eq!(GenerationConfig::from_json(json).unwrap_err().to_string(), message);
        }
    }
}
