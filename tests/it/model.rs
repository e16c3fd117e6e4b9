//! Models against Hugging Face transformers, against themselves, and as lists of ops.

mod driver;
mod expected;
mod greedy;
mod logits;
mod op_list;
mod recorder;
mod synthetic;

pub(crate) use driver::Driver;
pub(crate) use expected::{Expected, FIXTURES, fixture};

/// `‖ours − theirs‖ / ‖theirs‖`.
pub(crate) fn relative_error(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let mut difference = ours.iter().zip(theirs).map(|(&a, &b)| f64::from(a) - f64::from(b));
    norm(&mut difference) / norm(&mut theirs.iter().map(|&x| f64::from(x)))
}
