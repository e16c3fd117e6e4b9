//! Cutting a batch into tasks, after checking every value that they rely on.

use std::ops::Range;

use tintype_ops::{Error, Result};

use super::{Attention, TASK_ROWS};
use crate::device_value::checked_index;

/// A block of query tokens of one sequence, and one KV head.
pub(super) struct Task<'a> {
    pub(super) kv_head: usize,
    /// Row of `q` that holds the first token.
    pub(super) first_row: usize,
    pub(super) num_tokens: usize,
    /// Position of the first token in its sequence.
    pub(super) first_position: usize,
    /// Physical blocks of the sequence; checked as far as the task reads them.
    pub(super) block_table: &'a [i32],
    /// `[num_tokens, group * head_dim]`.
    pub(super) out: &'a mut [f32],
}

/// The tasks of a batch and what they cost together, in element operations. `out` is
/// `[num_kv_heads, n, group * head_dim]`; rows that no task writes are filled with zeros.
pub(super) fn plan<'a>(op: &Attention<'a>, out: &'a mut [f32]) -> Result<(Vec<Task<'a>>, usize)> {
    let sequences =
        (0..op.context_lens.num_rows()).filter_map(|i| Sequence::new(op, i).transpose());
    let sequences = sequences.collect::<Result<Vec<_>>>()?;
    let width = op.group() * op.head_dim();
    let max_tokens = (TASK_ROWS / op.group()).max(1);
    let mut tasks = Vec::new();
    for (kv_head, mut rest) in out.chunks_exact_mut(op.q.num_rows() * width).enumerate() {
        let mut row = 0;
        let mut cut = |rows: usize| rest.split_off_mut(..rows * width).unwrap_or_default();
        for sequence in &sequences {
            cut(sequence.rows.start - row).fill(0.0);
            row = sequence.rows.end;
            for first_row in sequence.rows.clone().step_by(max_tokens) {
                let num_tokens = max_tokens.min(row - first_row);
                tasks.push(Task {
                    kv_head,
                    first_row,
                    num_tokens,
                    first_position: sequence.context_len + first_row - row,
                    block_table: op.block_tables.row(sequence.index),
                    out: cut(num_tokens),
                });
            }
        }
        rest.fill(0.0);
    }
    let cost = sequences.iter().map(|s| 2 * s.rows.len() * s.context_len * op.q.num_cols()).sum();
    Ok((tasks, cost))
}

/// A sequence that has something to compute.
struct Sequence {
    index: usize,
    /// Its rows of `q`.
    rows: Range<usize>,
    context_len: usize,
}

impl Sequence {
    /// `None` for padding.
    fn new(op: &Attention<'_>, index: usize) -> Result<Option<Self>> {
        let rows = rows_of(op, index)?;
        let block_size = op.cache.block_size as usize;
        let capacity = op.block_tables.num_cols() * block_size;
        let len = op.context_lens.row(index)[0];
        let context_len = checked_index("attention", index, "context length", len, capacity + 1)?;
        if rows.is_empty() || context_len == 0 {
            return Ok(None);
        }
        let Some(first_position) = context_len.checked_sub(rows.len()) else {
            let tokens = rows.len();
            return fail(format!("row {index} has {tokens} tokens but a context length of {len}"));
        };
        let blocks = op.first_key(first_position) / block_size..context_len.div_ceil(block_size);
        for block in blocks {
            let entry = op.block_tables.row(index)[block];
            let what = format_args!("block_tables[{block}] =");
            checked_index("attention", index, what, entry, op.cache.num_blocks as usize)?;
        }
        Ok(Some(Self { index, rows, context_len }))
    }
}

/// The rows of `q` that a sequence owns. In a decode batch they are not read from memory.
fn rows_of(op: &Attention<'_>, index: usize) -> Result<Range<usize>> {
    if op.decode {
        return Ok(index..index + 1);
    }
    let bound = |i: usize| {
        let value = op.cu_seqlens.row(i)[0];
        checked_index("attention", i, "cu_seqlens", value, op.q.num_rows() + 1)
    };
    let rows = bound(index)?..bound(index + 1)?;
    if rows.start > rows.end || (index == 0 && rows.start != 0) {
        let Range { start, end } = rows;
        return fail(format!("cu_seqlens has {start}, {end} at row {index}; it ascends from 0"));
    }
    Ok(rows)
}

fn fail<T>(what: String) -> Result<T> {
    Err(Error::InvalidOp { op: "attention", what })
}
