//! How fast the device reads.

use bytemuck::{Pod, Zeroable};

/// One pass over a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ReadProbeParams {
    /// u32: written when a thread's words sum to a value that words hardly ever sum to.
    pub out: u64,
    /// Address of the buffer, a multiple of 16.
    pub data: u64,
    /// Size of the buffer.
    pub num_bytes: u64,
    /// Bytes that each block reads, a multiple of 16.
    pub block_bytes: u64,
}

const _: () = assert!(size_of::<ReadProbeParams>() == 32);
