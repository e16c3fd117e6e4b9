//! The config of each tiny model that the project tests with.

use super::*;

macro_rules! fixture {
    ($name:literal, $file:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/fixtures/",
            $name,
            "/",
            $file
        ))
    };
}

/// Every fixture's config and generation config, with the parameters that its files hold.
const FIXTURES: [(Architecture, u64, &str, &str); 8] = [
    (
        Architecture::Llama,
        PARAMETERS[0],
        fixture!("llama-d64-bf16", "config.json"),
        fixture!("llama-d64-bf16", "generation_config.json"),
    ),
    (
        Architecture::Llama,
        PARAMETERS[1],
        fixture!("llama-gqa-f32", "config.json"),
        fixture!("llama-gqa-f32", "generation_config.json"),
    ),
    (
        Architecture::Llama,
        PARAMETERS[2],
        fixture!("llama31-rope-tied-bf16", "config.json"),
        fixture!("llama31-rope-tied-bf16", "generation_config.json"),
    ),
    (
        Architecture::Mistral,
        PARAMETERS[3],
        fixture!("mistral-window-f16", "config.json"),
        fixture!("mistral-window-f16", "generation_config.json"),
    ),
    (
        Architecture::Mixtral,
        PARAMETERS[4],
        fixture!("mixtral-moe-f32", "config.json"),
        fixture!("mixtral-moe-f32", "generation_config.json"),
    ),
    (
        Architecture::Qwen2,
        PARAMETERS[5],
        fixture!("qwen2-bias-bf16", "config.json"),
        fixture!("qwen2-bias-bf16", "generation_config.json"),
    ),
    (
        Architecture::Qwen3,
        PARAMETERS[6],
        fixture!("qwen3-qknorm-f32-sharded", "config.json"),
        fixture!("qwen3-qknorm-f32-sharded", "generation_config.json"),
    ),
    (
        Architecture::Qwen3Moe,
        PARAMETERS[7],
        fixture!("qwen3moe-bf16", "config.json"),
        fixture!("qwen3moe-bf16", "generation_config.json"),
    ),
];

/// Counted over the tensors of each fixture's safetensors files.
const PARAMETERS: [u64; 8] =
    [443_008, 102_720, 82_240, 102_720, 213_824, 102_976, 106_944, 239_040];

#[test]
fn fixtures_have_the_parameters_that_their_configs_describe() {
    for (architecture, num_parameters, config, generation) in FIXTURES {
        let config = parse(config);
        assert_eq!(config.architecture, architecture);
        assert_eq!(config.num_parameters(), num_parameters, "{architecture}");
        assert_eq!((config.vocab_size, config.num_hidden_layers), (320, 2), "{architecture}");
        assert_eq!(config.eos_token_ids, [2]);
        assert!(config.bos_token_ids.is_empty());
        let generation = GenerationConfig::from_json(generation).unwrap();
        let only_eos = GenerationConfig { eos_token_ids: Some(vec![2]), ..Default::default() };
        assert_eq!(generation, only_eos);
    }
}

#[test]
fn both_spellings_are_read() {
    let v5 = parse(FIXTURES[0].2);
    assert_eq!((v5.dtype, v5.rope), (Some(WeightDType::Bf16), Rope::Default));
    assert_eq!((v5.rope_theta, v5.rotary_dim, v5.head_dim), (1e4, 64, 64));
    let v4 = parse(FIXTURES[2].2);
    assert_eq!((v4.dtype, v4.rope_theta), (Some(WeightDType::Bf16), 5e5));
    assert!(v4.tie_word_embeddings);
    let rope = Rope::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 64,
    };
    assert_eq!(v4.rope, rope);
}

#[test]
fn families_differ_where_they_should() {
    let [mistral, mixtral, qwen2, qwen3, moe] =
        [3, 4, 5, 6, 7].map(|idx: usize| parse(FIXTURES[idx].2));
    assert_eq!(mistral.sliding_windows, [Some(8); 2]);
    assert_eq!(mistral.dtype, Some(WeightDType::F16));
    assert_eq!((mixtral.sliding_windows, mixtral.rope_theta), (vec![None; 2], 1e6));
    let experts = mixtral.moe.unwrap();
    assert_eq!((experts.num_experts, experts.num_experts_per_tok), (4, 2));
    assert_eq!((experts.moe_intermediate_size, experts.norm_topk_prob), (96, true));
    assert_eq!((qwen2.qkv_bias, qwen2.o_bias, qwen2.head_dim), (true, false, 16));
    assert_eq!((qwen3.qkv_bias, qwen3.head_dim, qwen3.q_size()), (false, 32, 128));
    assert!(qwen3.architecture.has_qk_norm());
    let experts = moe.moe_layer(1).unwrap();
    assert_eq!((experts.num_experts, experts.moe_intermediate_size), (8, 48));
    assert!(experts.norm_topk_prob);
}
