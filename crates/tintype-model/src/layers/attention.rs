//! The attention block: norm, q‖k‖v, rotation, cache, attention, output into the residual stream.

use tintype_config::ModelConfig;
use tintype_ops::{
    Enqueue, Epilogue, KvCache, Norm, Op, RopeKv, Stream, Tensor, Weight, WeightRole,
};

use super::Step;
use crate::ModelError;
use crate::weights::{Loader, Wanted, fit};

/// In what the attention blocks of the architectures differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttentionOptions {
    /// q, k and v have biases.
    pub(crate) qkv_bias: bool,
    /// The output projection has one.
    pub(crate) o_bias: bool,
    /// Each head of q and k is normalised before it is rotated.
    pub(crate) qk_norm: bool,
    /// Keys that a query sees, itself included; `None` means all.
    pub(crate) window: Option<usize>,
}

impl AttentionOptions {
    /// What the config, which knows its architecture's habits, says of layer `layer_idx`.
    pub(crate) fn new(config: &ModelConfig, layer_idx: usize) -> Self {
        Self {
            qkv_bias: config.qkv_bias,
            o_bias: config.o_bias,
            qk_norm: config.architecture.has_qk_norm(),
            window: config.sliding_windows[layer_idx],
        }
    }
}

/// One layer's attention block.
#[derive(Debug)]
pub(crate) struct Attention {
    norm: Norm,
    qkv: Weight,
    qkv_bias: Option<Tensor>,
    /// Of q, then of k.
    head_norms: Option<[Norm; 2]>,
    o: Weight,
    o_bias: Option<Tensor>,
    head_dim: u32,
    window: Option<u32>,
    /// float `[max_num_tokens, q_width + 2 * kv_width]`.
    qkv_out: Tensor,
    /// float `[max_num_tokens, q_width]`.
    attention_out: Tensor,
}

impl Attention {
    /// Loads `{layer}.self_attn.*` and the norm before it.
    pub(crate) fn load<S: Stream>(
        loader: &mut Loader<'_, S>,
        layer: &str,
        options: AttentionOptions,
    ) -> Result<Self, ModelError> {
        let config = &loader.files().config;
        let (hidden, eps, head_dim) = (config.hidden_size, config.rms_norm_eps, config.head_dim);
        let (q, kv) = (config.q_size(), config.kv_size());
        let name = |tail: &str| format!("{layer}.self_attn.{tail}");
        let weight = |(tail, rows)| Wanted::new(name(&format!("{tail}.weight")), &[rows, hidden]);
        let bias = |(tail, rows)| Wanted::new(name(&format!("{tail}.bias")), &[rows]);
        let projections = [("q_proj", q), ("k_proj", kv), ("v_proj", kv)];

        let norm = loader.norm(format!("{layer}.input_layernorm.weight"), hidden, eps)?;
        let qkv = loader.stacked(&projections.map(weight), WeightRole::Plain)?;
        let qkv_bias = options.qkv_bias.then(|| loader.row(&projections.map(bias))).transpose()?;
        let mut head_norm = |tail| loader.norm(name(tail), head_dim, eps);
        let head_norms = match options.qk_norm {
            true => Some([head_norm("q_norm.weight")?, head_norm("k_norm.weight")?]),
            false => None,
        };
        let o = loader.matrix(Wanted::new(name("o_proj.weight"), &[hidden, q]))?;
        let o_bias = options.o_bias.then(|| loader.row(&[bias(("o_proj", hidden))])).transpose()?;

        let (rows, dtype) = (loader.limits().max_num_tokens, loader.activation_dtype(qkv.dtype));
        Ok(Self {
            norm,
            qkv,
            qkv_bias,
            head_norms,
            o,
            o_bias,
            head_dim: fit(head_dim),
            window: options.window.map(fit),
            qkv_out: loader.activation("qkv", rows, qkv.rows, dtype)?,
            attention_out: loader.activation("attention", rows, o.cols, dtype)?,
        })
    }

    /// Queues the block: `hidden += attention(norm(hidden))`.
    pub(crate) fn forward(
        &self,
        queue: &mut dyn Enqueue,
        step: Step<'_>,
        cache: KvCache,
    ) -> tintype_ops::Result<()> {
        let Step { io, hidden, rope_table: table } = step;
        let Self { head_dim, window, .. } = *self;
        let qkv = self.qkv_out.first_rows(step.num_tokens());
        let attended = self.attention_out.first_rows(step.num_tokens());
        queue.enqueue(Op::Matmul {
            out: qkv,
            x: hidden,
            weight: self.qkv,
            bias: self.qkv_bias,
            norm: Some(self.norm),
            epilogue: Epilogue::Store,
        })?;
        queue.enqueue(Op::Attention {
            out: attended,
            q: qkv,
            cache,
            rope_kv: Some(RopeKv {
                norms: self.head_norms,
                positions: io.positions,
                table,
                slots: io.slots,
            }),
            meta: io.meta,
            scale: 1.0 / (head_dim as f32).sqrt(),
            window,
        })?;
        queue.enqueue(Op::Matmul {
            out: hidden,
            x: attended,
            weight: self.o,
            bias: self.o_bias,
            norm: None,
            epilogue: Epilogue::Add,
        })
    }

    /// Bytes of weights that one token reads.
    pub(crate) fn weight_bytes(&self) -> u64 {
        self.qkv.size_bytes() + self.o.size_bytes()
    }
}
