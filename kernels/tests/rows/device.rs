//! A device in memory: holds tensors and runs kernels on them.

use std::sync::Arc;

use bytemuck::NoUninit;
use half::{bf16, f16};
use ptx_interp::{Launch, Loaded, Memory, Module, Options, run};
use tintype_kernels::images;
use tintype_kernels::params::{BF16, F16, F32, I32, View};

/// Every float type.
pub(crate) const DTYPES: [u32; 3] = [F32, F16, BF16];

/// A matrix on the device, and what was put there.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) view: View,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// The elements, rounded to the type that they are stored in.
    pub(crate) values: Vec<f32>,
}

impl Tensor {
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.cols..][..self.cols]
    }
}

/// How rows lie in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placing {
    /// Elements in front of the first row.
    pub(crate) offset: usize,
    /// Elements between rows.
    pub(crate) gap: usize,
}

/// Rows begin at multiples of 16 bytes if the columns are a multiple of 8.
pub(crate) const ALIGNED: Placing = Placing { offset: 8, gap: 0 };
/// No row does.
pub(crate) const ODD: Placing = Placing { offset: 3, gap: 1 };

/// A chip with the kernels of one image.
pub(crate) struct Device {
    memory: Memory,
    module: Loaded,
    is_hopper: bool,
    seed: u64,
}

/// Calls `test` with a device of each target, and of several orders of execution.
pub(crate) fn on_each_device(image: &str, test: impl Fn(&Device)) {
    for (compute_capability, seed) in [((8, 0), 0), ((9, 0), 1)] {
        test(&Device::new(image, compute_capability, seed));
    }
}

impl Device {
    pub(crate) fn new(image: &str, compute_capability: (u32, u32), seed: u64) -> Self {
        let images = images(compute_capability).unwrap();
        let image = images.iter().find(|candidate| candidate.name == image).unwrap();
        let memory = Memory::new(1 << 30);
        let module = Module::parse(image.ptx).unwrap_or_else(|error| panic!("{error}"));
        let module = Loaded::new(Arc::new(module), &memory).unwrap();
        Self { memory, module, is_hopper: compute_capability == (9, 0), seed }
    }

    pub(crate) fn is_hopper(&self) -> bool {
        self.is_hopper
    }

    /// Runs a kernel to its end; a fault of any kind fails the test.
    pub(crate) fn run<P: NoUninit>(&self, kernel: &str, grid: [u32; 2], threads: u32, params: &P) {
        self.run_clusters(kernel, grid, threads, 1, params);
    }

    /// The same with blocks in clusters along x.
    pub(crate) fn run_clusters<P: NoUninit>(
        &self,
        kernel: &str,
        grid: [u32; 2],
        threads: u32,
        cluster: u32,
        params: &P,
    ) {
        let launch = self.launch(kernel, grid, threads, params);
        self.run_in_order(&[Launch { cluster: [cluster, 1, 1], ..launch }]);
    }

    /// A launch that may start before the one in front of it ends, where the chip can do that.
    pub(crate) fn launch<'a, P: NoUninit>(
        &'a self,
        kernel: &'a str,
        [x, y]: [u32; 2],
        threads: u32,
        params: &'a P,
    ) -> Launch<'a> {
        Launch {
            module: &self.module,
            kernel,
            grid: [x, y, 1],
            block: [threads, 1, 1],
            cluster: [1, 1, 1],
            dynamic_shared_bytes: 0,
            params: bytemuck::bytes_of(params),
            programmatic: self.is_hopper,
        }
    }

    /// Runs launches as a stream does.
    pub(crate) fn run_in_order(&self, launches: &[Launch<'_>]) {
        let options = Options { seed: self.seed, ..Options::default() };
        run(&self.memory, launches, &options).unwrap_or_else(|fault| panic!("{fault}"));
    }

    /// A float matrix with these elements.
    pub(crate) fn floats(
        &self,
        dtype: u32,
        [rows, cols]: [usize; 2],
        placing: Placing,
        value: impl Fn(usize, usize) -> f32,
    ) -> Tensor {
        let view = self.alloc(dtype, [rows, cols], placing);
        let indices = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
        let values: Vec<_> = indices.map(|(row, col)| round(dtype, value(row, col))).collect();
        for (row, values) in values.chunks_exact(cols).enumerate() {
            self.write(view, row, &encode(dtype, values));
        }
        Tensor { view, rows, cols, values }
    }

    /// An i32 matrix with these elements.
    pub(crate) fn ints(&self, cols: usize, values: &[i32]) -> View {
        let view = self.alloc(I32, [values.len() / cols, cols], ODD);
        for (row, values) in values.chunks_exact(cols).enumerate() {
            self.write(view, row, bytemuck::cast_slice(values));
        }
        view
    }

    /// A matrix whose elements are not initialised.
    pub(crate) fn alloc(&self, dtype: u32, [rows, cols]: [usize; 2], placing: Placing) -> View {
        let stride = cols + placing.gap;
        let elements = placing.offset + (rows - 1) * stride + cols;
        let address = self.memory.alloc((elements * size(dtype)) as u64).unwrap();
        let address = address + (placing.offset * size(dtype)) as u64;
        View { address, stride: stride as u32, dtype }
    }

    /// A weight or a cache: rows without gaps, from an aligned address.
    pub(crate) fn contiguous(&self, dtype: u32, shape: [usize; 2]) -> View {
        self.alloc(dtype, shape, Placing { offset: 0, gap: 0 })
    }

    fn write(&self, view: View, row: usize, bytes: &[u8]) {
        self.memory.write(row_address(view, row), bytes).unwrap();
    }

    pub(crate) fn write_bytes(&self, view: View, bytes: &[u8]) {
        self.memory.write(view.address, bytes).unwrap();
    }

    /// The elements of a float matrix.
    pub(crate) fn read(&self, view: View, [rows, cols]: [usize; 2]) -> Vec<f32> {
        let read_row = |row| decode(view.dtype, &self.read_row(view, row, cols));
        (0..rows).flat_map(read_row).collect()
    }

    /// The elements of an i32 matrix.
    pub(crate) fn read_ints(&self, view: View, [rows, cols]: [usize; 2]) -> Vec<i32> {
        let rows = (0..rows).flat_map(|row| self.read_row(view, row, cols));
        let bytes: Vec<_> = rows.collect();
        bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned).collect()
    }

    fn read_row(&self, view: View, row: usize, cols: usize) -> Vec<u8> {
        let mut bytes = vec![0; cols * size(view.dtype)];
        self.memory.read(row_address(view, row), &mut bytes).unwrap();
        bytes
    }
}

fn row_address(view: View, row: usize) -> u64 {
    view.address + (row * view.stride as usize * size(view.dtype)) as u64
}

fn size(dtype: u32) -> usize {
    if matches!(dtype, F16 | BF16) { 2 } else { 4 }
}

/// `value` in the precision of `dtype`.
pub(crate) fn round(dtype: u32, value: f32) -> f32 {
    match dtype {
        F16 => f16::from_f32(value).to_f32(),
        BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

pub(crate) fn encode(dtype: u32, values: &[f32]) -> Vec<u8> {
    let bytes = |value: &f32| match dtype {
        F16 => f16::from_f32(*value).to_le_bytes().to_vec(),
        BF16 => bf16::from_f32(*value).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    };
    values.iter().flat_map(bytes).collect()
}

fn decode(dtype: u32, bytes: &[u8]) -> Vec<f32> {
    let value = |bytes: &[u8]| match *bytes {
        [a, b] if dtype == F16 => f16::from_le_bytes([a, b]).to_f32(),
        [a, b] => bf16::from_le_bytes([a, b]).to_f32(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        _ => unreachable!("an element has two or four bytes"),
    };
    bytes.chunks_exact(size(dtype)).map(value).collect()
}

/// Fails unless each element is the expected one, up to the rounding of `dtype` and of f32
/// arithmetic.
pub(crate) fn assert_close(dtype: u32, found: &[f32], expected: &[f32], what: &str) {
    let tolerance = match dtype {
        F16 => 1.0 / 1024.0,
        BF16 => 1.0 / 128.0,
        _ => 3e-5,
    };
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        let fits = error <= tolerance * expected.abs().max(0.1);
        assert!(fits, "{what}: element {i} is {found}, expected {expected}");
    }
}

/// Numbers between -1 and 1 that repeat only after many elements.
pub(crate) fn noise(seed: usize) -> impl Fn(usize, usize) -> f32 {
    move |row, col| {
        let mixed = (row * 7919 + col * 104_729 + seed * 1_299_709) as u32;
        let mixed = mixed.wrapping_mul(2_654_435_761) >> 8;
        mixed as f32 / (1 << 23) as f32 - 1.0
    }
}
