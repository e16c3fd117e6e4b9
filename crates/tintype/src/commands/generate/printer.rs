//! What is printed of each sequence, and when.

use std::io;

use anyhow::Result;
use serde::Serialize;
use tintype_runner::{FinishReason, SequenceOutput, TokenLogprobs};

use crate::interrupt::Interrupted;
use crate::output::{Layout, Ordered};

/// Takes in the outputs of all sequences, in whatever order they come, and prints them by prompt.
pub(super) struct Printer<W> {
    out: Ordered<W>,
    format: Format,
    lines: Vec<Line>,
    num_done: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// The text as it comes.
    Text,
    /// The token ids as they come, as `--prompt-ids` takes them.
    Ids,
    /// A [`Line`] when the sequence is complete.
    Json,
}

/// One prompt and what came of it; the object that `--json` prints.
#[derive(Serialize)]
struct Line {
    index: usize,
    prompt_ids: Vec<u32>,
    output_ids: Vec<u32>,
    text: String,
    finish_reason: Option<FinishReason>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<TokenLogprobs>>,
}

impl<W: io::Write> Printer<W> {
    /// Prints one JSON object for each prompt.
    pub(super) fn json(out: W, prompts: Vec<Vec<u32>>, logprobs: bool) -> Self {
        Self::new(out, Format::Json, Layout::Plain, prompts, logprobs)
    }

    /// Prints text, under headers if there are several prompts.
    pub(super) fn text(out: W, prompts: Vec<Vec<u32>>, headers: Vec<String>) -> Self {
        Self::new(out, Format::Text, layout(headers), prompts, false)
    }

    /// Prints token ids, under headers if there are several prompts.
    pub(super) fn ids(out: W, prompts: Vec<Vec<u32>>, headers: Vec<String>) -> Self {
        Self::new(out, Format::Ids, layout(headers), prompts, false)
    }

    fn new(out: W, format: Format, layout: Layout, prompts: Vec<Vec<u32>>, logprobs: bool) -> Self {
        let out = Ordered::new(out, layout, prompts.len());
        let line = |(index, prompt_ids)| Line {
            index,
            prompt_ids,
            output_ids: Vec::new(),
            text: String::new(),
            finish_reason: None,
            logprobs: logprobs.then(Vec::new),
        };
        let lines = prompts.into_iter().enumerate().map(line).collect();
        Self { out, format, lines, num_done: 0 }
    }

    /// The prompts, in order.
    pub(super) fn prompts(&self) -> impl Iterator<Item = &[u32]> {
        self.lines.iter().map(|line| line.prompt_ids.as_slice())
    }

    /// Takes in one more token of a sequence; requests are numbered as prompts are.
    pub(super) fn print(&mut self, output: SequenceOutput) -> Result<()> {
        let index = output.id.0 as usize;
        let finished = output.finish_reason.is_some();
        let line = &mut self.lines[index];
        match self.format {
            Format::Text => self.out.push(index, &output.text)?,
            Format::Ids if line.output_ids.is_empty() => {
                self.out.push(index, &output.token_id.to_string())?;
            }
            Format::Ids => self.out.push(index, &format!(",{}", output.token_id))?,
            Format::Json => {}
        }
        line.push(output);
        if finished {
            if self.format == Format::Json {
                self.out.push(index, &serde_json::to_string(line)?)?;
            }
            self.out.finish(index)?;
            self.num_done += 1;
        }
        Ok(())
    }

    /// Prints what there is of every sequence; nothing more comes.
    pub(super) fn end(&mut self) -> Result<()> {
        Ok(self.out.end()?)
    }

    /// The sequences that ended for their length with fewer than `max_tokens` tokens, by the index
    /// of the prompt, and how many tokens they have.
    pub(super) fn cut_below(&self, max_tokens: usize) -> impl Iterator<Item = (usize, usize)> {
        let is_cut = move |line: &&Line| {
            line.finish_reason == Some(FinishReason::Length) && line.output_ids.len() < max_tokens
        };
        self.lines.iter().filter(is_cut).map(|line| (line.index, line.output_ids.len()))
    }

    /// How far it had come.
    pub(super) fn interrupted(&self) -> Interrupted {
        Interrupted { num_done: self.num_done, num_total: self.lines.len() }
    }
}

impl Line {
    fn push(&mut self, output: SequenceOutput) {
        self.output_ids.push(output.token_id);
        self.text.push_str(&output.text);
        self.finish_reason = output.finish_reason;
        if let (Some(all), Some(one)) = (&mut self.logprobs, output.logprobs) {
            all.push(one);
        }
    }
}

/// One prompt needs no header.
fn layout(headers: Vec<String>) -> Layout {
    if headers.len() == 1 { Layout::Plain } else { Layout::Headers(headers) }
}
