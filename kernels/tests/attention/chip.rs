//! A chip in memory that runs attention.

use std::sync::{Arc, OnceLock};

use half::{bf16, f16};
use ptx_interp::{Launch, Loaded, Memory, Module, Options, run};
use tintype_kernels::images;
use tintype_kernels::params::{
    AttentionParams, BF16, F16, RopeAttentionParams, RopeKvParams, View,
};

const MODULES: [&str; 5] =
    ["attention_decode", "attention_prefill", "attention_any", "attention_rope", "qkv"];

/// A chip with clusters or without, and an order of execution.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) is_hopper: bool,
    pub(crate) seed: u64,
}

pub(crate) const AMPERE: Kind = Kind { is_hopper: false, seed: 0 };
pub(crate) const HOPPER: Kind = Kind { is_hopper: true, seed: 5 };

pub(crate) struct Chip {
    pub(crate) memory: Memory,
    modules: Vec<OnceLock<Loaded>>,
    pub(crate) is_hopper: bool,
    seed: u64,
}

/// One launch of a kernel of attention.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    pub(crate) blocks: u32,
    pub(crate) threads: u32,
    pub(crate) cluster: u32,
    pub(crate) shared_bytes: u32,
    pub(crate) params: AttentionParams,
}

/// The modules of a build, each read when it is first wanted.
fn module(is_hopper: bool, index: usize) -> Arc<Module> {
    static MODULES_OF: [[OnceLock<Arc<Module>>; MODULES.len()]; 2] =
        [const { [const { OnceLock::new() }; MODULES.len()] }; 2];
    let read = || {
        let images = images(if is_hopper { (9, 0) } else { (8, 0) }).unwrap();
        let image = images.iter().find(|image| image.name == MODULES[index]).unwrap();
        Arc::new(Module::parse(image.ptx).unwrap_or_else(|error| panic!("{error}")))
    };
    MODULES_OF[usize::from(is_hopper)][index].get_or_init(read).clone()
}

impl Chip {
    pub(crate) fn new(Kind { is_hopper, seed }: Kind) -> Self {
        let modules = MODULES.iter().map(|_| OnceLock::new()).collect();
        Self { memory: Memory::new(1 << 28), modules, is_hopper, seed }
    }

    /// Runs kernels as a stream does; where the chip can, each starts before the one in front ends.
    /// A fault of any kind fails the test.
    pub(crate) fn run(&self, kernels: &[Kernel]) {
        let launches: Vec<_> = kernels.iter().map(|kernel| self.launch(kernel)).collect();
        self.run_launches(&launches);
    }

    fn run_launches(&self, launches: &[Launch<'_>]) {
        let options = Options { seed: self.seed, ..Options::default() };
        run(&self.memory, launches, &options).unwrap_or_else(|fault| panic!("{fault}"));
    }

    fn launch<'a>(&'a self, kernel: &'a Kernel) -> Launch<'a> {
        // What merges partitions lies beside the kernels for decode.
        let index = MODULES.iter().position(|name| kernel.name.starts_with(name)).unwrap_or(0);
        Launch {
            module: self.module(index),
            kernel: kernel.name,
            grid: [kernel.blocks, 1, 1],
            block: [kernel.threads, 1, 1],
            cluster: [kernel.cluster, 1, 1],
            dynamic_shared_bytes: kernel.shared_bytes,
            params: bytemuck::bytes_of(&kernel.params),
            programmatic: self.is_hopper,
        }
    }

    fn module(&self, index: usize) -> &Loaded {
        let load = || Loaded::new(module(self.is_hopper, index), &self.memory).unwrap();
        self.modules[index].get_or_init(load)
    }

    /// Runs the fused kernel launched as `decode`, which is for the same batch, and what merges
    /// its partitions.
    pub(crate) fn run_fused(&self, decode: &[Kernel], rope: RopeKvParams) {
        let name = decode[0].name.replace("decode", "rope");
        let params = RopeAttentionParams { attention: decode[0].params, rope };
        let fused = Launch {
            module: self.module(3),
            kernel: &name,
            params: bytemuck::bytes_of(&params),
            ..self.launch(&decode[0])
        };
        let mut launches = vec![fused];
        launches.extend(decode[1..].iter().map(|kernel| self.launch(kernel)));
        self.run_launches(&launches);
    }

    /// Runs `rope_kv` on `num_rows` rows.
    pub(crate) fn run_rope_kv(&self, num_rows: u32, rope: &RopeKvParams) {
        let heads = rope.num_heads + 2 * rope.num_kv_heads;
        self.run_launches(&[Launch {
            module: self.module(4),
            kernel: "rope_kv",
            grid: [num_rows, heads.div_ceil(4), 1],
            block: [128, 1, 1],
            cluster: [1, 1, 1],
            dynamic_shared_bytes: 0,
            params: bytemuck::bytes_of(rope),
            programmatic: self.is_hopper,
        }]);
    }

    /// Memory that holds `bytes`.
    pub(crate) fn hold(&self, bytes: &[u8]) -> u64 {
        let address = self.memory.alloc(bytes.len() as u64).unwrap();
        self.memory.write(address, bytes).unwrap();
        address
    }

    /// Memory for a matrix that nobody has written.
    pub(crate) fn alloc(&self, dtype: u32, rows: u32, cols: u32, stride: u32) -> View {
        let elements = u64::from(rows - 1) * u64::from(stride) + u64::from(cols);
        let address = self.memory.alloc(elements * size(dtype) as u64).unwrap();
        View { address, stride, dtype }
    }

    /// Writes a row of a float matrix.
    pub(crate) fn write_row(&self, view: View, row: u32, values: &[f32]) {
        self.memory.write(row_address(view, row), &encode(view.dtype, values)).unwrap();
    }

    /// Bytes of a row.
    pub(crate) fn read_row(&self, view: View, row: u32, cols: u32) -> Vec<u8> {
        let mut bytes = vec![0; cols as usize * size(view.dtype)];
        self.memory.read(row_address(view, row), &mut bytes).unwrap();
        bytes
    }
}

fn row_address(view: View, row: u32) -> u64 {
    view.address + u64::from(row) * u64::from(view.stride) * size(view.dtype) as u64
}

pub(crate) fn size(dtype: u32) -> usize {
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

pub(crate) fn decode(dtype: u32, bytes: &[u8]) -> Vec<f32> {
    let value = |bytes: &[u8]| match *bytes {
        [a, b] if dtype == F16 => f16::from_le_bytes([a, b]).to_f32(),
        [a, b] => bf16::from_le_bytes([a, b]).to_f32(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        _ => unreachable!("an element has two or four bytes"),
    };
    bytes.chunks_exact(size(dtype)).map(value).collect()
}
