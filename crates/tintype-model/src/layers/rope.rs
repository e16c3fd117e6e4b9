//! The table of rotations, one row per position.

use tintype_config::ModelConfig;

/// cos‖sin of `position * inv_freq`, times the attention factor, for positions below
/// `num_positions`: `[num_positions, rotary_dim]`. In f32 throughout, as transformers has it, since
/// a model was trained with the rounding of large angles too.
pub(crate) fn table(config: &ModelConfig, num_positions: u32) -> Vec<f32> {
    let (inv_freq, factor) = config.inv_freq();
    let row = |position: u32| {
        let angles = inv_freq.iter().map(move |freq| position as f32 * freq);
        let (cos, sin) = (angles.clone().map(f32::cos), angles.map(f32::sin));
        cos.chain(sin).map(move |value| value * factor)
    };
    (0..num_positions).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rope: &str) -> ModelConfig {
        let json = format!(
            r#"{{"architectures": ["LlamaForCausalLM"], "vocab_size": 8, "hidden_size": 8,
                "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
                "max_position_embeddings": 8, "rope_theta": 100.0, "rope_scaling": {rope}}}"#
        );
        ModelConfig::from_json(&json).unwrap()
    }

    #[test]
    fn a_row_holds_cosines_then_sines_of_its_position() {
        let row = |p: f32| [p.cos(), (p * 0.1).cos(), p.sin(), (p * 0.1).sin()];
        assert_eq!(table(&config("null"), 3), [0.0, 1.0, 2.0].map(row).concat());
    }

    #[test]
    fn the_attention_factor_scales_the_whole_table() {
        let yarn = |factor: f32| {
            let rope = format!(
                r#"{{"rope_type": "yarn", "factor": 4.0, "attention_factor": {factor},
                    "original_max_position_embeddings": 4}}"#
            );
            table(&config(&rope), 5)
        };
        let doubled: Vec<f32> = yarn(1.0).iter().map(|value| 2.0 * value).collect();
        assert_eq!(yarn(2.0), doubled);
    }
}
