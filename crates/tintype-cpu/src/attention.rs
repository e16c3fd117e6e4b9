//! Paged attention, prefill and decode by one routine.
//!
//! A task is a block of query tokens of one sequence together with one KV head, whose query heads
//! are handled together. It walks over the sequence's keys in chunks: a chunk's keys and values
//! are gathered from the cache's blocks and converted once, then every query token attends to the
//! part of the chunk that it may see, with a running softmax.
//!
//! Chunks start at fixed positions of the sequence, and a token reads nothing outside its own
//! range. The bits of an output row therefore depend on its query, its position and the keys and
//! values that it sees: the same in prefill and in decode, however the batch is composed.

mod gather;
mod kernel;
mod plan;
mod rows;

#[cfg(test)]
mod tests;

use tintype_ops::{KvCache, Result};

use self::gather::Chunk;
use self::plan::{Task, plan};
use self::rows::Rows;
use crate::parallel::Workers;
use crate::scratch::Scratch;
use crate::view::{FloatMatrix, Floats, Matrix, RowMut};

/// Keys that are gathered at a time.
const CHUNK: usize = 64;

/// Query rows (tokens × heads of a KV head) that share a gathered chunk.
const TASK_ROWS: usize = 128;

/// Heads are padded with zeros to a multiple of this many elements, so that every row is whole
/// vectors at every SIMD level.
const PADDING: usize = 16;

/// The inputs of [`tintype_ops::Op::Attention`].
pub(crate) struct Attention<'a> {
    pub(crate) q: FloatMatrix<'a>,
    pub(crate) k: Floats<'a>,
    pub(crate) v: Floats<'a>,
    pub(crate) cache: KvCache,
    pub(crate) cu_seqlens: Matrix<'a, i32>,
    pub(crate) context_lens: Matrix<'a, i32>,
    pub(crate) block_tables: Matrix<'a, i32>,
    pub(crate) decode: bool,
    pub(crate) scale: f32,
    pub(crate) window: Option<u32>,
}

impl Attention<'_> {
    fn head_dim(&self) -> usize {
        self.cache.head_dim as usize
    }

    fn num_kv_heads(&self) -> usize {
        self.cache.num_kv_heads as usize
    }

    /// The first key that a query at `position` sees.
    fn first_key(&self, position: usize) -> usize {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window as usize))
    }

    /// Query heads of one KV head.
    fn group(&self) -> usize {
        self.q.num_cols() / self.head_dim() / self.num_kv_heads()
    }
}

/// Causal attention of each query token; zeros for tokens of no sequence.
///
/// # Errors
/// When `cu_seqlens`, a context length or an entry of a block table that is needed is out of
/// range; nothing is written then.
pub(crate) fn attention(
    workers: Workers<'_>,
    scratch: &mut Scratch,
    out: Vec<RowMut<'_>>,
    op: &Attention<'_>,
) -> Result<()> {
    let n = out.len();
    let width = op.group() * op.head_dim();
    // [num_kv_heads, n, width], so that a task's rows are one piece of it.
    let heads_out = scratch.out.get(op.num_kv_heads() * n * width);
    let (tasks, cost) = plan(op, heads_out)?;
    workers.for_each(tasks, cost, |task_scratch: &mut TaskScratch, _, task| {
        task_scratch.run(workers, op, task);
    });
    let heads_out = &*heads_out;
    workers.for_each(out, heads_out.len(), |(): &mut (), i, mut row| {
        for (head, values) in heads_out.chunks_exact(n * width).enumerate() {
            row.columns(head * width..(head + 1) * width)
                .store(workers.simd, &values[i * width..][..width]);
        }
    });
    Ok(())
}

/// What a task computes in; threads reuse it from task to task.
#[derive(Default)]
struct TaskScratch {
    chunk: Chunk,
    rows: Rows,
}

impl TaskScratch {
    fn run(&mut self, workers: Workers<'_>, op: &Attention<'_>, task: Task<'_>) {
        self.rows.start(workers.simd, op, &task);
        let end = task.first_position + task.num_tokens;
        let mut start = op.first_key(task.first_position);
        while start < end {
            let keys = start..end.min(start - start % CHUNK + CHUNK);
            self.chunk.gather(workers.simd, op, &task, keys.clone());
            for token in 0..task.num_tokens {
                let position = task.first_position + token;
                let first = op.first_key(position).max(keys.start);
                let visible = first..keys.end.min(position + 1);
                if !visible.is_empty() {
                    let (k, v) = self.chunk.keys_and_values(visible);
                    self.rows.attend(workers.simd, token, k, v);
                }
            }
            start = keys.end;
        }
        self.rows.finish(task.out);
    }
}
