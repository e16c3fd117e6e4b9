//! From what the user wrote to token ids.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tintype_model::ModelFiles;
use tintype_ops::SharedBytes;
use tintype_runner::{Chat, ChatMessage, ChatTemplate, Date, Tokenizer};

use crate::args::PromptArgs;
use crate::exit::UsageError;

/// Characters of a prompt that its header shows.
const HEADER_CHARS: usize = 70;

/// The prompts as they were written.
pub(super) enum Prompts {
    /// To be tokenized; as messages of a user, if it is a chat.
    Texts { texts: Vec<String>, chat: bool },
    /// Taken as they are.
    Ids(Vec<Vec<u32>>),
}

/// The prompts as the engine takes them.
pub(super) struct EncodedPrompts {
    pub(super) ids: Vec<Vec<u32>>,
    /// `None` when the model has none, which prompts of ids do not need.
    pub(super) tokenizer: Option<Arc<Tokenizer>>,
}

impl Prompts {
    /// Takes the prompts from the one place that was given.
    pub(super) fn read(args: &PromptArgs, chat: bool) -> Result<Self> {
        if !args.prompt_ids.is_empty() {
            return Ok(Self::Ids(args.prompt_ids.iter().map(|ids| ids.0.clone()).collect()));
        }
        let texts = match &args.prompt_file {
            Some(path) => read_lines(path)?,
            None => args.prompt.clone(),
        };
        Ok(Self::Texts { texts, chat })
    }

    /// Turns texts into ids with the model's tokenizer and, for a chat, its template.
    pub(super) fn encode(&self, files: &ModelFiles) -> Result<EncodedPrompts> {
        let tokenizer = match &files.tokenizer_json {
            Some(json) => Some(Arc::new(Tokenizer::from_json(json.as_slice())?)),
            None => None,
        };
        let ids = match (self, &tokenizer) {
            (Self::Ids(ids), _) => ids.clone(),
            (Self::Texts { texts, chat: false }, Some(tokenizer)) => {
                texts.iter().map(|text| tokenizer.encode(text)).collect::<Result<_, _>>()?
            }
            (Self::Texts { texts, chat: true }, Some(tokenizer)) => {
                encode_chats(texts, tokenizer, files)?
            }
            (Self::Texts { .. }, None) => {
                return Err(UsageError(format!(
                    "{} has no tokenizer.json, so it cannot take text; use --prompt-ids",
                    files.name
                ))
                .into());
            }
        };
        Ok(EncodedPrompts { ids, tokenizer })
    }

    /// A line for each prompt, to tell them apart by.
    pub(super) fn headers(&self) -> Vec<String> {
        match self {
            Self::Texts { texts, .. } => texts.iter().map(|text| header(text)).collect(),
            Self::Ids(all) => all.iter().map(|ids| header(&join(ids))).collect(),
        }
    }
}

/// Ids as `--prompt-ids` takes them.
fn join(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// One prompt a line; `-` is stdin.
fn read_lines(path: &Path) -> Result<Vec<String>> {
    let (name, text) = match path.to_str() {
        Some("-") => ("stdin".into(), io::read_to_string(io::stdin())),
        _ => (path.display().to_string(), fs::read_to_string(path)),
    };
    let text = text.map_err(|error| UsageError(format!("cannot read {name}: {error}")))?;
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(UsageError(format!("{name} holds no prompt; expected one a line")).into());
    }
    Ok(lines)
}

fn encode_chats(
    texts: &[String],
    tokenizer: &Tokenizer,
    files: &ModelFiles,
) -> Result<Vec<Vec<u32>>> {
    let config = files.tokenizer_config.as_ref().map(SharedBytes::as_slice);
    let template = files.chat_template.as_ref().map(SharedBytes::as_slice);
    let template = ChatTemplate::new(config, template)
        .with_context(|| format!("--chat with {}", files.name))?;
    let date = today();
    let encode = |text: &String| {
        let messages = [ChatMessage { role: "user".into(), content: text.clone() }];
        let chat = Chat {
            messages: &messages,
            add_generation_prompt: true,
            date,
            variables: Default::default(),
        };
        Ok(tokenizer.encode_rendered(&template.render(&chat)?)?)
    };
    texts.iter().map(encode).collect()
}

/// In UTC: the standard library knows no time zones.
fn today() -> Date {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Date::from_unix_seconds(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// A prompt on one line, cut where it is long.
fn header(prompt: &str) -> String {
    let line = prompt.replace('\n', "\\n").replace(char::is_control, " ");
    match line.char_indices().nth(HEADER_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_one_line_of_bounded_length() {
        assert_eq!(header("1+1="), "1+1=");
        assert_eq!(header("a\nb\tc"), "a\\nb c");
        assert_eq!(header(&"é".repeat(70)), "é".repeat(70));
        assert_eq!(header(&"é".repeat(71)), "é".repeat(70) + "…");
    }

    #[test]
    fn ids_head_their_output_as_they_were_written() {
        assert_eq!(Prompts::Ids(vec![vec![1, 20], vec![3]]).headers(), ["1,20", "3"]);
    }
}
