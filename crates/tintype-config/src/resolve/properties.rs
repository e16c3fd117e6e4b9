//! What holds for every combination of the fields.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Sizes where the rules change their mind, and a few that no device has.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 0..600usize,
        1 => select(vec![1024, 2048, 2049, 5000, 1 << 20, (1 << 20) + 1, usize::MAX]),
    ]
}

fn level() -> impl Strategy<Value = CompilationLevel> {
    select(vec![CompilationLevel::NoCompilation, CompilationLevel::Piecewise])
}

fn compilation() -> impl Strategy<Value = CompilationConfig> {
    let flag = || option::weighted(0.4, any::<bool>());
    let flags = (option::of(level()), flag(), flag(), flag());
    let mode = option::weighted(0.4, select(CudaGraphMode::ALL.to_vec()));
    let sizes = (
        option::weighted(0.4, vec(size(), 0..6)),
        option::weighted(0.4, size()),
        option::of(prop_oneof![9 => 0..3usize, 1 => 999..1002usize]),
    );
    let op = select(vec!["attention", "rms_norm", "unknown"]).prop_map(String::from);
    let ops = option::weighted(0.3, vec(op, 0..3));
    (flags, mode, sizes, ops).prop_map(|(flags, cudagraph_mode, sizes, splitting_ops)| {
        let (level, simple_cuda_graph, full_cuda_graph, use_cudagraph) = flags;
        let (cudagraph_capture_sizes, max_cudagraph_capture_size, cudagraph_num_of_warmups) = sizes;
        CompilationConfig {
            level,
            simple_cuda_graph,
            full_cuda_graph,
            use_cudagraph,
            cudagraph_mode,
            cudagraph_capture_sizes,
            max_cudagraph_capture_size,
            cudagraph_num_of_warmups,
            splitting_ops,
        }
    })
}

fn engine() -> impl Strategy<Value = EngineConfig> {
    let limits = (size(), size(), option::weighted(0.1, 0..3usize), 0..40usize);
    let eager = prop::bool::weighted(0.1);
    (limits, eager, option::weighted(0.3, 0..5u8), compilation()).prop_map(
        |(limits, enforce_eager, optimization_level, compilation)| {
            let (max_num_seqs, extra, max_model_len, block_size) = limits;
            let max_num_batched_tokens = max_num_seqs.saturating_add(extra).saturating_sub(1);
            EngineConfig {
                max_num_seqs,
                max_num_batched_tokens,
                max_model_len,
                block_size,
                enforce_eager,
                optimization_level,
                compilation,
                seed: 0,
            }
        },
    )
}

fn backend() -> impl Strategy<Value = Backend> {
    use GraphSupport::*;
    let support = select(vec![Never, UniformSingleTokenDecode, UniformBatch, Always]);
    let can_capture = prop::bool::weighted(0.9);
    (can_capture, support, any::<bool>()).prop_map(|(can_capture, graph_support, checks_ops)| {
        let ops = ["attention", "rms_norm"].map(String::from);
        Backend {
            name: "test".into(),
            can_capture,
            graph_support,
            splittable_ops: if checks_ops { ops.to_vec() } else { Vec::new() },
        }
    })
}

/// Never a panic; errors explain themselves; what is decided is consistent.
fn check(engine: &EngineConfig, backend: &Backend) {
    let (compilation, notes) = match resolve(engine, backend) {
        Ok(resolved) => resolved,
        Err(error) => return assert!(error.to_string().contains('`'), "{error}"),
    };
    assert!(notes.iter().all(|note| note.asked != note.got && !note.why.is_empty()), "{notes:?}");
    check_consistent(&compilation, engine, backend);
    check_fixed_point(&compilation, engine, backend);
    if is_decided_by_the_predicate(engine) {
        let asked = &engine.compilation;
        let simple = asked.simple_cuda_graph == Some(true);
        let level = asked.level.unwrap_or(CompilationLevel::Piecewise);
        let expected = !engine.enforce_eager
            && asked.use_cudagraph != Some(false)
            && (level == CompilationLevel::Piecewise || simple)
            && backend.can_capture;
        // The one documented exception: no attention in graphs and no piece without it.
        let has_no_piece = backend.graph_support == GraphSupport::Never
            && asked.splitting_ops.as_ref().is_some_and(|ops| !ops.contains(&"attention".into()));
        assert_eq!(compilation.use_cuda_graph(), expected && !has_no_piece, "{engine:?}");
    }
}

fn is_decided_by_the_predicate(engine: &EngineConfig) -> bool {
    let asked = &engine.compilation;
    asked.cudagraph_mode.is_none()
        && asked.full_cuda_graph.is_none()
        && engine.optimization_level.is_none()
}

fn check_consistent(compilation: &Compilation, engine: &EngineConfig, backend: &Backend) {
    let mode = compilation.mode();
    assert!(!compilation.use_cuda_graph() || (backend.can_capture && !engine.enforce_eager));
    assert!(!mode.has_full() || backend.graph_support > GraphSupport::Never);
    let mixed_is_full = mode.mixed_mode() == RuntimeMode::Full;
    assert!(!mixed_is_full || backend.graph_support == GraphSupport::Always);
    let cuts_attention = compilation.splitting_ops().contains(&"attention".into());
    let holds_attention = mode.has_piecewise() && !cuts_attention;
    assert!(!holds_attention || backend.graph_support == GraphSupport::Always);
    assert!(!mode.has_piecewise() || !compilation.splitting_ops().is_empty());
    let is_piecewise = compilation.level() == CompilationLevel::Piecewise;
    assert!(is_piecewise || compilation.splitting_ops().is_empty());

    let sizes = compilation.capture_sizes();
    assert_eq!(sizes.is_empty(), !compilation.use_cuda_graph());
    assert!(sizes.as_slice().is_sorted_by(|a, b| a < b), "{sizes:?}");
    let limit = engine.max_num_batched_tokens.min(MAX_CAPTURE_SIZE);
    assert!(sizes.iter().all(|size| (1..=limit).contains(&size)), "{sizes:?}");
    if let (Some(max), false) = (engine.compilation.max_cudagraph_capture_size, sizes.is_empty()) {
        assert!(sizes.largest() <= Some(max), "{sizes:?}");
    }
}

fn check_fixed_point(compilation: &Compilation, engine: &EngineConfig, backend: &Backend) {
    let json = serde_json::to_string(&compilation.to_config()).unwrap();
    let config = CompilationConfig::from_json(&json).unwrap();
    let again = EngineConfig { compilation: config, ..engine.clone() };
    assert_eq!(resolve(&again, backend), Ok((compilation.clone(), Vec::new())));
    // The same with the JSON that `tintype config` prints, as it is.
    let printed = serde_json::to_string(compilation).unwrap();
    assert_eq!(CompilationConfig::from_json(&printed), Ok(compilation.to_config()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6000, ..ProptestConfig::default() })]

    #[test]
    fn every_combination_resolves_or_explains(engine in engine(), backend in backend()) {
        check(&engine, &backend);
    }

    #[test]
    fn config_json_round_trips(config in compilation()) {
        let json = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(CompilationConfig::from_json(&json), Ok(config));
    }
}

proptest! {
    #[test]
    fn pad_to_is_the_least_upper_bound(sizes in vec(1..300usize, 0..9), n in 0..320usize) {
        let least = sizes.iter().copied().filter(|&size| size >= n).min();
        prop_assert_eq!(CaptureSizes::new(sizes).unwrap().pad_to(n), least);
    }

    #[test]
    fn the_ladder_pads_little(max_num_seqs in 1..2000usize, n in 1..512usize) {
        let engine = EngineConfig { max_num_seqs, ..EngineConfig::default() };
        let support = GraphSupport::Always;
        let splittable_ops = Vec::new();
        let backend =
            Backend { name: "b".into(), can_capture: true, graph_support: support, splittable_ops };
        let (compilation, _) = resolve(&engine, &backend).unwrap();
        let largest = (2 * max_num_seqs).min(512);
        let padded = compilation.capture_sizes().pad_to(n);
        prop_assert_eq!(padded.is_some(), n <= largest);
        prop_assert!(padded.is_none_or(|padded| padded - n < 16));
    }
}
