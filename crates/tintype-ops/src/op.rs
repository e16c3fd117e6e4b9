//! The op set: a closed enum of plain data.

use crate::{KvCache, Tensor, Weight};

/// RMS normalisation over the last dimension: `x / sqrt(mean(x²) + eps) * weight`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// `[1, dim]`.
    pub weight: Tensor,
    /// Added to the mean square.
    pub eps: f32,
}

/// What a [`Op::Matmul`] does with its product before it stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// `out = y`.
    Store,
    /// `out += y`: the residual stream.
    Add,
    /// `out = silu(gate) * up`, where the first half of `y`'s columns is the gate.
    SiluMul,
}

/// Which KV each query token attends to. Everything here is read through device pointers, so one
/// graph serves every context length.
///
/// Sequence `i` owns query rows `cu_seqlens[i]..cu_seqlens[i + 1]`; they are its last tokens, so
/// the row `cu_seqlens[i + 1] - 1` is at position `context_lens[i] - 1`. A row that no sequence
/// owns, or whose sequence has a context length of 0, is padding: attention writes zeros there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttentionMeta {
    /// i32 `[num_seqs + 1, 1]`, ascending from 0.
    pub cu_seqlens: Tensor,
    /// i32 `[num_seqs, 1]`: tokens in the cache, those of this step included.
    pub context_lens: Tensor,
    /// i32 `[num_seqs, max_blocks]`: logical block → physical block.
    pub block_tables: Tensor,
    /// Whether every sequence has exactly one query token, so that row `i` is sequence `i`.
    /// Fixed by the batch descriptor; kernels may specialise on it.
    pub decode: bool,
}

/// What [`Op::Attention`] does first with q, k and v as a projection leaves them; see
/// [`Op::RopeKv`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RopeKv {
    /// Weights of `head_dim` elements, for the heads of q and for those of k.
    pub norms: Option<[Norm; 2]>,
    /// i32 `[n, 1]`, below the table's rows.
    pub positions: Tensor,
    /// f32 `[max_positions, rotary]`: cosines, then sines, `rotary / 2` of each.
    pub table: Tensor,
    /// i32 `[n, 1]`: where the block tables have each token, or −1 for padding.
    pub slots: Tensor,
}

/// One unit of device work. Outputs come first.
///
/// `n` is the number of tokens of the (padded) batch. An output's buffer is none of the inputs'
/// buffers, except where a field is marked *in place*. All arithmetic is in f32; a result is
/// rounded once, to the dtype of the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// `out[i] = table[ids[i]]`. An id outside the table gives a row of zeros.
    Embed {
        /// float `[n, hidden]`.
        out: Tensor,
        /// i32 `[n, 1]`.
        ids: Tensor,
        /// `[vocab, hidden]`.
        table: Weight,
    },
    /// `out[i] = norm(x[i])`.
    RmsNorm {
        /// float `[n, dim]`.
        out: Tensor,
        /// float `[n, dim]`.
        x: Tensor,
        /// Weight of `dim` elements.
        norm: Norm,
    },
    /// Normalises each head of `x` by itself (Qwen3's q/k norm).
    HeadNorm {
        /// float `[n, heads * head_dim]`, *in place*.
        x: Tensor,
        /// Weight of `head_dim` elements.
        norm: Norm,
    },
    /// `y = norm(x) · weightᵀ + bias`, then the epilogue.
    Matmul {
        /// float `[n, rows]` of the weight, or `[n, rows / 2]` with [`Epilogue::SiluMul`].
        out: Tensor,
        /// float `[n, cols]` of the weight.
        x: Tensor,
        /// `[rows, cols]`.
        weight: Weight,
        /// float `[1, rows]`.
        bias: Option<Tensor>,
        /// Applied to each row of `x` first; its result is not rounded.
        norm: Option<Norm>,
        /// What happens to the product.
        epilogue: Epilogue,
    },
    /// Rotates pairs `(j, j + rotary / 2)` of each head's first `rotary` elements by the angle of
    /// the token's position.
    Rope {
        /// float `[n, heads * head_dim]`, *in place*; q and k side by side are one view.
        x: Tensor,
        /// i32 `[n, 1]`, below the table's rows.
        positions: Tensor,
        /// f32 `[max_positions, rotary]`: cosines, then sines, `rotary / 2` of each.
        table: Tensor,
        /// Elements of one head; at least `rotary`.
        head_dim: u32,
    },
    /// Stores each token's K and V in its slot; slot −1 stores nothing.
    WriteKv {
        /// Written through its two buffers.
        cache: KvCache,
        /// float `[n, num_kv_heads * head_dim]`.
        k: Tensor,
        /// float `[n, num_kv_heads * head_dim]`.
        v: Tensor,
        /// i32 `[n, 1]`.
        slots: Tensor,
    },
    /// All that lies between a projection and attention: normalises the heads of q and of k where
    /// there are norms, rotates both, and stores k and v. Means [`Op::sequence`], but a backend
    /// need not round in between.
    RopeKv {
        /// float `[n, (num_heads + 2 * num_kv_heads) * head_dim]`: q, k and v side by side; q and
        /// k *in place*.
        qkv: Tensor,
        /// Written through its two buffers.
        cache: KvCache,
        /// Weights of `head_dim` elements, for the heads of q and for those of k.
        norms: Option<[Norm; 2]>,
        /// i32 `[n, 1]`, below the table's rows.
        positions: Tensor,
        /// f32 `[max_positions, rotary]`: cosines, then sines, `rotary / 2` of each.
        table: Tensor,
        /// i32 `[n, 1]`; −1 stores nothing.
        slots: Tensor,
    },
    /// Causal attention of each query over its sequence's cached keys and values.
    ///
    /// With `rope_kv` it starts from q, k and v as a projection leaves them, and means
    /// [`Op::sequence`]. Then a decode batch asks more of what came before, so that a backend may
    /// fetch old keys while the projection still runs, and take the new one from registers: all
    /// but the newest token of each sequence were in the cache before the last upload to the
    /// stream, no token is the newest of one sequence and an older one of another, and the newest
    /// has a slot unless its row is padding.
    Attention {
        /// float `[n, num_heads * head_dim]`; heads per KV head is a whole number.
        out: Tensor,
        /// float `[n, num_heads * head_dim]`. With `rope_kv`
        /// `[n, (num_heads + 2 * num_kv_heads) * head_dim]`: q, k and v side by side, and *in
        /// place*: what it holds afterwards is unspecified.
        q: Tensor,
        /// Read only; with `rope_kv`, written first.
        cache: KvCache,
        /// What happens to q, k and v first.
        rope_kv: Option<RopeKv>,
        /// Who attends to what.
        meta: AttentionMeta,
        /// Multiplies `q · k`.
        scale: f32,
        /// A query at position `p` sees keys at `p - window < j <= p`.
        window: Option<u32>,
    },
    /// `out = silu(gate) * up`.
    SiluMul {
        /// float `[n, dim]`.
        out: Tensor,
        /// float `[n, 2 * dim]`: gate, then up.
        gate_up: Tensor,
    },
    /// `out += x`.
    Add {
        /// float `[n, dim]`, *in place*.
        out: Tensor,
        /// float `[n, dim]`.
        x: Tensor,
    },
    /// `out[i] = x[rows[i]]`. A row outside `x` gives zeros.
    Gather {
        /// float `[m, dim]`.
        out: Tensor,
        /// float `[n, dim]`.
        x: Tensor,
        /// i32 `[m, 1]`.
        rows: Tensor,
    },
    /// Softmax over the experts, then the `k` largest, largest first; the lower index wins a tie.
    MoeRoute {
        /// i32 `[n, k]`.
        ids: Tensor,
        /// f32 `[n, k]`.
        weights: Tensor,
        /// float `[n, num_experts]`.
        logits: Tensor,
        /// Whether the `k` weights are scaled to sum to 1.
        renormalize: bool,
    },
    /// Each token's chosen experts' first half: `out[i*k + j] = silu(gate) * up` of expert
    /// `ids[i, j]` on `x[i]`.
    MoeGateUp {
        /// float `[n * k, intermediate]`.
        out: Tensor,
        /// float `[n, hidden]`.
        x: Tensor,
        /// `[num_experts * 2 * intermediate, hidden]`: per expert, gate rows then up rows.
        weight: Weight,
        /// i32 `[n, k]`, below `num_experts`.
        ids: Tensor,
        /// How many experts the weight stacks.
        num_experts: u32,
    },
    /// Their second half: `out[i] += Σ_j weights[i, j] * (expert ids[i, j] on x[i*k + j])`.
    MoeDown {
        /// float `[n, hidden]`, *in place*.
        out: Tensor,
        /// float `[n * k, intermediate]`.
        x: Tensor,
        /// `[num_experts * hidden, intermediate]`.
        weight: Weight,
        /// i32 `[n, k]`.
        ids: Tensor,
        /// f32 `[n, k]`.
        weights: Tensor,
        /// How many experts the weight stacks.
        num_experts: u32,
    },
    /// Draws one token per row; see [`crate::sampling`] for the meaning to the bit.
    Sample {
        /// i32 `[n, 1]`.
        out: Tensor,
        /// f32 `[n, vocab]`.
        logits: Tensor,
        /// u32 `[n, 8]`: one [`crate::sampling::SampleParams`] per row.
        params: Tensor,
    },
}

impl Op {
    /// Every op's name, in the order of the enum.
    pub const NAMES: [&str; 15] = [
        "embed",
        "rms_norm",
        "head_norm",
        "matmul",
        "rope",
        "write_kv",
        "rope_kv",
        "attention",
        "silu_mul",
        "add",
        "gather",
        "moe_route",
        "moe_gate_up",
        "moe_down",
        "sample",
    ];

    /// The op's name, as in `splitting_ops` and in kernel entry points.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Embed { .. } => "embed",
            Self::RmsNorm { .. } => "rms_norm",
            Self::HeadNorm { .. } => "head_norm",
            Self::Matmul { .. } => "matmul",
            Self::Rope { .. } => "rope",
            Self::WriteKv { .. } => "write_kv",
            Self::RopeKv { .. } => "rope_kv",
            Self::Attention { .. } => "attention",
            Self::SiluMul { .. } => "silu_mul",
            Self::Add { .. } => "add",
            Self::Gather { .. } => "gather",
            Self::MoeRoute { .. } => "moe_route",
            Self::MoeGateUp { .. } => "moe_gate_up",
            Self::MoeDown { .. } => "moe_down",
            Self::Sample { .. } => "sample",
        }
    }

    /// The ops that a fused one stands for, in order; for any other, itself.
    #[must_use]
    pub fn sequence(&self) -> Vec<Op> {
        match *self {
            Self::Attention { out, q: qkv, cache, rope_kv: Some(first), meta, scale, window } => {
                let RopeKv { norms, positions, table, slots } = first;
                let (q, rope_kv) = (qkv.columns(0, out.cols), None);
                vec![
                    Self::RopeKv { qkv, cache, norms, positions, table, slots },
                    Self::Attention { out, q, cache, rope_kv, meta, scale, window },
                ]
            }
            Self::RopeKv { qkv, cache, norms, positions, table, slots } => {
                let (head_dim, kv_width) = (cache.head_dim, cache.num_kv_heads * cache.head_dim);
                let q_width = qkv.cols - 2 * kv_width;
                let q = qkv.columns(0, q_width);
                let k = qkv.columns(q_width, kv_width);
                let v = qkv.columns(q_width + kv_width, kv_width);
                let mut ops = Vec::new();
                if let Some([q_norm, k_norm]) = norms {
                    ops.push(Self::HeadNorm { x: q, norm: q_norm });
                    ops.push(Self::HeadNorm { x: k, norm: k_norm });
                }
                let x = qkv.columns(0, q_width + kv_width);
                ops.push(Self::Rope { x, positions, table, head_dim });
                ops.push(Self::WriteKv { cache, k, v, slots });
                ops
            }
            _ => vec![*self],
        }
    }
}
