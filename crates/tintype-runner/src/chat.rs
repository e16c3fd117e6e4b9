//! Chats rendered into prompts by the model's own Jinja template, as transformers does.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::{Map, Value as Json};

use crate::Date;

mod python_json;

/// Why a chat cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The folder has no template.
    #[error(
        "this model has no chat template (chat_template in tokenizer_config.json, or \
         chat_template.jinja); give a plain prompt"
    )]
    NoTemplate,
    /// `tokenizer_config.json` is not what it should be.
    #[error("tokenizer_config.json: {0}")]
    Config(String),
    /// The template is not Jinja.
    #[error("the chat template does not parse: {0}")]
    Template(String),
    /// The template refused the chat, or uses what is not supported.
    #[error("the chat template failed: {0}")]
    Render(String),
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Its text.
    pub content: String,
}

/// A chat to be rendered.
#[derive(Clone, Debug)]
pub struct Chat<'a> {
    /// Oldest first.
    pub messages: &'a [ChatMessage],
    /// Whether the prompt ends where the assistant is to speak.
    pub add_generation_prompt: bool,
    /// For templates that say what day it is.
    pub date: Date,
    /// Further variables of the template, such as `enable_thinking` or `tools`.
    pub variables: Map<String, Json>,
}

/// A model's chat template, parsed.
pub struct ChatTemplate {
    environment: Environment<'static>,
    /// `bos_token`, `eos_token` and what else the tokenizer's config names.
    special_tokens: Map<String, Json>,
}

/// The one template's name in its environment. Its ending decides nothing: escaping is off.
const NAME: &str = "chat";

/// What `tokenizer_config.json` may name besides `bos_token` and `eos_token`.
const SPECIAL_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

impl ChatTemplate {
    /// Takes the template from `chat_template.jinja` where there is one, else from
    /// `tokenizer_config.json`: a string, or the one named `default` of a list.
    ///
    /// # Errors
    /// [`ChatError::NoTemplate`], or what is wrong with the file or the template.
    pub fn new(
        tokenizer_config: Option<&[u8]>,
        chat_template: Option<&[u8]>,
    ) -> Result<Self, ChatError> {
        let config: Map<String, Json> = match tokenizer_config {
            Some(bytes) => serde_json::from_slice(bytes)
                .map_err(|error| ChatError::Config(error.to_string()))?,
            None => Map::new(),
        };
        let source = match chat_template {
            Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            None => template_of(&config)?,
        };
        let mut environment = environment();
        environment
            .add_template_owned(NAME, without_generation_marks(&source))
            .map_err(|error| ChatError::Template(describe(&error)))?;
        Ok(Self { environment, special_tokens: special_tokens(&config) })
    }

    /// The prompt of a chat. It holds its special tokens as text:
    /// [`Tokenizer::encode_rendered`](crate::Tokenizer::encode_rendered) turns it into ids.
    ///
    /// # Errors
    /// [`ChatError::Render`] with what the template says, e.g. that roles must alternate.
    pub fn render(&self, chat: &Chat<'_>) -> Result<String, ChatError> {
        let date = chat.date;
        let strftime_now = move |format: &str| {
            date.strftime(format).map_err(|what| Error::new(ErrorKind::InvalidOperation, what))
        };
        let mut variables = self.special_tokens.clone();
        // transformers passes these as None, which templates tell from undefined.
        variables.extend(["tools", "documents"].map(|name| (name.to_owned(), Json::Null)));
        variables.extend(chat.variables.clone());
        let context = minijinja::context! {
            messages => Value::from(Serde(chat.messages)),
            add_generation_prompt => chat.add_generation_prompt,
            strftime_now => Value::from_function(strftime_now),
            ..Value::from(Serde(&variables))
        };
        let template = self.environment.get_template(NAME);
        let rendered = template.and_then(|template| template.render(context));
        rendered.map_err(|error| ChatError::Render(describe(&error)))
    }
}

/// Jinja as transformers sets it up.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    let syntax = syntax.trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the delimiters are Jinja's own"));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_filter("tojson", python_json::tojson);
    environment
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

/// transformers' templates may mark what the assistant said for training, `{% generation %}`.
/// The marks render to nothing; a condition that always holds does, too.
fn without_generation_marks(source: &str) -> String {
    let mut out = source.to_owned();
    for (mark, plain) in [("generation", "if true"), ("endgeneration", "endif")] {
        for (open, close) in [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")] {
            out =
                out.replace(&format!("{open} {mark} {close}"), &format!("{open} {plain} {close}"));
        }
    }
    out
}

fn template_of(config: &Map<String, Json>) -> Result<String, ChatError> {
    match config.get("chat_template") {
        None | Some(Json::Null) => Err(ChatError::NoTemplate),
        Some(Json::String(source)) => Ok(source.clone()),
        Some(Json::Array(named)) => {
            let is_default = |entry: &&Json| entry["name"] == "default";
            let source = named.iter().find(is_default).and_then(|entry| entry["template"].as_str());
            source.map(str::to_owned).ok_or_else(|| {
                let names = named.iter().filter_map(|entry| entry["name"].as_str());
                let names: Vec<&str> = names.collect();
                let names = names.join(", ");
                ChatError::Config(format!("no chat template named default; there are [{names}]"))
            })
        }
        Some(other) => {
            let what = format!("chat_template is {other}, expected a string or a list");
            Err(ChatError::Config(what))
        }
    }
}

/// A token is a string, or an object with its text in `content`; one that is null is not defined.
fn special_tokens(config: &Map<String, Json>) -> Map<String, Json> {
    let text = |name: &str| match config.get(name)? {
        Json::String(text) => Some(text.clone()),
        other => Some(other.get("content")?.as_str()?.to_owned()),
    };
    let defined = |name: &str| Some((name.to_owned(), Json::String(text(name)?)));
    SPECIAL_TOKENS.iter().filter_map(|name| defined(name)).collect()
}

/// The error with its cause; a template's own words are the detail.
fn describe(error: &Error) -> String {
    let what = error.detail().map_or_else(|| error.to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{what} (line {line})"),
        None => what,
    }
}

#[cfg(test)]
mod tests;
