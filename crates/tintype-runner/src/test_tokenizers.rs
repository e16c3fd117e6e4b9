//! Two small tokenizers for tests, of the kinds that models have.

use std::fmt::Write;

use crate::Tokenizer;

/// GPT-2's way: every byte has a printable character, and text is a row of those. Token ids: 0 to
/// 255 in the order of the characters, then `<pad>`, `<|im_start|>`, `<|im_end|>`.
pub(crate) fn byte_level() -> Tokenizer {
    Tokenizer::from_json(byte_level_json().as_bytes()).unwrap()
}

pub(crate) fn byte_level_json() -> String {
    let printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let shifted = (0..256u32).filter(|byte| !printable(byte)).count() as u32;
    let characters = (0..256u32).filter(printable).chain(256..256 + shifted);
    let mut vocab = String::new();
    for (id, character) in characters.enumerate() {
        let character = char::from_u32(character).unwrap().to_string();
        write!(vocab, "{}: {id}, ", serde_json::to_string(&character).unwrap()).unwrap();
    }
    let added = added_tokens(256, &["<pad>", "<|im_start|>", "<|im_end|>"]);
    let vocab = vocab.trim_end_matches(", ");
    format!(
        r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{added}],
        "normalizer": null, "post_processor": null,
        "pre_tokenizer": {{"type": "ByteLevel", "add_prefix_space": false,
            "trim_offsets": true, "use_regex": true}},
        "decoder": {{"type": "ByteLevel", "add_prefix_space": true,
            "trim_offsets": true, "use_regex": true}},
        "model": {{"type": "BPE", "vocab": {{{vocab}}}, "merges": []}}}}"#
    )
}

/// Llama 2's way: a space is `▁` and belongs to the word after it, the first of which has one that
/// decoding takes off; what has no token is spelt in byte tokens `<0x..>`. Ids: `<unk>`, `<s>`,
/// `</s>`, 256 bytes, then `▁`, `a`, `b`, `ab`, `▁ab`.
pub(crate) fn llama() -> Tokenizer {
    let mut vocab = String::from(r#""<unk>": 0, "<s>": 1, "</s>": 2"#);
    for byte in 0..256 {
        write!(vocab, r#", "<0x{byte:02X}>": {}"#, byte + 3).unwrap();
    }
    for (id, token) in (259..).zip(["▁", "a", "b", "ab", "▁ab"]) {
        write!(vocab, r#", "{token}": {id}"#).unwrap();
    }
    let added = added_tokens(0, &["<unk>", "<s>", "</s>"]);
    let json = format!(
        r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{added}],
        "normalizer": {{"type": "Sequence", "normalizers": [
            {{"type": "Prepend", "prepend": "▁"}},
            {{"type": "Replace", "pattern": {{"String": " "}}, "content": "▁"}}]}},
        "pre_tokenizer": null,
        "post_processor": {{"type": "TemplateProcessing",
            "single": [{{"SpecialToken": {{"id": "<s>", "type_id": 0}}}},
                {{"Sequence": {{"id": "A", "type_id": 0}}}}],
            "pair": [{{"Sequence": {{"id": "A", "type_id": 0}}}},
                {{"Sequence": {{"id": "B", "type_id": 1}}}}],
            "special_tokens": {{"<s>": {{"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}}}},
        "decoder": {{"type": "Sequence", "decoders": [
            {{"type": "Replace", "pattern": {{"String": "▁"}}, "content": " "}},
            {{"type": "ByteFallback"}}, {{"type": "Fuse"}},
            {{"type": "Strip", "content": " ", "start": 1, "stop": 0}}]}},
        "model": {{"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "vocab": {{{vocab}}}, "merges": [["a", "b"], ["▁", "ab"]]}}}}"#
    );
    Tokenizer::from_json(json.as_bytes()).unwrap()
}

fn added_tokens(first_id: u32, tokens: &[&str]) -> String {
    let token = |(id, content): (u32, &&str)| {
        format!(
            r#"{{"id": {id}, "content": "{content}", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true}}"#
        )
    };
    (first_id..).zip(tokens).map(token).collect::<Vec<_>>().join(", ")
}
