//! From a model's files to an engine that is ready.

use std::collections::BTreeMap;
use std::time::Instant;

use tintype_config::{Compilation, ConfigError, EngineConfig, Note, resolve};
use tintype_graph::{CapturePolicy, GraphOptions, GraphPool, backend_of};
use tintype_model::{Limits, Model, ModelFiles};
use tintype_ops::Stream;

use super::{Engine, EngineOptions, Progress};
use crate::block_manager::BlockManager;
use crate::error::doing;
use crate::io_buffers::IoBuffers;
use crate::kv_cache::{self, KvDemand, KvPlan};
use crate::model_runner::ModelRunner;
use crate::request_limits::max_model_len;
use crate::scheduler::{Scheduler, SchedulerLimits};
use crate::stats::Recorder;
use crate::{EngineError, RequestLimits};

/// What is known before anything is loaded.
struct Plan {
    compilation: Compilation,
    notes: Vec<Note>,
    max_num_seqs: u32,
    max_num_batched_tokens: u32,
    max_model_len: usize,
    block_size: u32,
}

impl<S: Stream> Engine<S> {
    /// Resolves the config, loads the model, sizes the KV cache and captures the graphs; calls
    /// `progress` on the way.
    ///
    /// # Errors
    /// When the config contradicts itself, the backend or the model; when the model cannot be
    /// loaded; when the memory holds no sequence of full length; when a graph cannot be captured
    /// or differs from eager.
    pub fn new(
        stream: S,
        files: &ModelFiles,
        config: &EngineConfig,
        options: EngineOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, EngineError> {
        let started = Instant::now();
        let plan = Plan::new(&stream, files, config)?;
        let pool = GraphPool::new(&plan.compilation, plan.max_num_seqs, options.graphs);
        let (runner, kv) = load(stream, files, config, &options, &plan, pool, progress)?;
        let blocks = BlockManager::new(kv.num_blocks, plan.block_size);
        let limits = SchedulerLimits {
            max_num_seqs: config.max_num_seqs,
            max_num_batched_tokens: config.max_num_batched_tokens,
            max_model_len: kv.max_model_len,
        };
        let request_limits = RequestLimits::new(files, config, None)?
            .within_cache(kv.num_blocks as usize, config.block_size)
            .with_tokenizer(false);
        let eos = &files.generation.eos_token_ids;
        let mut notes = plan.notes;
        notes.extend(kv.note);
        let is_async = runner.stream.device_info().is_async;
        let mut engine = Self {
            in_flight: None,
            runner,
            scheduler: Scheduler::new(limits, blocks),
            texts: BTreeMap::new(),
            tokenizer: None,
            request_limits,
            eos_token_ids: eos.clone().unwrap_or_else(|| files.config.eos_token_ids.clone()),
            compilation: plan.compilation,
            notes,
            options,
            async_scheduling: options.async_scheduling.unwrap_or(is_async),
            model_name: files.name.clone(),
            seed: config.seed,
            next_id: 0,
            recorder: Recorder::default(),
            started,
            load: started.elapsed(),
            captured_after: None,
            failure: None,
        };
        engine.capture_at_startup(progress)?;
        Ok(engine)
    }

    fn capture_at_startup(
        &mut self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), EngineError> {
        let GraphOptions { policy, verify, .. } = self.options.graphs;
        match policy {
            CapturePolicy::Startup => {
                self.runner.capture_all(&mut |captured| progress(Progress::Capturing(captured)))?;
            }
            // Nobody would replay what is captured behind steps.
            CapturePolicy::Background if self.runner.pool.replays_nothing() => {
                self.runner.pool.seal();
            }
            CapturePolicy::Background | CapturePolicy::Lazy => {}
        }
        self.seal_when_complete();
        if policy == CapturePolicy::Startup && verify {
            progress(Progress::Verified(self.runner.verify_all()?));
        }
        Ok(())
    }
}

impl Plan {
    fn new<S: Stream>(
        stream: &S,
        files: &ModelFiles,
        config: &EngineConfig,
    ) -> Result<Self, EngineError> {
        let (compilation, notes) = resolve(config, &backend_of(stream))?;
        Ok(Self {
            compilation,
            notes,
            max_num_seqs: count("max_num_seqs", config.max_num_seqs)?,
            max_num_batched_tokens: count("max_num_batched_tokens", config.max_num_batched_tokens)?,
            max_model_len: max_model_len(files, config)?,
            block_size: count("block_size", config.block_size)?,
        })
    }

    /// What the model makes room for. A decode batch may be padded beyond `max_num_seqs`.
    fn limits<S: Stream>(&self, pool: &GraphPool<S>) -> Result<Limits, EngineError> {
        Ok(Limits {
            max_num_tokens: self.max_num_batched_tokens,
            max_num_logit_rows: self.max_num_seqs.max(pool.dispatcher().max_padded_seqs()),
            max_model_len: count("max_model_len", self.max_model_len)?,
        })
    }
}

/// Devices count tokens, slots and positions in i32.
fn count(field: &str, value: usize) -> Result<u32, ConfigError> {
    match i32::try_from(value) {
        Ok(value) => Ok(value.unsigned_abs()),
        Err(_) => Err(ConfigError::Value {
            field: field.to_owned(),
            found: value.to_string(),
            problem: format!("expected at most {}", i32::MAX),
        }),
    }
}

/// Loads the model and allocates all that its steps need.
fn load<S: Stream>(
    mut stream: S,
    files: &ModelFiles,
    config: &EngineConfig,
    options: &EngineOptions,
    plan: &Plan,
    pool: GraphPool<S>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(ModelRunner<S>, KvPlan), EngineError> {
    let limits = plan.limits(&pool)?;
    let mut loaded = |bytes| progress(Progress::Loading(bytes));
    let model = tintype_model::load(files, &mut stream, &limits, &mut loaded)?;
    let blocks = plan.max_model_len.div_ceil(config.block_size) as u32;
    let vocab_size = files.config.vocab_size as u32;
    let io = IoBuffers::alloc(&mut stream, &limits, blocks, vocab_size)
        .map_err(doing("allocating the buffers of a step"))?;
    let kv = kv_plan(&stream, &*model, config, options, plan)?;
    let dtype = model.activation_dtype();
    let caches =
        kv_cache::alloc(&mut stream, model.config(), kv.num_blocks, plan.block_size, dtype)
            .map_err(doing("allocating the KV cache"))?;
    Ok((ModelRunner::new(stream, pool, model, io, caches, kv.max_model_len), kv))
}

fn kv_plan<S: Stream>(
    stream: &S,
    model: &dyn Model,
    config: &EngineConfig,
    options: &EngineOptions,
    plan: &Plan,
) -> Result<KvPlan, EngineError> {
    let memory = stream.memory_info().map_err(doing("asking for the free memory"))?;
    let dtype = model.activation_dtype();
    let demand = KvDemand {
        block_size: config.block_size,
        bytes_per_block: kv_cache::bytes_per_block(model.config(), config.block_size, dtype),
        max_num_seqs: config.max_num_seqs,
        max_model_len: plan.max_model_len,
        is_len_explicit: config.max_model_len.is_some(),
        num_kv_blocks: options.num_kv_blocks,
        free_bytes: memory.free_bytes,
        memory_fraction: options.kv_memory_fraction,
    };
    demand.plan()
}
