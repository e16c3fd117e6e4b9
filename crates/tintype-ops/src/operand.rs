//! What an op reads and writes, and how an op is printed.

use std::fmt;

use crate::{AttentionMeta, Epilogue, KvCache, Norm, Op, RopeKv, Tensor, Weight};

/// How an op uses an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Overwritten; what it held before does not matter.
    Write,
    /// Read and written: in place.
    Update,
    /// Read, and overwritten with what nobody may rely on.
    Consume,
}

/// The memory that an operand names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// A view of a buffer.
    Tensor(Tensor),
    /// A loaded weight.
    Weight(Weight),
    /// Both sides of a KV cache.
    Cache(KvCache),
}

/// One operand of an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The name of the op's field, e.g. `out`, `norm.weight`, `meta.context_lens`.
    pub name: &'static str,
    /// How the op uses it.
    pub access: Access,
    /// What it is.
    pub memory: Memory,
}

/// Calls back with operands of one access at a time; keeps the table below readable.
struct Visitor<'a>(&'a mut dyn FnMut(Operand));

impl Visitor<'_> {
    fn visit(&mut self, access: Access, tensors: &[(&'static str, Tensor)]) -> &mut Self {
        for &(name, tensor) in tensors {
            (self.0)(Operand { name, access, memory: Memory::Tensor(tensor) });
        }
        self
    }

    fn write(&mut self, tensors: &[(&'static str, Tensor)]) -> &mut Self {
        self.visit(Access::Write, tensors)
    }

    fn update(&mut self, tensors: &[(&'static str, Tensor)]) -> &mut Self {
        self.visit(Access::Update, tensors)
    }

    fn read(&mut self, tensors: &[(&'static str, Tensor)]) -> &mut Self {
        self.visit(Access::Read, tensors)
    }

    fn weight(&mut self, name: &'static str, weight: Weight) -> &mut Self {
        (self.0)(Operand { name, access: Access::Read, memory: Memory::Weight(weight) });
        self
    }

    fn cache(&mut self, access: Access, cache: KvCache) -> &mut Self {
        (self.0)(Operand { name: "cache", access, memory: Memory::Cache(cache) });
        self
    }

    fn norm(&mut self, norm: Option<Norm>) -> &mut Self {
        if let Some(norm) = norm {
            self.read(&[("norm.weight", norm.weight)]);
        }
        self
    }

    fn rope_kv(&mut self, rope_kv: RopeKv) -> &mut Self {
        let RopeKv { norms, positions, table, slots } = rope_kv;
        if let Some([q, k]) = norms {
            self.read(&[("norms.q.weight", q.weight), ("norms.k.weight", k.weight)]);
        }
        self.read(&[("positions", positions), ("table", table), ("slots", slots)])
    }

    fn meta(&mut self, meta: AttentionMeta) -> &mut Self {
        self.read(&[
            ("meta.cu_seqlens", meta.cu_seqlens),
            ("meta.context_lens", meta.context_lens),
            ("meta.block_tables", meta.block_tables),
        ])
    }
}

impl Op {
    /// Calls `visit` with every operand, outputs first, in the order of the op's fields.
    pub fn for_each_operand(&self, visit: &mut dyn FnMut(Operand)) {
        let mut v = Visitor(visit);
        match *self {
            Self::Embed { out, ids, table } => {
                v.write(&[("out", out)]).read(&[("ids", ids)]).weight("table", table)
            }
            Self::RmsNorm { out, x, norm } => {
                v.write(&[("out", out)]).read(&[("x", x)]).norm(Some(norm))
            }
            Self::HeadNorm { x, norm } => v.update(&[("x", x)]).norm(Some(norm)),
            Self::Matmul { out, x, weight, bias, norm, epilogue } => {
                let access = match epilogue {
                    Epilogue::Add => Access::Update,
                    Epilogue::Store | Epilogue::SiluMul => Access::Write,
                };
                v.visit(access, &[("out", out)]).read(&[("x", x)]).weight("weight", weight);
                v.read(bias.map(|bias| ("bias", bias)).as_slice()).norm(norm)
            }
            Self::Rope { x, positions, table, .. } => {
                v.update(&[("x", x)]).read(&[("positions", positions), ("table", table)])
            }
            Self::WriteKv { cache, k, v: value, slots } => {
                v.cache(Access::Update, cache).read(&[("k", k), ("v", value), ("slots", slots)])
            }
            Self::RopeKv { qkv, cache, norms, positions, table, slots } => {
                v.update(&[("qkv", qkv)]).cache(Access::Update, cache);
                v.rope_kv(RopeKv { norms, positions, table, slots })
            }
            Self::Attention { out, q, cache, rope_kv: Some(rope_kv), meta, .. } => {
                v.write(&[("out", out)]).visit(Access::Consume, &[("q", q)]);
                v.cache(Access::Update, cache).rope_kv(rope_kv).meta(meta)
            }
            Self::Attention { out, q, cache, rope_kv: None, meta, .. } => {
                v.write(&[("out", out)]).read(&[("q", q)]).cache(Access::Read, cache).meta(meta)
            }
            Self::SiluMul { out, gate_up } => {
                v.write(&[("out", out)]).read(&[("gate_up", gate_up)])
            }
            Self::Add { out, x } => v.update(&[("out", out)]).read(&[("x", x)]),
            Self::Gather { out, x, rows } => {
                v.write(&[("out", out)]).read(&[("x", x), ("rows", rows)])
            }
            Self::MoeRoute { ids, weights, logits, .. } => {
                v.write(&[("ids", ids), ("weights", weights)]).read(&[("logits", logits)])
            }
            Self::MoeGateUp { out, x, weight, ids, .. } => {
                v.write(&[("out", out)]).read(&[("x", x)]).weight("weight", weight);
                v.read(&[("ids", ids)])
            }
            Self::MoeDown { out, x, weight, ids, weights, .. } => {
                v.update(&[("out", out)]).read(&[("x", x)]).weight("weight", weight);
                v.read(&[("ids", ids), ("weights", weights)])
            }
            Self::Sample { out, logits, params } => {
                v.write(&[("out", out)]).read(&[("logits", logits), ("params", params)])
            }
        };
    }

    /// Every operand, outputs first, in the order of the op's fields.
    #[must_use]
    pub fn operands(&self) -> Vec<Operand> {
        let mut operands = Vec::new();
        self.for_each_operand(&mut |operand| operands.push(operand));
        operands
    }

    /// Writes what is not memory: ` eps=1e-5`, ` scale=0.125`.
    fn fmt_scalars(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RmsNorm { norm, .. } | Self::HeadNorm { norm, .. } => fmt_norm(f, norm),
            Self::Matmul { norm, epilogue, .. } => {
                norm.map_or(Ok(()), |norm| fmt_norm(f, norm))?;
                match epilogue {
                    Epilogue::Store => Ok(()),
                    Epilogue::Add => f.write_str(" +="),
                    Epilogue::SiluMul => f.write_str(" silu_mul"),
                }
            }
            Self::Rope { head_dim, .. } => write!(f, " head_dim={head_dim}"),
            Self::RopeKv { norms, .. } => norms.iter().flatten().try_for_each(|n| fmt_norm(f, *n)),
            Self::Attention { rope_kv, meta, scale, window, .. } => {
                let norms = rope_kv.iter().filter_map(|rope_kv| rope_kv.norms).flatten();
                norms.into_iter().try_for_each(|norm| fmt_norm(f, norm))?;
                f.write_str(if meta.decode { " decode" } else { " mixed" })?;
                write!(f, " scale={scale}")?;
                window.map_or(Ok(()), |window| write!(f, " window={window}"))
            }
            Self::MoeRoute { renormalize, .. } => write!(f, " renormalize={renormalize}"),
            Self::MoeGateUp { num_experts, .. } | Self::MoeDown { num_experts, .. } => {
                write!(f, " num_experts={num_experts}")
            }
            _ => Ok(()),
        }
    }
}

fn fmt_norm(f: &mut fmt::Formatter<'_>, norm: Norm) -> fmt::Result {
    write!(f, " eps={:e}", norm.eps)
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(tensor) => tensor.fmt(f),
            Self::Weight(weight) => weight.fmt(f),
            Self::Cache(cache) => cache.fmt(f),
        }
    }
}

/// One line: the name, every operand, then the scalars.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        for Operand { name, memory, .. } in self.operands() {
            write!(f, " {name}={memory}")?;
        }
        self.fmt_scalars(f)
    }
}

#[cfg(test)]
mod tests;
