//! A memory with one module in it, and launches on it.

use std::sync::Arc;

use ptx_interp::{Fault, Launch, Loaded, Memory, Module, Options, Stats, run};

/// Seeds that every kernel runs with: program order and several permutations.
pub(crate) const SEEDS: std::ops::Range<u64> = 0..12;

/// A device whose memory holds one module.
pub(crate) struct Device {
    pub(crate) memory: Memory,
    pub(crate) module: Loaded,
}

impl Device {
    /// A device with the module that `ptx` is the text of.
    pub(crate) fn new(ptx: &str) -> Self {
        let memory = Memory::new(1 << 24);
        let module = Arc::new(Module::parse(ptx).unwrap());
        let module = Loaded::new(module, &memory).unwrap();
        Self { memory, module }
    }

    /// New memory that holds `bytes`.
    pub(crate) fn upload(&self, bytes: &[u8]) -> u64 {
        let address = self.memory.alloc(bytes.len() as u64).unwrap();
        self.memory.write(address, bytes).unwrap();
        address
    }

    /// New memory that holds `values`.
    pub(crate) fn upload_f32(&self, values: &[f32]) -> u64 {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.upload(&bytes)
    }

    /// New memory for `len` f32 that nothing has written.
    pub(crate) fn alloc_f32(&self, len: usize) -> u64 {
        self.memory.alloc(4 * len as u64).unwrap()
    }

    /// `len` f32 from `address`.
    pub(crate) fn download_f32(&self, address: u64, len: usize) -> Vec<f32> {
        let mut bytes = vec![0; 4 * len];
        self.memory.read(address, &mut bytes).unwrap();
        let words = bytes.as_chunks::<4>().0.iter();
        words.map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// A launch of `kernel` with `blocks` blocks of `threads` threads, in clusters of `cluster`.
    pub(crate) fn launch<'a>(
        &'a self,
        kernel: &'a str,
        [blocks, threads, cluster]: [u32; 3],
        params: &'a [u8],
    ) -> Launch<'a> {
        Launch {
            module: &self.module,
            kernel,
            grid: [blocks, 1, 1],
            block: [threads, 1, 1],
            cluster: [cluster, 1, 1],
            dynamic_shared_bytes: 0,
            params,
            programmatic: false,
        }
    }

    /// Runs launches with a seed, on one thread or two.
    pub(crate) fn run(&self, launches: &[Launch<'_>], seed: u64) -> Result<Stats, Fault> {
        let options =
            Options { seed, num_threads: Some(1 + seed as usize % 2), max_steps: 1_000_000 };
        run(&self.memory, launches, &options)
    }
}

/// A parameter struct: pointers, then integers, padded to 8 bytes.
pub(crate) fn params(pointers: &[u64], integers: &[i32]) -> Vec<u8> {
    let mut bytes: Vec<u8> = pointers.iter().flat_map(|pointer| pointer.to_le_bytes()).collect();
    bytes.extend(integers.iter().flat_map(|integer| integer.to_le_bytes()));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

/// Small integers that differ from their neighbours: their sums are exact.
pub(crate) fn pattern(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37 + i / 32) % 61) as f32 - 30.0).collect()
}
