//! Models that are made up rather than read.

use tintype_cpu::CpuStream;
use tintype_model::{Limits, ModelError, ModelFiles, ModelInfo, ModelSource, load};
use tintype_ops::Error;

use super::recorder::Recorder;
use super::{Driver, FIXTURES, fixture};

fn synthetic(name: &str) -> ModelFiles {
    ModelFiles::open(ModelSource::Synthetic(name.into())).unwrap()
}

#[test]
fn logits_of_made_up_models_are_finite_and_of_the_order_of_one() {
    for name in ["tiny", "tiny-moe"] {
        let files = synthetic(name);
        let logits = Driver::<CpuStream>::load(&files).unwrap().feed(&[1, 2, 3, 500]);
        let mean_square = logits.iter().map(|x| x * x).sum::<f32>() / logits.len() as f32;
        assert!((0.1..10.0).contains(&mean_square.sqrt()), "{name}: {mean_square}");
        assert!(files.tokenizer_json.is_none());
    }
}

#[test]
fn made_up_weights_without_room_are_refused_before_one_is_made() {
    let files = synthetic("tiny");
    let limits = Limits { max_num_tokens: 8, max_num_logit_rows: 2, max_model_len: 32 };
    // Its free bytes are 0.
    let mut stream = Recorder::default();
    let error = load(&files, &mut stream, &limits, &mut |_| ()).err().unwrap();
    let ModelError::Stream { what, source } = error else { panic!("{error}") };
    let requested_bytes = ModelInfo::new(&files).weight_bytes;
    assert_eq!(what, "synthetic:tiny");
    assert_eq!(source, Error::OutOfMemory { requested_bytes, available_bytes: 0 });
    assert_eq!((stream.num_buffers, stream.weights.len()), (0, 0));
}

#[test]
fn known_shapes_have_the_parameters_that_their_makers_state() {
    let published = [
        ("llama-3.2-1b", 1_235_814_400),
        ("llama-3.2-3b", 3_212_749_824),
        ("llama-3.1-8b", 8_030_261_248),
        ("mistral-7b", 7_248_023_552),
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen3-0.6b", 596_049_920),
        ("qwen3-8b", 8_190_735_360),
        ("qwen3-30b-a3b", 30_532_122_624),
        ("mixtral-8x7b", 46_702_792_704),
    ];
    for (name, num_parameters) in published {
        let info = ModelInfo::new(&synthetic(name));
        assert_eq!(info.num_parameters, num_parameters, "{name}");
        assert_eq!(info.weight_bytes, 2 * num_parameters, "{name}");
    }
    let info = ModelInfo::new(&synthetic("synthetic:llama-3.1-8b"));
    assert_eq!(info.kv_bytes_per_token(tintype_ops::DType::Bf16), 131_072);
}

#[test]
fn a_loaded_model_has_the_parameters_and_bytes_that_its_config_promises() {
    for (name, _) in FIXTURES {
        let files = ModelFiles::open(ModelSource::Folder(fixture(name))).unwrap();
        let info = ModelInfo::new(&files);
        let model = Driver::<CpuStream>::load(&files).unwrap().model;
        assert_eq!(model.num_parameters(), info.num_parameters, "{name}");
        let value_bytes = if name.contains("f32") { 4 } else { 2 };
        assert_eq!(info.weight_bytes, value_bytes * info.num_parameters, "{name}");
        assert!(model.weight_bytes() < info.weight_bytes, "{name}: norms and biases are not read");
    }
}

#[test]
fn a_decode_step_reads_the_chosen_experts_and_no_table() {
    let model = Driver::<CpuStream>::open("qwen3moe-bf16").model;
    // Per layer: q, k, v and o of 4, 2, 2 and 4 heads; the router; 2 of 8 experts. Then the head.
    let attention = (4 + 2 + 2 + 4) * 32 * 64;
    let experts = 8 * 64 + 2 * 3 * 48 * 64;
    assert_eq!(model.weight_bytes(), 2 * (2 * (attention + experts) + 320 * 64));
}
