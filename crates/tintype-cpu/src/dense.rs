//! Products with weights: what happens before and after [`Workers::matmul_t`].

use tintype_ops::Epilogue;

use crate::activation::SILU_COST;
use crate::norm::RmsNorm;
use crate::parallel::Workers;
use crate::scratch::{Reusable, Scratch};
use crate::view::{FloatMatrix, RowMut};
use crate::weights::WeightStore;

/// Elements of a product that are kept at a time; a larger one is computed in blocks of tokens.
const MAX_PRODUCT: usize = 1 << 24;

/// Fewest tokens in such a block: enough for reading the weights once a block to cost little.
const MIN_BLOCK: usize = 64;

/// Rows of an output that one task finishes: a cache line of the transposed product.
const EPILOGUE_ROWS: usize = 16;

/// Columns that are transposed at a time, so that they stay in the first-level cache.
const EPILOGUE_COLS: usize = 128;

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
    let max_block = (MAX_PRODUCT / rows).max(MIN_BLOCK);
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
    fn num_rows(&self) -> usize {
        self.y_t.len() / self.n
    }

    /// Copies elements `start..start + out.len()` of `y[token]`.
    fn read(&self, token: usize, start: usize, out: &mut [f32]) {
        let column = self.y_t[start * self.n..].chunks_exact(self.n);
        for (out, row) in out.iter_mut().zip(column) {
            *out = row[token];
        }
        if let Some(bias) = self.bias {
            for (out, bias) in out.iter_mut().zip(&bias[start..]) {
                *out += bias;
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
        Epilogue::Store | Epilogue::Add => (product.num_rows(), 1),
        Epilogue::SiluMul => (product.num_rows() / 2, 2 * SILU_COST),
    };
    let cost = unit * out.len() * cols;
    let per_thread = out.len().div_ceil(workers.pool.current_num_threads());
    let group = per_thread.clamp(1, EPILOGUE_ROWS);
    let groups = out.chunks_mut(group).collect();
    workers.for_each(groups, cost, |scratch: &mut Tile, i, rows: &mut [RowMut<'_>]| {
        for start in (0..cols).step_by(EPILOGUE_COLS) {
            let end = (start + EPILOGUE_COLS).min(cols);
            for (token, row) in (i * group..).zip(rows.iter_mut()) {
                let out = row.columns(start..end);
                scratch.finish(workers, out, product, token, start..end, epilogue);
            }
        }
    });
}

/// A stretch of one row on its way to the output.
#[derive(Default)]
struct Tile {
    y: Vec<f32>,
    up: Vec<f32>,
    out: Vec<f32>,
}

impl Tile {
    /// Finishes columns `cols` of the row of `token`.
    fn finish(
        &mut self,
        workers: Workers<'_>,
        mut out: RowMut<'_>,
        product: &Product<'_>,
        token: usize,
        cols: std::ops::Range<usize>,
        epilogue: Epilogue,
    ) {
        let simd = workers.simd;
        self.y.resize(cols.len(), 0.0);
        product.read(token, cols.start, &mut self.y);
        match epilogue {
            Epilogue::Store => out.store(simd, &self.y),
            Epilogue::Add => {
                out.update(simd, &mut self.out, |values| simd.axpy(values, 1.0, &self.y))
            }
            Epilogue::SiluMul => {
                self.up.resize(cols.len(), 0.0);
                product.read(token, product.num_rows() / 2 + cols.start, &mut self.up);
                out.write(simd, &mut self.out, |values| simd.silu_mul(values, &self.y, &self.up));
            }
        }
    }
}
