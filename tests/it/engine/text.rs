//! Text in and out: the fixtures' tokenizer, chats, stop strings, streaming.

use std::sync::Arc;

use serde_json::{Map, Value};
use tintype_runner::{
    Chat, ChatMessage, ChatTemplate, Date, FinishReason, SamplingParams, Tokenizer,
};

use super::*;
use crate::model::FIXTURES;

fn tokenizer(name: &str) -> Arc<Tokenizer> {
    let json = files(name).tokenizer_json.unwrap();
    Arc::new(Tokenizer::from_json(json.as_slice()).unwrap())
}

fn expected_text(name: &str) -> Value {
    let bytes = std::fs::read(fixture(name).join("expected_text.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn texts_have_the_token_ids_of_transformers() {
    for (name, _) in FIXTURES {
        let tokenizer = tokenizer(name);
        let expected = expected_text(name);
        for (text, ids) in expected["texts"].as_object().unwrap() {
            let found = tokenizer.encode(text).unwrap();
            assert_eq!(serde_json::json!(found), *ids, "{name}: {text:?}");
            if !text.contains("<|") {
                assert_eq!(tokenizer.decode(&found).unwrap(), *text, "{name}");
            }
        }
    }
}

#[test]
fn chats_are_rendered_as_transformers_renders_them() {
    for (name, _) in FIXTURES {
        let files = files(name);
        let config = files.tokenizer_config.unwrap();
        let template = ChatTemplate::new(Some(config.as_slice()), None).unwrap();
        let expected = &expected_text(name)["chat"];
        let message = |message: &Value| ChatMessage {
            role: message["role"].as_str().unwrap().to_owned(),
            content: message["content"].as_str().unwrap().to_owned(),
        };
        let messages: Vec<_> =
            expected["messages"].as_array().unwrap().iter().map(message).collect();
        let chat = Chat {
            messages: &messages,
            add_generation_prompt: true,
            date: Date::from_unix_seconds(0),
            variables: Map::new(),
        };
        let rendered = template.render(&chat).unwrap();
        assert_eq!(rendered, expected["rendered"].as_str().unwrap(), "{name}");
        let tokenizer = tokenizer(name);
        let ids = tokenizer.encode_rendered(&rendered).unwrap();
        assert_eq!(ids.first(), tokenizer.token_to_id("<|im_start|>").as_ref(), "{name}");
    }
}

/// An engine with its tokenizer.
fn text_engine() -> Engine<CpuStream> {
    let mut engine = engine::<CpuStream>(LLAMA, &config("{}"));
    engine.set_tokenizer(tokenizer(LLAMA));
    engine
}

fn texty(max_tokens: usize, change: impl FnOnce(&mut SamplingParams)) -> Request {
    let mut request = greedy(vec![30, 40, 50], max_tokens);
    change(&mut request.params);
    request
}

#[test]
fn streamed_text_is_the_text_of_all_tokens() {
    let mut engine = text_engine();
    let tokenizer = tokenizer(LLAMA);
    let draw = |seed| texty(40, |params| (params.temperature, params.seed) = (2.0, Some(seed)));
    let completions = engine.generate((0..8).map(draw).collect()).unwrap();
    let mut unfinished = 0;
    for completion in completions {
        let whole = tokenizer.decode(&completion.output_ids).unwrap();
        assert_eq!(completion.text, whole);
        unfinished += usize::from(whole.contains('\u{FFFD}'));
    }
    assert!(unfinished > 0, "no output had bytes that are no character: the test shows little");
}

#[test]
fn a_stop_string_ends_the_text_before_it() {
    let mut engine = text_engine();
    let whole = engine.generate(vec![texty(30, |_| ())]).unwrap().remove(0);
    // A stop string from the middle of the text, across tokens.
    let characters: Vec<char> = whole.text.chars().collect();
    let middle = characters.len() / 2;
    let stop: String = characters[middle..middle + 3].iter().collect();
    let before = whole.text.split(&stop).next().unwrap();
    let request = texty(30, |params| params.stop = vec!["\u{1}never".into(), stop.clone()]);
    let found = engine.generate(vec![request]).unwrap().remove(0);
    assert_eq!(found.text, before);
    assert_eq!(found.finish_reason, FinishReason::Stop);
    assert!(found.output_ids.len() < 30);
    assert_eq!(found.output_ids, whole.output_ids[..found.output_ids.len()]);
}

#[test]
fn stop_tokens_end_a_sequence_and_have_no_text() {
    let mut engine = text_engine();
    let whole = engine.generate(vec![texty(20, |_| ())]).unwrap().remove(0);
    let last = whole.output_ids[12];
    let at = whole.output_ids.iter().position(|&id| id == last).unwrap();
    let request = texty(20, |params| params.stop_token_ids = vec![last]);
    let found = engine.generate(vec![request]).unwrap().remove(0);
    assert_eq!(found.output_ids, whole.output_ids[..=at]);
    assert_eq!(found.finish_reason, FinishReason::Stop);
    let before = tokenizer(LLAMA).decode(&found.output_ids[..at]).unwrap();
    assert_eq!(found.text, before);
}

#[test]
fn the_models_own_end_counts_unless_it_is_ignored() {
    // A high temperature makes the end-of-sequence token, 2, come up sooner or later.
    let run = |ignore_eos| {
        let draw = |seed| {
            texty(60, |params| {
                (params.temperature, params.seed) = (5.0, Some(seed));
                params.ignore_eos = ignore_eos;
            })
        };
        text_engine().generate((0..24).map(draw).collect()).unwrap()
    };
    let ended: Vec<_> =
        run(false).into_iter().filter(|c| c.finish_reason == FinishReason::Stop).collect();
    assert!(!ended.is_empty(), "no sequence drew the end");
    for completion in &ended {
        assert_eq!(completion.output_ids.iter().filter(|&&id| id == 2).count(), 1);
        assert_eq!(completion.output_ids.last(), Some(&2));
    }
    let ignored = run(true);
    assert!(ignored.iter().all(|completion| completion.output_ids.len() == 60));
    assert!(ignored.iter().any(|completion| completion.output_ids.contains(&2)));
}

#[test]
fn without_a_tokenizer_there_are_ids_but_no_stop_strings() {
    let mut engine = engine::<CpuStream>(LLAMA, &config("{}"));
    let found = engine.generate(vec![texty(4, |_| ())]).unwrap().remove(0);
    assert_eq!((found.output_ids.len(), found.text.as_str()), (4, ""));
    let error = engine.add_request(texty(4, |params| params.stop = vec!["x".into()])).unwrap_err();
    assert!(error.to_string().contains("stop strings need a tokenizer"), "{error}");
}
