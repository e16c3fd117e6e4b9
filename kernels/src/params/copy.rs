//! Copies of a few words.

use bytemuck::{Pod, Zeroable};

/// A copy of consecutive 32-bit words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct CopyWordsParams {
    /// Address of the first, a multiple of 4.
    pub out: u64,
    /// Address of the first, a multiple of 4.
    pub src: u64,
    /// How many.
    pub num_words: u32,
    /// 0.
    pub reserved: u32,
}

const _: () = assert!(size_of::<CopyWordsParams>() == 24);
