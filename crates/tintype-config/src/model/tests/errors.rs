//! The message of every refusal, and that there is one for whatever a file may hold.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::*;

fn error(architecture: Architecture, extra: &str) -> String {
    ModelConfig::from_json(&with(architecture, extra)).unwrap_err().to_string()
}

fn check(extra: &str, message: &str) {
    assert_eq!(error(Architecture::Llama, extra), message, "{extra}");
}

#[test]
fn unsupported_architecture_lists_the_supported() {
    check(
        r#"{"architectures": ["GPT2LMHeadModel"]}"#,
        "`architectures` = \"GPT2LMHeadModel\": the supported ones are LlamaForCausalLM, \
         Qwen2ForCausalLM, Qwen3ForCausalLM, MistralForCausalLM, MixtralForCausalLM, \
         Qwen3MoeForCausalLM",
    );
    check(
        r#"{"architectures": [], "model_type": "gpt2"}"#,
        "`model_type` = \"gpt2\": the supported ones are llama, qwen2, qwen3, mistral, mixtral, \
         qwen3_moe",
    );
    check(
        r#"{"architectures": null}"#,
        "`architectures` is missing; expected one of LlamaForCausalLM, Qwen2ForCausalLM, \
         Qwen3ForCausalLM, MistralForCausalLM, MixtralForCausalLM, Qwen3MoeForCausalLM",
    );
}

#[test]
fn unsupported_features_say_what_is_supported() {
    check(
        r#"{"quantization_config": {"quant_method": "awq", "bits": 4}}"#,
        "`quantization_config` = \"awq\": quantised weights are not supported; take the \
         checkpoint in bf16 or f16",
    );
    check(r#"{"hidden_act": "gelu"}"#, "`hidden_act` = \"gelu\": the supported activation is silu");
    check(
        r#"{"torch_dtype": "float8_e4m3fn"}"#,
        "`torch_dtype` = \"float8_e4m3fn\": the supported dtypes are float32, float16 and bfloat16",
    );
    for (key, type_key) in [("rope_scaling", "type"), ("rope_parameters", "rope_type")] {
        check(
            &format!(r#"{{"{key}": {{"{type_key}": "longrope"}}}}"#),
            &format!(
                "`{key}.{type_key}` = \"longrope\": the supported types are default, linear, \
                 llama3 and yarn"
            ),
        );
    }
}

#[test]
fn missing_sizes_are_named() {
    for key in [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "max_position_embeddings",
    ] {
        check(
            &format!(r#"{{"{key}": null}}"#),
            &format!("`{key}` is missing; expected an integer from 1 to 268435456"),
        );
    }
    check(
        r#"{"num_hidden_layers": null}"#,
        "`num_hidden_layers` is missing; expected an integer from 1 to 65536",
    );
    let scaling = r#"{"rope_scaling": {"rope_type": "linear"}}"#;
    check(scaling, "`rope_scaling.factor` is missing; expected a positive number");
}

#[test]
fn impossible_sizes_are_refused() {
    for value in ["0", "-1", "1.5", "\"64\"", "99999999999", "1e300"] {
        let message = error(Architecture::Llama, &format!(r#"{{"num_attention_heads": {value}}}"#));
        let expected = "expected an integer from 1 to 268435456";
        assert!(message.starts_with("`num_attention_heads` = "), "{message}");
        assert!(message.ends_with(expected), "{message}");
    }
    check(
        r#"{"num_key_value_heads": 3}"#,
        "`num_key_value_heads` = 3: expected a divisor of num_attention_heads = 4",
    );
    check(
        r#"{"hidden_size": 66}"#,
        "`hidden_size` = 66: expected a multiple of num_attention_heads = 4, or a head_dim",
    );
    check(r#"{"head_dim": 65538}"#, "`head_dim` = 65538: expected an integer from 1 to 65536");
    check(
        r#"{"head_dim": 15}"#,
        "`head_dim` = 15: 15 dimensions are rotated in pairs; expected an even number",
    );
    check(
        r#"{"partial_rotary_factor": 0.01}"#,
        "`head_dim` = 16: 0 dimensions are rotated in pairs; expected an even number",
    );
    let huge = error(
        Architecture::Llama,
        r#"{"hidden_size": 268435456, "intermediate_size": 268435456, "head_dim": 16}"#,
    );
    assert!(
        huge.starts_with("`hidden_size` = 268435456: with the other sizes it makes "),
        "{huge}"
    );
}

#[test]
fn windows_must_fit_the_layers() {
    let qwen = |extra: &str| error(Architecture::Qwen3, extra);
    assert!(
        qwen(r#"{"layer_types": ["full_attention"]}"#)
            .ends_with("expected one entry for each of 4 layers")
    );
    let types = |name: &str| json!({ "layer_types": vec![name; 4] }).to_string();
    assert!(
        qwen(&types("sliding_attention"))
            .ends_with("sliding_attention needs use_sliding_window true and a sliding_window")
    );
    assert!(
        qwen(&types("chunked_attention"))
            .ends_with("the supported types are full_attention and sliding_attention")
    );
    assert_eq!(
        error(Architecture::Mistral, r#"{"sliding_window": 0}"#),
        "`sliding_window` = 0: expected an integer from 1 to 268435456"
    );
}

#[test]
fn experts_must_make_sense() {
    let moe = |extra| error(Architecture::Qwen3Moe, extra);
    assert_eq!(
        moe(r#"{"num_experts_per_tok": 9}"#),
        "`num_experts_per_tok` = 9: expected at most num_local_experts = 8"
    );
    assert_eq!(
        moe(r#"{"num_local_experts": null}"#),
        "`num_experts` is missing; expected an integer from 1 to 65536"
    );
    assert_eq!(
        moe(r#"{"decoder_sparse_step": 0}"#),
        "`decoder_sparse_step` = 0: expected an integer from 1 to 65536"
    );
    assert_eq!(
        moe(r#"{"mlp_only_layers": [-1]}"#),
        "`mlp_only_layers` = [-1]: expected a list of integers from 0"
    );
}

#[test]
fn rope_numbers_must_make_sense() {
    check(r#"{"rope_theta": 1}"#, "`rope_theta` = 1: expected a number above 1");
    check(
        r#"{"partial_rotary_factor": 1.5}"#,
        "`partial_rotary_factor` = 1.5: expected a number above 0, at most 1",
    );
    check(
        r#"{"rope_scaling": {"type": "linear", "factor": 0}}"#,
        "`rope_scaling.factor` = 0: expected a positive number",
    );
    check(
        r#"{"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
            "high_freq_factor": 4}}"#,
        "`rope_scaling.high_freq_factor` = 4: expected more than low_freq_factor = 4",
    );
    check(
        r#"{"rope_parameters": {"full_attention": {"rope_type": "default"}}}"#,
        "`rope_parameters.full_attention` = {\"rope_type\":\"default\"}: a rope for each layer \
         type is not supported",
    );
}

#[test]
fn what_is_no_object_is_refused() {
    for text in ["", "{", "[]", "null", "\u{feff}{}"] {
        let message = ModelConfig::from_json(text).unwrap_err().to_string();
        assert!(message.starts_with("not a JSON object of fields: "), "{message}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..70_000i64).prop_map(Value::from),
        select(vec![u64::MAX, 1 << 28, 1 << 16, 0, 1, 2]).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0.0..3.0f64).prop_map(Value::from),
        select(vec!["yarn", "llama3", "silu", "float32", "sliding_attention", ""])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        let key = select(vec!["rope_type", "factor", "rope_theta", "mscale"]);
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(key.prop_map(String::from), inner, 0..4)
                .prop_map(|map| Value::Object(Map::from_iter(map))),
        ]
    })
}

/// One or two keys with values that they may or may not take.
fn changes() -> impl Strategy<Value = BTreeMap<&'static str, Value>> {
    btree_map(select(KEYS.to_vec()), any_value(), 1..3)
}

const KEYS: [&str; 32] = [
    "architectures",
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "rms_norm_eps",
    "max_position_embeddings",
    "tie_word_embeddings",
    "attention_bias",
    "mlp_bias",
    "hidden_act",
    "sliding_window",
    "use_sliding_window",
    "max_window_layers",
    "layer_types",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "partial_rotary_factor",
    "num_local_experts",
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "decoder_sparse_step",
    "mlp_only_layers",
    "quantization_config",
    "torch_dtype",
    "eos_token_id",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn any_file_is_read_or_refused_by_name(
        architecture in select(Architecture::ALL.to_vec()),
        changes in changes(),
    ) {
        let extra = serde_json::to_string(&changes).unwrap();
        match ModelConfig::from_json(&with(architecture, &extra)) {
            Err(error) => prop_assert!(error.to_string().contains('`'), "{}", error),
            Ok(config) => {
                prop_assert_eq!(config.sliding_windows.len(), config.num_hidden_layers);
                prop_assert!(config.num_parameters() > 0 && config.rotary_dim <= config.head_dim);
                let (inv_freq, scaling) = config.inv_freq();
                prop_assert_eq!(inv_freq.len(), config.rotary_dim / 2);
                let is_usable = |number: &f32| number.is_finite() && *number >= 0.0;
                prop_assert!(inv_freq.iter().all(is_usable) && is_usable(&scaling));
            }
        }
    }
}
