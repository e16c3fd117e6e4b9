//! Explicit fields > `-O` > defaults.

use super::*;

#[test]
fn optimization_levels_fill_what_is_unset() {
    let piecewise = |mode| (3, mode, vec!["attention"]);
    assert_eq!(outcome(&quiet(&optimized(0, "{}"))), (0, "NONE", vec![]));
    assert_eq!(outcome(&quiet(&optimized(1, "{}"))), piecewise("PIECEWISE"));
    assert_eq!(outcome(&quiet(&optimized(2, "{}"))), piecewise("FULL_AND_PIECEWISE"));
    assert_eq!(outcome(&quiet(&optimized(3, "{}"))), piecewise("FULL_AND_PIECEWISE"));
    assert_eq!(quiet(&engine("{}")), quiet(&optimized(2, "{}")));
}

#[test]
fn explicit_fields_win_over_optimization_levels() {
    let table = [
        (0, r#"{"level": 3}"#, (3, "NONE", vec!["attention"])),
        (0, r#"{"cudagraph_mode": "FULL"}"#, (0, "FULL", vec![])),
        (0, r#"{"full_cuda_graph": true}"#, (0, "FULL", vec![])),
        (1, r#"{"cudagraph_mode": "NONE"}"#, (3, "NONE", vec!["attention"])),
        (1, r#"{"use_cudagraph": false}"#, (3, "NONE", vec!["attention"])),
        (1, r#"{"simple_cuda_graph": true}"#, (0, "FULL", vec![])),
        (
            3,
            r#"{"level": 0, "cudagraph_mode": "FULL_DECODE_ONLY"}"#,
            (0, "FULL_DECODE_ONLY", vec![]),
        ),
    ];
    for (level, json, expected) in table {
        assert_eq!(outcome(&quiet(&optimized(level, json))), expected, "-O{level} {json}");
    }
}

#[test]
fn a_mode_with_pieces_takes_level_3_under_o0() {
    let (compilation, notes) = ok(&optimized(0, r#"{"cudagraph_mode": "PIECEWISE"}"#), &backend());
    assert_eq!(outcome(&compilation), (3, "PIECEWISE", vec!["attention"]));
    let why = "cudagraph_mode PIECEWISE needs pieces, so -O0 does not apply to it";
    assert_eq!(notes, [format!("level: asked 0, got 3: {why}")]);
}

#[test]
fn explicit_level_0_turns_the_graphs_of_o2_off() {
    let (compilation, notes) = ok(&optimized(2, r#"{"level": 0}"#), &backend());
    assert_eq!(outcome(&compilation), (0, "NONE", vec![]));
    let why = "the mode of -O2 needs level 3 and level 0 was given";
    assert_eq!(notes, [format!("cudagraph_mode: asked FULL_AND_PIECEWISE, got NONE: {why}")]);
}

#[test]
fn no_splitting_op_makes_one_piece() {
    let why = "with splitting_ops [] the whole forward pass is one piece";
    for (level, filled) in [(1, "PIECEWISE"), (2, "FULL_AND_PIECEWISE")] {
        let (compilation, notes) = ok(&optimized(level, r#"{"splitting_ops": []}"#), &backend());
        assert_eq!(outcome(&compilation), (3, "FULL", vec![]));
        assert_eq!(notes, [format!("cudagraph_mode: asked {filled}, got FULL: {why}")]);
    }
}

#[test]
fn splitting_ops_are_kept_as_given() {
    let ops = r#"{"splitting_ops": ["rms_norm", "attention"]}"#;
    let expected = (3, "FULL_AND_PIECEWISE", vec!["rms_norm", "attention"]);
    assert_eq!(outcome(&quiet(&engine(ops))), expected);
    let any = Backend { splittable_ops: vec![], ..backend() };
    let (compilation, _) = ok(&engine(r#"{"splitting_ops": ["mine"]}"#), &any);
    assert_eq!(compilation.splitting_ops(), ["mine"]);
}

/// The predicate of simple graphs: with neither mode, full flag nor `-O` given.
#[test]
fn graphs_are_on_exactly_when_the_predicate_holds() {
    let bools = [None, Some(false), Some(true)];
    let levels = [None, Some(CompilationLevel::NoCompilation), Some(CompilationLevel::Piecewise)];
    let mut num_checked = 0;
    for level in levels {
        for simple in bools {
            for use_cudagraph in bools {
                for enforce_eager in [false, true] {
                    for can_capture in [false, true] {
                        num_checked += usize::from(check_predicate(
                            (level, simple, use_cudagraph),
                            enforce_eager,
                            can_capture,
                        ));
                    }
                }
            }
        }
    }
    // 108 combinations; refused: simple with level 3 (6) or with use_cudagraph false (4).
    assert_eq!(num_checked, 108 - 10);
}

/// False if the combination is one that must be refused.
fn check_predicate(
    (level, simple, use_cudagraph): (Option<CompilationLevel>, Option<bool>, Option<bool>),
    enforce_eager: bool,
    can_capture: bool,
) -> bool {
    let mut engine = EngineConfig { enforce_eager, ..EngineConfig::default() };
    engine.compilation.level = level;
    engine.compilation.simple_cuda_graph = simple;
    engine.compilation.use_cudagraph = use_cudagraph;
    let is_simple = simple == Some(true);
    let is_piecewise = level.unwrap_or(CompilationLevel::Piecewise) == CompilationLevel::Piecewise;
    let contradicts =
        is_simple && (level == Some(CompilationLevel::Piecewise) || use_cudagraph == Some(false));
    let result = resolve(&engine, &Backend { can_capture, ..backend() });
    if contradicts && !enforce_eager {
        assert!(result.is_err(), "{engine:?}");
        return false;
    }
    let expected = !enforce_eager
        && use_cudagraph != Some(false)
        && (is_piecewise || is_simple)
        && can_capture;
    assert_eq!(result.unwrap().0.use_cuda_graph(), expected, "{engine:?} {can_capture}");
    true
}
