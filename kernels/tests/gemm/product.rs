//! A product on the device, and what it has to come to.

use bytemuck::Zeroable;
use tintype_kernels::params::{EPILOGUE_ADD, EPILOGUE_SILU_MUL, EPILOGUE_STORE, GemmParams, View};

use crate::device::{Device, Placing, Tensor, assert_close, encode, noise};

pub(crate) const EPILOGUES: [u32; 3] = [EPILOGUE_STORE, EPILOGUE_ADD, EPILOGUE_SILU_MUL];

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
    pub(crate) bias: bool,
    /// Types of the output, of x and of the weight.
    pub(crate) dtypes: [u32; 3],
    pub(crate) layout: Layout,
}

/// A case's tensors.
pub(crate) struct Product {
    case: Case,
    out: Tensor,
    x: Tensor,
    bias: Option<Tensor>,
    weight: Tensor,
    address: u64,
}

impl Product {
    /// Puts a case on the device: the output at `out`, x at `x`.
    pub(crate) fn new(device: &Device, case: Case, out: Placing, x: Placing) -> Self {
        let [to, from, of] = case.dtypes;
        let Case { tokens, rows, cols, .. } = case;
        let weight = Placing { offset: 0, gap: 0 };
        let weight = device.floats(of, [rows, cols], weight, noise(3));
        let address = match case.layout {
            Layout::RowMajor => weight.view.address,
            Layout::Packed { gate_up } => {
                let packed = device.contiguous(of, [rows, cols]);
                device.write_bytes(packed, &encode(of, &pack(&weight, gate_up)));
                packed.address
            }
        };
        let bias = case.bias.then(|| device.floats(from, [1, rows], x, noise(4)));
        let out = device.floats(to, [tokens, case.outputs()], out, noise(1));
        let x = device.floats(from, [tokens, cols], x, noise(2));
        Self { case, out, x, bias, weight, address }
    }

    pub(crate) fn params(&self) -> GemmParams {
        GemmParams {
            out: self.out.view,
            x: self.x.view,
            bias: self.bias.as_ref().map_or_else(View::zeroed, |bias| bias.view),
            weight: self.address,
            num_tokens: self.case.tokens as u32,
            rows: self.case.rows as u32,
            cols: self.case.cols as u32,
            epilogue: self.case.epilogue,
        }
    }

    /// Fails unless the output is what plain loops give.
    pub(crate) fn assert_done(&self, device: &Device) {
        let shape = [self.case.tokens, self.case.outputs()];
        let found = device.read(self.out.view, shape);
        let what = format!("{:?}", self.case);
        assert_close(self.case.dtypes[0], &found, &self.expected(), &what);
    }

    fn expected(&self) -> Vec<f32> {
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
        let pairs = self.x.row(token).iter().zip(self.weight.row(row));
        let sum: f64 = pairs.map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
        sum + self.bias.as_ref().map_or(0.0, |bias| f64::from(bias.values[row]))
    }
}

impl Case {
    /// Columns of the output.
    pub(crate) fn outputs(&self) -> usize {
        if self.epilogue == EPILOGUE_SILU_MUL { self.rows / 2 } else { self.rows }
    }

    /// How many units of 16 rows there are.
    pub(crate) fn units(&self) -> usize {
        let paired = self.epilogue == EPILOGUE_SILU_MUL;
        if paired { (self.rows / 2).div_ceil(8) } else { self.rows.div_ceil(16) }
    }
}

/// A weight's elements in the packed order of `include/packed.cuh`.
fn pack(weight: &Tensor, gate_up: bool) -> Vec<f32> {
    let half = weight.rows / 2;
    let row = |unit: usize, j: usize| match (gate_up, j < 8) {
        (false, _) => 16 * unit + j,
        (true, true) => 8 * unit + j,
        (true, false) => half + 8 * unit + j - 8,
    };
    let mut packed = Vec::with_capacity(weight.values.len());
    for unit in 0..weight.rows / 16 {
        for tile in 0..weight.cols / 16 {
            for lane in 0..32 {
                let k = tile / 4 * 64 + lane % 4 * 16 + tile % 4 * 4;
                let (low, high) = (row(unit, lane / 4), row(unit, lane / 4 + 8));
                for (row, k) in [(low, k), (high, k), (low, k + 2), (high, k + 2)] {
                    packed.extend_from_slice(&weight.row(row)[k..k + 2]);
                }
            }
        }
    }
    packed
}
