//! The sparse MLP block: a router picks experts for each token.

use tintype_config::MoeConfig;
use tintype_ops::{DType, Enqueue, Epilogue, Norm, Op, Stream, Tensor, Weight, WeightRole};

use super::Step;
use crate::ModelError;
use crate::weights::{Loader, Wanted, fit};

/// What the architectures call a sparse block's tensors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpertNames {
    /// The block itself: `mlp`, `block_sparse_moe`.
    pub(crate) block: &'static str,
    /// What an expert's gate, up and down projections are called, in this order.
    pub(crate) projections: [&'static str; 3],
}

/// One layer's sparse MLP block.
#[derive(Debug)]
pub(crate) struct Moe {
    norm: Norm,
    router: Weight,
    gate_up: Weight,
    down: Weight,
    num_experts: u32,
    num_experts_per_tok: u32,
    renormalize: bool,
    scratch: Scratch,
}

/// What lies between the ops of the block. `n` is `max_num_tokens`, `k` is `num_experts_per_tok`.
#[derive(Clone, Copy, Debug)]
struct Scratch {
    /// float `[n, hidden_size]`.
    normed: Tensor,
    /// f32 `[n, num_experts]`.
    router_logits: Tensor,
    /// i32 `[n, k]`.
    expert_ids: Tensor,
    /// f32 `[n, k]`.
    expert_weights: Tensor,
    /// float `[n * k, intermediate_size]`.
    intermediate: Tensor,
}

impl Moe {
    /// Loads `{layer}.{block}.*` and the norm before it.
    pub(crate) fn load<S: Stream>(
        loader: &mut Loader<'_, S>,
        layer: &str,
        moe: &MoeConfig,
        names: ExpertNames,
    ) -> Result<Self, ModelError> {
        let config = &loader.files().config;
        let (hidden, eps) = (config.hidden_size, config.rms_norm_eps);
        let num_experts = fit(moe.num_experts);
        let role = |gate_up| WeightRole::Experts { num_experts, gate_up };
        let tensors = Tensors::find(loader, layer, moe, names);

        let norm = loader.norm(format!("{layer}.post_attention_layernorm.weight"), hidden, eps)?;
        let router = loader.matrix(tensors.router(hidden))?;
        let gate_up = loader.stacked(&tensors.gate_up(hidden), role(true))?;
        let down = loader.stacked(&tensors.down(hidden), role(false))?;
        let num_experts_per_tok = fit(moe.num_experts_per_tok);
        let scratch = Scratch::new(loader, gate_up, down, num_experts, num_experts_per_tok)?;
        let renormalize = moe.norm_topk_prob;
        Ok(Self {
            norm,
            router,
            gate_up,
            down,
            num_experts,
            num_experts_per_tok,
            renormalize,
            scratch,
        })
    }

    /// Queues the block: `hidden += Σ weight * expert(norm(hidden))` over each token's experts.
    pub(crate) fn forward(
        &self,
        queue: &mut dyn Enqueue,
        step: Step<'_>,
    ) -> tintype_ops::Result<()> {
        let (hidden, num_experts) = (step.hidden, self.num_experts);
        let scratch = self.scratch.cut(step.num_tokens(), self.num_experts_per_tok);
        let Scratch { normed, router_logits, intermediate, .. } = scratch;
        let Scratch { expert_ids: ids, expert_weights: weights, .. } = scratch;
        queue.enqueue(Op::RmsNorm { out: normed, x: hidden, norm: self.norm })?;
        queue.enqueue(Op::Matmul {
            out: router_logits,
            x: normed,
            weight: self.router,
            bias: None,
            norm: None,
            epilogue: Epilogue::Store,
        })?;
        let renormalize = self.renormalize;
        queue.enqueue(Op::MoeRoute { ids, weights, logits: router_logits, renormalize })?;
        queue.enqueue(Op::MoeGateUp {
            out: intermediate,
            x: normed,
            weight: self.gate_up,
            ids,
            num_experts,
        })?;
        queue.enqueue(Op::MoeDown {
            out: hidden,
            x: intermediate,
            weight: self.down,
            ids,
            weights,
            num_experts,
        })
    }

    /// Bytes of weights that one token reads: the router and the experts it chooses.
    pub(crate) fn weight_bytes(&self) -> u64 {
        let experts = self.gate_up.size_bytes() + self.down.size_bytes();
        let chosen = u64::from(self.num_experts_per_tok);
        self.router.size_bytes() + experts / u64::from(self.num_experts) * chosen
    }
}

impl Scratch {
    fn new<S: Stream>(
        loader: &mut Loader<'_, S>,
        gate_up: Weight,
        down: Weight,
        num_experts: u32,
        k: u32,
    ) -> Result<Self, ModelError> {
        let n = loader.limits().max_num_tokens;
        let dtype = loader.activation_dtype(gate_up.dtype);
        Ok(Self {
            normed: loader.activation("normed", n, gate_up.cols, dtype)?,
            router_logits: loader.activation("router_logits", n, num_experts, DType::F32)?,
            expert_ids: loader.activation("expert_ids", n, k, DType::I32)?,
            expert_weights: loader.activation("expert_weights", n, k, DType::F32)?,
            intermediate: loader.activation("experts", n.saturating_mul(k), down.cols, dtype)?,
        })
    }

    /// The part that `num_tokens` tokens need.
    fn cut(self, num_tokens: u32, num_experts_per_tok: u32) -> Self {
        Self {
            normed: self.normed.first_rows(num_tokens),
            router_logits: self.router_logits.first_rows(num_tokens),
            expert_ids: self.expert_ids.first_rows(num_tokens),
            expert_weights: self.expert_weights.first_rows(num_tokens),
            intermediate: self.intermediate.first_rows(num_tokens * num_experts_per_tok),
        }
    }
}

/// The tensors of one sparse block, in the spelling that the files use.
struct Tensors<'a> {
    /// `{layer}.{block}`.
    block: String,
    /// What an expert's projections are called; `None` where the file stacks the experts of a
    /// layer, as transformers 5 does in memory.
    projections: Option<[&'static str; 3]>,
    moe: &'a MoeConfig,
}

impl<'a> Tensors<'a> {
    fn find<S: Stream>(
        loader: &Loader<'_, S>,
        layer: &str,
        moe: &'a MoeConfig,
        names: ExpertNames,
    ) -> Self {
        let stacked = format!("{layer}.mlp.experts.gate_up_proj");
        let (block, projections) = match loader.files().tensors.contains(&stacked) {
            true => ("mlp", None),
            false => (names.block, Some(names.projections)),
        };
        Self { block: format!("{layer}.{block}"), projections, moe }
    }

    fn router(&self, hidden: usize) -> Wanted {
        Wanted::new(format!("{}.gate.weight", self.block), &[self.moe.num_experts, hidden])
    }

    /// Per expert, the gate and then the up projection.
    fn gate_up(&self, hidden: usize) -> Vec<Wanted> {
        let &MoeConfig { num_experts, moe_intermediate_size: width, .. } = self.moe;
        let Some([gate, up, _]) = self.projections else {
            let name = format!("{}.experts.gate_up_proj", self.block);
            return vec![Wanted::new(name, &[num_experts, 2 * width, hidden])];
        };
        let both = |expert| [gate, up].map(|name| self.of_expert(expert, name, [width, hidden]));
        (0..num_experts).flat_map(both).collect()
    }

    fn down(&self, hidden: usize) -> Vec<Wanted> {
        let &MoeConfig { num_experts, moe_intermediate_size: width, .. } = self.moe;
        let Some([_, _, down]) = self.projections else {
            let name = format!("{}.experts.down_proj", self.block);
            return vec![Wanted::new(name, &[num_experts, hidden, width])];
        };
        (0..num_experts).map(|expert| self.of_expert(expert, down, [hidden, width])).collect()
    }

    fn of_expert(&self, expert: usize, projection: &str, shape: [usize; 2]) -> Wanted {
        Wanted::new(format!("{}.experts.{expert}.{projection}.weight", self.block), &shape)
    }
}
