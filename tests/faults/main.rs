//! A driver that fails: at every allocation, launch and kernel of a short run, and at any call.
//!
//! A binary of its own, since there is one driver in a process and its faults are everybody's.

#![expect(clippy::unwrap_used, reason = "a test that cannot unwrap says less, not more")]
#![expect(clippy::print_stdout, reason = "a test shows what it checked")]

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fake_cuda::FakeDriver;
use tintype_config::{CompilationConfig, EngineConfig};
use tintype_cuda::CudaStream;
use tintype_graph::{CapturePolicy, GraphOptions};
use tintype_model::{ModelFiles, ModelSource};
use tintype_runner::{Engine, EngineOptions, Request, SamplingParams};

/// The driver, for one test at a time, and when its runs capture graphs.
struct Driver {
    fake: FakeDriver,
    capture: CapturePolicy,
    _turn: MutexGuard<'static, ()>,
}

impl Driver {
    fn get(capture: CapturePolicy) -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let driver = Self { fake: FakeDriver::load().unwrap(), capture, _turn: turn };
        driver.fake.reset();
        driver
    }

    /// Runs once more, with one setting of the fake driver changed.
    fn run_with(&self, setting: &str, value: u64) -> Result<Vec<Vec<u32>>, String> {
        self.fake.reset();
        self.fake.set(setting, value).unwrap();
        let outcome = generate(self.capture);
        // After a fault of the device nothing can be freed any more.
        if ["fail_alloc", "fail_launch"].contains(&setting) {
            let living = self.fake.report("living").unwrap();
            assert!(living.is_empty(), "{setting} = {value}, {outcome:?}: left behind:\n{living}");
        }
        outcome
    }

    /// What `counter` counts in a run without faults.
    fn count(&self, counter: &str) -> u64 {
        let before = self.fake.get(counter).unwrap();
        self.run_with("fail_alloc", 0).unwrap();
        self.fake.get(counter).unwrap() - before
    }
}

/// A short life of an engine: weights, two graphs, a prefill, replays; the tokens of two requests.
fn generate(capture: CapturePolicy) -> Result<Vec<Vec<u32>>, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/llama-gqa-f32");
    let files = ModelFiles::open(ModelSource::Folder(folder)).unwrap();
    let config = EngineConfig {
        max_num_seqs: 2,
        max_num_batched_tokens: 8,
        max_model_len: Some(16),
        compilation: CompilationConfig::from_json(r#"{"cudagraph_capture_sizes": [1, 2]}"#)
            .unwrap(),
        ..EngineConfig::default()
    };
    let graphs = GraphOptions { policy: capture, ..GraphOptions::default() };
    let options = EngineOptions { num_kv_blocks: Some(4), graphs, ..EngineOptions::default() };
    let stream = CudaStream::open(0).map_err(|error| error.to_string())?;
    let mut engine = Engine::new(stream, &files, &config, options, &mut |_| ())
        .map_err(|error| error.to_string())?;
    let params = SamplingParams { max_tokens: Some(3), ..SamplingParams::default() };
    let request = |prompt_ids| Request { prompt_ids, params: params.clone() };
    let requests = vec![request(vec![5, 6, 7]), request(vec![9])];
    let completions = engine.generate(requests).map_err(|error| error.to_string())?;
    Ok(completions.into_iter().map(|completion| completion.output_ids).collect())
}

/// Makes each of `places` fail, one run for each.
fn fail_at(driver: &Driver, setting: &str, places: impl Iterator<Item = u64>) {
    let expected = driver.run_with("fail_alloc", 0).unwrap();
    let (mut num_failed, mut num_right) = (0, 0);
    for place in places {
        match driver.run_with(setting, place) {
            Ok(tokens) => {
                assert_eq!(tokens, expected, "{setting} = {place}");
                num_right += 1;
            }
            Err(message) => {
                assert!(message.len() > 20, "{setting} = {place} says little: {message}");
                num_failed += 1;
            }
        }
    }
    println!("{setting}: {num_failed} runs ended in an error, {num_right} in the right tokens");
    assert!(num_failed > 0, "{setting}: nothing failed");
}

#[test]
fn every_allocation_may_fail() {
    let driver = Driver::get(CapturePolicy::Startup);
    let total = driver.count("allocations");
    fail_at(&driver, "fail_alloc", 1..=total);
}

#[test]
fn every_launch_may_fail() {
    let driver = Driver::get(CapturePolicy::Startup);
    let total = driver.count("launches");
    fail_at(&driver, "fail_launch", 1..=total);
}

/// A launch that is recorded behind a step leaves the step its tokens.
#[test]
fn every_launch_may_fail_where_graphs_are_captured_behind_steps() {
    let driver = Driver::get(CapturePolicy::Background);
    let total = driver.count("launches");
    fail_at(&driver, "fail_launch", (1..=total).step_by(5));
}

#[test]
fn every_kernel_may_fault() {
    let driver = Driver::get(CapturePolicy::Startup);
    let total = driver.count("kernels");
    fail_at(&driver, "fault_kernel", (1..=total).step_by(7));
}

#[test]
fn the_device_may_be_lost_at_any_call() {
    let driver = Driver::get(CapturePolicy::Startup);
    let total = driver.count("calls");
    fail_at(&driver, "device_lost", (1..=total).step_by(total.div_ceil(60) as usize));
}
