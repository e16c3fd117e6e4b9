//! The dense MLP block: `down(silu(gate) * up)`.

use tintype_ops::{Enqueue, Epilogue, Norm, Op, Stream, Tensor, Weight, WeightRole};

use super::Step;
use crate::ModelError;
use crate::weights::{Loader, Wanted};

/// One layer's MLP block.
#[derive(Debug)]
pub(crate) struct Mlp {
    norm: Norm,
    gate_up: Weight,
    gate_up_bias: Option<Tensor>,
    down: Weight,
    down_bias: Option<Tensor>,
    /// float `[max_num_tokens, intermediate_size]`.
    intermediate: Tensor,
}

impl Mlp {
    /// Loads `{layer}.mlp.*` and the norm before it.
    pub(crate) fn load<S: Stream>(
        loader: &mut Loader<'_, S>,
        layer: &str,
        has_bias: bool,
    ) -> Result<Self, ModelError> {
        let config = &loader.files().config;
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let eps = config.rms_norm_eps;
        let name = |tail: &str| format!("{layer}.mlp.{tail}");
        let weight = |tail| Wanted::new(name(&format!("{tail}.weight")), &[intermediate, hidden]);
        let bias = |tail| Wanted::new(name(&format!("{tail}.bias")), &[intermediate]);
        let halves = ["gate_proj", "up_proj"];

        let norm = loader.norm(format!("{layer}.post_attention_layernorm.weight"), hidden, eps)?;
        let gate_up = loader.stacked(&halves.map(weight), WeightRole::GateUp)?;
        let gate_up_bias = has_bias.then(|| loader.row(&halves.map(bias))).transpose()?;
        let down = Wanted::new(name("down_proj.weight"), &[hidden, intermediate]);
        let down = loader.matrix(down)?;
        let down_bias = Wanted::new(name("down_proj.bias"), &[hidden]);
        let down_bias = has_bias.then(|| loader.row(&[down_bias])).transpose()?;

        let rows = loader.limits().max_num_tokens;
        let dtype = loader.activation_dtype(gate_up.dtype);
        let intermediate = loader.activation("intermediate", rows, down.cols, dtype)?;
        Ok(Self { norm, gate_up, gate_up_bias, down, down_bias, intermediate })
    }

    /// Queues the block: `hidden += mlp(norm(hidden))`.
    pub(crate) fn forward(
        &self,
        queue: &mut dyn Enqueue,
        step: Step<'_>,
    ) -> tintype_ops::Result<()> {
        let hidden = step.hidden;
        let intermediate = self.intermediate.first_rows(step.num_tokens());
        queue.enqueue(Op::Matmul {
            out: intermediate,
            x: hidden,
            weight: self.gate_up,
            bias: self.gate_up_bias,
            norm: Some(self.norm),
            epilogue: Epilogue::SiluMul,
        })?;
        queue.enqueue(Op::Matmul {
            out: hidden,
            x: intermediate,
            weight: self.down,
            bias: self.down_bias,
            norm: None,
            epilogue: Epilogue::Add,
        })
    }

    /// Bytes of weights that one token reads.
    pub(crate) fn weight_bytes(&self) -> u64 {
        self.gate_up.size_bytes() + self.down.size_bytes()
    }
}
