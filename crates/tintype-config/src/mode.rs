//! The vocabulary of graph capture: level, mode, and what a backend's attention supports.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;

/// Whether the op list of a forward pass is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CompilationLevel {
    /// `0`, or `NONE` as vLLM now calls it: ops run as the model queues them.
    NoCompilation,
    /// `3`, or `VLLM_COMPILE` as vLLM now calls it: the op list is cut at the splitting ops.
    /// Levels 1 and 2 are torch.compile's own.
    Piecewise,
}

impl CompilationLevel {
    /// The number that vLLM gives this level.
    pub fn number(self) -> u8 {
        match self {
            Self::NoCompilation => 0,
            Self::Piecewise => 3,
        }
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        const VALID: &str = "0, NONE or NO_COMPILATION, and 3, VLLM_COMPILE or PIECEWISE";
        if let Some(number @ (1 | 2)) = value.as_u64() {
            return Err(format!("level {number} is torch.compile's own; the levels are {VALID}"));
        }
        let named = |names: [&str; 2]| {
            let text = value.as_str().unwrap_or_default();
            names.iter().any(|name| text.eq_ignore_ascii_case(name))
        };
        if value.as_u64() == Some(0) || named(["NONE", "NO_COMPILATION"]) {
            Ok(Self::NoCompilation)
        } else if value.as_u64() == Some(3) || named(["VLLM_COMPILE", "PIECEWISE"]) {
            Ok(Self::Piecewise)
        } else {
            Err(format!("unknown level; the levels are {VALID}"))
        }
    }
}

impl fmt::Display for CompilationLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

impl Serialize for CompilationLevel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for CompilationLevel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Which batches replay which kind of graph: a pair (decode batches, mixed batches).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CudaGraphMode {
    /// (none, none): every batch runs eagerly.
    None,
    /// (piecewise, piecewise): graphs between the splitting ops, which run eagerly.
    Piecewise,
    /// (full, full): the whole forward pass is one graph.
    Full,
    /// (full, none): only uniform decode batches replay.
    FullDecodeOnly,
    /// (full, piecewise): the default at level 3.
    FullAndPiecewise,
}

/// What one batch does: the half of a [`CudaGraphMode`] that applies to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuntimeMode {
    /// Run eagerly.
    None,
    /// Replay the pieces, run the splitting ops between them eagerly.
    Piecewise,
    /// Replay the whole forward pass as one graph.
    Full,
}

impl CudaGraphMode {
    /// Every mode, in the order in which messages list them.
    pub const ALL: [Self; 5] =
        [Self::None, Self::Piecewise, Self::Full, Self::FullDecodeOnly, Self::FullAndPiecewise];

    /// The spelling that vLLM and tintype share.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Piecewise => "PIECEWISE",
            Self::Full => "FULL",
            Self::FullDecodeOnly => "FULL_DECODE_ONLY",
            Self::FullAndPiecewise => "FULL_AND_PIECEWISE",
        }
    }

    /// What a uniform decode batch does.
    pub fn decode_mode(self) -> RuntimeMode {
        match self {
            Self::None => RuntimeMode::None,
            Self::Piecewise => RuntimeMode::Piecewise,
            Self::Full | Self::FullDecodeOnly | Self::FullAndPiecewise => RuntimeMode::Full,
        }
    }

    /// What any other batch does.
    pub fn mixed_mode(self) -> RuntimeMode {
        match self {
            Self::None | Self::FullDecodeOnly => RuntimeMode::None,
            Self::Piecewise | Self::FullAndPiecewise => RuntimeMode::Piecewise,
            Self::Full => RuntimeMode::Full,
        }
    }

    /// Whether either half is `mode`.
    pub fn has(self, mode: RuntimeMode) -> bool {
        self.decode_mode() == mode || self.mixed_mode() == mode
    }

    /// Whether any batch replays a graph of the whole forward pass.
    pub fn has_full(self) -> bool {
        self.has(RuntimeMode::Full)
    }

    /// Whether any batch replays pieces, which takes level 3 and splitting ops.
    pub fn has_piecewise(self) -> bool {
        self.has(RuntimeMode::Piecewise)
    }
}

impl fmt::Display for CudaGraphMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for CudaGraphMode {
    type Err = String;

    /// Accepts any letter case; the error lists the modes.
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|mode| mode.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let valid = Self::ALL.map(Self::name).join(", ");
            format!("unknown mode; the modes are {valid}")
        })
    }
}

impl Serialize for CudaGraphMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for CudaGraphMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What is no string is no mode either, and gets the list of those that there are.
        let value = Value::deserialize(deserializer)?;
        value.as_str().unwrap_or_default().parse().map_err(D::Error::custom)
    }
}

impl fmt::Display for RuntimeMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "NONE",
            Self::Piecewise => "PIECEWISE",
            Self::Full => "FULL",
        })
    }
}

/// Which batches a backend's attention can run inside a graph, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GraphSupport {
    /// None: attention must stay outside graphs.
    Never,
    /// Batches in which every sequence decodes one token.
    UniformSingleTokenDecode,
    /// Batches in which every sequence has the same number of query tokens.
    UniformBatch,
    /// Any batch.
    Always,
}

impl fmt::Display for GraphSupport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Never => "Never",
            Self::UniformSingleTokenDecode => "UniformSingleTokenDecode",
            Self::UniformBatch => "UniformBatch",
            Self::Always => "Always",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_part_modes_are_decode_and_mixed() {
        use RuntimeMode as Half;
        let table = [
            (CudaGraphMode::None, Half::None, Half::None),
            (CudaGraphMode::Piecewise, Half::Piecewise, Half::Piecewise),
            (CudaGraphMode::Full, Half::Full, Half::Full),
            (CudaGraphMode::FullDecodeOnly, Half::Full, Half::None),
            (CudaGraphMode::FullAndPiecewise, Half::Full, Half::Piecewise),
        ];
        for (mode, decode, mixed) in table {
            assert_eq!((mode.decode_mode(), mode.mixed_mode()), (decode, mixed), "{mode}");
            assert_eq!(mode.has_full(), decode == Half::Full, "{mode}");
            assert_eq!(mode.has_piecewise(), mixed == Half::Piecewise, "{mode}");
        }
    }

    #[test]
    fn modes_parse_in_any_letter_case() {
        for mode in CudaGraphMode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
            assert_eq!(mode.name().to_lowercase().parse(), Ok(mode));
        }
        assert_eq!("Full_Decode_Only".parse(), Ok(CudaGraphMode::FullDecodeOnly));
    }

    #[test]
    fn support_is_ordered() {
        use GraphSupport::*;
        assert!(Never < UniformSingleTokenDecode && UniformSingleTokenDecode < UniformBatch);
        assert!(UniformBatch < Always);
    }
}
