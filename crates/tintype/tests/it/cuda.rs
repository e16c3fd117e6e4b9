//! The command on the fake CUDA driver: the demo through captured graphs, and every way in which a
//! device can be missing.

use crate::process::{scratch, tintype_on};

/// The prompt of the README and limits that make its graphs few.
const PROMPT: [&str; 8] =
    ["generate", "-p", "348+277=", "--max-num-seqs", "2", "--num-kv-blocks", "32", "--json"];

#[test]
fn the_demo_answers_through_graphs() {
    let mut args = PROMPT.to_vec();
    args.extend(["--device", "cuda:0", "--stats"]);
    let [answer, stats] = tintype_on(&[], &args).ok().json_lines().try_into().unwrap();
    assert_eq!(answer["text"], "625");
    assert!(stats["stats"]["graph_replays"].as_u64() > Some(0), "{stats}");
}

#[test]
fn auto_takes_a_device_and_says_so() {
    let run = tintype_on(&[], &PROMPT).ok();
    assert_eq!(run.json()["text"], "625");
    assert!(run.stderr.contains("device: cuda:0 ("), "{}", run.stderr);
}

#[test]
fn auto_takes_the_cpu_where_there_is_no_device_and_says_why() {
    let run = tintype_on(&[("FAKE_CUDA_NO_DEVICE", "1")], &PROMPT).ok();
    assert_eq!(run.json()["text"], "625");
    let why = "since the CUDA driver finds no device";
    assert!(run.stderr.contains("device: cpu (") && run.stderr.contains(why), "{}", run.stderr);
}

/// What a driver is like, the reason that must be given, and the way out.
type Situation = (&'static [(&'static str, &'static str)], &'static str, &'static str);

const SITUATIONS: [Situation; 5] = [
    (&[("FAKE_CUDA_NO_DEVICE", "1")], "finds no device", "nvidia-smi"),
    (&[("FAKE_CUDA_INIT_ERROR", "34")], "does not start", "stub"),
    (&[("FAKE_CUDA_DRIVER_VERSION", "11040")], "the driver supports CUDA 11.4", "newer"),
    (&[("FAKE_CUDA_COMPUTE_CAPABILITY", "75")], "compute capability 7.5", "newer device"),
    (&[("FAKE_CUDA_MEMORY_BYTES", "65536")], "too little device memory", "other programs"),
];

#[test]
fn doctor_tells_the_truth_in_every_situation() {
    for (variables, reason, fix) in SITUATIONS {
        let report = tintype_on(variables, &["doctor", "--json"]).ok().json();
        let cuda = &report["devices"][1];
        assert_eq!(
            (cuda["device"].as_str(), cuda["available"].as_bool()),
            (Some("cuda:0"), Some(false))
        );
        for (field, part) in [("reason", reason), ("fix", fix)] {
            assert!(cuda[field].as_str().unwrap().contains(part), "{variables:?}: {cuda}");
        }
    }
    let report = tintype_on(&[], &["doctor", "--json"]).ok().json();
    let cuda = &report["devices"][1];
    assert_eq!((cuda["available"].as_bool(), cuda["num_workers"].as_u64()), (Some(true), Some(4)));
    assert_eq!(cuda["graph_support"], "Always");
}

#[test]
fn a_device_that_cannot_be_used_fails_the_run_with_1() {
    for (variables, reason, fix) in SITUATIONS {
        let mut args = PROMPT.to_vec();
        args.extend(["--device", "cuda:0"]);
        tintype_on(variables, &args).fails(1, &["cuda:0", reason, fix]);
    }
    let mut args = PROMPT.to_vec();
    args.extend(["--device", "cuda:3"]);
    tintype_on(&[], &args).fails(1, &["cuda:3", "there is no device 3"]);
}

#[test]
fn a_driver_that_lacks_a_function_is_named_with_it() {
    let library = fake_cuda::beside_executable().unwrap();
    let folder = scratch("old-driver");
    fake_cuda::without_symbol(&library, "cuLaunchKernelEx", &folder.join("libcuda.so")).unwrap();
    let folder = folder.to_str().unwrap();
    let report = tintype_on(&[("LD_LIBRARY_PATH", folder)], &["doctor", "--json"]).ok().json();
    let reason = report["devices"][1]["reason"].as_str().unwrap();
    assert!(reason.contains("lacks the function cuLaunchKernelEx"), "{reason}");
}

#[test]
fn a_model_that_does_not_fit_is_an_error_with_the_bytes() {
    let args = [
        "generate",
        "--prompt-ids",
        "1",
        "--device",
        "cuda:0",
        "--model",
        "synthetic:llama-3.2-1b",
    ];
    tintype_on(&[], &args).fails(1, &["out of device memory", "bytes"]);
}
