//! The shape and dtype rule of every op. Every backend calls [`check`] first, so all
//! accept exactly the same ops.

use crate::{
    Access, AttentionMeta, Buffer, DType, Epilogue, Error, KvCache, Memory, Norm, Op, Operand,
    Result, RopeKv, Tensor, Weight,
};

/// Most query heads, KV heads, experts or columns that one op takes; keeps index arithmetic in
/// 32 bits inside a row.
pub const MAX_COLS: u32 = 1 << 24;

/// Largest head that attention takes.
pub const MAX_HEAD_DIM: u32 = 256;

/// Checks `op` against its rule.
///
/// # Errors
/// [`Error::InvalidOp`] naming the operand, what was found and what is expected.
pub fn check(op: &Op) -> Result<()> {
    let rule = Rule { op: op.name() };
    rule.operands(op)?;
    rule.aliasing(op)?;
    rule.shapes(op)
}

/// The rules, with the op's name at hand for messages.
struct Rule {
    op: &'static str,
}

impl Rule {
    fn fail<T>(&self, what: String) -> Result<T> {
        Err(Error::InvalidOp { op: self.op, what })
    }

    fn require(&self, holds: bool, what: impl FnOnce() -> String) -> Result<()> {
        if holds { Ok(()) } else { self.fail(what()) }
    }

    /// What holds for any operand: it is not empty, and its rows do not overlap.
    fn operands(&self, op: &Op) -> Result<()> {
        let mut result = Ok(());
        op.for_each_operand(&mut |Operand { name, memory, .. }| {
            if let (Ok(()), Memory::Tensor(tensor)) = (&result, memory) {
                result = self.tensor(name, tensor);
            }
        });
        result
    }

    fn tensor(&self, name: &str, tensor: Tensor) -> Result<()> {
        let Tensor { rows, cols, stride, .. } = tensor;
        let fits = rows > 0 && cols > 0 && cols <= MAX_COLS;
        self.require(fits, || format!("{name} is {rows}x{cols}, expected 1..={MAX_COLS} columns"))?;
        let disjoint = rows == 1 || stride >= cols;
        self.require(disjoint, || format!("{name} has {cols} columns but a stride of {stride}"))
    }

    /// No output shares a buffer with another operand.
    fn aliasing(&self, op: &Op) -> Result<()> {
        let mut written: [Option<(&str, Buffer)>; 4] = [None; 4];
        let mut result = Ok(());
        op.for_each_operand(&mut |Operand { name, access, memory }| {
            for buffer in buffers(memory).into_iter().flatten() {
                let clash = written.iter().flatten().find(|(_, other)| *other == buffer);
                if let (Ok(()), Some((other, _))) = (&result, clash) {
                    result = self.fail(format!("{name} shares a buffer with the output {other}"));
                }
                if access != Access::Read
                    && let Some(free) = written.iter_mut().find(|slot| slot.is_none())
                {
                    *free = Some((name, buffer));
                }
            }
        });
        result
    }

    fn shapes(&self, op: &Op) -> Result<()> {
        match *op {
            Op::Embed { out, ids, table } => {
                self.float("out", out)?;
                self.column("ids", ids, out.rows, DType::I32)?;
                self.cols("out", out, table.cols)
            }
            Op::RmsNorm { out, x, norm } => {
                self.same_shape(out, "x", x)?;
                self.norm(norm, x.cols)
            }
            Op::HeadNorm { x, norm } => {
                self.float("x", x)?;
                self.norm(norm, norm.weight.cols)?;
                self.divides("x", x.cols, norm.weight.cols)
            }
            Op::Matmul { .. } => self.matmul(op),
            Op::Rope { x, positions, table, head_dim } => {
                self.float("x", x)?;
                self.divides("x", x.cols, head_dim)?;
                self.column("positions", positions, x.rows, DType::I32)?;
                self.dtype("table", table, DType::F32)?;
                self.rotary(table, head_dim)
            }
            Op::WriteKv { cache, k, v, slots } => {
                self.cache(cache)?;
                self.same_shape(k, "v", v)?;
                self.cols("k", k, cache.num_kv_heads * cache.head_dim)?;
                self.column("slots", slots, k.rows, DType::I32)
            }
            Op::RopeKv { qkv, cache, norms, positions, table, slots } => {
                self.rope_kv("qkv", qkv, cache, RopeKv { norms, positions, table, slots })
            }
            Op::Attention { .. } => self.attention(op),
            Op::SiluMul { out, gate_up } => {
                self.float("out", out)?;
                self.float("gate_up", gate_up)?;
                self.rows("gate_up", gate_up, out.rows)?;
                self.cols("gate_up", gate_up, 2 * out.cols)
            }
            Op::Add { out, x } => self.same_shape(out, "x", x),
            Op::Gather { out, x, rows } => {
                self.float("out", out)?;
                self.float("x", x)?;
                self.cols("x", x, out.cols)?;
                self.column("rows", rows, out.rows, DType::I32)
            }
            Op::MoeRoute { .. } | Op::MoeGateUp { .. } | Op::MoeDown { .. } => self.moe(op),
            Op::Sample { out, logits, params } => {
                self.column("out", out, logits.rows, DType::I32)?;
                self.dtype("logits", logits, DType::F32)?;
                self.rows("params", params, logits.rows)?;
                self.cols("params", params, 8)?;
                self.dtype("params", params, DType::U32)
            }
        }
    }

    fn matmul(&self, op: &Op) -> Result<()> {
        let Op::Matmul { out, x, weight, bias, norm, epilogue } = *op else { return Ok(()) };
        self.float("out", out)?;
        self.float("x", x)?;
        self.rows("x", x, out.rows)?;
        self.cols("x", x, weight.cols)?;
        let outputs = if epilogue == Epilogue::SiluMul { 2 * out.cols } else { out.cols };
        self.weight("weight", weight, outputs)?;
        if let Some(bias) = bias {
            self.float("bias", bias)?;
            self.rows("bias", bias, 1)?;
            self.cols("bias", bias, weight.rows)?;
        }
        norm.map_or(Ok(()), |norm| self.norm(norm, x.cols))
    }

    /// What the ops that it replaces ask for.
    fn rope_kv(&self, name: &str, qkv: Tensor, cache: KvCache, rope_kv: RopeKv) -> Result<()> {
        let RopeKv { norms, positions, table, slots } = rope_kv;
        self.float(name, qkv)?;
        self.cache(cache)?;
        self.divides(name, qkv.cols, cache.head_dim)?;
        let (heads, kv_heads) = (qkv.cols / cache.head_dim, cache.num_kv_heads);
        self.require(heads > 2 * kv_heads, || {
            format!(
                "{name} has {heads} heads, expected more than twice the {kv_heads} of the cache"
            )
        })?;
        norms.iter().flatten().try_for_each(|norm| self.norm(*norm, cache.head_dim))?;
        self.column("positions", positions, qkv.rows, DType::I32)?;
        self.dtype("table", table, DType::F32)?;
        self.rotary(table, cache.head_dim)?;
        self.column("slots", slots, qkv.rows, DType::I32)
    }

    fn attention(&self, op: &Op) -> Result<()> {
        let Op::Attention { out, q: x, cache, rope_kv, meta, scale, window } = *op else {
            return Ok(());
        };
        self.cache(cache)?;
        let q = match rope_kv {
            Some(rope_kv) => {
                self.rope_kv("q", x, cache, rope_kv)?;
                x.columns(0, x.cols - 2 * cache.num_kv_heads * cache.head_dim)
            }
            None => x,
        };
        self.same_shape(out, "q", q)?;
        self.divides("q", q.cols, cache.head_dim)?;
        let heads = q.cols / cache.head_dim;
        self.divides("the number of query heads", heads, cache.num_kv_heads)?;
        self.require(scale.is_finite(), || format!("scale is {scale}"))?;
        self.require(window != Some(0), || "window is 0, expected at least 1".into())?;
        self.meta(meta, q.rows)
    }

    fn meta(&self, meta: AttentionMeta, num_tokens: u32) -> Result<()> {
        let AttentionMeta { cu_seqlens, context_lens, block_tables, decode } = meta;
        let num_seqs = context_lens.rows;
        self.column("context_lens", context_lens, num_seqs, DType::I32)?;
        self.column("cu_seqlens", cu_seqlens, num_seqs.saturating_add(1), DType::I32)?;
        self.rows("block_tables", block_tables, num_seqs)?;
        self.dtype("block_tables", block_tables, DType::I32)?;
        self.require(!decode || num_seqs == num_tokens, || {
            format!("a decode batch of {num_seqs} sequences has {num_tokens} tokens")
        })
    }

    fn moe(&self, op: &Op) -> Result<()> {
        match *op {
            Op::MoeRoute { ids, weights, logits, .. } => {
                self.float("logits", logits)?;
                self.rows("ids", ids, logits.rows)?;
                self.dtype("ids", ids, DType::I32)?;
                self.rows("weights", weights, ids.rows)?;
                self.cols("weights", weights, ids.cols)?;
                self.dtype("weights", weights, DType::F32)?;
                let (k, experts) = (ids.cols, logits.cols);
                self.require(k <= experts, || format!("{k} of {experts} experts"))
            }
            Op::MoeGateUp { out, x, weight, ids, num_experts } => {
                self.float("out", out)?;
                self.float("x", x)?;
                self.chosen(ids, x.rows, out.rows)?;
                self.cols("x", x, weight.cols)?;
                self.experts(weight, num_experts, 2 * out.cols)
            }
            Op::MoeDown { out, x, weight, ids, weights, num_experts } => {
                self.float("out", out)?;
                self.float("x", x)?;
                self.chosen(ids, out.rows, x.rows)?;
                self.rows("weights", weights, ids.rows)?;
                self.cols("weights", weights, ids.cols)?;
                self.dtype("weights", weights, DType::F32)?;
                self.cols("x", x, weight.cols)?;
                self.experts(weight, num_experts, out.cols)
            }
            _ => Ok(()),
        }
    }

    /// `ids` has a row per token; the per-expert tensor has a row per chosen expert.
    fn chosen(&self, ids: Tensor, num_tokens: u32, num_chosen: u32) -> Result<()> {
        self.rows("ids", ids, num_tokens)?;
        self.dtype("ids", ids, DType::I32)?;
        let expected = ids.num_elements();
        self.require(u64::from(num_chosen) == expected, || {
            format!("{num_chosen} rows for {expected} chosen experts")
        })
    }

    fn experts(&self, weight: Weight, num_experts: u32, rows_each: u32) -> Result<()> {
        let expected = u64::from(num_experts) * u64::from(rows_each);
        self.require(num_experts > 0 && u64::from(weight.rows) == expected, || {
            let rows = weight.rows;
            format!("weight has {rows} rows, expected {num_experts} experts x {rows_each}")
        })
    }

    fn rotary(&self, table: Tensor, head_dim: u32) -> Result<()> {
        let rotary = table.cols;
        self.require(rotary.is_multiple_of(2) && rotary <= head_dim, || {
            format!("table has {rotary} columns, expected an even number up to {head_dim}")
        })
    }

    fn cache(&self, cache: KvCache) -> Result<()> {
        let KvCache { num_blocks, block_size, num_kv_heads, head_dim, dtype, .. } = cache;
        let sizes = [num_blocks, block_size, num_kv_heads, head_dim];
        let fits = !sizes.contains(&0) && head_dim <= MAX_HEAD_DIM && dtype.is_float();
        self.require(fits, || {
            format!("{cache}: expected float, no size of 0, a head_dim of at most {MAX_HEAD_DIM}")
        })?;
        let width = u64::from(num_kv_heads) * u64::from(head_dim);
        self.require(width <= u64::from(MAX_COLS), || {
            format!("{width} elements a token, at most {MAX_COLS}")
        })?;
        let slots = cache.num_slots();
        self.require(slots <= i32::MAX as u64, || format!("{slots} slots, at most {}", i32::MAX))
    }

    fn norm(&self, norm: Norm, dim: u32) -> Result<()> {
        self.float("norm.weight", norm.weight)?;
        self.rows("norm.weight", norm.weight, 1)?;
        self.cols("norm.weight", norm.weight, dim)?;
        let eps = norm.eps;
        self.require(eps >= 0.0 && eps.is_finite(), || format!("norm.eps is {eps}"))
    }

    fn weight(&self, name: &str, weight: Weight, rows: u32) -> Result<()> {
        let found = weight.rows;
        self.require(found == rows, || format!("{name} has {found} rows, expected {rows}"))
    }

    fn same_shape(&self, out: Tensor, name: &str, x: Tensor) -> Result<()> {
        self.float("out", out)?;
        self.float(name, x)?;
        self.rows(name, x, out.rows)?;
        self.cols(name, x, out.cols)
    }

    fn divides(&self, name: &str, whole: u32, part: u32) -> Result<()> {
        let divides = part > 0 && whole.is_multiple_of(part);
        self.require(divides, || format!("{name}: {whole} is not a multiple of {part}"))
    }

    fn column(&self, name: &str, tensor: Tensor, rows: u32, dtype: DType) -> Result<()> {
        self.rows(name, tensor, rows)?;
        self.cols(name, tensor, 1)?;
        self.dtype(name, tensor, dtype)
    }

    fn rows(&self, name: &str, tensor: Tensor, expected: u32) -> Result<()> {
        let found = tensor.rows;
        self.require(found == expected, || format!("{name} has {found} rows, expected {expected}"))
    }

    fn cols(&self, name: &str, tensor: Tensor, expected: u32) -> Result<()> {
        let found = tensor.cols;
        self.require(found == expected, || {
            format!("{name} has {found} columns, expected {expected}")
        })
    }

    fn dtype(&self, name: &str, tensor: Tensor, expected: DType) -> Result<()> {
        let found = tensor.dtype;
        self.require(found == expected, || format!("{name} is {found}, expected {expected}"))
    }

    fn float(&self, name: &str, tensor: Tensor) -> Result<()> {
        let found = tensor.dtype;
        self.require(found.is_float(), || format!("{name} is {found}, expected f32, f16 or bf16"))
    }
}

/// The buffers that memory lies in. Weights have a numbering of their own and are never written.
fn buffers(memory: Memory) -> [Option<Buffer>; 2] {
    match memory {
        Memory::Tensor(tensor) => [Some(tensor.buffer), None],
        Memory::Cache(cache) => [Some(cache.k), Some(cache.v)],
        Memory::Weight(_) => [None; 2],
    }
}

#[cfg(test)]
mod tests;
