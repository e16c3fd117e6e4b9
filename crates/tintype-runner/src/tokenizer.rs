//! Text to token ids and back, as `tokenizer.json` says.

use tokenizers::Tokenizer as HfTokenizer;

/// Why text and token ids cannot be turned into one another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// `tokenizer.json` is not one.
    #[error("tokenizer.json cannot be read: {0}; download it again")]
    Invalid(String),
    /// The text cannot be encoded.
    #[error("the text cannot be turned into tokens: {0}")]
    Encode(String),
    /// The tokens cannot be decoded.
    #[error("the tokens cannot be turned into text: {0}")]
    Decode(String),
}

/// A model's tokenizer.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: HfTokenizer,
}

impl Tokenizer {
    /// Reads the content of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::Invalid`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let invalid = |error: tokenizers::Error| TokenizerError::Invalid(error.to_string());
        let mut inner = HfTokenizer::from_bytes(bytes).map_err(invalid)?;
        // What training cut or padded its examples to; transformers sets both aside, too.
        inner.with_truncation(None).map_err(invalid)?;
        inner.with_padding(None);
        Ok(Self { inner })
    }

    /// The token ids of a prompt, with what the tokenizer's post-processor puts around it (a
    /// beginning-of-sequence token, where the model has one).
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_with(text, true)
    }

    /// The token ids of text that has its special tokens in it already: a rendered chat.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`].
    pub fn encode_rendered(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_with(text, false)
    }

    fn encode_with(&self, text: &str, special: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, special);
        let encoding = encoding.map_err(|error| TokenizerError::Encode(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of token ids; special tokens, and ids that the tokenizer does not know, have none.
    /// Bytes that are not UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`].
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let text = self.inner.decode(ids, true);
        text.map_err(|error| TokenizerError::Decode(error.to_string()))
    }

    /// The id of a token that is spelt exactly so, special ones included.
    #[must_use]
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_tokenizers as samples;

    #[test]
    fn the_post_processor_decides_on_a_bos_token() {
        let llama = samples::llama();
        let ids = llama.encode("ab").unwrap();
        assert_eq!(ids[0], llama.token_to_id("<s>").unwrap());
        assert_eq!(llama.encode_rendered("ab").unwrap(), ids[1..]);
        let plain = samples::byte_level();
        assert_eq!(plain.encode("ab").unwrap(), plain.encode_rendered("ab").unwrap());
    }

    #[test]
    fn special_tokens_in_rendered_text_are_single_tokens_without_text() {
        let tokenizer = samples::llama();
        let ids = tokenizer.encode_rendered("<s>ab</s>").unwrap();
        assert_eq!(ids.first(), tokenizer.token_to_id("<s>").as_ref());
        assert_eq!(ids.last(), tokenizer.token_to_id("</s>").as_ref());
        assert_eq!(tokenizer.decode(&ids).unwrap(), "ab");
        assert_eq!(tokenizer.decode(&[ids[0], 1_000_000]).unwrap(), "");
    }

    #[test]
    fn truncation_and_padding_of_the_file_are_set_aside() {
        let json = samples::byte_level_json().replace(
            "\"truncation\": null, \"padding\": null",
            "\"truncation\": {\"direction\": \"Right\", \"max_length\": 2, \"strategy\": \
             \"LongestFirst\", \"stride\": 0}, \"padding\": {\"strategy\": {\"Fixed\": 8}, \
             \"direction\": \"Right\", \"pad_to_multiple_of\": null, \"pad_id\": 0, \
             \"pad_type_id\": 0, \"pad_token\": \"<pad>\"}",
        );
        assert_ne!(json, samples::byte_level_json());
        let tokenizer = Tokenizer::from_json(json.as_bytes()).unwrap();
        assert_eq!(tokenizer.encode("abc").unwrap().len(), 3);
    }

    #[test]
    fn a_broken_file_is_an_error() {
        for bytes in [&b""[..], b"{}", b"\xff\xff", b"{\"model\": {\"type\": \"Other\"}}"] {
            let error = Tokenizer::from_json(bytes).unwrap_err().to_string();
            assert!(error.starts_with("tokenizer.json cannot be read: "), "{error}");
        }
    }
}
