//! The structures of the driver API, laid out as `cuda.h` has them.
//!
//! Enumerations cross the boundary as plain integers: a value that C should not pass is then an
//! error like any other.

use crate::ffi::{Extra, HostAddress, In, KernelParams};
use crate::handle::Handle;

/// `CUlaunchConfig`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct LaunchConfig {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared_bytes: u32,
    pub(crate) stream: Handle,
    pub(crate) attributes: In<LaunchAttribute>,
    pub(crate) num_attributes: u32,
}

/// `CUlaunchAttribute`: an id and a union of 64 bytes.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct LaunchAttribute {
    pub(crate) id: u32,
    pub(crate) padding: u32,
    pub(crate) value: LaunchAttributeValue,
}

/// `CUlaunchAttributeValue`; the values of interest are up to three 32-bit integers.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct LaunchAttributeValue(pub(crate) [u32; 16]);

/// Ids of launch attributes.
pub(crate) mod launch_attribute {
    pub(crate) const IGNORE: u32 = 0;
    pub(crate) const COOPERATIVE: u32 = 2;
    pub(crate) const CLUSTER_DIMENSION: u32 = 4;
    pub(crate) const PROGRAMMATIC_STREAM_SERIALIZATION: u32 = 6;
    pub(crate) const PRIORITY: u32 = 8;
    /// The last id that the API defines.
    pub(crate) const LAST: u32 = 16;
}

/// `CUDA_MEMCPY2D` (`_v2`): both sides, the bytes of a row, and the rows.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Memcpy2d {
    pub(crate) from: Memcpy2dSide,
    pub(crate) to: Memcpy2dSide,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// One side of a `CUDA_MEMCPY2D`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Memcpy2dSide {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) memory: u32,
    pub(crate) host: HostAddress,
    pub(crate) device: u64,
    pub(crate) array: usize,
    pub(crate) pitch: usize,
}

/// `CUDA_KERNEL_NODE_PARAMS` (`_v2`).
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct KernelNodeParams {
    pub(crate) function: Handle,
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared_bytes: u32,
    pub(crate) kernel_params: KernelParams,
    pub(crate) extra: Extra,
    pub(crate) kernel: Handle,
    pub(crate) context: Handle,
}

/// `CUgraphEdgeData`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub(crate) struct EdgeData {
    pub(crate) from_port: u8,
    pub(crate) to_port: u8,
    pub(crate) kind: u8,
    pub(crate) reserved: [u8; 5],
}

impl EdgeData {
    /// The edge of a programmatic launch: its successor may start when the first blocks say so.
    pub(crate) const PROGRAMMATIC: EdgeData =
        EdgeData { from_port: 1, to_port: 0, kind: 1, reserved: [0; 5] };
}

/// `CUDA_GRAPH_INSTANTIATE_PARAMS`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct InstantiateParams {
    pub(crate) flags: u64,
    pub(crate) upload_stream: Handle,
    pub(crate) error_node: Handle,
    pub(crate) result: u32,
}

/// `CUgraphExecUpdateResultInfo`.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct UpdateResult {
    pub(crate) result: u32,
    pub(crate) error_node: Handle,
    pub(crate) error_from_node: Handle,
}

/// `CU_MEMORYTYPE_HOST` and `CU_MEMORYTYPE_DEVICE`.
pub(crate) const HOST_MEMORY: u32 = 1;
pub(crate) const DEVICE_MEMORY: u32 = 2;

/// `CUmemLocation`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MemLocation {
    pub(crate) kind: u32,
    pub(crate) id: i32,
}

/// `CU_MEM_LOCATION_TYPE_DEVICE`.
pub(crate) const LOCATION_DEVICE: u32 = 1;

/// `CUmemAllocationProp`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MemAllocationProp {
    pub(crate) kind: u32,
    pub(crate) handle_types: u32,
    pub(crate) location: MemLocation,
    pub(crate) win32: usize,
    pub(crate) flags: [u8; 8],
}

/// `CU_MEM_ALLOCATION_TYPE_PINNED`, the only type of physical memory.
pub(crate) const ALLOCATION_PINNED: u32 = 1;

/// `CUmemAccessDesc`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MemAccessDesc {
    pub(crate) location: MemLocation,
    pub(crate) flags: u32,
}

/// `CUmemPoolProps`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MemPoolProps {
    pub(crate) kind: u32,
    pub(crate) handle_types: u32,
    pub(crate) location: MemLocation,
    pub(crate) win32: usize,
    pub(crate) max_bytes: usize,
    pub(crate) usage: u16,
    pub(crate) reserved: [u8; 54],
}

/// `CUuuid`.
pub(crate) type Uuid = [u8; 16];

/// Types of graph nodes, `CUgraphNodeType`.
pub(crate) mod node_type {
    pub(crate) const KERNEL: u32 = 0;
    pub(crate) const MEMCPY: u32 = 1;
    pub(crate) const MEMSET: u32 = 2;
    pub(crate) const HOST: u32 = 3;
    pub(crate) const MEM_ALLOC: u32 = 10;
    pub(crate) const MEM_FREE: u32 = 11;
}

#[cfg(test)]
mod tests {
    use super::*;

    // The sizes that a C compiler gives on x86-64.
    #[test]
    fn structures_have_the_sizes_of_cuda_h() {
        assert_eq!(size_of::<LaunchConfig>(), 56);
        assert_eq!(size_of::<LaunchAttribute>(), 72);
        assert_eq!(size_of::<Memcpy2d>(), 128);
        assert_eq!(size_of::<KernelNodeParams>(), 72);
        assert_eq!(size_of::<EdgeData>(), 8);
        assert_eq!(size_of::<InstantiateParams>(), 32);
        assert_eq!(size_of::<UpdateResult>(), 24);
        assert_eq!(size_of::<MemAllocationProp>(), 32);
        assert_eq!(size_of::<MemAccessDesc>(), 12);
        assert_eq!(size_of::<MemPoolProps>(), 88);
    }
}
