//! Many tokens: as fast as the arithmetic goes.
//!
//! A tile of `MR` rows by two vectors of tokens is kept in registers: for every column, two loads
//! of activations and `MR` broadcast weights make `2 * MR` multiply-adds. The loops around it
//! keep a block of converted weights in the second-level cache and a panel of activations in the
//! first. Blocks of columns are added up in order.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::element::Element;
use super::{Product, for_each_piece};
use crate::scratch::Reusable;
use crate::simd::{mul_add, prefetch};
use crate::weights::WeightStore;

/// Columns of a block: a panel of them, two vectors wide, takes half of a first-level cache.
const BLOCK_COLS: usize = 256;
/// Rows of a block: in f32 it takes a fraction of a second-level cache. A multiple of every `MR`.
const BLOCK_ROWS: usize = 192;
/// Tokens up to which a block is a single strip: then reading the weights counts, and they are
/// read in the order in which they lie, each strip while the one before is multiplied.
const MAX_STREAM_TOKENS: usize = 32;
/// Vectors of tokens in a panel.
const PANEL_VECTORS: usize = 2;

/// Columns that the innermost loop takes at a time.
const UNROLL: usize = 4;

/// `MR` rows of a block of weights.
type Strip<const MR: usize> = [[f32; BLOCK_COLS]; MR];

/// Computes `y_t` as [`super::matmul_t`] says.
pub(super) fn run<E: Element>(product: &Product<'_>, y_t: &mut [f32], x: &mut Reusable) {
    let Product { simd, n, w, ref rows, .. } = *product;
    let panel_tokens = PANEL_VECTORS * simd.f32_lanes();
    let panel_len = panel_tokens * w.cols();
    let panels = x.get(n.div_ceil(panel_tokens) * panel_len);
    for_each_piece(panels, panel_len, 1, product.x.len(), |first_panel, panels| {
        for (i, panel) in panels.chunks_exact_mut(panel_len).enumerate() {
            let first_token = (first_panel + i) * panel_tokens;
            let tokens = &product.x[first_token * w.cols()..];
            pack_panel(tokens, w.cols(), panel_tokens, panel);
        }
    });
    let panels = &*panels;
    for_each_piece(y_t, n, BLOCK_ROWS / 4, product.work(), |first_row, y_t| {
        let first_row = rows.start + first_row;
        simd.run(Rows::<E> { w, first_row, n, panels, y_t, element: PhantomData });
    });
}

/// Transposes the first tokens of `x` into `panel`: `[cols][panel_tokens]`, zeros where there is
/// no token.
fn pack_panel(x: &[f32], cols: usize, panel_tokens: usize, panel: &mut [f32]) {
    if x.len() < cols * panel_tokens {
        panel.fill(0.0);
    }
    for (t, x) in x.chunks_exact(cols).take(panel_tokens).enumerate() {
        for (out, x) in panel.chunks_exact_mut(panel_tokens).zip(x) {
            out[t] = *x;
        }
    }
}

/// Computes the rows from `first_row` that `y_t` has room for.
struct Rows<'a, E> {
    w: &'a WeightStore,
    first_row: usize,
    n: usize,
    panels: &'a [f32],
    y_t: &'a mut [f32],
    element: PhantomData<E>,
}

impl<E: Element> WithSimd for Rows<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            self.blocks::<S, 12>(simd);
        } else {
            self.blocks::<S, 6>(simd);
        }
    }
}

impl<E: Element> Rows<'_, E> {
    #[inline(always)]
    fn blocks<S: Simd, const MR: usize>(self, simd: S) {
        let Self { w, first_row, n, panels, y_t, .. } = self;
        let block_rows = if n <= MAX_STREAM_TOKENS { MR } else { BLOCK_ROWS };
        let mut strips: Vec<Strip<MR>> = vec![[[0.0; BLOCK_COLS]; MR]; block_rows / MR];
        let panel_len = PANEL_VECTORS * S::F32_LANES * w.cols();
        y_t.fill(0.0);
        for (i, y) in y_t.chunks_mut(block_rows * n).enumerate() {
            let row = first_row + i * block_rows;
            let rows = row..row + y.len() / n;
            for col in (0..w.cols()).step_by(BLOCK_COLS) {
                let cols = col..w.cols().min(col + BLOCK_COLS);
                if block_rows == MR {
                    prefetch_block::<E>(w, rows.end..w.rows().min(rows.end + MR), cols.clone());
                }
                convert_block::<E, MR>(w, rows.clone(), cols.clone(), &mut strips);
                for (p, panel) in panels.chunks_exact(panel_len).enumerate() {
                    let panel = S::as_simd_f32s(panel).0.as_chunks::<PANEL_VECTORS>().0;
                    let token = p * PANEL_VECTORS * S::F32_LANES;
                    add_panel(simd, &strips, &panel[cols.clone()], y, n, token);
                }
            }
        }
    }
}

/// Converts a block of weights into strips. Strips and rows that the block does not fill keep
/// what they had; nothing reads their products.
#[inline(always)]
fn convert_block<E: Element, const MR: usize>(
    w: &WeightStore,
    rows: Range<usize>,
    cols: Range<usize>,
    strips: &mut [Strip<MR>],
) {
    let stretches = w.stretches::<E>(rows);
    let rows = stretches.flat_map(|stretch| stretch.chunks_exact(w.cols()));
    for (out, row) in strips.as_flattened_mut().iter_mut().zip(rows) {
        for (out, element) in out.iter_mut().zip(&row[cols.clone()]) {
            *out = element.to_f32();
        }
    }
}

/// Asks for a block of weights.
#[inline(always)]
fn prefetch_block<E: Element>(w: &WeightStore, rows: Range<usize>, cols: Range<usize>) {
    for row in w.stretches::<E>(rows).flat_map(|stretch| stretch.chunks_exact(w.cols())) {
        prefetch(&row[cols.clone()]);
    }
}

/// Adds the products of a block of weights and a panel to columns `token..` of `y`, whose rows
/// have `n` elements.
#[inline(always)]
fn add_panel<S: Simd, const MR: usize>(
    simd: S,
    strips: &[Strip<MR>],
    panel: &[[S::f32s; PANEL_VECTORS]],
    y: &mut [f32],
    n: usize,
    token: usize,
) {
    let end = n.min(token + PANEL_VECTORS * S::F32_LANES);
    for (strip, y) in strips.iter().zip(y.chunks_mut(MR * n)) {
        let sums = tile(simd, strip, panel);
        let mut y = y.chunks_exact_mut(n);
        // Indexed by constants once it is unrolled; else the sums would live in memory.
        #[expect(clippy::needless_range_loop, reason = "see above")]
        for r in 0..MR {
            let Some(y) = y.next() else { break };
            add_sums(simd, sums[r], &mut y[token..end]);
        }
    }
}

/// The products of `MR` rows and a panel.
#[inline(always)]
fn tile<S: Simd, const MR: usize>(
    simd: S,
    strip: &Strip<MR>,
    panel: &[[S::f32s; PANEL_VECTORS]],
) -> [[S::f32s; PANEL_VECTORS]; MR] {
    let mut sums = [[simd.splat_f32s(0.0); PANEL_VECTORS]; MR];
    let (blocks, rest) = panel.as_chunks::<UNROLL>();
    for (i, x) in blocks.iter().enumerate().take(BLOCK_COLS / UNROLL) {
        #[expect(clippy::needless_range_loop, reason = "unrolled as the sums above")]
        for j in 0..UNROLL {
            add_col(simd, &mut sums, strip, i * UNROLL + j, x[j]);
        }
    }
    for (j, x) in rest.iter().enumerate() {
        add_col(simd, &mut sums, strip, panel.len() - rest.len() + j, *x);
    }
    sums
}

#[inline(always)]
fn add_col<S: Simd, const MR: usize>(
    simd: S,
    sums: &mut [[S::f32s; PANEL_VECTORS]; MR],
    strip: &Strip<MR>,
    col: usize,
    x: [S::f32s; PANEL_VECTORS],
) {
    for r in 0..MR {
        let weight = simd.splat_f32s(strip[r][col]);
        for v in 0..PANEL_VECTORS {
            sums[r][v] = mul_add(simd, weight, x[v], sums[r][v]);
        }
    }
}

#[inline(always)]
fn add_sums<S: Simd>(simd: S, sums: [S::f32s; PANEL_VECTORS], y: &mut [f32]) {
    if y.len() == PANEL_VECTORS * S::F32_LANES {
        let y = S::as_mut_simd_f32s(y).0;
        for v in 0..PANEL_VECTORS {
            y[v] = simd.add_f32s(y[v], sums[v]);
        }
    } else {
        for (y, sum) in y.iter_mut().zip(bytemuck::cast_slice::<S::f32s, f32>(&sums)) {
            *y += *sum;
        }
    }
}
