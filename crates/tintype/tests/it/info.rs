//! `tintype info`.

use crate::process::{fixture, keys, tintype};

#[test]
fn the_demo_model_is_what_its_readme_says() {
    let info = tintype(&["info", "--json"]).ok().json();
    assert_eq!(info["model"], "demo");
    assert_eq!(info["architecture"], "LlamaForCausalLM");
    assert_eq!(info["dtype"], "bf16");
    let parameters = info["num_parameters"].as_u64().unwrap();
    assert!((1_750_000..1_850_000).contains(&parameters), "{parameters}");
    assert_eq!(info["weight_bytes"].as_u64().unwrap(), 2 * parameters);
    // Keys and values of 3 layers x 2 heads x 64 values of 4 bytes.
    assert_eq!(info["kv_bytes_per_token"], 2 * 3 * 2 * 64 * 4);
    assert_eq!(info["has_tokenizer"], true);
    assert_eq!(info["has_chat_template"], false);
    assert_eq!(keys(&info["fits"]), ["full_length_sequences", "kv_tokens", "weights"]);
    assert_eq!(info["fits"]["weights"], true);
    // Half of what the weights leave, as an engine takes it.
    let number = |field: &str| info[field].as_u64().unwrap();
    let kv_bytes = (number("free_bytes") - number("weight_bytes")) / 2;
    assert_eq!(info["fits"]["kv_tokens"], kv_bytes / number("kv_bytes_per_token"));
}

#[test]
fn folders_and_made_up_shapes_are_described_too() {
    let folder = fixture("mixtral-moe-f32");
    let info = tintype(&["info", "--json", "--model", &folder]).ok().json();
    assert_eq!(info["architecture"], "MixtralForCausalLM");
    assert_eq!(info["weight_bytes"].as_u64(), info["num_parameters"].as_u64().map(|n| 4 * n));
    assert_eq!(info["has_chat_template"], true);
    let info = tintype(&["info", "--json", "--model", "synthetic:llama-3.2-1b"]).ok().json();
    assert_eq!(info["num_parameters"], 1_235_814_400);
    assert_eq!(info["weight_bytes"], 2 * 1_235_814_400_u64);
    assert_eq!(info["has_tokenizer"], false);
}

#[test]
fn the_text_is_for_people() {
    let text = tintype(&["info"]).ok().stdout;
    for part in ["LlamaForCausalLM", "3.6 MB in bf16", "3.1 kB a token in f32", "yes, with"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}
