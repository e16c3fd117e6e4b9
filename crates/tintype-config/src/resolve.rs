//! The rules: from what the user wrote to a `Compilation`, or the reason why not.

use serde_json::Value;

use crate::error::Setting;
use crate::sizes::{MAX_CAPTURE_SIZE, ladder};
use crate::{
    Backend, CaptureSizes, Compilation, CompilationConfig, CompilationLevel, ConfigError,
    CudaGraphMode, EngineConfig, GraphSupport, Note, RuntimeMode, contradiction,
};

/// The op at which level 3 cuts unless told otherwise.
const DEFAULT_SPLITTING_OP: &str = "attention";

/// Each warmup is a whole forward pass per capture: more than this is a slip of the keyboard that
/// would never let the engine start.
const MAX_WARMUPS: usize = 1000;

/// The graph fields that say nothing once no graph is used, with what is then in force.
const OFF_WITHOUT_GRAPHS: [(&str, &str); 4] = [
    ("use_cudagraph", "false"),
    ("cudagraph_capture_sizes", "[]"),
    ("max_cudagraph_capture_size", "0"),
    ("cudagraph_num_of_warmups", "0"),
];

/// The further fields that `enforce_eager` overrides, with what is then in force.
const OFF_WHEN_EAGER: [(&str, &str); 5] = [
    ("level", "0"),
    ("simple_cuda_graph", "false"),
    ("full_cuda_graph", "false"),
    ("cudagraph_mode", "NONE"),
    ("splitting_ops", "[]"),
];

/// Applies every rule to what the user wrote.
///
/// Fields given explicitly win over `-O`, which wins over the defaults; `-O` only fills what is
/// unset. Whatever else changes what the user asked for is in the notes.
///
/// # Errors
/// [`ConfigError`] if a limit is impossible, two settings contradict each other, or a full graph
/// is asked for explicitly on a backend whose attention cannot run in one. With `enforce_eager`,
/// settings that only matter to graphs are not checked against each other.
pub fn resolve(
    engine: &EngineConfig,
    backend: &Backend,
) -> Result<(Compilation, Vec<Note>), ConfigError> {
    engine.check()?;
    contradiction::check_splitting_ops(&engine.compilation, backend)?;
    let mut resolver = Resolver { engine, backend, asked: &engine.compilation, notes: Vec::new() };
    let compilation = if engine.enforce_eager {
        resolver.note_overridden(&OFF_WHEN_EAGER, "enforce_eager runs every step eagerly");
        resolver.note_overridden(&OFF_WITHOUT_GRAPHS, "enforce_eager runs every step eagerly");
        Compilation::eager()
    } else {
        contradiction::check_fields(&engine.compilation)?;
        resolver.compilation()?
    };
    Ok((compilation, resolver.notes))
}

struct Resolver<'a> {
    engine: &'a EngineConfig,
    backend: &'a Backend,
    asked: &'a CompilationConfig,
    notes: Vec<Note>,
}

impl Resolver<'_> {
    fn compilation(&mut self) -> Result<Compilation, ConfigError> {
        let level = self.level();
        let splitting_ops = self.splitting_ops(level);
        let has_pieces = !splitting_ops.is_empty();
        let wanted = self.wanted_mode(level, has_pieces);
        let cuts_attention = splitting_ops.iter().any(|op| op == DEFAULT_SPLITTING_OP);
        let mode = self.supported_mode(wanted, cuts_attention)?;
        if mode == CudaGraphMode::None {
            let why = self.why_off(level);
            self.note_overridden(&OFF_WITHOUT_GRAPHS, &why);
            return Ok(Compilation { level, splitting_ops, ..Compilation::eager() });
        }
        let capture_sizes = self.capture_sizes(mode)?;
        let num_of_warmups = self.num_of_warmups()?;
        Ok(Compilation { level, mode, capture_sizes, num_of_warmups, splitting_ops })
    }

    fn num_of_warmups(&self) -> Result<usize, ConfigError> {
        match self.asked.cudagraph_num_of_warmups.unwrap_or(0) {
            count if count > MAX_WARMUPS => {
                let problem = format!("expected at most {MAX_WARMUPS} eager runs before a capture");
                Err(ConfigError::value("cudagraph_num_of_warmups", count, problem))
            }
            count => Ok(count),
        }
    }

    fn level(&mut self) -> CompilationLevel {
        if let Some(level) = self.asked.level {
            return level;
        }
        if self.asked.is_simple() {
            return CompilationLevel::NoCompilation;
        }
        let (filled, _) = self.engine.preset();
        let needed = self.asked.cudagraph_mode.filter(|mode| mode.has_piecewise());
        match needed {
            Some(mode) if filled == CompilationLevel::NoCompilation => {
                let why =
                    format!("cudagraph_mode {mode} needs pieces, so -O0 does not apply to it");
                self.note("level", filled, CompilationLevel::Piecewise, why);
                CompilationLevel::Piecewise
            }
            _ => filled,
        }
    }

    fn splitting_ops(&mut self, level: CompilationLevel) -> Vec<String> {
        match (level, &self.asked.splitting_ops) {
            (CompilationLevel::NoCompilation, _) => {
                self.note_overridden(
                    &[("splitting_ops", "[]")],
                    "level 0 does not cut the op list",
                );
                Vec::new()
            }
            (CompilationLevel::Piecewise, Some(ops)) => ops.clone(),
            (CompilationLevel::Piecewise, None) if self.asked.full_flag().is_some() => Vec::new(),
            (CompilationLevel::Piecewise, None) => vec![DEFAULT_SPLITTING_OP.to_owned()],
        }
    }

    /// The mode before the backend has its say.
    fn wanted_mode(&mut self, level: CompilationLevel, has_pieces: bool) -> CudaGraphMode {
        if self.asked.full_flag().is_some() {
            return CudaGraphMode::Full;
        }
        if let Some(mode) = self.asked.cudagraph_mode {
            return mode;
        }
        if self.asked.use_cudagraph == Some(false) {
            return CudaGraphMode::None;
        }
        let (_, filled) = self.engine.preset();
        if !filled.has_piecewise() || has_pieces {
            return filled;
        }
        if level == CompilationLevel::Piecewise {
            let why = "with splitting_ops [] the whole forward pass is one piece";
            self.note("cudagraph_mode", filled, CudaGraphMode::Full, why);
            return CudaGraphMode::Full;
        }
        if let Some(number) = self.engine.optimization_level {
            let why = format!("the mode of -O{number} needs level 3 and level 0 was given");
            self.note("cudagraph_mode", filled, CudaGraphMode::None, why);
        }
        CudaGraphMode::None
    }

    /// Lowers the mode to what the backend can capture. A piece that holds attention asks of the
    /// backend what a full graph does, so pieces are a way out only where attention is cut out.
    fn supported_mode(
        &mut self,
        wanted: CudaGraphMode,
        cuts_attention: bool,
    ) -> Result<CudaGraphMode, ConfigError> {
        use GraphSupport::{Always, Never};
        let Backend { name, can_capture, graph_support, .. } = self.backend;
        if !can_capture {
            let why = format!("the {name} backend cannot capture graphs");
            return Ok(self.lower(wanted, CudaGraphMode::None, why));
        }
        let why = format!("attention of the {name} backend supports full graphs: {graph_support}");
        let holds_attention = match wanted.mixed_mode() {
            RuntimeMode::None => false,
            RuntimeMode::Piecewise => !cuts_attention,
            RuntimeMode::Full => true,
        };
        if *graph_support == Never && (wanted.has_full() || holds_attention) {
            if wanted.has_full() {
                self.refuse_explicit_full(wanted)?;
            }
            let left = if cuts_attention { CudaGraphMode::Piecewise } else { CudaGraphMode::None };
            return Ok(self.lower(wanted, left, why));
        }
        if *graph_support < Always && holds_attention {
            let left = if cuts_attention {
                CudaGraphMode::FullAndPiecewise
            } else {
                CudaGraphMode::FullDecodeOnly
            };
            return Ok(self.lower(wanted, left, why));
        }
        Ok(wanted)
    }

    fn refuse_explicit_full(&self, wanted: CudaGraphMode) -> Result<(), ConfigError> {
        let asked_by = match (self.asked.full_flag(), self.asked.cudagraph_mode) {
            (Some(flag), _) => Setting::new(flag, true),
            (None, Some(_)) => Setting::new("cudagraph_mode", wanted),
            (None, None) => return Ok(()),
        };
        Err(ConfigError::Conflict {
            first: asked_by,
            second: Setting::new("graph_support", self.backend.graph_support),
            why: "this backend's attention cannot run inside a graph",
            fix: "set cudagraph_mode to PIECEWISE or NONE",
        })
    }

    fn capture_sizes(&mut self, mode: CudaGraphMode) -> Result<CaptureSizes, ConfigError> {
        if self.asked.max_cudagraph_capture_size == Some(0) {
            return Err(ConfigError::Conflict {
                first: Setting::new("max_cudagraph_capture_size", 0),
                second: Setting::new("cudagraph_mode", mode),
                why: "graphs are on and nothing may be captured",
                fix: "raise the maximum, leave it out, or set cudagraph_mode to NONE",
            });
        }
        let sizes = match &self.asked.cudagraph_capture_sizes {
            Some(list) => self.listed_sizes(list, mode)?,
            None => self.default_sizes()?,
        };
        self.note_eager_cliff(&sizes);
        Ok(sizes)
    }

    fn listed_sizes(
        &mut self,
        list: &[usize],
        mode: CudaGraphMode,
    ) -> Result<CaptureSizes, ConfigError> {
        let limit = self.engine.max_num_batched_tokens;
        let given = || Setting::list("cudagraph_capture_sizes", list);
        let sizes = CaptureSizes::new(list.iter().copied().filter(|&size| size <= limit))?;
        let Some(largest) = sizes.largest() else {
            let (second, why) = match list {
                [] => (Setting::new("cudagraph_mode", mode), "graphs are on and no size is given"),
                _ => (
                    Setting::new("max_num_batched_tokens", limit),
                    "graphs are on and no step is as large as any of the sizes",
                ),
            };
            let fix = "give a size that fits, leave the list out, or set cudagraph_mode to NONE";
            return Err(ConfigError::Conflict { first: given(), second, why, fix });
        };
        if let Some(max) = self.asked.max_cudagraph_capture_size.filter(|&max| max != largest) {
            return Err(ConfigError::Conflict {
                first: Setting::new("max_cudagraph_capture_size", max),
                second: given(),
                why: "the maximum is not the largest size within max_num_batched_tokens",
                fix: "give only one of the two, or make them agree",
            });
        }
        if sizes.as_slice() != list {
            let why = format!("ascending, unique, none above max_num_batched_tokens {limit}");
            let (asked, got) = (json_list(list), json_list(sizes.as_slice()));
            self.note("cudagraph_capture_sizes", asked, got, why);
        }
        Ok(sizes)
    }

    fn default_sizes(&mut self) -> Result<CaptureSizes, ConfigError> {
        let EngineConfig { max_num_seqs, max_num_batched_tokens, .. } = *self.engine;
        let asked = self.asked.max_cudagraph_capture_size;
        let wanted = asked.unwrap_or_else(|| max_num_seqs.saturating_mul(2).min(512));
        let largest = wanted.min(max_num_batched_tokens);
        if largest > MAX_CAPTURE_SIZE {
            let problem = format!("at most {MAX_CAPTURE_SIZE} tokens can be captured");
            return Err(ConfigError::value("max_cudagraph_capture_size", wanted, problem));
        }
        if asked.is_some_and(|max| max > largest) {
            let why = "no step is larger than max_num_batched_tokens";
            self.note("max_cudagraph_capture_size", wanted, largest, why);
        }
        CaptureSizes::new(ladder(largest, max_num_seqs))
    }

    /// Above the largest size decode falls off a cliff that is easy to walk over unaware. Someone
    /// who gave both the list and its maximum knows where it is.
    fn note_eager_cliff(&mut self, sizes: &CaptureSizes) {
        let asked = self.asked;
        let largest = sizes.largest().unwrap_or(0);
        let is_known =
            asked.cudagraph_capture_sizes.is_some() && asked.max_cudagraph_capture_size.is_some();
        if largest < self.engine.max_num_seqs && !is_known {
            let why = format!("decode batches of more than {largest} sequences run eagerly");
            let got = format!("graphs up to {largest}");
            self.note("max_num_seqs", self.engine.max_num_seqs, got, why);
        }
    }

    fn why_off(&self, level: CompilationLevel) -> String {
        let is_asked_off =
            self.asked.cudagraph_mode.is_some() || self.asked.use_cudagraph == Some(false);
        if !self.backend.can_capture {
            format!("the {} backend cannot capture graphs", self.backend.name)
        } else if level == CompilationLevel::NoCompilation && !is_asked_off {
            "level 0 uses graphs only if simple_cuda_graph or cudagraph_mode asks for them".into()
        } else {
            "cudagraph_mode is NONE".into()
        }
    }

    fn lower(&mut self, from: CudaGraphMode, to: CudaGraphMode, why: String) -> CudaGraphMode {
        if from != to {
            self.note("cudagraph_mode", from, to, why);
        }
        to
    }

    fn note(
        &mut self,
        field: &'static str,
        asked: impl ToString,
        got: impl ToString,
        why: impl Into<String>,
    ) {
        let (asked, got, why) = (asked.to_string(), got.to_string(), why.into());
        self.notes.push(Note { field, asked, got, why });
    }

    /// Notes each of `fields` that the user set to something other than what is in force.
    fn note_overridden(&mut self, fields: &[(&'static str, &str)], why: &str) {
        let asked = serde_json::to_value(self.asked).expect("numbers, strings and lists are JSON");
        for &(field, got) in fields {
            match asked.get(field) {
                Some(value) if show(value) != got => self.note(field, show(value), got, why),
                _ => {}
            }
        }
    }
}

fn show(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn json_list(sizes: &[usize]) -> String {
    Value::from(sizes).to_string()
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
