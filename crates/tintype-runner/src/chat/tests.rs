//! Tests of chat templates; what is expected is what transformers renders.

use serde_json::json;

use super::*;

const DATE: Date = Date { year: 2024, month: 7, day: 6, hour: 0, minute: 0, second: 0 };

fn messages(pairs: &[(&str, &str)]) -> Vec<ChatMessage> {
    let message = |&(role, content): &(&str, &str)| ChatMessage {
        role: role.to_owned(),
        content: content.to_owned(),
    };
    pairs.iter().map(message).collect()
}

fn template(source: &str) -> Result<ChatTemplate, ChatError> {
    let config = json!({"chat_template": source, "bos_token": "<s>", "eos_token":
        {"content": "</s>", "special": true}, "pad_token": null});
    ChatTemplate::new(Some(config.to_string().as_bytes()), None)
}

fn render_with(source: &str, variables: Json) -> Result<String, ChatError> {
    let messages = messages(&[("user", " Hi <b> ")]);
    let Json::Object(variables) = variables else { panic!("variables are an object") };
    let chat = Chat { messages: &messages, add_generation_prompt: true, date: DATE, variables };
    template(source)?.render(&chat)
}

fn render(source: &str) -> Result<String, ChatError> {
    render_with(source, json!({}))
}

#[test]
fn special_tokens_and_messages_are_variables() {
    let source = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m['content'] | trim }}\
        {{ eos_token }}{% endfor %}{% if pad_token is defined %}pad{% endif %}";
    assert_eq!(render(source).unwrap(), "<s>[user]Hi <b></s>");
}

#[test]
fn blocks_take_their_line_with_them() {
    let source = "{% if add_generation_prompt %}\n    {% set a = 1 %}\n  x\n{% endif %}\nend\n";
    assert_eq!(render(source).unwrap(), "  x\nend");
}

#[test]
fn python_methods_loop_controls_and_namespaces_work() {
    let source = "{% set ns = namespace(n=0) %}{% for i in range(9) %}{% if i == 2 %}\
        {% continue %}{% endif %}{% if i > 4 %}{% break %}{% endif %}{% set ns.n = ns.n + i %}\
        {% endfor %}{{ ns.n }} {{ messages[0].content.strip().split(' ')[0].upper() }} \
        {{ messages[-1]['role'].startswith('us') }} {{ messages[0].get('tool', 'none') }}";
    assert_eq!(render(source).unwrap(), "8 HI True none");
}

#[test]
fn what_larger_templates_do_works() {
    let source = "{%- macro tag(name) -%}<|{{ name }}|>{%- endmacro -%}\n\
        {%- if tools is not none %}tools{% endif -%}\n\
        {%- set ns = namespace(last=-1) %}\n\
        {%- for message in messages[::-1] %}\n\
            {%- if ns.last < 0 and message.content is string %}\n\
                {%- set ns.last = loop.length - 1 - loop.index0 %}\n\
            {%- endif %}\n\
        {%- endfor %}\n\
        {%- for message in messages %}\n\
            {%- set content = '<think>x</think>\\n\\n' + message.content %}\n\
            {{- tag(message.role) + content.split('</think>')[-1].lstrip('\\n') }}\n\
            {%- if loop.index0 == ns.last and not loop.last is undefined %}!{% endif %}\n\
        {%- endfor %}\n\
        {%- if enable_thinking is defined and enable_thinking is false %} none{% endif %}";
    let found = render_with(source, json!({"enable_thinking": false})).unwrap();
    assert_eq!(found, "<|user|> Hi <b> ! none");
    let found = render_with("{{ tools | length }}", json!({"tools": [1, 2]})).unwrap();
    assert_eq!(found, "2");
}

#[test]
fn exceptions_carry_the_templates_words() {
    let error = render("a\n{{ raise_exception('Roles must alternate!') }}").unwrap_err();
    assert_eq!(error.to_string(), "the chat template failed: Roles must alternate! (line 2)");
}

#[test]
fn the_date_is_the_callers() {
    assert_eq!(render("{{ strftime_now('%d %b %Y') }}").unwrap(), "06 Jul 2024");
    let defined = "{% if strftime_now is defined %}{{ strftime_now('%Y') }}{% endif %}";
    assert_eq!(render(defined).unwrap(), "2024");
    let error = render("{{ strftime_now('%Z') }}").unwrap_err().to_string();
    assert!(error.contains("%Z in a date format is not supported"), "{error}");
}

#[test]
fn json_is_written_as_python_writes_it() {
    let variables = json!({"tools": [{"name": "f<'é'>", "n": 1.0, "none": null, "list": []}]});
    let found = render_with("{{ tools | tojson }}", variables.clone()).unwrap();
    assert_eq!(found, r#"[{"list": [], "n": 1.0, "name": "f<'é'>", "none": null}]"#);
    let found = render_with("{{ tools[0] | tojson(indent=4) }}", variables).unwrap();
    let expected = "{\n    \"list\": [],\n    \"n\": 1.0,\n    \"name\": \"f<'é'>\",\n    \
        \"none\": null\n}";
    assert_eq!(found, expected);
}

#[test]
fn generation_marks_render_to_nothing() {
    let source = "a{% generation %}b{%- endgeneration -%} c";
    assert_eq!(render(source).unwrap(), "abc");
}

#[test]
fn the_template_file_comes_before_the_config_and_lists_have_a_default() {
    let list = json!({"chat_template": [{"name": "rag", "template": "r"},
        {"name": "default", "template": "d"}]});
    let empty =
        Chat { messages: &[], add_generation_prompt: false, date: DATE, variables: Map::new() };
    let config = list.to_string();
    let from_list = ChatTemplate::new(Some(config.as_bytes()), None).unwrap();
    assert_eq!(from_list.render(&empty).unwrap(), "d");
    let from_file = ChatTemplate::new(Some(config.as_bytes()), Some(b"f")).unwrap();
    assert_eq!(from_file.render(&empty).unwrap(), "f");
}

#[test]
fn what_is_missing_or_broken_is_said() {
    let refusal = |config: &str| match ChatTemplate::new(Some(config.as_bytes()), None) {
        Ok(_) => panic!("{config} is no template"),
        Err(error) => error.to_string(),
    };
    assert!(refusal("{}").contains("has no chat template"));
    assert!(refusal("[1]").starts_with("tokenizer_config.json: "));
    let text = refusal(r#"{"chat_template": [{"name": "rag", "template": "r"}]}"#);
    assert!(text.contains("no chat template named default; there are [rag]"), "{text}");
    assert!(refusal(r#"{"chat_template": 3}"#).contains("is 3, expected a string or a list"));
    let text = refusal(r#"{"chat_template": "{% for %}"}"#);
    assert!(text.starts_with("the chat template does not parse: "), "{text}");
}
