//! Memory that kernels rearrange activations into.

use bytemuck::{Pod, Zeroable};

/// Floats that start at a cache line, so that no vector load crosses into another line.
#[derive(Default)]
pub(super) struct AlignedBuffer(Vec<CacheLine>);

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct CacheLine([f32; 16]);

impl AlignedBuffer {
    /// The first `len` floats, left from an earlier use.
    pub(super) fn take(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, CacheLine::zeroed());
        }
        &mut bytemuck::cast_slice_mut(&mut self.0)[..len]
    }
}
