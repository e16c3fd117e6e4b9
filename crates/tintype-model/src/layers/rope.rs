//! The table of rotations, one row per position.

use std::num::NonZero;
use std::thread;

use tintype_config::ModelConfig;

/// Fewer rows take less time than starting a thread for them.
const MIN_ROWS_PER_THREAD: usize = 256;

/// cos‖sin of `position * inv_freq`, times the attention factor, for positions below
/// `num_positions`: `[num_positions, rotary_dim]`. In f32 throughout, as transformers has it, since
/// a model was trained with the rounding of large angles too.
///
/// Rows are shared out over all cores: a long context has millions of sines and cosines.
pub(crate) fn table(config: &ModelConfig, num_positions: u32) -> Vec<f32> {
    let (inv_freq, factor) = config.inv_freq();
    let rotary_dim = 2 * inv_freq.len();
    let mut table = vec![0.0; num_positions as usize * rotary_dim];
    let num_threads = thread::available_parallelism().map_or(1, NonZero::get);
    let rows_each = (num_positions as usize).div_ceil(num_threads).max(MIN_ROWS_PER_THREAD);
    let part_len = (rows_each * rotary_dim).max(1);
    thread::scope(|scope| {
        for (part_idx, part) in table.chunks_mut(part_len).enumerate() {
            let inv_freq = &inv_freq;
            scope.spawn(move || fill_rows(part, part_idx * rows_each, inv_freq, factor));
        }
    });
    table
}

/// Fills consecutive rows, the first of which is that of `first_position`.
fn fill_rows(rows: &mut [f32], first_position: usize, inv_freq: &[f32], factor: f32) {
    let half = inv_freq.len();
    for (row, position) in rows.chunks_exact_mut(2 * half).zip(first_position..) {
        let (cos, sin) = row.split_at_mut(half);
        for ((cos, sin), freq) in cos.iter_mut().zip(sin).zip(inv_freq) {
            let angle = position as f32 * freq;
            (*cos, *sin) = (angle.cos() * factor, angle.sin() * factor);
        }
    }
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
    fn rows_do_not_depend_on_how_they_are_shared_out() {
        let num_positions = 4 * MIN_ROWS_PER_THREAD + 3;
        let config = config("null");
        let (inv_freq, factor) = config.inv_freq();
        let mut alone = vec![0.0; num_positions * 4];
        fill_rows(&mut alone, 0, &inv_freq, factor);
        assert_eq!(table(&config, num_positions as u32), alone);
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
