//! Each rule of `resolve` by example. `properties` covers the combinations.

use super::*;

fn backend() -> Backend {
    Backend {
        name: "cpu".into(),
        can_capture: true,
        graph_support: GraphSupport::Always,
        splittable_ops: vec!["attention".into(), "rms_norm".into()],
    }
}

fn supporting(graph_support: GraphSupport) -> Backend {
    Backend { graph_support, ..backend() }
}

fn engine(json: &str) -> EngineConfig {
    let compilation = CompilationConfig::from_json(json).unwrap();
    EngineConfig { compilation, ..EngineConfig::default() }
}

/// An engine with this many sequences and the field's usual example limits.
fn engine_of(max_num_seqs: usize, json: &str) -> EngineConfig {
    EngineConfig { max_num_seqs, ..engine(json) }
}

fn optimized(level: u8, json: &str) -> EngineConfig {
    EngineConfig { optimization_level: Some(level), ..engine(json) }
}

fn ok(engine: &EngineConfig, backend: &Backend) -> (Compilation, Vec<String>) {
    let (compilation, notes) = resolve(engine, backend).unwrap();
    (compilation, notes.iter().map(Note::to_string).collect())
}

/// What a config resolves to where nothing needs a note.
fn quiet(engine: &EngineConfig) -> Compilation {
    let (compilation, notes) = ok(engine, &backend());
    assert!(notes.is_empty(), "{notes:?}");
    compilation
}

/// Level, mode and splitting ops, in short.
fn outcome(compilation: &Compilation) -> (u8, &'static str, Vec<&str>) {
    let ops = compilation.splitting_ops().iter().map(String::as_str).collect();
    (compilation.level().number(), compilation.mode().name(), ops)
}

fn error(engine: &EngineConfig, backend: &Backend) -> String {
    resolve(engine, backend).unwrap_err().to_string()
}

mod errors;
mod precedence;
mod sizes;
mod wins;
