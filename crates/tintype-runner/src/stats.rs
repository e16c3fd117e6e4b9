//! Where the time of an engine went.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use tintype_graph::Counters;

use crate::RequestId;

/// Times and counts of an engine's life so far. Serialises as `generate --json --stats` prints it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Milliseconds from the start of loading until weights, activations and KV cache were there.
    pub load_ms: f64,
    /// Milliseconds of capturing graphs so far, at start-up, in steps or behind them.
    pub capture_ms: f64,
    /// Milliseconds from the start of loading until no graph was left to be captured; `None` while
    /// some are.
    pub captured_after_ms: Option<f64>,
    /// Mean milliseconds from adding a request to its first token; 0 before any.
    pub ttft_ms: f64,
    /// Mean milliseconds between two tokens of a request; 0 before any.
    pub decode_ms_per_token: f64,
    /// Tokens of the prompts of all requests that had a first token.
    pub prompt_tokens: u64,
    /// Tokens drawn.
    pub output_tokens: u64,
    /// `graph_replays`, and `eager_steps` by reason.
    #[serde(flatten)]
    pub steps: Counters,
    /// How often a sequence gave its KV blocks back and was computed again. Not part of the JSON.
    #[serde(skip)]
    pub preemptions: u64,
}

/// How long it took until everything was there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StartTimes {
    pub(crate) load: Duration,
    pub(crate) capture: Duration,
    pub(crate) captured_after: Option<Duration>,
}

/// When a request was added and had its tokens.
#[derive(Clone, Copy, Debug)]
struct Timeline {
    added: Instant,
    last_token: Option<Instant>,
}

/// Collects what [`Stats`] says about requests.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    timelines: BTreeMap<RequestId, Timeline>,
    first_tokens: Mean,
    later_tokens: Mean,
    prompt_tokens: u64,
}

/// A sum of durations, and how many they are.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: Duration,
    count: u64,
}

impl Mean {
    fn push(&mut self, duration: Duration) {
        self.sum += duration;
        self.count += 1;
    }

    fn ms(self) -> f64 {
        milliseconds(self.sum) / self.count.max(1) as f64
    }
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Recorder {
    pub(crate) fn added(&mut self, id: RequestId, now: Instant) {
        self.timelines.insert(id, Timeline { added: now, last_token: None });
    }

    /// A request has one more token.
    pub(crate) fn token(&mut self, id: RequestId, num_prompt_tokens: usize, now: Instant) {
        let Some(timeline) = self.timelines.get_mut(&id) else { return };
        match timeline.last_token.replace(now) {
            Some(last) => self.later_tokens.push(now - last),
            None => {
                self.first_tokens.push(now - timeline.added);
                self.prompt_tokens += num_prompt_tokens as u64;
            }
        }
    }

    /// A request is no more.
    pub(crate) fn removed(&mut self, id: RequestId) {
        self.timelines.remove(&id);
    }

    pub(crate) fn stats(&self, start: StartTimes, steps: Counters, preemptions: u64) -> Stats {
        Stats {
            load_ms: milliseconds(start.load),
            capture_ms: milliseconds(start.capture),
            captured_after_ms: start.captured_after.map(milliseconds),
            ttft_ms: self.first_tokens.ms(),
            decode_ms_per_token: self.later_tokens.ms(),
            prompt_tokens: self.prompt_tokens,
            output_tokens: self.first_tokens.count + self.later_tokens.count,
            steps,
            preemptions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_means_over_requests_and_tokens() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut recorder = Recorder::default();
        let (first, second) = (RequestId(0), RequestId(1));
        recorder.added(first, at(0));
        recorder.added(second, at(10));
        for (id, ms) in [(first, 20), (second, 40), (first, 24), (first, 30), (second, 45)] {
            recorder.token(id, 7, at(ms));
        }
        recorder.removed(first);
        recorder.token(first, 7, at(99));
        let times = StartTimes { load: at(5) - start, ..StartTimes::default() };
        let stats = recorder.stats(times, Counters::default(), 3);
        assert_eq!((stats.load_ms, stats.ttft_ms, stats.decode_ms_per_token), (5.0, 25.0, 5.0));
        assert_eq!((stats.prompt_tokens, stats.output_tokens, stats.preemptions), (14, 5, 3));
    }

    #[test]
    fn the_json_has_the_fields_of_the_report_and_no_others() {
        let stats = Recorder::default().stats(StartTimes::default(), Counters::default(), 0);
        let json = serde_json::to_value(&stats).unwrap();
        let mut fields: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut expected = [
            "load_ms",
            "capture_ms",
            "captured_after_ms",
            "ttft_ms",
            "decode_ms_per_token",
            "prompt_tokens",
            "output_tokens",
            "graph_replays",
            "eager_steps",
        ];
        fields.sort_unstable();
        expected.sort_unstable();
        assert_eq!(fields, expected);
    }
}
