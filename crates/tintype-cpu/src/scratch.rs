//! Memory that ops reuse from call to call.

use bytemuck::{Pod, Zeroable};

use crate::matmul::MatmulScratch;

/// A vector that starts on a cache line and grows to the largest size ever asked for. What it
/// holds between two calls means nothing.
#[derive(Default)]
pub(crate) struct Reusable(Vec<CacheLine>);

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct CacheLine([f32; 16]);

impl Reusable {
    /// `len` elements of any content.
    pub(crate) fn get(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, CacheLine::zeroed());
        }
        &mut self.as_mut_slice()[..len]
    }

    /// All elements, at least as many as the last call of [`Self::get`] gave.
    pub(crate) fn as_slice(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    /// All elements, at least as many as the last call of [`Self::get`] gave.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// The scratch memory of a stream.
#[derive(Default)]
pub(crate) struct Scratch {
    /// A matmul's input in f32, normalised where it asks for that.
    pub(crate) x: Reusable,
    /// A matmul's product, transposed.
    pub(crate) y_t: Reusable,
    /// What attention writes before it is rounded, and what experts do before they are summed.
    pub(crate) out: Reusable,
    pub(crate) matmul: MatmulScratch,
}
