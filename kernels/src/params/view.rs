//! How a tensor reaches a kernel.

use bytemuck::{Pod, Zeroable};

/// A row-major matrix in device memory; 16 bytes, `View` in `include/view.cuh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct View {
    /// Address of the first element.
    pub address: u64,
    /// Elements from the start of one row to the start of the next.
    pub stride: u32,
    /// Element type: [`F32`], [`F16`], [`BF16`] or [`I32`].
    pub dtype: u32,
}

/// IEEE 754 binary32.
pub const F32: u32 = 0;
/// IEEE 754 binary16.
pub const F16: u32 = 1;
/// bfloat16.
pub const BF16: u32 = 2;
/// 32-bit integer, signed or not.
pub const I32: u32 = 3;

const _: () = assert!(size_of::<View>() == 16);
