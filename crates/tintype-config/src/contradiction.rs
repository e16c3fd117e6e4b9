//! Pairs of settings that cannot both hold. Each is refused with both values and the way out;
//! guessing which one the user meant would be an override that nobody asked for.

use crate::error::Setting;
use crate::{Backend, CompilationConfig, CompilationLevel, ConfigError, CudaGraphMode};

/// Refuses a name in `splitting_ops` that is no op of the backend.
pub(crate) fn check_splitting_ops(
    asked: &CompilationConfig,
    backend: &Backend,
) -> Result<(), ConfigError> {
    let valid = &backend.splittable_ops;
    let asked = asked.splitting_ops.as_deref().unwrap_or_default();
    match asked.iter().find(|name| !valid.is_empty() && !valid.contains(name)) {
        Some(name) => {
            let problem = format!("unknown op; the ops are {}", valid.join(", "));
            Err(ConfigError::value("splitting_ops", format!("{name:?}"), problem))
        }
        None => Ok(()),
    }
}

/// Refuses contradictions among the fields that the user gave.
pub(crate) fn check_fields(asked: &CompilationConfig) -> Result<(), ConfigError> {
    if let Some(flag) = asked.full_flag() {
        check_full_flag(asked, flag)?;
    }
    match asked.cudagraph_mode {
        Some(mode) => check_mode(asked, mode),
        None => Ok(()),
    }
}

fn check_full_flag(asked: &CompilationConfig, flag: &'static str) -> Result<(), ConfigError> {
    let conflict = |second, why, fix| {
        Err(ConfigError::Conflict { first: Setting::new(flag, true), second, why, fix })
    };
    if asked.is_simple() && asked.level == Some(CompilationLevel::Piecewise) {
        return conflict(
            Setting::new("level", CompilationLevel::Piecewise),
            "simple graphs are captured without compilation",
            "leave level out or set it to 0, or use full_cuda_graph",
        );
    }
    if asked.use_cudagraph == Some(false) {
        return conflict(
            Setting::new("use_cudagraph", false),
            "one asks for graphs and the other turns them off",
            "remove one of the two",
        );
    }
    match (asked.cudagraph_mode, asked.splitting_ops.as_deref()) {
        (Some(mode), _) if mode != CudaGraphMode::Full => conflict(
            Setting::new("cudagraph_mode", mode),
            "the flag means mode FULL",
            "remove the flag, or set cudagraph_mode to FULL",
        ),
        (_, Some(ops @ [_, ..])) => conflict(
            Setting::list("splitting_ops", ops),
            "the whole forward pass is one graph and is not cut",
            "remove splitting_ops, or remove the flag and set cudagraph_mode",
        ),
        _ => Ok(()),
    }
}

fn check_mode(asked: &CompilationConfig, mode: CudaGraphMode) -> Result<(), ConfigError> {
    let conflict = |second, why, fix| {
        Err(ConfigError::Conflict { first: Setting::new("cudagraph_mode", mode), second, why, fix })
    };
    if asked.use_cudagraph == Some(false) && mode != CudaGraphMode::None {
        return conflict(
            Setting::new("use_cudagraph", false),
            "one asks for graphs and the other turns them off",
            "remove use_cudagraph, or set cudagraph_mode to NONE",
        );
    }
    if !mode.has_piecewise() {
        return Ok(());
    }
    if asked.level == Some(CompilationLevel::NoCompilation) {
        return conflict(
            Setting::new("level", CompilationLevel::NoCompilation),
            "only level 3 cuts the forward pass into pieces",
            "set level to 3, or cudagraph_mode to FULL or FULL_DECODE_ONLY",
        );
    }
    match asked.splitting_ops.as_deref() {
        Some([]) => conflict(
            Setting::new("splitting_ops", "[]"),
            "without a splitting op there are no pieces",
            "remove splitting_ops, or set cudagraph_mode to FULL",
        ),
        _ => Ok(()),
    }
}
