//! Products with weights: what happens before and after [`Workers::matmul_t`].

use std::ops::Range;

use tintype_ops::Epilogue;

use crate::activation::SILU_COST;
use crate::norm::RmsNorm;
use crate::parallel::Workers;
use crate::scratch::{Reusable, Scratch};
use crate::simd::Simd;
use crate::view::{FloatMatrix, RowMut};
use crate::weights::WeightStore;

/// Elements of a product that are kept at a time; a larger one is computed in blocks of tokens.
const MAX_PRODUCT: usize = 1 << 24;

/// Fewest tokens in such a block: enough for reading the weights once a block to cost little.
const MIN_TOKENS: usize = 64;

/// Rows of an output that one task finishes: a cache line of the transposed product.
const TILE_ROWS: usize = 16;

/// Columns that are transposed at a time, so that a tile stays in the first-level cache.
const TILE_COLS: usize = 128;

/// Columns that are read together. Those of a large batch lie a power of two apart and share few
/// sets of the cache: no more of them than a set has ways.
const STRIP: usize = 8;

/// The inputs of [`tintype_ops::Op::Matmul`].
pub(crate) struct Matmul<'a> {
    pub(crate) x: FloatMatrix<'a>,
    pub(crate) weight: &'a WeightStore,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) norm: Option<RmsNorm>,
    pub(crate) epilogue: Epilogue,
}

/// `y = norm(x) · weightᵀ + bias`, then the epilogue.
///
/// Tokens are cut into blocks by their number alone, so that a row's bits depend on its content,
/// its place and the size of the batch, and not on other rows.
pub(crate) fn matmul(
    workers: Workers<'_>,
    scratch: &mut Scratch,
    mut out: Vec<RowMut<'_>>,
    op: &Matmul<'_>,
) {
    let (rows, cols) = (op.weight.rows(), op.weight.cols());
    let max_block = (MAX_PRODUCT / rows).max(MIN_TOKENS);
    let block = out.len().div_ceil(out.len().div_ceil(max_block));
    let Scratch { x, y_t, matmul, .. } = scratch;
    let x = prologue(workers, x, op);
    for (out, x) in out.chunks_mut(block).zip(x.chunks(block * cols)) {
        let n = out.len();
        let y_t = y_t.get(rows * n);
        workers.matmul_t(x, n, op.weight, 0..rows, y_t, matmul);
        let product = Product { y_t, n, bias: op.bias };
        finish(workers, out, &product, op.epilogue);
    }
}

/// The input in f32, normalised: borrowed where that is how it lies in memory.
fn prologue<'a>(workers: Workers<'_>, scratch: &'a mut Reusable, op: &Matmul<'a>) -> &'a [f32] {
    let (x, norm) = (op.x, op.norm.as_ref());
    if let (Some(x), None) = (x.as_contiguous_f32(), norm) {
        return x;
    }
    let (n, cols) = (x.num_rows(), x.num_cols());
    let packed = scratch.get(n * cols);
    let rows = packed.chunks_exact_mut(cols).collect();
    workers.for_each(rows, n * cols, |scratch: &mut Vec<f32>, i, out| match norm {
        Some(norm) => norm.apply(workers.simd, out, x.row(workers.simd, i, scratch)),
        None => x.read_row(workers.simd, i, out),
    });
    packed
}

/// `y`, as [`Workers::matmul_t`] leaves it.
pub(crate) struct Product<'a> {
    /// `[rows of the weight, n]`.
    pub(crate) y_t: &'a [f32],
    pub(crate) n: usize,
    pub(crate) bias: Option<&'a [f32]>,
}

impl Product<'_> {
    fn num_cols(&self) -> usize {
        self.y_t.len() / self.n
    }

    /// Copies columns `cols` of the rows `tokens` of `y` into `tile`, which has a row of
    /// [`TILE_COLS`] for each token.
    fn read(&self, tokens: Range<usize>, cols: Range<usize>, tile: &mut [f32]) {
        let Self { y_t, n, .. } = *self;
        let columns = &y_t[cols.start * n..cols.end * n];
        for (strip, columns) in columns.chunks(STRIP * n).enumerate() {
            // A strip that is not full repeats its last column; nothing reads the copies.
            let last = columns.len() / n - 1;
            let columns: [&[f32]; STRIP] =
                std::array::from_fn(|i| &columns[i.min(last) * n..][tokens.clone()]);
            let rows = tile.chunks_exact_mut(TILE_COLS);
            for (t, row) in rows.take(tokens.len()).enumerate() {
                let values: [f32; STRIP] = std::array::from_fn(|i| columns[i][t]);
                row[strip * STRIP..][..STRIP].copy_from_slice(&values);
            }
        }
        if let Some(bias) = self.bias {
            for row in tile.chunks_exact_mut(TILE_COLS) {
                for (y, bias) in row.iter_mut().zip(&bias[cols.clone()]) {
                    *y += bias;
                }
            }
        }
    }
}

/// Stores the first `out.len()` rows of `y` as the epilogue says, each element rounded once.
pub(crate) fn finish(
    workers: Workers<'_>,
    out: &mut [RowMut<'_>],
    product: &Product<'_>,
    epilogue: Epilogue,
) {
    let (cols, unit) = match epilogue {
        Epilogue::Store | Epilogue::Add => (product.num_cols(), 1),
        Epilogue::SiluMul => (product.num_cols() / 2, 2 * SILU_COST),
    };
    let cost = unit * out.len() * cols;
    let per_thread = out.len().div_ceil(workers.pool.current_num_threads());
    let group = per_thread.clamp(1, TILE_ROWS);
    let groups = out.chunks_mut(group).collect();
    workers.for_each(groups, cost, |tile: &mut Tile, i, rows: &mut [RowMut<'_>]| {
        let tokens = i * group..i * group + rows.len();
        for start in (0..cols).step_by(TILE_COLS) {
            let cols = start..(start + TILE_COLS).min(cols);
            tile.read(product, tokens.clone(), cols.clone(), epilogue);
            tile.write(workers.simd, rows, cols, epilogue);
        }
    });
}

/// A piece of a product, transposed, on its way to the output.
#[derive(Default)]
struct Tile {
    /// `[TILE_ROWS, TILE_COLS]`: `y`, or the gate of it.
    y: Reusable,
    up: Reusable,
    out: Vec<f32>,
}

impl Tile {
    fn read(
        &mut self,
        product: &Product<'_>,
        tokens: Range<usize>,
        cols: Range<usize>,
        epilogue: Epilogue,
    ) {
        let len = tokens.len() * TILE_COLS;
        product.read(tokens.clone(), cols.clone(), self.y.get(len));
        if epilogue == Epilogue::SiluMul {
            let half = product.num_cols() / 2;
            product.read(tokens, half + cols.start..half + cols.end, self.up.get(len));
        }
    }

    /// Finishes columns `cols` of `rows`.
    fn write(
        &mut self,
        simd: Simd,
        rows: &mut [RowMut<'_>],
        cols: Range<usize>,
        epilogue: Epilogue,
    ) {
        for (i, row) in rows.iter_mut().enumerate() {
            let range = i * TILE_COLS..i * TILE_COLS + cols.len();
            let (mut row, y) = (row.columns(cols.clone()), &self.y.as_slice()[range.clone()]);
            match epilogue {
                Epilogue::Store => row.store(simd, y),
                Epilogue::Add => {
                    row.update(simd, &mut self.out, |values| simd.axpy(values, 1.0, y));
                }
                Epilogue::SiluMul => {
                    let up = &self.up.as_slice()[range];
                    row.write(simd, &mut self.out, |values| simd.silu_mul(values, y, up));
                }
            }
        }
    }
}
