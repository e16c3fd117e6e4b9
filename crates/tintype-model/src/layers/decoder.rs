//! The decoder that all architectures share: embedding, layers, norm, logits.

use tintype_config::ModelConfig;
use tintype_ops::{DType, Enqueue, Epilogue, Error, KvCache, Norm, Op, Stream, Tensor, Weight};

use super::{Attention, ExpertNames, Mlp, Moe, Step, rope};
use crate::weights::{Loader, Wanted, fit};
use crate::{BatchIo, Limits, Model, ModelError};

/// The second block of a layer.
#[derive(Debug)]
pub(crate) enum FeedForward {
    Dense(Mlp),
    Sparse(Moe),
}

impl FeedForward {
    /// Loads experts called `names` where the config gives the layer some, else a dense MLP.
    pub(crate) fn load<S: Stream>(
        loader: &mut Loader<'_, S>,
        layer: &str,
        layer_idx: usize,
        names: ExpertNames,
    ) -> Result<Self, ModelError> {
        let config = &loader.files().config;
        match config.moe_layer(layer_idx) {
            Some(moe) => Moe::load(loader, layer, moe, names).map(Self::Sparse),
            None => Mlp::load(loader, layer, config.mlp_bias).map(Self::Dense),
        }
    }
}

/// One layer.
#[derive(Debug)]
pub(crate) struct DecoderLayer {
    pub(crate) attention: Attention,
    pub(crate) feed_forward: FeedForward,
}

impl DecoderLayer {
    fn forward(
        &self,
        queue: &mut dyn Enqueue,
        step: Step<'_>,
        cache: KvCache,
    ) -> tintype_ops::Result<()> {
        self.attention.forward(queue, step, cache)?;
        match &self.feed_forward {
            FeedForward::Dense(mlp) => mlp.forward(queue, step),
            FeedForward::Sparse(moe) => moe.forward(queue, step),
        }
    }

    fn weight_bytes(&self) -> u64 {
        let feed_forward = match &self.feed_forward {
            FeedForward::Dense(mlp) => mlp.weight_bytes(),
            FeedForward::Sparse(moe) => moe.weight_bytes(),
        };
        self.attention.weight_bytes() + feed_forward
    }
}

/// A decoder with a language-model head: every architecture's [`Model`].
#[derive(Debug)]
pub(crate) struct CausalLm {
    config: ModelConfig,
    limits: Limits,
    embedding: Weight,
    layers: Vec<DecoderLayer>,
    norm: Norm,
    /// The embedding itself where they are tied.
    lm_head: Weight,
    /// f32 `[max_model_len, rotary_dim]`.
    rope_table: Tensor,
    /// float `[max_num_tokens, hidden_size]`.
    hidden: Tensor,
    /// float `[max_num_logit_rows, hidden_size]`.
    last_hidden: Tensor,
    num_parameters: u64,
}

impl CausalLm {
    /// Loads the whole model; `load_layer` knows what the layers of the architecture look like.
    pub(crate) fn load<S: Stream>(
        mut loader: Loader<'_, S>,
        load_layer: impl Fn(&mut Loader<'_, S>, usize) -> Result<DecoderLayer, ModelError>,
    ) -> Result<Self, ModelError> {
        let (config, limits) = (loader.files().config.clone(), loader.limits());
        let table_shape = [config.vocab_size, config.hidden_size];
        let wanted = |name: &str| Wanted::new(name.into(), &table_shape);
        let embedding = loader.matrix(wanted("model.embed_tokens.weight"))?;
        let dtype = loader.activation_dtype(embedding.dtype);
        let hidden = embedding.cols;
        let (num_tokens, num_rows) = (limits.max_num_tokens, limits.max_num_logit_rows);
        let last_hidden = loader.activation("last_hidden", num_rows, hidden, dtype)?;
        let hidden = loader.activation("hidden", num_tokens, hidden, dtype)?;
        let rope_table = load_rope_table(&mut loader)?;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for layer_idx in 0..config.num_hidden_layers {
            layers.push(load_layer(&mut loader, layer_idx)?);
            loader.report();
        }
        let norm =
            loader.norm("model.norm.weight".into(), config.hidden_size, config.rms_norm_eps)?;
        let lm_head = match config.tie_word_embeddings {
            true => embedding,
            false => loader.matrix(wanted("lm_head.weight"))?,
        };
        loader.report();
        loader.finish()?;
        let num_parameters = loader.num_parameters();
        Ok(Self {
            config,
            limits,
            embedding,
            layers,
            norm,
            lm_head,
            rope_table,
            hidden,
            last_hidden,
            num_parameters,
        })
    }

    /// The part of `io` that no op's own rule covers.
    fn check(&self, io: &BatchIo<'_>) -> tintype_ops::Result<()> {
        let Limits { max_num_tokens, max_num_logit_rows, .. } = self.limits;
        let refuse = |what: String| Err(Error::InvalidOp { op: "forward", what });
        if io.ids.rows > max_num_tokens {
            return refuse(format!("{} tokens, room for {max_num_tokens}", io.ids.rows));
        }
        if let Some(rows) = io.logit_rows
            && rows.rows > max_num_logit_rows
        {
            return refuse(format!("{} rows of logits, room for {max_num_logit_rows}", rows.rows));
        }
        let (caches, layers) = (io.caches.len(), self.layers.len());
        if caches != layers {
            return refuse(format!("{caches} KV caches for {layers} layers"));
        }
        let heads = [self.config.num_key_value_heads, self.config.head_dim].map(fit);
        match io.caches.iter().find(|cache| [cache.num_kv_heads, cache.head_dim] != heads) {
            Some(cache) => {
                let [num_kv_heads, head_dim] = heads;
                refuse(format!("{cache}, expected {num_kv_heads} KV heads of {head_dim}"))
            }
            None => Ok(()),
        }
    }

    fn logits(&self, queue: &mut dyn Enqueue, step: Step<'_>) -> tintype_ops::Result<()> {
        let x = match step.io.logit_rows {
            Some(rows) => {
                let out = self.last_hidden.first_rows(rows.rows);
                queue.enqueue(Op::Gather { out, x: step.hidden, rows })?;
                out
            }
            None => step.hidden,
        };
        queue.enqueue(Op::Matmul {
            out: step.io.logits,
            x,
            weight: self.lm_head,
            bias: None,
            norm: Some(self.norm),
            epilogue: Epilogue::Store,
        })
    }
}

impl Model for CausalLm {
    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn forward(&self, queue: &mut dyn Enqueue, io: &BatchIo<'_>) -> tintype_ops::Result<()> {
        self.check(io)?;
        let hidden = self.hidden.first_rows(io.ids.rows);
        let step = Step { io, hidden, rope_table: self.rope_table };
        queue.enqueue(Op::Embed { out: hidden, ids: io.ids, table: self.embedding })?;
        for (layer_idx, (layer, &cache)) in self.layers.iter().zip(io.caches).enumerate() {
            let context = |error: Error| error.context(format!("layer {layer_idx}"));
            layer.forward(queue, step, cache).map_err(context)?;
        }
        self.logits(queue, step).map_err(|error| error.context("logits"))
    }

    fn weight_bytes(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(DecoderLayer::weight_bytes).sum();
        layers + self.lm_head.size_bytes()
    }

    fn num_parameters(&self) -> u64 {
        self.num_parameters
    }

    fn activation_dtype(&self) -> DType {
        self.hidden.dtype
    }
}

fn load_rope_table<S: Stream>(loader: &mut Loader<'_, S>) -> Result<Tensor, ModelError> {
    let num_positions = loader.limits().max_model_len;
    let table = rope::table(&loader.files().config, num_positions);
    let rotary_dim = fit(loader.files().config.rotary_dim);
    let bytes = bytemuck::cast_slice(&table);
    loader.upload("the rope table", num_positions, rotary_dim, DType::F32, bytes)
}
