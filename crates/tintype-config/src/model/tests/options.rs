//! The options of each family, one at a time.

use super::*;

#[test]
fn model_type_stands_in_for_architectures() {
    for architecture in Architecture::ALL {
        for absent in ["null", "[]"] {
            let model_type = architecture.model_type();
            let extra = format!(r#"{{"architectures": {absent}, "model_type": "{model_type}"}}"#);
            assert_eq!(parse(&with(architecture, &extra)).architecture, architecture);
        }
    }
}

#[test]
fn what_is_absent_has_its_default() {
    let config = parse(&with(Architecture::Llama, r#"{"num_key_value_heads": null}"#));
    assert_eq!((config.num_key_value_heads, config.head_dim), (4, 16));
    assert_eq!((config.rms_norm_eps, config.rope_theta), (1e-6, 1e4));
    assert_eq!((config.rope, config.rotary_dim, config.dtype), (Rope::Default, 16, None));
    assert!(!config.tie_word_embeddings && config.eos_token_ids.is_empty());
    let mixtral = parse(&with(Architecture::Mixtral, "{}"));
    assert_eq!((mixtral.rms_norm_eps, mixtral.rope_theta), (1e-5, 1e6));
}

#[test]
fn biases_of_each_family() {
    let asked = r#"{"attention_bias": true, "mlp_bias": true}"#;
    let table = [
        (Architecture::Llama, (false, false, false), (true, true, true)),
        (Architecture::Qwen2, (true, false, false), (true, false, false)),
        (Architecture::Qwen3, (false, false, false), (true, true, false)),
        (Architecture::Mistral, (false, false, false), (false, false, false)),
        (Architecture::Mixtral, (false, false, false), (false, false, false)),
        (Architecture::Qwen3Moe, (false, false, false), (true, true, false)),
    ];
    for (architecture, default, with_flags) in table {
        let biases = |extra| {
            let config = parse(&with(architecture, extra));
            (config.qkv_bias, config.o_bias, config.mlp_bias)
        };
        assert_eq!((biases("{}"), biases(asked)), (default, with_flags), "{architecture}");
    }
}

#[test]
fn windows_of_each_family() {
    use Architecture::*;
    let on = r#""use_sliding_window": true, "sliding_window": 7"#;
    let types = r#"["sliding_attention", "full_attention", "full_attention", "sliding_attention"]"#;
    let table = [
        (Llama, r#"{"sliding_window": 7}"#.to_owned(), [None; 4]),
        (Mistral, "{}".to_owned(), [Some(4096); 4]),
        (Mistral, r#"{"sliding_window": null}"#.to_owned(), [None; 4]),
        (Mistral, r#"{"sliding_window": 7}"#.to_owned(), [Some(7); 4]),
        (Mixtral, "{}".to_owned(), [None; 4]),
        (Mixtral, r#"{"sliding_window": 7}"#.to_owned(), [Some(7); 4]),
        (Qwen2, r#"{"sliding_window": 7}"#.to_owned(), [None; 4]),
        (Qwen2, format!("{{{on}}}"), [None; 4]),
        (Qwen2, format!(r#"{{{on}, "max_window_layers": 0}}"#), [Some(7); 4]),
        (Qwen3, format!(r#"{{{on}, "max_window_layers": 3}}"#), [None, None, None, Some(7)]),
        (Qwen3, format!(r#"{{{on}, "layer_types": {types}}}"#), [Some(7), None, None, Some(7)]),
        (
            Qwen3,
            r#"{"use_sliding_window": true, "max_window_layers": 3}"#.to_owned(),
            [None, None, None, Some(4096)],
        ),
        (Qwen3Moe, format!(r#"{{{on}, "max_window_layers": 3}}"#), [Some(7); 4]),
        (Qwen3Moe, r#"{"sliding_window": 7}"#.to_owned(), [None; 4]),
    ];
    for (architecture, extra, expected) in table {
        let config = parse(&with(architecture, &extra));
        assert_eq!(config.sliding_windows, expected, "{architecture} {extra}");
    }
}

#[test]
fn experts_may_skip_layers() {
    let layers = |extra| {
        let config = parse(&with(Architecture::Qwen3Moe, extra));
        [0, 1, 2, 3].map(|idx| config.moe_layer(idx).is_some())
    };
    assert_eq!(layers("{}"), [true; 4]);
    assert_eq!(layers(r#"{"decoder_sparse_step": 2}"#), [false, true, false, true]);
    assert_eq!(layers(r#"{"mlp_only_layers": [3, 0, 3, 99]}"#), [false, true, true, false]);
    let num_parameters = |extra| parse(&with(Architecture::Qwen3Moe, extra)).num_parameters();
    let (dense, sparse) = (3 * 64 * 96, 8 * 64 + 8 * 3 * 64 * 48);
    assert_eq!(
        num_parameters("{}") - num_parameters(r#"{"mlp_only_layers": [0]}"#),
        sparse - dense
    );
}

#[test]
fn experts_in_both_spellings() {
    let v4 = r#"{"num_local_experts": null, "num_experts": 16}"#;
    let experts = parse(&with(Architecture::Qwen3Moe, v4)).moe.unwrap();
    assert_eq!((experts.num_experts, experts.norm_topk_prob), (16, false));
    let mixtral = parse(&with(Architecture::Mixtral, r#"{"norm_topk_prob": false}"#));
    assert!(mixtral.moe.unwrap().norm_topk_prob);
    assert_eq!(parse(&with(Architecture::Llama, "{}")).moe, None);
}

#[test]
fn part_of_a_head_may_be_rotated() {
    for extra in [
        r#"{"partial_rotary_factor": 0.5}"#,
        r#"{"rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 1e4}}"#,
    ] {
        let config = parse(&with(Architecture::Llama, extra));
        assert_eq!((config.rotary_dim, config.head_dim), (8, 16));
        assert_eq!(config.inv_freq().0.len(), 4);
    }
}

#[test]
fn swish_is_silu() {
    parse(&with(Architecture::Llama, r#"{"hidden_act": "swish"}"#));
}
