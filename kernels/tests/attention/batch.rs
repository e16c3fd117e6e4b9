//! Batches of sequences over a paged cache, and what attention must give for them.

use tintype_kernels::params::{AttentionParams, BF16, F16, I32, PagedCache, View};

use crate::chip::{AMPERE, Chip, HOPPER, Kernel, decode, round};

/// An entry of a block table that must not be read: it lies far outside of any cache.
const UNUSED: i32 = i32::MAX;
/// Multiplies `q · k`.
const SCALE: f32 = 0.3;

/// A batch. Queries, keys and values follow from `seed`.
#[derive(Clone, Copy)]
pub(crate) struct Case<'a> {
    pub(crate) q_dtype: u32,
    pub(crate) cache_dtype: u32,
    pub(crate) out_dtype: u32,
    pub(crate) num_kv_heads: u32,
    pub(crate) group: u32,
    pub(crate) head_dim: u32,
    pub(crate) block_size: u32,
    pub(crate) window: Option<u32>,
    /// Query tokens and context length of each sequence.
    pub(crate) sequences: &'a [(u32, u32)],
    pub(crate) decode: bool,
    /// Rows of no sequence at the end.
    pub(crate) padding: u32,
    /// Elements between the rows of queries, and of the output.
    pub(crate) gap: u32,
    pub(crate) seed: u32,
}

pub(crate) const CASE: Case<'static> = Case {
    q_dtype: BF16,
    cache_dtype: BF16,
    out_dtype: BF16,
    num_kv_heads: 1,
    group: 4,
    head_dim: 64,
    block_size: 16,
    window: None,
    sequences: &[(1, 5), (1, 40)],
    decode: true,
    padding: 0,
    gap: 0,
    seed: 1,
};

/// A case in the memory of a chip.
pub(crate) struct Batch<'a> {
    pub(crate) case: Case<'a>,
    pub(crate) params: AttentionParams,
    queries: Vec<Vec<f32>>,
    /// For each sequence, `[token][kv_head * head_dim]`, as stored.
    keys: Vec<Vec<Vec<f32>>>,
    values: Vec<Vec<Vec<f32>>>,
}

impl<'a> Case<'a> {
    pub(crate) fn with_dtype(self, dtype: u32) -> Self {
        Self { q_dtype: dtype, cache_dtype: dtype, out_dtype: dtype, ..self }
    }

    pub(crate) fn num_rows(&self) -> u32 {
        self.sequences.iter().map(|(tokens, _)| tokens).sum::<u32>() + self.padding
    }

    fn kv_width(&self) -> u32 {
        self.num_kv_heads * self.head_dim
    }

    /// A number between -1 and 1.
    fn noise(&self, what: usize, row: usize, col: usize) -> f32 {
        let mixed = (self.seed as usize * 31 + what) * 1_299_709 + row * 7919 + col * 104_729;
        let mixed = (mixed as u32).wrapping_mul(2_654_435_761) >> 8;
        mixed as f32 / (1 << 23) as f32 - 1.0
    }

    fn noisy_row(&self, what: usize, row: usize, cols: u32, dtype: u32) -> Vec<f32> {
        (0..cols as usize).map(|col| round(dtype, 2.0 * self.noise(what, row, col))).collect()
    }

    /// Blocks from the back, so that no table is in order; none that every query has left behind.
    fn block_tables(&self, num_blocks: u32, max_blocks: u32) -> Vec<Vec<i32>> {
        let mut free = num_blocks;
        let table = |&(tokens, len): &(u32, u32)| {
            let first_seen = self.first_seen((len + 1).saturating_sub(tokens).max(1));
            let entry = |block| {
                if block >= len.div_ceil(self.block_size) {
                    return UNUSED;
                }
                free -= 1;
                if block < first_seen / self.block_size { UNUSED } else { free as i32 }
            };
            (0..max_blocks).map(entry).collect()
        };
        self.sequences.iter().map(table).collect()
    }

    /// The first key that a query with `end` keys before its own end sees.
    fn first_seen(&self, end: u32) -> u32 {
        self.window.map_or(0, |window| end.saturating_sub(window))
    }

    pub(crate) fn build(self, chip: &Chip) -> Batch<'a> {
        let blocks_of = |len: u32| len.div_ceil(self.block_size);
        let num_blocks = 1 + self.sequences.iter().map(|(_, len)| blocks_of(*len)).sum::<u32>();
        let max_blocks = self.sequences.iter().map(|(_, len)| blocks_of(*len)).max().unwrap() + 1;
        let tables = self.block_tables(num_blocks, max_blocks);
        let (rows, width) = (self.num_rows(), self.group * self.kv_width());
        let q = chip.alloc(self.q_dtype, rows, width, width + self.gap);
        let queries: Vec<_> =
            (0..rows).map(|row| self.noisy_row(0, row as usize, width, self.q_dtype)).collect();
        for (row, query) in queries.iter().enumerate() {
            chip.write_row(q, row as u32, query);
        }
        let side = |what| self.fill(chip, what, num_blocks, &tables);
        let ((k, keys), (v, values)) = (side(1), side(2));
        let ints = |values: &[i32], cols| {
            let address = chip.hold(bytemuck::cast_slice(values));
            View { address, stride: cols, dtype: I32 }
        };
        let mut starts = vec![0];
        for (tokens, _) in self.sequences {
            starts.push(starts[starts.len() - 1] + *tokens as i32);
        }
        let lens: Vec<_> = self.sequences.iter().map(|(_, len)| *len as i32).collect();
        let params = AttentionParams {
            out: chip.alloc(self.out_dtype, rows, width, width + self.gap),
            q,
            cache: PagedCache {
                k,
                v,
                num_blocks,
                block_size: self.block_size,
                num_kv_heads: self.num_kv_heads,
                head_dim: self.head_dim,
                dtype: self.cache_dtype,
                group: self.group,
            },
            // A decode batch must not read them.
            cu_seqlens: if self.decode { View { address: 0, ..q } } else { ints(&starts, 1) },
            context_lens: ints(&lens, 1),
            block_tables: ints(&tables.concat(), max_blocks),
            partials: chip.alloc(I32, 1, 1 << 16, 0).address,
            scale_log2: SCALE * std::f32::consts::LOG2_E,
            window: self.window.unwrap_or(u32::MAX),
            num_rows: rows,
            num_seqs: self.sequences.len() as u32,
            max_blocks,
            decode: self.decode.into(),
            partitions: 1,
            heads: self.group,
        };
        Batch { case: self, params, queries, keys, values }
    }

    /// Puts every sequence's keys, or values, in the blocks of its table that exist. All other
    /// memory of the cache stays as it is: full of NaN.
    fn fill(
        &self,
        chip: &Chip,
        what: usize,
        num_blocks: u32,
        tables: &[Vec<i32>],
    ) -> (u64, Vec<Vec<Vec<f32>>>) {
        let heads = num_blocks * self.num_kv_heads * self.block_size;
        let side = chip.alloc(self.cache_dtype, heads, self.head_dim, self.head_dim);
        let mut all = Vec::new();
        for (sequence, &(_, len)) in self.sequences.iter().enumerate() {
            let row = |token: u32| {
                let row = sequence * 1000 + token as usize;
                self.noisy_row(what, row, self.kv_width(), self.cache_dtype)
            };
            let rows: Vec<_> = (0..len).map(row).collect();
            for (token, row) in (0u32..).zip(&rows) {
                let block = tables[sequence][(token / self.block_size) as usize];
                if block == UNUSED {
                    continue;
                }
                for (head, values) in (0u32..).zip(row.chunks_exact(self.head_dim as usize)) {
                    let first = (block as u32 * self.num_kv_heads + head) * self.block_size;
                    chip.write_row(side, first + token % self.block_size, values);
                }
            }
            all.push(rows);
        }
        (side.address, all)
    }
}

impl Batch<'_> {
    /// What attention must give, row by row.
    pub(crate) fn expected(&self) -> Vec<Vec<f64>> {
        let (case, mut rows) = (self.case, Vec::new());
        for (sequence, &(tokens, len)) in case.sequences.iter().enumerate() {
            for token in 0..tokens {
                let q = &self.queries[rows.len()];
                if len == 0 {
                    rows.push(vec![0.0; q.len()]);
                    continue;
                }
                let end = len - tokens + token + 1;
                let heads = q.chunks_exact(case.head_dim as usize).enumerate();
                let attend = |(head, q)| self.attend(q, head as u32 / case.group, sequence, end);
                rows.push(heads.flat_map(attend).collect());
            }
        }
        let width = (case.group * case.kv_width()) as usize;
        rows.resize(case.num_rows() as usize, vec![0.0; width]);
        rows
    }

    fn attend(&self, q: &[f32], kv_head: u32, sequence: usize, end: u32) -> Vec<f64> {
        let dim = q.len();
        let head = |row: &[f32]| row[kv_head as usize * dim..][..dim].to_vec();
        let seen = self.case.first_seen(end) as usize..end as usize;
        let weight = |key: &Vec<f32>| {
            let products = head(key).into_iter().zip(q).map(|(k, &q)| f64::from(k) * f64::from(q));
            (products.sum::<f64>() * f64::from(SCALE)).exp()
        };
        let weights: Vec<_> = self.keys[sequence][seen.clone()].iter().map(weight).collect();
        let sum: f64 = weights.iter().sum();
        let mut out = vec![0.0; dim];
        for (weight, value) in weights.iter().zip(&self.values[sequence][seen]) {
            for (out, v) in out.iter_mut().zip(head(value)) {
                *out += weight / sum * f64::from(v);
            }
        }
        out
    }

    /// Bytes of each row of the output.
    pub(crate) fn output(&self, chip: &Chip) -> Vec<Vec<u8>> {
        let width = self.case.group * self.case.kv_width();
        (0..self.case.num_rows()).map(|row| chip.read_row(self.params.out, row, width)).collect()
    }

    /// Fails unless the output is what it must be, up to the rounding of weights and results.
    pub(crate) fn assert_right(&self, chip: &Chip, what: &str) {
        let tolerance = match (self.case.out_dtype, self.case.q_dtype) {
            (BF16, _) | (_, BF16) => 2.0 / 128.0,
            (F16, _) | (_, F16) => 2.0 / 1024.0,
            _ => 5e-5,
        };
        for (row, (found, expected)) in self.output(chip).iter().zip(self.expected()).enumerate() {
            let found = decode(self.case.out_dtype, found);
            for (col, (found, expected)) in found.into_iter().zip(expected).enumerate() {
                let error = (f64::from(found) - expected).abs();
                let fits = if expected == 0.0 { error == 0.0 } else { error <= tolerance };
                assert!(fits, "{what}: row {row} column {col} is {found}, expected {expected}");
            }
        }
    }

    /// Makes these rows' queries NaN; the output is as if it had never been written.
    pub(crate) fn poison_queries(&self, chip: &Chip, rows: &[u32]) {
        let nan = vec![f32::NAN; (self.case.group * self.case.kv_width()) as usize];
        for row in rows {
            chip.write_row(self.params.q, *row, &nan);
        }
        for row in 0..self.case.num_rows() {
            chip.write_row(self.params.out, row, &nan);
        }
    }
}

/// Calls `test` with a chip of each kind.
pub(crate) fn on_each_chip(test: impl Fn(&Chip)) {
    for kind in [AMPERE, HOPPER] {
        test(&Chip::new(kind));
    }
}

/// How a kernel that splits keys is launched.
#[derive(Clone, Copy)]
pub(crate) struct Split {
    pub(crate) cluster: u32,
    pub(crate) partitions: u32,
    pub(crate) warps: u32,
}

pub(crate) const ALONE: Split = Split { cluster: 1, partitions: 1, warps: 2 };

impl Split {
    /// The launches of kernel `name` for `num_items` queries, and of what merges partitions.
    pub(crate) fn kernels(
        self,
        name: &'static str,
        batch: &Batch<'_>,
        num_items: u32,
        max_heads: u32,
    ) -> Vec<Kernel> {
        let case = batch.case;
        let heads = case.group.div_ceil(case.group.div_ceil(max_heads));
        let pairs = num_items * case.num_kv_heads * case.group.div_ceil(heads);
        let size = heads * case.head_dim.next_multiple_of(8);
        let slice = 4 * (size / 4).div_ceil(self.cluster);
        let by_row = name == "attention_any";
        // A row's queries, or keys and values of two tiles for each warp.
        let tiles = self.warps * 2 * 16 * case.head_dim.next_power_of_two().max(64);
        let inputs = if by_row { size } else { tiles };
        let clusters = if self.cluster > 1 { self.cluster * (16 + slice) } else { 0 };
        let parts = self.warps * (16 + size) + clusters;
        let params = AttentionParams { heads, partitions: self.partitions, ..batch.params };
        let main = Kernel {
            name,
            blocks: pairs * self.cluster * self.partitions,
            threads: 32 * self.warps,
            cluster: self.cluster,
            shared_bytes: 4 * (inputs + parts),
            params,
        };
        let combine = Kernel {
            name: "attention_combine",
            blocks: pairs,
            threads: 64,
            cluster: 1,
            shared_bytes: 0,
            params,
        };
        if self.partitions > 1 { vec![main, combine] } else { vec![main] }
    }
}
