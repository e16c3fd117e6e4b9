//! What the user says about a model and an engine, as plain data, and the rules over it.
//!
//! - [`CompilationConfig`] and [`EngineConfig`]: what the user wrote.
//! - [`resolve`]: the rules. Its outcome is a [`Compilation`] and [`Note`]s, or a [`ConfigError`].
//! - [`ModelConfig`], [`GenerationConfig`]: a Hugging Face model folder's JSON files, checked.
//!
//! The crate reads no file and no environment variable, and knows no device: it needs serde and
//! thiserror, so a front end can check a configuration without an engine.
//!
//! # Simple CUDA graphs
//!
//! ```
//! use tintype_config::*;
//!
//! let compilation = CompilationConfig::from_json(
//!     r#"{ "simple_cuda_graph": true, "cudagraph_capture_sizes": [1, 2, 4, 4096] }"#,
//! )?;
//! let engine = EngineConfig { max_num_seqs: 4, compilation, ..EngineConfig::default() };
//! let backend = Backend {
//!     name: "cpu".into(),
//!     can_capture: true,
//!     graph_support: GraphSupport::Always,
//!     splittable_ops: vec!["attention".into()],
//! };
//!
//! let (compilation, notes) = resolve(&engine, &backend)?;
//! assert_eq!(compilation.level(), CompilationLevel::NoCompilation);
//! assert_eq!(compilation.mode(), CudaGraphMode::Full);
//! assert_eq!(compilation.capture_sizes().pad_to(3), Some(4));
//! assert_eq!(notes[0].to_string(),
//!     "cudagraph_capture_sizes: asked [1,2,4,4096], got [1,2,4]: \
//!      ascending, unique, none above max_num_batched_tokens 2048");
//! # Ok::<(), ConfigError>(())
//! ```
//!
//! # Why the rules are shaped so
//!
//! Fields and spellings are vLLM's, so that a `--compilation-config` can be pasted. The rules
//! differ where vLLM's surprise its users:
//!
//! - **Nothing silent.** vLLM rounds 42 down to 40 and turns impossible graphs off in a log line.
//!   Here an override of what was asked is a [`Note`] that the caller must take into its hands, and
//!   a request that contradicts itself is an error with both values and the way out.
//! - **Parse, don't validate.** The flags overlap: three of them can ask for the same graphs. They
//!   are read once, in [`resolve`]; a [`Compilation`] has private fields and no impossible state.
//! - **A fixed point.** [`Compilation::to_config`] is a legal input that resolves to itself without
//!   notes, so what one run decided can be pinned and given to the next.
//!
//! # Precedence, and the corners
//!
//! Explicit fields > `-O` > defaults, and `enforce_eager` above all. Settings are contradictory
//! only if the user gave both; what `-O` or a default would fill in yields instead:
//!
//! - An explicit `cudagraph_mode` with pieces takes level 3 even under `-O0`; explicit level 0
//!   turns the graphs of `-O1` to `-O3` off. Both are noted.
//! - `"splitting_ops": []` at level 3 leaves one piece, so the filled-in mode becomes FULL, noted.
//!   Where attention supports less than every batch that is lowered to FULL_DECODE_ONLY, and to
//!   NONE where it supports none: there is no piece to fall back to. The same holds after
//!   `full_cuda_graph`, which asks for the whole pass rather than pieces.
//! - `splitting_ops` at level 0 and, without graphs, sizes and warmups have no effect: noted.
//! - `enforce_eager` is for finding out whether graphs are the trouble, so the graph fields need
//!   not even agree with each other; unknown names and impossible limits are refused all the same.
//! - A backend that cannot capture turns an explicit full mode off with a note; one that can, but
//!   not with attention inside, refuses it.
//! - The eager cliff (sizes that end below `max_num_seqs`) is noted unless the user gave both the
//!   list of sizes and its maximum, and so has said where graphs end.
//!
//! # Models
//!
//! [`ModelConfig`] gives each key the meaning that transformers 5 gives it and reads transformers
//! 4's spellings as well. What would change the arithmetic and is not supported (another
//! activation, rope type or quantisation) is refused; any other key is ignored. Every size is
//! bounded, so that whoever computes with them need not check again. Where transformers has a
//! default for one particular model, such as its vocabulary, the key is required here: a wrong
//! guess would surface later, as a tensor of the wrong shape.

mod compilation;
mod contradiction;
mod engine;
mod error;
mod mode;
mod model;
mod note;
mod resolve;
mod resolved;
mod sizes;

pub use compilation::CompilationConfig;
pub use engine::{Backend, EngineConfig, MAX_LIMIT};
pub use error::{ConfigError, Setting};
pub use mode::{CompilationLevel, CudaGraphMode, GraphSupport, RuntimeMode};
pub use model::{Architecture, GenerationConfig, ModelConfig, MoeConfig, Rope, WeightDType};
pub use note::Note;
pub use resolve::resolve;
pub use resolved::Compilation;
pub use sizes::{CaptureSizes, MAX_CAPTURE_SIZE};
