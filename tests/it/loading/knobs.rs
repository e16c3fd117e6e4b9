//! Every knob of a config reaches the logits: turned, they miss what transformers computes.

use serde_json::{Value, json};
use tintype_cpu::CpuStream;
use tintype_model::{ModelFiles, ModelSource};

use super::Folder;
use crate::model::{Driver, Expected, FIXTURES, relative_error};

#[track_caller]
fn check(name: &str, field: &str, value: Value) {
    let folder = Folder::copy_of(name);
    folder.set(field, value);
    let files = ModelFiles::open(ModelSource::Folder(folder.path().into())).unwrap();
    let expected = Expected::read(name).pop().unwrap();
    let turned = Driver::<CpuStream>::load(&files).unwrap().feed(&expected.prompt);
    let error = relative_error(&turned, &expected.logits);
    let (_, tolerance) = FIXTURES.into_iter().find(|(fixture, _)| *fixture == name).unwrap();
    println!("{name}: {field} turned moves the logits by {error:.2e}");
    assert!(error > 2.0 * tolerance, "{name}: {field} moves the logits by {error:e} only");
}

#[test]
fn turning_a_knob_shows() {
    check("mistral-window-f16", "sliding_window", Value::Null);
    check("mistral-window-f16", "sliding_window", json!(9));
    check("llama31-rope-tied-bf16", "rope_scaling", Value::Null);
    check("llama-gqa-f32", "rope_parameters", json!({"rope_type": "default", "rope_theta": 2e4}));
    check("qwen3-qknorm-f32-sharded", "rms_norm_eps", json!(1e-3));
    check("mixtral-moe-f32", "num_experts_per_tok", json!(1));
    check("qwen3moe-bf16", "norm_topk_prob", json!(false));
}
