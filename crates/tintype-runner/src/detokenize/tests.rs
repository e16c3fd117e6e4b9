//! Tests of incremental decoding, on a byte-level and on a byte-fallback tokenizer.

use proptest::prelude::*;

use super::*;
use crate::test_tokenizers as samples;

/// The pieces of `ids`, the last of them by `flush`.
fn pieces(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let mut detokenizer = Detokenizer::new(Arc::new(tokenizer.clone()));
    let mut pieces: Vec<_> = ids.iter().map(|&id| detokenizer.push(id).unwrap()).collect();
    pieces.push(detokenizer.flush().unwrap());
    pieces
}

#[test]
fn a_character_of_several_tokens_comes_whole() {
    let tokenizer = samples::byte_level();
    let ids = tokenizer.encode("a東b").unwrap();
    assert_eq!(ids.len(), 5);
    assert_eq!(pieces(&tokenizer, &ids), ["a", "", "", "東", "b", ""]);
}

#[test]
fn an_unfinished_character_comes_out_at_the_end() {
    let tokenizer = samples::byte_level();
    let ids = tokenizer.encode("a東").unwrap();
    assert_eq!(pieces(&tokenizer, &ids[..3]), ["a", "", "", "\u{FFFD}"]);
}

#[test]
fn words_keep_their_spaces_but_for_the_first() {
    let tokenizer = samples::llama();
    let ids = tokenizer.encode_rendered("ab ab  ab").unwrap();
    let found = pieces(&tokenizer, &ids);
    assert_eq!(found.concat(), "ab ab  ab");
    assert_eq!(found[0], "ab");
    assert_eq!(found[1], " ab");
}

#[test]
fn spaces_survive_a_special_token_before_them() {
    let tokenizer = samples::llama();
    let word = tokenizer.token_to_id("▁ab").unwrap();
    let special = tokenizer.token_to_id("</s>").unwrap();
    let ids = [word, special, word, special, special, word];
    assert_eq!(pieces(&tokenizer, &ids).concat(), "ab ab ab");
}

/// The byte tokens that spell `bytes`.
fn byte_tokens(tokenizer: &Tokenizer, bytes: &[u8]) -> Vec<u32> {
    let names = bytes.iter().map(|byte| format!("<0x{byte:02X}>"));
    names.map(|name| tokenizer.token_to_id(&name).unwrap()).collect()
}

#[test]
fn bytes_become_characters_as_soon_as_they_are_complete() {
    let tokenizer = samples::llama();
    let ids = byte_tokens(&tokenizer, "é\n東".as_bytes());
    assert_eq!(pieces(&tokenizer, &ids), ["", "é", "\n", "", "", "東", ""]);
}

#[test]
fn what_was_shown_stays_when_a_run_of_bytes_ends_malformed() {
    let tokenizer = samples::llama();
    let mut ids = byte_tokens(&tokenizer, &[b"\n", "東".as_bytes(), &[0xE4]].concat());
    ids.push(tokenizer.token_to_id("a").unwrap());
    let expected = ["\n", "", "", "東", "", "\u{FFFD}a", ""];
    assert_eq!(pieces(&tokenizer, &ids), expected);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "\u{FFFD}".repeat(5) + "a");
}

/// The pieces and the longest window of bytes that never become a character.
fn malformed(tokenizer: &Tokenizer, ids: &[u32]) -> (Vec<String>, usize) {
    let mut detokenizer = Detokenizer::new(Arc::new(tokenizer.clone()));
    let mut longest = 0;
    let mut push = |&id| {
        let piece = detokenizer.push(id).unwrap();
        longest = longest.max(detokenizer.window.len());
        piece
    };
    let pieces = ids.iter().map(&mut push).collect();
    (pieces, longest)
}

#[test]
fn malformed_text_comes_out_and_the_window_stays_short() {
    let (byte_level, llama) = (samples::byte_level(), samples::llama());
    // Byte 0x80, which continues a character that nothing began.
    let character = byte_level.encode("\u{100}").unwrap()[1];
    for (tokenizer, id) in [(&byte_level, character), (&llama, 3 + 0x80)] {
        let ids = vec![id; 500];
        assert_eq!(tokenizer.decode(&ids).unwrap(), "\u{FFFD}".repeat(500));
        let (found, longest) = malformed(tokenizer, &ids);
        assert!(longest <= 3 * MAX_UTF8_LEN, "{longest} tokens in the window");
        let num_shown = found.concat().chars().count();
        assert!((495..500).contains(&num_shown), "{num_shown} of 500 shown before the end");
        assert_eq!(pieces(tokenizer, &ids).concat(), "\u{FFFD}".repeat(500));
    }
}

#[test]
fn a_character_after_malformed_bytes_comes_whole() {
    let tokenizer = samples::byte_level();
    let stray = tokenizer.encode("\u{100}").unwrap()[1];
    for num_stray in 0..12 {
        let mut ids = vec![stray; num_stray];
        ids.extend(tokenizer.encode("🦀").unwrap());
        let expected = "\u{FFFD}".repeat(num_stray) + "🦀";
        assert_eq!(pieces(&tokenizer, &ids).concat(), expected);
    }
}

proptest! {
    /// Any tokens at all, sensible or not.
    #[test]
    fn pieces_are_the_whole_byte_level(ids in prop::collection::vec(0u32..259, 0..60)) {
        let tokenizer = samples::byte_level();
        prop_assert_eq!(pieces(&tokenizer, &ids).concat(), tokenizer.decode(&ids).unwrap());
    }

    #[test]
    fn pieces_are_the_whole_byte_fallback(
        words in prop::collection::vec(
            prop_oneof!["[ab ]{0,5}", "[é東🦀\n]{0,3}", Just("</s>".to_owned())], 0..12)
    ) {
        let tokenizer = samples::llama();
        let ids: Vec<u32> =
            words.iter().flat_map(|word| tokenizer.encode_rendered(word).unwrap()).collect();
        prop_assert_eq!(pieces(&tokenizer, &ids).concat(), tokenizer.decode(&ids).unwrap());
    }

    /// Well-formed text, however many tokens spell a character: no piece has half of one.
    #[test]
    fn no_piece_cuts_a_character(text in "([ -~]{0,3}|[à-ÿ]{1,4}|[一-三]{1,4}|[🦀-🦂]{1,4}){0,8}") {
        let byte_level = samples::byte_level();
        let ids = byte_level.encode(&text).unwrap();
        let found = pieces(&byte_level, &ids);
        prop_assert!(!found.iter().any(|piece| piece.contains(REPLACEMENT)), "{found:?}");
        prop_assert_eq!(found.concat(), text.as_str());

        let byte_fallback = samples::llama();
        let found = pieces(&byte_fallback, &byte_tokens(&byte_fallback, text.as_bytes()));
        prop_assert!(!found.iter().any(|piece| piece.contains(REPLACEMENT)), "{found:?}");
        // This decoder drops the space at the start of a text.
        prop_assert_eq!(found.concat(), text.strip_prefix(' ').unwrap_or(&text));
    }

    /// Malformed runs of bytes may come out in more than one way, but come out.
    #[test]
    fn malformed_bytes_do_no_harm(ids in prop::collection::vec(0u32..270, 0..40)) {
        let tokenizer = samples::llama();
        let found = pieces(&tokenizer, &ids);
        // What could still be the start of a character is held back.
        let end = MAX_UTF8_LEN.min(ids.len());
        prop_assert!(found[..end].iter().all(|piece| !piece.ends_with(REPLACEMENT)));
    }
}
