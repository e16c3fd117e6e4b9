//! What each batch is dispatched to, as a table and as properties over all configurations.
//!
//! A mode that does not exist and a dispatcher that is not initialised need no test: neither can
//! be written down.

use proptest::prelude::*;
use tintype_config::{Backend, CompilationConfig, EngineConfig, GraphSupport, resolve};

use super::*;

fn compilation(mode: CudaGraphMode, sizes: &[usize], max_num_seqs: u32) -> Compilation {
    let graphs_on = mode != CudaGraphMode::None;
    let engine = EngineConfig {
        max_num_seqs: max_num_seqs as usize,
        compilation: CompilationConfig {
            cudagraph_mode: Some(mode),
            cudagraph_capture_sizes: graphs_on.then(|| sizes.to_vec()),
            ..CompilationConfig::default()
        },
        ..EngineConfig::default()
    };
    let backend = Backend {
        name: "test".into(),
        can_capture: true,
        graph_support: GraphSupport::Always,
        splittable_ops: vec!["attention".into()],
    };
    resolve(&engine, &backend).unwrap().0
}

fn dispatcher(mode: CudaGraphMode, sizes: &[usize], max_num_seqs: u32) -> Dispatcher {
    Dispatcher::new(&compilation(mode, sizes, max_num_seqs), max_num_seqs)
}

const SIZES: &[usize] = &[1, 2, 4, 8, 16];

#[test]
fn a_decode_batch_takes_the_full_graph_of_its_padded_size() {
    for mode in
        [CudaGraphMode::Full, CudaGraphMode::FullDecodeOnly, CudaGraphMode::FullAndPiecewise]
    {
        let dispatcher = dispatcher(mode, SIZES, 8);
        for (num_seqs, padded) in [(1, 1), (2, 2), (3, 4), (5, 8), (8, 8)] {
            let expected = Dispatch::Full(BatchDescriptor::decode(padded));
            assert_eq!(dispatcher.dispatch(num_seqs, num_seqs, true), expected, "{mode}");
        }
    }
}

#[test]
fn a_mixed_batch_takes_the_graph_of_the_mixed_half() {
    let outcome = |mode| dispatcher(mode, SIZES, 8).dispatch(11, 3, false);
    let descriptor = BatchDescriptor { num_tokens: 16, num_seqs: 8, uniform: false };
    assert_eq!(outcome(CudaGraphMode::Full), Dispatch::Full(descriptor));
    assert_eq!(outcome(CudaGraphMode::Piecewise), Dispatch::Piecewise(descriptor));
    assert_eq!(outcome(CudaGraphMode::FullAndPiecewise), Dispatch::Piecewise(descriptor));
    let no_mixed_graphs = Dispatch::Eager(EagerReason::Shape);
    assert_eq!(outcome(CudaGraphMode::FullDecodeOnly), no_mixed_graphs);
    assert_eq!(outcome(CudaGraphMode::None), Dispatch::Eager(EagerReason::ModeNone));
}

#[test]
fn a_prompt_of_one_token_is_not_a_decode_batch() {
    let dispatcher = dispatcher(CudaGraphMode::FullAndPiecewise, SIZES, 8);
    let prompt = dispatcher.dispatch(1, 1, false);
    assert_eq!(prompt, Dispatch::Piecewise(BatchDescriptor::mixed(1, 8)));
    assert_ne!(prompt, dispatcher.dispatch(1, 1, true));
}

#[test]
fn a_decode_batch_takes_the_pieces_where_only_pieces_are_captured() {
    let outcome = dispatcher(CudaGraphMode::Piecewise, SIZES, 8).dispatch(3, 3, true);
    assert_eq!(outcome, Dispatch::Piecewise(BatchDescriptor::mixed(4, 8)));
}

#[test]
fn batches_that_no_graph_serves_say_why() {
    use EagerReason::{AboveLargest, Shape};
    let dispatcher = dispatcher(CudaGraphMode::Full, SIZES, 8);
    let cases = [
        (0, 0, false, Shape),
        (0, 0, true, Shape),
        (4, 0, false, Shape),
        (3, 4, false, Shape),
        (9, 9, false, Shape),
        (4, 3, true, Shape),
        (9, 9, true, Shape),
        (17, 3, false, AboveLargest),
        (u32::MAX, 1, false, AboveLargest),
    ];
    for (num_tokens, num_seqs, uniform, reason) in cases {
        let outcome = dispatcher.dispatch(num_tokens, num_seqs, uniform);
        assert_eq!(outcome, Dispatch::Eager(reason), "{num_tokens} {num_seqs} {uniform}");
    }
}

#[test]
fn decode_batches_above_the_largest_size_run_eagerly() {
    let dispatcher = dispatcher(CudaGraphMode::FullDecodeOnly, &[1, 2, 4], 8);
    assert_eq!(dispatcher.dispatch(5, 5, true), Dispatch::Eager(EagerReason::AboveLargest));
}

#[test]
fn an_excluded_decode_graph_gives_way_to_the_mixed_one_then_to_eager() {
    let not_captured = Dispatch::Eager(EagerReason::NotCaptured);
    let mut dispatcher = dispatcher(CudaGraphMode::FullAndPiecewise, SIZES, 8);
    dispatcher.exclude([decode_key(4)]);
    let mixed = Dispatch::Piecewise(BatchDescriptor::mixed(4, 8));
    assert_eq!(dispatcher.dispatch(3, 3, true), mixed);
    assert_eq!(dispatcher.dispatch(5, 5, true), Dispatch::Full(BatchDescriptor::decode(8)));
    dispatcher.exclude(mixed.key());
    assert_eq!(dispatcher.dispatch(3, 3, true), not_captured);
    assert_eq!(dispatcher.dispatch(3, 1, false), not_captured);
}

#[test]
fn keys_come_piecewise_first_and_each_kind_strictly_largest_first() {
    for mode in CudaGraphMode::ALL {
        let keys = dispatcher(mode, SIZES, 8).capture_keys();
        assert!(
            keys.is_sorted_by_key(|key| (key.mode, key.descriptor.uniform)),
            "{mode}: {keys:?}"
        );
        for pair in keys.windows(2) {
            let [before, after] = [pair[0], pair[1]];
            let same_kind =
                before.mode == after.mode && before.descriptor.uniform == after.descriptor.uniform;
            let descends = before.descriptor.num_tokens > after.descriptor.num_tokens;
            assert!(!same_kind || descends, "{mode}: {before} before {after}");
        }
    }
}

#[test]
fn keys_of_each_mode() {
    let count = |mode, kind: (GraphMode, bool)| {
        let keys = dispatcher(mode, SIZES, 8).capture_keys();
        keys.iter().filter(|key| (key.mode, key.descriptor.uniform) == kind).count()
    };
    let kinds = [(GraphMode::Piecewise, false), (GraphMode::Full, false), (GraphMode::Full, true)];
    let counts = |mode| kinds.map(|kind| count(mode, kind));
    assert_eq!(counts(CudaGraphMode::None), [0, 0, 0]);
    assert_eq!(counts(CudaGraphMode::Piecewise), [5, 0, 0]);
    // No decode batch of 8 sequences ever pads to 16 tokens.
    assert_eq!(counts(CudaGraphMode::FullDecodeOnly), [0, 0, 4]);
    assert_eq!(counts(CudaGraphMode::Full), [0, 5, 4]);
    assert_eq!(counts(CudaGraphMode::FullAndPiecewise), [5, 0, 4]);
}

#[test]
fn buffers_need_a_row_for_each_padded_sequence() {
    let limits = |sizes: &[usize], max_num_seqs| {
        let dispatcher = dispatcher(CudaGraphMode::FullAndPiecewise, sizes, max_num_seqs);
        (dispatcher.max_num_tokens(), dispatcher.max_padded_seqs())
    };
    assert_eq!(limits(SIZES, 8), (16, 8));
    assert_eq!(limits(&[1, 16], 3), (16, 16), "a decode batch of 3 pads to 16 sequences");
    assert_eq!(limits(&[1, 2], 3), (2, 2));
}

prop_compose! {
    fn configured()(
        mode in prop::sample::select(CudaGraphMode::ALL.to_vec()),
        sizes in prop::collection::btree_set(1usize..=40, 1..6),
        max_num_seqs in 1u32..=24,
    ) -> (CudaGraphMode, Vec<usize>, u32) {
        (mode, sizes.into_iter().collect(), max_num_seqs)
    }
}

proptest! {
    /// Whatever the batch, there is an outcome, and a graph holds the batch: it is the smallest
    /// size that does, has rows for all sequences, and is one of those that are captured.
    #[test]
    fn a_graph_is_the_least_upper_bound(
        (mode, sizes, max_num_seqs) in configured(),
        num_tokens in 0u32..=48,
        num_seqs in 0u32..=48,
        uniform: bool,
    ) {
        let dispatcher = dispatcher(mode, &sizes, max_num_seqs);
        let outcome = dispatcher.dispatch(num_tokens, num_seqs, uniform);
        let Some(key) = outcome.key() else { return Ok(()) };
        let batch = key.descriptor;
        let (padded, rows, decode) = (batch.num_tokens, batch.num_seqs, batch.uniform);
        let least = sizes.iter().find(|&&size| size >= num_tokens as usize);
        prop_assert_eq!(least, Some(&(padded as usize)));
        prop_assert!(num_seqs <= rows && rows <= padded && rows <= dispatcher.max_padded_seqs());
        prop_assert!(uniform || !decode, "a mixed batch must miss the decode graphs");
        prop_assert!(dispatcher.capture_keys().contains(&key));
    }

    /// An eager outcome has the reason that holds, and no batch that could replay runs eagerly.
    #[test]
    fn an_eager_step_has_the_reason_that_holds(
        (mode, sizes, max_num_seqs) in configured(),
        num_tokens in 0u32..=48,
        num_seqs in 0u32..=48,
        uniform: bool,
    ) {
        let dispatcher = dispatcher(mode, &sizes, max_num_seqs);
        let outcome = dispatcher.dispatch(num_tokens, num_seqs, uniform);
        let half = if uniform { mode.decode_mode() } else { mode.mixed_mode() };
        let possible = num_seqs >= 1 && num_seqs <= max_num_seqs
            && if uniform { num_seqs == num_tokens } else { num_seqs <= num_tokens };
        let too_large = sizes.last().is_none_or(|&largest| num_tokens as usize > largest);
        let expected = if mode == CudaGraphMode::None {
            Some(EagerReason::ModeNone)
        } else if !possible || half == RuntimeMode::None {
            Some(EagerReason::Shape)
        } else {
            too_large.then_some(EagerReason::AboveLargest)
        };
        match outcome {
            Dispatch::Eager(reason) => prop_assert_eq!(Some(reason), expected),
            Dispatch::Full(_) => prop_assert_eq!((half, expected), (RuntimeMode::Full, None)),
            Dispatch::Piecewise(_) => {
                prop_assert_eq!((half, expected), (RuntimeMode::Piecewise, None));
            }
        }
    }

    /// With any set of graphs missing, no batch is sent to one of them.
    #[test]
    fn a_missing_graph_is_never_dispatched_to(
        (mode, sizes, max_num_seqs) in configured(),
        missing in prop::collection::vec(any::<bool>(), 12),
    ) {
        let mut dispatcher = dispatcher(mode, &sizes, max_num_seqs);
        let keys = dispatcher.capture_keys().into_iter().zip(missing);
        let gone: Vec<_> = keys.filter(|&(_, missing)| missing).map(|(key, _)| key).collect();
        dispatcher.exclude(gone.clone());
        for num_tokens in 1..=40 {
            let seqs = num_tokens.min(max_num_seqs);
            for outcome in [
                dispatcher.dispatch(num_tokens, seqs, false),
                dispatcher.dispatch(seqs, seqs, true),
            ] {
                prop_assert!(outcome.key().is_none_or(|key| !gone.contains(&key)));
            }
        }
    }
}

#[test]
fn reasons_are_spelt_as_in_counters() {
    let spelt = |reason: EagerReason| serde_json::to_string(&reason).unwrap();
    for reason in EagerReason::ALL {
        assert_eq!(spelt(reason), format!("\"{reason}\""));
    }
    assert_eq!(EagerReason::AboveLargest.to_string(), "above-largest");
}
