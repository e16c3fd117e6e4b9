//! Matrix products of up to 16 rows, and the repacking of weights.
//!
//! Three kernels, all bound by reading the weight: one streams packed weights past tensor cores,
//! one takes row-major weights and one packed weights with operands of any type and size.

mod pack;
mod packed;

use bytemuck::Zeroable;
use tintype_kernels::params::{MatvecParams, View};
use tintype_ops::{DType, Epilogue, Error, Norm, Op, Result, Tensor, Weight};

pub(super) use pack::{layout, pack};

use super::rows::rms_norm;
use super::{Launch, Layout, Placed, Placement, dtype_tag, epilogue_tag};

/// Most rows of x.
const MAX_TOKENS: u32 = 16;
/// Threads and warps of a block of the kernels that take any operands.
const THREADS: u32 = 256;
const WARPS: u32 = 8;

/// Whether a product of `rows` rows with this weight is bound by reading the weight.
pub(super) fn takes(_weight: Weight, rows: u32) -> bool {
    rows <= MAX_TOKENS
}

/// Appends the launches of `op`.
///
/// # Errors
/// When `op` is no product of up to 16 rows.
pub(super) fn plan(op: &Op, at: &dyn Placement, launches: &mut Vec<Launch>) -> Result<()> {
    let Op::Matmul { out, x, weight, bias, norm, epilogue } = *op else {
        return Err(refused(op.name(), "it is no matrix product".into()));
    };
    if x.rows > MAX_TOKENS {
        let what = format!("{} rows of x, at most {MAX_TOKENS}", x.rows);
        return Err(refused(op.name(), what));
    }
    let first = launches.len();
    let matvec = Matvec { out, x, weight, bias, norm, epilogue, placed: at.weight(weight) };
    match matvec.streamed(at) {
        Some(streamed) => launches.extend(streamed),
        None => launches.push(matvec.any(matvec.params(at))),
    }
    let programmatic = at.chip().is_hopper();
    launches[first..].iter_mut().for_each(|launch| launch.programmatic = programmatic);
    Ok(())
}

fn refused(op: &'static str, what: String) -> Error {
    Error::InvalidOp { op, what }
}

/// A product and where its weight is.
#[derive(Clone, Copy)]
struct Matvec {
    out: Tensor,
    x: Tensor,
    weight: Weight,
    bias: Option<Tensor>,
    norm: Option<Norm>,
    epilogue: Epilogue,
    placed: Placed,
}

impl Matvec {
    fn params(&self, at: &dyn Placement) -> MatvecParams {
        let gate_rows = match self.placed.layout {
            Layout::Packed { gate_up: true } => self.weight.rows / 2,
            Layout::Packed { gate_up: false } | Layout::RowMajor => 0,
        };
        MatvecParams {
            out: at.view(self.out),
            x: at.view(self.x),
            norm: self.norm.map_or_else(View::zeroed, |norm| at.view(norm.weight)),
            bias: self.bias.map_or_else(View::zeroed, |bias| at.view(bias)),
            weight: self.placed.address,
            num_tokens: self.x.rows,
            rows: self.weight.rows,
            cols: self.weight.cols,
            epilogue: epilogue_tag(self.epilogue),
            gate_rows,
            eps: self.norm.map_or(0.0, |norm| norm.eps),
        }
    }

    /// The launches that stream a packed weight; `None` where the operands do not suit them.
    ///
    /// The kernel normalises x itself where the types allow it. Elsewhere a launch of its own does,
    /// and leaves the rows in the workspace, in the weight's type.
    fn streamed(&self, at: &dyn Placement) -> Option<Vec<Launch>> {
        let Layout::Packed { gate_up } = self.placed.layout else { return None };
        // Gate and up must be in the same unit if they are multiplied, and may be if not.
        let pairs = self.epilogue == Epilogue::SiluMul;
        if !at.chip().is_hopper() || (pairs && !gate_up) {
            return None;
        }
        let dtype = self.weight.dtype;
        let params = self.params(at);
        let norm_fits = self.norm.is_none() || (dtype == DType::Bf16 && suits(params.norm, dtype));
        if suits(params.x, dtype) && norm_fits {
            return Some(vec![packed::launch(params, dtype, at.chip())?]);
        }
        let workspace = at.workspace();
        let bytes = self.x.num_elements() * dtype.size_bytes() as u64;
        let norm = self.norm.filter(|_| bytes <= workspace.bytes)?;
        let x = View { address: workspace.address, stride: self.x.cols, dtype: dtype_tag(dtype) };
        let product = MatvecParams { x, norm: View::zeroed(), ..params };
        let product = packed::launch(product, dtype, at.chip())?;
        Some(vec![rms_norm(x, self.x, norm, at), product])
    }

    /// The launch for any mix of operands. A warp computes two rows of the weight, or four.
    fn any(&self, params: MatvecParams) -> Launch {
        let is_packed = self.placed.layout != Layout::RowMajor;
        let one = params.num_tokens == 1 && !is_packed;
        let (kernel, warp_rows) = match (self.weight.dtype, is_packed, one) {
            (DType::Bf16, true, _) => ("matvec_packed_any_bf16", 4),
            (_, true, _) => ("matvec_packed_any_f16", 4),
            (DType::Bf16, _, true) => ("matvec_bf16_n1", 2),
            (DType::Bf16, _, false) => ("matvec_bf16_n16", 4),
            (DType::F16, _, true) => ("matvec_f16_n1", 2),
            (DType::F16, _, false) => ("matvec_f16_n16", 4),
            (_, _, true) => ("matvec_f32_n1", 2),
            (_, _, false) => ("matvec_f32_n16", 2),
        };
        let blocks = params.rows.div_ceil(warp_rows * WARPS);
        Launch::new(kernel, [blocks, 1, 1], [THREADS, 1, 1], &params)
    }
}

/// Whether a view is of this type and its rows start at multiples of 16 bytes.
fn suits(view: View, dtype: DType) -> bool {
    let aligned = view.address.is_multiple_of(16) && view.stride.is_multiple_of(8);
    view.dtype == dtype_tag(dtype) && aligned
}

#[cfg(test)]
mod tests;
