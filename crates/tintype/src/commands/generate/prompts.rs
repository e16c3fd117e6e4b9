//! From what the user wrote to token ids.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tintype_model::ModelFiles;
use tintype_ops::SharedBytes;
use tintype_runner::{Chat, ChatMessage, ChatTemplate, Date, RequestLimits, Tokenizer};

use crate::args::PromptArgs;
use crate::exit::UsageError;

/// Characters of a prompt that its header shows.
const HEADER_CHARS: usize = 70;

/// The prompts as they were written, for a model that can take them.
pub(super) enum Prompts<'a> {
    /// To be tokenized; as messages of a user, where there is a template.
    Texts { texts: Vec<String>, template: Option<Box<ChatTemplate>>, tokenizer_json: &'a [u8] },
    /// Taken as they are; a tokenizer is for the output.
    Ids { ids: Vec<Vec<u32>>, tokenizer_json: Option<&'a [u8]> },
}

/// The prompts as the engine takes them.
pub(super) struct EncodedPrompts {
    pub(super) ids: Vec<Vec<u32>>,
    /// `None` when the model has none, which prompts of ids do not need.
    pub(super) tokenizer: Option<Arc<Tokenizer>>,
}

impl<'a> Prompts<'a> {
    /// Takes the prompts from the one place that was given.
    pub(super) fn read(args: &PromptArgs, chat: bool, files: &'a ModelFiles) -> Result<Self> {
        let tokenizer_json = files.tokenizer_json.as_ref().map(SharedBytes::as_slice);
        if !args.prompt_ids.is_empty() {
            let ids = args.prompt_ids.iter().map(|ids| ids.0.clone()).collect();
            return Ok(Self::Ids { ids, tokenizer_json });
        }
        let texts = match &args.prompt_file {
            Some(path) => read_lines(path)?,
            None => args.prompt.clone(),
        };
        let tokenizer_json = tokenizer_json.ok_or_else(|| {
            let name = &files.name;
            UsageError(format!(
                "{name} has no tokenizer.json, so it cannot take text; use --prompt-ids"
            ))
        })?;
        let template = if chat { Some(Box::new(chat_template(files)?)) } else { None };
        Ok(Self::Texts { texts, template, tokenizer_json })
    }

    /// Refuses what can be seen to be impossible before the model is loaded. Texts are not: their
    /// tokens are counted while it loads.
    pub(super) fn check(&self, limits: &RequestLimits) -> Result<()> {
        let Self::Ids { ids, .. } = self else { return Ok(()) };
        for (index, ids) in ids.iter().enumerate() {
            limits.check_prompt(ids).with_context(|| format!("prompt {index}"))?;
        }
        Ok(())
    }

    /// Turns texts into ids with the model's tokenizer and, for a chat, its template.
    pub(super) fn encode(&self) -> Result<EncodedPrompts> {
        match self {
            Self::Ids { ids, tokenizer_json } => {
                let tokenizer = tokenizer_json.map(Tokenizer::from_json).transpose()?;
                Ok(EncodedPrompts { ids: ids.clone(), tokenizer: tokenizer.map(Arc::new) })
            }
            Self::Texts { texts, template, tokenizer_json } => {
                let tokenizer = Tokenizer::from_json(tokenizer_json)?;
                let encode = |text: &String| match template {
                    Some(template) => encode_chat(text, template, &tokenizer),
                    None => Ok(tokenizer.encode(text)?),
                };
                let ids = texts.iter().map(encode).collect::<Result<_>>()?;
                Ok(EncodedPrompts { ids, tokenizer: Some(Arc::new(tokenizer)) })
            }
        }
    }

    /// A line for each prompt, to tell them apart by.
    pub(super) fn headers(&self) -> Vec<String> {
        match self {
            Self::Texts { texts, .. } => texts.iter().map(|text| header(text)).collect(),
            Self::Ids { ids, .. } => ids.iter().map(|ids| header(&join(ids))).collect(),
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

fn chat_template(files: &ModelFiles) -> Result<ChatTemplate> {
    let config = files.tokenizer_config.as_ref().map(SharedBytes::as_slice);
    let template = files.chat_template.as_ref().map(SharedBytes::as_slice);
    ChatTemplate::new(config, template).with_context(|| format!("--chat with {}", files.name))
}

fn encode_chat(text: &str, template: &ChatTemplate, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
    let messages = [ChatMessage { role: "user".into(), content: text.into() }];
    let chat = Chat {
        messages: &messages,
        add_generation_prompt: true,
        date: today(),
        variables: Default::default(),
    };
    Ok(tokenizer.encode_rendered(&template.render(&chat)?)?)
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
        let prompts = Prompts::Ids { ids: vec![vec![1, 20], vec![3]], tokenizer_json: None };
        assert_eq!(prompts.headers(), ["1,20", "3"]);
    }
}
