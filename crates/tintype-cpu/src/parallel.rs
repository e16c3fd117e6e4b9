//! When to split work over the threads, and how.

use std::ops::Range;

use rayon::ThreadPool;
use rayon::prelude::*;

use crate::matmul::{MIN_PARALLEL_WORK, MatmulScratch, matmul_t};
use crate::simd::Simd;
use crate::weights::WeightStore;

/// Element operations below which a fork and join costs more than it saves: at some 4 of them
/// per nanosecond and thread, as long as waking the other threads takes.
const MIN_PARALLEL_COST: usize = 1 << 16;

/// The threads of a stream, and the instructions that they may use.
#[derive(Clone, Copy)]
pub(crate) struct Workers<'a> {
    pub(crate) pool: &'a ThreadPool,
    pub(crate) simd: Simd,
}

impl Workers<'_> {
    /// `y_t` as [`matmul_t`] gives it, on all threads where that pays.
    pub(crate) fn matmul_t(
        &self,
        x: &[f32],
        n: usize,
        weight: &WeightStore,
        rows: Range<usize>,
        y_t: &mut [f32],
        scratch: &mut MatmulScratch,
    ) {
        let work = x.len() * rows.len();
        let run = || matmul_t(self.simd, x, n, weight, rows, y_t, scratch);
        if work < MIN_PARALLEL_WORK { run() } else { self.pool.install(run) }
    }

    /// Calls `f` with every item and its index, on all threads where `cost` (in element
    /// operations, all items together) is worth it. Each item is handled by one thread from start
    /// to end, so results do not depend on the number of threads. `S` is scratch memory that
    /// items handled one after the other share.
    pub(crate) fn for_each<T: Send, S: Default>(
        &self,
        items: Vec<T>,
        cost: usize,
        f: impl Fn(&mut S, usize, T) + Sync,
    ) {
        let pays = cost >= MIN_PARALLEL_COST && items.len() > 1;
        if !pays || self.pool.current_num_threads() == 1 {
            let mut scratch = S::default();
            return items.into_iter().enumerate().for_each(|(i, item)| f(&mut scratch, i, item));
        }
        let min_len = items.len() / cost.div_ceil(MIN_PARALLEL_COST / 2).max(1);
        self.pool.install(|| {
            let items = items.into_par_iter().enumerate().with_min_len(min_len.max(1));
            items.for_each_init(S::default, |scratch, (i, item)| f(scratch, i, item));
        });
    }
}
