//! Made-up weights: the same on every run, of the right size, and sane.

use half::bf16;

use super::*;

fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let source = Synthetic { total_bytes: 0 };
    let tensor = source.get(name, shape).unwrap();
    assert_eq!((tensor.dtype, &tensor.shape[..]), (DType::Bf16, shape));
    let bits = tensor.bytes.as_slice().chunks_exact(2);
    bits.map(|pair| bf16::from_le_bytes([pair[0], pair[1]]).to_f32()).collect()
}

#[test]
fn norms_are_ones() {
    assert_eq!(values("model.norm.weight", &[7]), [1.0; 7]);
}

#[test]
fn weights_have_mean_zero_and_the_variance_of_their_width() {
    for (rows, cols) in [(300, 2048), (64, 7), (1, 1)] {
        let values = values("model.layers.0.mlp.up_proj.weight", &[rows, cols]);
        assert_eq!(values.len(), rows * cols);
        let mean_square = values.iter().map(|x| x * x).sum::<f32>() / values.len() as f32;
        let scaled = mean_square.sqrt() * (cols as f32).sqrt();
        assert!((0.5..2.0).contains(&scaled), "{rows}x{cols}: {scaled}");
    }
    let values = values("w", &[300, 2048]);
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    assert!(mean.abs() < 1e-3, "{mean}");
}

#[test]
fn the_same_name_gives_the_same_values_and_another_name_others() {
    assert_eq!(values("a", &[600, 1024]), values("a", &[600, 1024]));
    assert_ne!(values("a", &[8, 8]), values("b", &[8, 8]));
}

#[test]
fn chunks_differ_and_do_not_depend_on_the_tensor_they_are_in() {
    let chunk = CHUNK_WORDS * VALUES_PER_WORD;
    let short = values("a", &[chunk]);
    let long = values("a", &[1, 3 * chunk]);
    assert!(short.iter().zip(&long).all(|(a, b)| a.signum() == b.signum()));
    assert_ne!(long[..chunk], long[chunk..2 * chunk]);
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let message = config_json("llama-9").unwrap_err().to_string();
    assert!(message.contains("llama-9") && message.contains("llama-3.2-1b, "), "{message}");
}
