//! Matrix products of many rows.
//!
//! Three kernels: one for packed 16-bit weights and one for row-major ones, both on tensor cores,
//! and one for every other mix of types, sizes and strides. A norm in front is a launch of its own,
//! which leaves the normalised rows in the workspace, as many at a time as it holds; the kernel for
//! packed weights has x arranged there, with or without a norm.

mod wgmma;

pub(crate) use wgmma::{Split, cluster_of_4};

use bytemuck::Zeroable;
use tintype_kernels::params::{
    GemmAnyParams, GemmParams, PACKING_GATE_UP, PACKING_NONE, PACKING_PLAIN, View,
};
use tintype_ops::{DType, Epilogue, Error, Norm, Op, Result, Tensor, Weight};

use super::rows::rms_norm;
use super::{Chip, Launch, Layout, Placed, Placement, dtype_tag, epilogue_tag};

/// Rows of the weight that tensor cores take at a time.
const UNIT_ROWS: u32 = 16;
/// Rows of the weight that a block of the row-major kernel multiplies.
const ROWS_TILE: u32 = 128;
/// Slots of its ring.
const ROWS_STAGES: u32 = 3;
/// Its threads, and those of the kernel for every mix.
const THREADS: u32 = 256;
/// Rows and tokens of a block of the kernel for every mix.
const ANY_TILE: u32 = 64;
/// Tokens that a part of a batch is a multiple of, where the workspace cannot hold all: the first,
/// or where it holds fewer the second.
const PART_TOKENS: [u32; 2] = [256, 32];

/// Appends the launches of `op`.
///
/// # Errors
/// When the workspace does not hold one normalised row.
pub(super) fn plan(op: &Op, at: &dyn Placement, launches: &mut Vec<Launch>) -> Result<()> {
    let Op::Matmul { out, x, weight, bias, norm, epilogue } = *op else {
        return Err(refused(op.name(), "it is no matrix product".into()));
    };
    let first = launches.len();
    let matmul = Matmul { out, x, weight, bias, epilogue, placed: at.weight(weight) };
    match (matmul.packed_split(norm, at), norm) {
        (Some(split), _) => matmul.arranged(split, norm, at, launches)?,
        (None, None) => launches.push(matmul.product(at, matmul.params(at))),
        (None, Some(norm)) => matmul.normalised(norm, at, launches)?,
    }
    let programmatic = at.chip().is_hopper();
    launches[first..].iter_mut().for_each(|launch| launch.programmatic = programmatic);
    Ok(())
}

fn refused(op: &'static str, what: String) -> Error {
    Error::InvalidOp { op, what }
}

/// A product, without its norm.
#[derive(Clone, Copy)]
struct Matmul {
    out: Tensor,
    x: Tensor,
    weight: Weight,
    bias: Option<Tensor>,
    epilogue: Epilogue,
    placed: Placed,
}

impl Matmul {
    fn params(&self, at: &dyn Placement) -> GemmParams {
        GemmParams {
            out: at.view(self.out),
            x: at.view(self.x),
            bias: self.bias.map_or_else(View::zeroed, |bias| at.view(bias)),
            weight: self.placed.address,
            num_tokens: self.x.rows,
            rows: self.weight.rows,
            cols: self.weight.cols,
            epilogue: epilogue_tag(self.epilogue),
        }
    }

    /// Whether the tensor-core kernels take this weight, were x of its type and aligned.
    fn suits_tensor_cores(&self, chip: Chip) -> bool {
        let paired = self.epilogue == Epilogue::SiluMul;
        let sixteen_bit = matches!(self.weight.dtype, DType::Bf16 | DType::F16);
        sixteen_bit
            && match self.placed.layout {
                Layout::Packed { gate_up } => chip.is_hopper() && gate_up == paired,
                Layout::RowMajor => {
                    self.weight.cols.is_multiple_of(8) && self.placed.address.is_multiple_of(16)
                }
            }
    }

    /// The launch that multiplies `params.x`.
    fn product(&self, at: &dyn Placement, params: GemmParams) -> Launch {
        let row_major = self.placed.layout == Layout::RowMajor;
        let aligned = params.x.address.is_multiple_of(16) && params.x.stride.is_multiple_of(8);
        let same_type = params.x.dtype == dtype_tag(self.weight.dtype);
        if row_major && aligned && same_type && self.suits_tensor_cores(at.chip()) {
            self.row_major(params)
        } else {
            self.any(params)
        }
    }

    fn row_major(&self, params: GemmParams) -> Launch {
        let tokens = if params.num_tokens <= 64 { 64 } else { 128 };
        let kernel = match (self.weight.dtype, tokens) {
            (DType::F16, 64) => "gemm_rows_n64_f16",
            (DType::F16, _) => "gemm_rows_n128_f16",
            (_, 64) => "gemm_rows_n64_bf16",
            (_, _) => "gemm_rows_n128_bf16",
        };
        let grid = self.grid(ROWS_TILE, tokens);
        let mut launch = Launch::new(kernel, grid, [THREADS, 1, 1], &params);
        launch.shared_bytes = ROWS_STAGES * (ROWS_TILE + tokens) * 128;
        launch
    }

    fn any(&self, product: GemmParams) -> Launch {
        let packing = match self.placed.layout {
            Layout::RowMajor => PACKING_NONE,
            Layout::Packed { gate_up: false } => PACKING_PLAIN,
            Layout::Packed { gate_up: true } => PACKING_GATE_UP,
        };
        let weight_dtype = dtype_tag(self.weight.dtype);
        let params = GemmAnyParams { product, weight_dtype, packing };
        Launch::new("gemm_any", self.grid(ANY_TILE, ANY_TILE), [THREADS, 1, 1], &params)
    }

    /// Blocks for tiles of `rows` rows by `tokens` tokens. Where rows come in pairs a unit of 16
    /// is 8 of the upper half and the matching 8 of the lower.
    fn grid(&self, rows: u32, tokens: u32) -> [u32; 3] {
        let units = match self.epilogue {
            Epilogue::SiluMul => (self.weight.rows / 2).div_ceil(UNIT_ROWS / 2),
            Epilogue::Store | Epilogue::Add => self.weight.rows.div_ceil(UNIT_ROWS),
        };
        [units.div_ceil(rows / UNIT_ROWS), self.x.rows.div_ceil(tokens), 1]
    }

    /// Launches that normalise x and multiply, as many tokens at a time as the workspace holds.
    fn normalised(&self, norm: Norm, at: &dyn Placement, launches: &mut Vec<Launch>) -> Result<()> {
        let row_major = self.placed.layout == Layout::RowMajor;
        let tensor_cores =
            row_major && self.suits_tensor_cores(at.chip()) && self.x.cols.is_multiple_of(8);
        let dtype = if tensor_cores { self.weight.dtype } else { DType::F32 };
        let workspace = at.workspace();
        let row_bytes = u64::from(self.x.cols) * dtype.size_bytes() as u64;
        let most = self.tokens_at_a_time(workspace.bytes / row_bytes).ok_or_else(|| {
            let found = workspace.bytes;
            refused("matmul", format!("a workspace of {found} bytes, a row takes {row_bytes}"))
        })?;
        for part in self.parts(most) {
            let x =
                View { address: workspace.address, stride: self.x.cols, dtype: dtype_tag(dtype) };
            launches.push(rms_norm(x, part.x, norm, at));
            launches.push(part.product(at, GemmParams { x, ..part.params(at) }));
        }
        Ok(())
    }

    /// How the kernels for packed weights share out the product, or its first part; `None` if they
    /// do not take it, or there is no room to arrange x.
    fn packed_split(&self, norm: Option<Norm>, at: &dyn Placement) -> Option<Split> {
        let Placed { layout, .. } = self.placed;
        let in_pairs = |view: View| view.address.is_multiple_of(4) && view.stride.is_multiple_of(2);
        let same_type = norm.is_some() || self.x.dtype == self.weight.dtype;
        let norm = norm.is_none_or(|norm| at.view(norm.weight).address.is_multiple_of(4));
        let suits = matches!(layout, Layout::Packed { .. })
            && self.suits_tensor_cores(at.chip())
            && (same_type && norm && in_pairs(at.view(self.x)));
        let most = self.tokens_at_a_time(self.room(at)).filter(|_| suits)?;
        self.split(most, at)
    }

    /// Rows of x in 16 bits that the workspace holds.
    fn room(&self, at: &dyn Placement) -> u64 {
        at.workspace().bytes / (2 * u64::from(self.x.cols))
    }

    /// How to share out the product of up to `most` tokens.
    fn split(&self, most: u32, at: &dyn Placement) -> Option<Split> {
        let (tokens, Weight { rows, cols, .. }) = (self.x.rows.min(most), self.weight);
        let find = || Split::best(tokens, [rows, cols], self.room(at), at.chip());
        at.split([tokens, rows, cols], &find)
    }

    /// Launches that arrange x and multiply, as many tokens at a time as the workspace holds; the
    /// first part, and all of its size, by `split`.
    fn arranged(
        &self,
        split: Split,
        norm: Option<Norm>,
        at: &dyn Placement,
        launches: &mut Vec<Launch>,
    ) -> Result<()> {
        let most = self.tokens_at_a_time(self.room(at)).unwrap_or(self.x.rows);
        let norm = norm.map(|norm| (at.view(norm.weight), norm.eps));
        let (dtype, address) = (self.weight.dtype, at.workspace().address);
        for part in self.parts(most) {
            let split = match part.x.rows == self.x.rows.min(most) {
                true => Some(split),
                false => part.split(most, at),
            };
            let split = split.ok_or_else(|| refused("matmul", "a chip without room".into()))?;
            let params = part.params(at);
            let shape = [part.x.rows, part.x.cols];
            launches.push(wgmma::arrange(&split, address, params.x, shape, norm, dtype));
            let x = View { address, dtype: dtype_tag(dtype), ..params.x };
            launches.push(split.launch(GemmParams { x, ..params }, dtype));
        }
        Ok(())
    }

    /// The same product of up to `most` tokens at a time.
    fn parts(&self, most: u32) -> impl Iterator<Item = Self> {
        let part = move |start| Self {
            out: rows_of(self.out, start, most),
            x: rows_of(self.x, start, most),
            ..*self
        };
        (0..self.x.rows).step_by(most as usize).map(part)
    }

    /// How many of up to `room` tokens to take at a time: whole tiles where they fit.
    fn tokens_at_a_time(&self, room: u64) -> Option<u32> {
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        match room {
            0 => None,
            _ if room >= self.x.rows => Some(self.x.rows),
            _ => {
                let whole = PART_TOKENS.into_iter().find(|&tokens| tokens <= room).unwrap_or(1);
                Some(room / whole * whole)
            }
        }
    }
}

/// Up to `most` rows of `tensor`, from `start`.
fn rows_of(tensor: Tensor, start: u32, most: u32) -> Tensor {
    let offset = tensor.offset + u64::from(start) * u64::from(tensor.stride);
    Tensor { offset, rows: most.min(tensor.rows - start), ..tensor }
}

#[cfg(test)]
mod tests;
