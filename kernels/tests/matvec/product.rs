//! A product on the device, and what it has to come to.

use bytemuck::Zeroable;
use tintype_kernels::params::{
    BF16, EPILOGUE_ADD, EPILOGUE_SILU_MUL, EPILOGUE_STORE, GemmParams, MatvecParams, View,
};

use crate::device::{ALIGNED, Device, Placing, Tensor, assert_close, encode, noise};

pub(crate) const EPILOGUES: [u32; 3] = [EPILOGUE_STORE, EPILOGUE_ADD, EPILOGUE_SILU_MUL];
const EPS: f32 = 1e-5;

/// How the weight lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    RowMajor,
    Packed { gate_up: bool },
}

/// What to multiply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) tokens: usize,
    /// Of the weight.
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) epilogue: u32,
    /// Of the output, x and the weight.
    pub(crate) dtypes: [u32; 3],
    pub(crate) norm: Option<u32>,
    pub(crate) bias: Option<u32>,
    pub(crate) layout: Layout,
    /// How the output's rows lie.
    pub(crate) out: Placing,
    /// The same of x, the norm and the bias.
    pub(crate) x: Placing,
}

impl Case {
    /// A bf16 product with a packed weight that is stored.
    pub(crate) const fn packed(tokens: usize, rows: usize, cols: usize) -> Self {
        let layout = Layout::Packed { gate_up: false };
        let (norm, bias) = (None, None);
        let (epilogue, dtypes) = (EPILOGUE_STORE, [BF16; 3]);
        let (out, x) = (ALIGNED, ALIGNED);
        Self { tokens, rows, cols, epilogue, dtypes, norm, bias, layout, out, x }
    }

    /// The same with so many elements in front of rows and between them.
    pub(crate) const fn apart(self, gap: usize) -> Self {
        let placing = Placing { offset: gap, gap };
        Self { out: placing, x: placing, ..self }
    }

    /// Columns of the output.
    pub(crate) fn outputs(&self) -> usize {
        if self.epilogue == EPILOGUE_SILU_MUL { self.rows / 2 } else { self.rows }
    }
}

/// A case's tensors.
pub(crate) struct Product {
    case: Case,
    pub(crate) out: Tensor,
    pub(crate) x: Tensor,
    norm: Option<Tensor>,
    bias: Option<Tensor>,
    weight: Tensor,
    address: u64,
}

impl Product {
    /// Puts a case on the device.
    pub(crate) fn new(device: &Device, case: Case) -> Self {
        let [to, from, of] = case.dtypes;
        let Case { tokens, rows, cols, .. } = case;
        let contiguous = Placing { offset: 0, gap: 0 };
        let scale = 4.0 / (cols as f32).sqrt();
        let elements = |row, col| scale * noise(3)(row, col);
        let weight = device.floats(of, [rows, cols], contiguous, elements);
        let address = match case.layout {
            Layout::RowMajor => weight.view.address,
            Layout::Packed { gate_up } => {
                let view = device.contiguous(of, [rows, cols]);
                device.write_bytes(view, &encode(of, &packed(&weight, gate_up)));
                view.address
            }
        };
        let vector = |dtype, len, seed| device.floats(dtype, [1, len], case.x, noise(seed));
        Self {
            case,
            out: device.floats(to, [tokens, case.outputs()], case.out, noise(1)),
            x: device.floats(from, [tokens, cols], case.x, noise(2)),
            norm: case.norm.map(|dtype| vector(dtype, cols, 4)),
            bias: case.bias.map(|dtype| vector(dtype, rows, 5)),
            weight,
            address,
        }
    }

    /// Without the norm.
    pub(crate) fn gemm_params(&self) -> GemmParams {
        GemmParams {
            out: self.out.view,
            x: self.x.view,
            bias: view_of(self.bias.as_ref()),
            weight: self.address,
            num_tokens: self.case.tokens as u32,
            rows: self.case.rows as u32,
            cols: self.case.cols as u32,
            epilogue: self.case.epilogue,
        }
    }

    pub(crate) fn params(&self) -> MatvecParams {
        let is_paired = self.case.layout == Layout::Packed { gate_up: true };
        MatvecParams {
            out: self.out.view,
            x: self.x.view,
            norm: self.norm(),
            bias: view_of(self.bias.as_ref()),
            weight: self.address,
            num_tokens: self.case.tokens as u32,
            rows: self.case.rows as u32,
            cols: self.case.cols as u32,
            epilogue: self.case.epilogue,
            gate_rows: if is_paired { self.case.rows as u32 / 2 } else { 0 },
            eps: EPS,
        }
    }

    /// The norm's weight; zeros where there is no norm.
    pub(crate) fn norm(&self) -> View {
        view_of(self.norm.as_ref())
    }

    /// What the kernel left in the output.
    pub(crate) fn result(&self, device: &Device) -> Vec<f32> {
        device.read(self.out.view, [self.case.tokens, self.case.outputs()])
    }

    /// Fails unless the output is what plain loops give.
    pub(crate) fn assert_done(&self, device: &Device) {
        let what = format!("{:?}", self.case);
        let (found, expected) = (self.result(device), self.expected());
        let [to, _, of] = self.case.dtypes;
        if self.case.norm.is_none() || self.case.layout == Layout::RowMajor {
            return assert_close(to, &found, &expected, &what);
        }
        // Streamed, each product of x and the norm's weight is rounded to the weight's type: what
        // that does to a sum depends on its terms, of which those of a small sum are no smaller
        // than those of the largest, about 4.
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let shift = 4.0 * expected.signum();
            assert_close(of, &[found + shift], &[expected + shift], &format!("{what} at {i}"));
        }
    }

    pub(crate) fn expected(&self) -> Vec<f32> {
        let outputs = self.case.outputs();
        let output = |token, col| {
            let y = self.dot(token, col);
            let y = match self.case.epilogue {
                EPILOGUE_ADD => y + f64::from(self.out.row(token)[col]),
                EPILOGUE_SILU_MUL => y / (1.0 + (-y).exp()) * self.dot(token, outputs + col),
                _ => y,
            };
            y as f32
        };
        let indices = (0..self.case.tokens).flat_map(|i| (0..outputs).map(move |j| (i, j)));
        indices.map(|(token, col)| output(token, col)).collect()
    }

    fn dot(&self, token: usize, row: usize) -> f64 {
        let (x, w) = (self.x.row(token), self.weight.row(row));
        let norm = |col: usize| self.norm.as_ref().map_or(1.0, |norm| f64::from(norm.values[col]));
        let terms = x.iter().zip(w).enumerate();
        let terms = terms.map(|(col, (&x, &w))| f64::from(x) * norm(col) * f64::from(w));
        let sum: f64 = terms.sum();
        let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias.values[row]));
        sum * self.scale(x) + bias
    }

    fn scale(&self, x: &[f32]) -> f64 {
        let squares: f64 = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        let mean = squares / x.len() as f64;
        if self.norm.is_some() { 1.0 / (mean + f64::from(EPS)).sqrt() } else { 1.0 }
    }
}

fn view_of(tensor: Option<&Tensor>) -> View {
    tensor.map_or_else(View::zeroed, |tensor| tensor.view)
}

/// Where element (row, col) of a matrix of this size lies, as `include/packed.cuh` says.
fn index([rows, cols]: [usize; 2], gate_up: bool, row: usize, col: usize) -> usize {
    let half = rows / 2;
    let (unit, j) = match gate_up {
        false => (row / 16, row % 16),
        true => (row % half / 8, row % half % 8 + if row < half { 0 } else { 8 }),
    };
    let tile = unit * (cols / 16) + col / 64 * 4 + col % 16 / 4;
    let lane = j % 8 * 4 + col % 64 / 16;
    let register = col % 4 / 2 * 2 + j / 8;
    tile * 256 + lane * 8 + register * 2 + col % 2
}

/// A weight's elements in the packed order.
pub(crate) fn packed(weight: &Tensor, gate_up: bool) -> Vec<f32> {
    let shape = [weight.rows, weight.cols];
    let mut packed = vec![0.0; weight.values.len()];
    for row in 0..weight.rows {
        for (col, &value) in weight.row(row).iter().enumerate() {
            packed[index(shape, gate_up, row, col)] = value;
        }
    }
    packed
}
