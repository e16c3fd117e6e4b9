//! Running one op: finds its operands in memory and hands them to the op's family.

use tintype_ops::{Op, Result, Tensor};

use crate::attention::{self, Attention};
use crate::dense::{self, Matmul};
use crate::memory::Memory;
use crate::moe::{self, Experts};
use crate::norm::{self, RmsNorm};
use crate::parallel::Workers;
use crate::scratch::Scratch;
use crate::view::{RowMut, float_rows_mut, rows_mut};
use crate::{activation, embed, kv, rope, sample};

/// Runs `op`, which was checked against its rule and against the bounds of `memory`.
///
/// # Errors
/// When a value that the op reads (a position, a slot, a block, ...) is out of its range.
pub(crate) fn execute(
    op: &Op,
    memory: &mut Memory,
    scratch: &mut Scratch,
    workers: Workers<'_>,
) -> Result<()> {
    match *op {
        Op::Embed { out, ids, table } => with_rows(memory, out, |out, memory| {
            embed::embed(workers, out, memory.i32s(ids), memory.weight(table));
        }),
        Op::RmsNorm { out, x, norm } => with_rows(memory, out, |out, memory| {
            let norm = RmsNorm::new(workers.simd, memory, norm);
            norm::rms_norm(workers, out, memory.floats(x), &norm);
        }),
        Op::HeadNorm { x, norm } => with_rows(memory, x, |rows, memory| {
            norm::head_norm(
                workers,
                rows,
                x.cols as usize,
                &RmsNorm::new(workers.simd, memory, norm),
            );
        }),
        Op::Rope { x, positions, table, head_dim } => with_rows(memory, x, |rows, memory| {
            let (positions, table) = (memory.i32s(positions), memory.f32s(table));
            rope::rope(workers, rows, x.cols as usize, positions, table, head_dim as usize)
        })?,
        Op::SiluMul { out, gate_up } => with_rows(memory, out, |out, memory| {
            activation::silu_mul(workers, out, memory.floats(gate_up));
        }),
        Op::Add { out, x } => with_rows(memory, out, |out, memory| {
            activation::add(workers, out, memory.floats(x));
        }),
        Op::Gather { out, x, rows } => with_rows(memory, out, |out, memory| {
            embed::gather(workers, out, memory.floats(x), memory.i32s(rows));
        }),
        Op::Sample { out, logits, params } => {
            let mut taken = memory.take([out.buffer]);
            let ([storage], memory) = taken.split();
            let out = rows_mut(storage, out).collect();
            sample::sample_rows(workers, out, memory.f32s(logits), memory.u32s(params));
        }
        Op::Matmul { .. } => matmul(op, memory, scratch, workers),
        Op::WriteKv { .. } => write_kv(op, memory, workers)?,
        // Each part runs over all rows: on the CPU a part is not worth a pass over memory saved.
        Op::RopeKv { .. } | Op::Attention { rope_kv: Some(_), .. } => {
            let parts = op.sequence();
            parts.iter().try_for_each(|part| execute(part, memory, scratch, workers))?;
        }
        Op::Attention { rope_kv: None, .. } => attend(op, memory, scratch, workers)?,
        Op::MoeRoute { .. } => route(op, memory, workers),
        Op::MoeGateUp { .. } | Op::MoeDown { .. } => experts(op, memory, scratch, workers)?,
    }
    Ok(())
}

/// Calls `run` with the rows of the output `out` and with all other memory.
fn with_rows<R>(
    memory: &mut Memory,
    out: Tensor,
    run: impl FnOnce(Vec<RowMut<'_>>, &Memory) -> R,
) -> R {
    let mut taken = memory.take([out.buffer]);
    let ([storage], memory) = taken.split();
    run(float_rows_mut(storage, out), memory)
}

fn matmul(op: &Op, memory: &mut Memory, scratch: &mut Scratch, workers: Workers<'_>) {
    let Op::Matmul { out, x, weight, bias, norm, epilogue } = *op else { return };
    with_rows(memory, out, |out, memory| {
        let mut bias_f32 = Vec::new();
        let op = Matmul {
            x: memory.floats(x),
            weight: memory.weight(weight),
            bias: bias.map(|bias| memory.floats(bias).row(workers.simd, 0, &mut bias_f32)),
            norm: norm.map(|norm| RmsNorm::new(workers.simd, memory, norm)),
            epilogue,
        };
        dense::matmul(workers, scratch, out, &op);
    });
}

fn write_kv(op: &Op, memory: &mut Memory, workers: Workers<'_>) -> Result<()> {
    let Op::WriteKv { cache, k, v, slots } = *op else { return Ok(()) };
    let mut taken = memory.take([cache.k, cache.v]);
    let (sides, memory) = taken.split();
    let rows = [memory.floats(k), memory.floats(v)];
    kv::write_kv(workers, sides.each_mut(), cache, rows, memory.i32s(slots))
}

fn attend(op: &Op, memory: &mut Memory, scratch: &mut Scratch, workers: Workers<'_>) -> Result<()> {
    let Op::Attention { out, q, cache, meta, scale, window, .. } = *op else { return Ok(()) };
    with_rows(memory, out, |out, memory| {
        let op = Attention {
            q: memory.floats(q),
            k: memory.cache_side(cache, cache.k),
            v: memory.cache_side(cache, cache.v),
            cache,
            cu_seqlens: memory.i32s(meta.cu_seqlens),
            context_lens: memory.i32s(meta.context_lens),
            block_tables: memory.i32s(meta.block_tables),
            decode: meta.decode,
            scale,
            window,
        };
        attention::attention(workers, scratch, out, &op)
    })
}

fn route(op: &Op, memory: &mut Memory, workers: Workers<'_>) {
    let Op::MoeRoute { ids, weights, logits, renormalize } = *op else { return };
    let mut taken = memory.take([ids.buffer, weights.buffer]);
    let ([ids_storage, weights_storage], memory) = taken.split();
    let ids = rows_mut(ids_storage, ids).collect();
    let weights = rows_mut(weights_storage, weights).collect();
    moe::route(workers, ids, weights, memory.floats(logits), renormalize);
}

fn experts(
    op: &Op,
    memory: &mut Memory,
    scratch: &mut Scratch,
    workers: Workers<'_>,
) -> Result<()> {
    let name = op.name();
    match *op {
        Op::MoeGateUp { out, x, weight, ids, num_experts } => {
            with_rows(memory, out, |out, memory| {
                let experts = Experts::new(name, memory, weight, ids, num_experts as usize);
                moe::gate_up(workers, scratch, out, memory.floats(x), &experts)
            })
        }
        Op::MoeDown { out, x, weight, ids, weights, num_experts } => {
            with_rows(memory, out, |out, memory| {
                let experts = Experts::new(name, memory, weight, ids, num_experts as usize);
                let (x, weights) = (memory.floats(x), memory.f32s(weights));
                moe::down(workers, scratch, out, x, weights, &experts)
            })
        }
        _ => Ok(()),
    }
}
