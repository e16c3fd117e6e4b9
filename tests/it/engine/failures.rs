//! A device that fails: every request fails with it, and the engine stays well-behaved.

use tintype_graph::GraphOptions;
use tintype_runner::RequestId;

use super::watched::{self, Fault, Watch, WatchedStream};
use super::*;

#[test]
fn a_fault_fails_every_request_and_leaves_nothing_behind() {
    let (mut engine, watch) = watched::engine(&config("{}"), GraphOptions::default());
    // More than run at once, so that some fail while they wait.
    let requests: Vec<_> = prompts(12, 9).into_iter().map(|prompt| greedy(prompt, 5)).collect();
    let expected = engine.generate(requests.clone()).unwrap();
    let mut next_id = requests.len() as u64;
    for kind in [Fault::Enqueue, Fault::Replay, Fault::Upload, Fault::Download] {
        for request in &requests {
            engine.add_request(request.clone()).unwrap();
        }
        engine.step().unwrap();
        watch.fault.set(kind);
        let error = engine.step().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("12 requests") && text.contains("fell off the bus"), "{text}");
        let EngineError::Step { failed, .. } = error else { panic!("{kind:?}: {error:?}") };
        assert_eq!(failed, (next_id..next_id + 12).map(RequestId).collect::<Vec<_>>());
        next_id += 12;
        assert!(!engine.has_unfinished());
        assert!(engine.step().unwrap().outputs.is_empty(), "{kind:?}: a step of nothing failed");
        // Once the device is back, all blocks are free and the same text comes.
        watch.fault.set(Fault::None);
        assert_eq!(engine.generate(requests.clone()).unwrap(), expected, "after {kind:?}");
        next_id += 12;
    }
}

#[test]
fn a_fault_while_starting_is_an_error() {
    for kind in [Fault::Upload, Fault::Enqueue] {
        let watch = Watch::default();
        watch.fault.set(kind);
        let stream = WatchedStream::open(&watch);
        let warm = config(r#"{"cudagraph_num_of_warmups": 1}"#);
        let options = EngineOptions::default();
        match Engine::new(stream, &files(LLAMA), &warm, options, &mut |_| ()) {
            Ok(_) => panic!("{kind:?} went unnoticed"),
            Err(error) => assert!(error.to_string().contains("fell off the bus"), "{error}"),
        }
    }
}
