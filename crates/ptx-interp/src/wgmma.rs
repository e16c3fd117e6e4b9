//! `wgmma.mma_async`: four warps multiply, D = A × B + D, with f32 accumulation.
//!
//! A is 64×16, of which warp w of the four holds rows 16w.. in registers, as `mma.m16n8k16` does;
//! D is 64×N, likewise, N / 8 times. So a warp's part is a product of its own. B is 16×N in shared
//! memory, described by 64 bits (PTX ISA, "Shared memory matrix layout"), column by column: the
//! layout with swizzling of 128 bytes is the only one supported.

use crate::mma::{Element, Fragment, Shape};

/// Bytes of shared memory that hold 8 elements of a column of B.
pub(crate) const PIECE_BYTES: u32 = 16;
/// Depth of a product.
const DEPTH: usize = 16;
/// What the bits of a descriptor that choose the swizzling say for 128 bytes.
const SWIZZLE_128: u64 = 1;

/// Where B lies, decoded from a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor {
    /// Of the first element.
    pub(crate) start: u32,
    /// Bytes from eight columns to the next eight.
    pub(crate) stride: u32,
}

impl Descriptor {
    /// Decodes 64 bits.
    ///
    /// # Errors
    /// For layouts that are not supported.
    pub(crate) fn decode(bits: u64) -> Result<Self, String> {
        let field = |shift: u32| ((bits >> shift) as u32 & 0x3fff) << 4;
        match (bits >> 62, bits >> 49 & 7) {
            (SWIZZLE_128, 0) => Ok(Self { start: field(0), stride: field(32) }),
            (SWIZZLE_128, offset) => Err(format!("a base offset of {offset}, expected 0")),
            (mode, _) => Err(format!("swizzling {mode} is not supported, only 1: 128 bytes")),
        }
    }

    /// Where 8 elements of a column lie, the first or the second eight.
    pub(crate) fn piece(self, column: u32, half: u32) -> u32 {
        let row = self.start + column / 8 * self.stride + column % 8 * 128;
        let linear = row + half * PIECE_BYTES;
        linear ^ (linear >> 7 & 7) << 4
    }
}

/// D = A × B + D for a warp's 16 rows: `columns` are those of B, `sums` four registers for eight of
/// them.
pub(crate) fn multiply(
    element: Element,
    a: &[Fragment; 4],
    columns: &[[f32; DEPTH]],
    sums: &mut [Fragment],
) {
    let a = Shape { element, depth: DEPTH }.gather_a(a);
    for (columns, sums) in columns.as_chunks::<8>().0.iter().zip(sums.as_chunks_mut::<4>().0) {
        for (i, register) in sums.iter_mut().enumerate() {
            for (lane, sum) in register.iter_mut().enumerate() {
                let row = &a[lane / 4 + 8 * (i / 2)];
                let column = &columns[lane % 4 * 2 + i % 2];
                let products = row.iter().zip(column).map(|(a, b)| a * b);
                *sum = (products.sum::<f32>() + f32::from_bits(*sum)).to_bits();
            }
        }
    }
}

#[cfg(test)]
mod tests;
