//! From an op to kernel launches, as data: nothing here talks to a driver.
//!
//! A launch depends on the op, on addresses that never change and on the chip. Whatever differs
//! between two replays is read by the kernel through a pointer.

mod attention;
mod gemm;
mod matvec;
mod recent_splits;
mod rows;
#[cfg(test)]
mod sample_chips;

use std::ops::Range;

use bytemuck::NoUninit;
use tintype_kernels::params::{
    BF16, EPILOGUE_ADD, EPILOGUE_SILU_MUL, EPILOGUE_STORE, F16, F32, I32, View,
};
use tintype_ops::{Buffer, DType, Epilogue, Op, Result, Tensor, Weight, WeightSource};

use crate::weights::WeightUpload;

pub(crate) use gemm::{Split, cluster_of_4};
pub(crate) use recent_splits::RecentSplits;

/// One kernel launch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Launch {
    /// Entry point.
    pub(crate) kernel: &'static str,
    /// Blocks along x, y, z.
    pub(crate) grid: [u32; 3],
    /// Threads of a block along x, y, z.
    pub(crate) block: [u32; 3],
    /// Blocks of a cluster along x; 1 is no cluster.
    pub(crate) cluster: u32,
    /// Dynamic shared memory of a block.
    pub(crate) shared_bytes: u32,
    /// Whether the kernel may start before the one in front of it ends: it waits for that itself,
    /// before it touches anything but weights and what was there before the step.
    pub(crate) programmatic: bool,
    /// The kernel's one parameter, by value.
    pub(crate) params: Box<[u8]>,
}

impl Launch {
    /// A launch of `grid` x `block` with `params`, without cluster or dynamic shared memory.
    pub(crate) fn new<P: NoUninit>(
        kernel: &'static str,
        grid: [u32; 3],
        block: [u32; 3],
        params: &P,
    ) -> Self {
        let params = bytemuck::bytes_of(params).into();
        Self { kernel, grid, block, cluster: 1, shared_bytes: 0, programmatic: false, params }
    }
}

/// What a chip offers to a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chip {
    /// Compute capability, e.g. `(9, 0)`.
    pub(crate) compute_capability: (u32, u32),
    /// Multiprocessors.
    pub(crate) num_sms: u32,
    /// Most dynamic shared memory of a block, once asked for.
    pub(crate) max_shared_bytes: u32,
    /// Clusters of four blocks that run at the same time, a block a multiprocessor. Groups of
    /// multiprocessors that share clusters differ in size, also from chip to chip of a model, and
    /// leave some of them over.
    pub(crate) clusters_of_4: u32,
}

impl Chip {
    /// Whether the kernels built for `sm_90a` run on it: clusters, bulk copies, programmatic
    /// launches. They run on that chip alone.
    pub(crate) const fn is_hopper(self) -> bool {
        matches!(self.compute_capability, (9, 0))
    }
}

/// How the elements of a weight lie in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Rows one after the other, as in the file.
    RowMajor,
    /// Tensor-core fragments of 16 rows by 16 columns, see `include/packed.cuh`.
    Packed {
        /// Whether each 16 rows are 8 of the upper half and the matching 8 of the lower half.
        gate_up: bool,
    },
}

/// A weight in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Address of the first byte.
    pub(crate) address: u64,
    /// How the elements lie.
    pub(crate) layout: Layout,
}

/// Device memory that kernels of one op hand each other partial results in. Its content is
/// undefined when an op begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Workspace {
    /// Address, aligned to 512 bytes.
    pub(crate) address: u64,
    /// Size.
    pub(crate) bytes: u64,
}

/// Where things are, and on what chip. Operands were checked before they are looked up.
pub(crate) trait Placement {
    /// The chip.
    fn chip(&self) -> Chip;
    /// Address of a buffer.
    fn buffer(&self, buffer: Buffer) -> u64;
    /// Place of a weight.
    fn weight(&self, weight: Weight) -> Placed;
    /// Memory for partial results.
    fn workspace(&self) -> Workspace;

    /// How to share out a product of these tokens, rows and columns: what `find` says, or said the
    /// last time. Nothing else of the product matters to it.
    fn split(&self, _shape: [u32; 3], find: &dyn Fn() -> Option<Split>) -> Option<Split> {
        find()
    }

    /// A tensor as kernels take it.
    fn view(&self, tensor: Tensor) -> View {
        let offset = tensor.offset * tensor.dtype.size_bytes() as u64;
        let dtype = dtype_tag(tensor.dtype);
        View { address: self.buffer(tensor.buffer) + offset, stride: tensor.stride, dtype }
    }
}

/// Appends the launches that `op` makes to `launches`.
///
/// # Errors
/// When an operand has a size that no kernel takes.
pub(crate) fn plan(op: &Op, at: &dyn Placement, launches: &mut Vec<Launch>) -> Result<()> {
    match op {
        Op::Matmul { weight, x, .. } if matvec::takes(*weight, x.rows) => {
            matvec::plan(op, at, launches)
        }
        Op::Matmul { .. } => gemm::plan(op, at, launches),
        Op::Attention { .. } => attention::plan(op, at, launches),
        Op::Embed { .. }
        | Op::RmsNorm { .. }
        | Op::HeadNorm { .. }
        | Op::Rope { .. }
        | Op::WriteKv { .. }
        | Op::RopeKv { .. }
        | Op::SiluMul { .. }
        | Op::Add { .. }
        | Op::Gather { .. }
        | Op::MoeRoute { .. }
        | Op::MoeGateUp { .. }
        | Op::MoeDown { .. }
        | Op::Sample { .. } => rows::plan(op, at, launches),
    }
}

/// An element type as kernels take it.
pub(crate) const fn dtype_tag(dtype: DType) -> u32 {
    match dtype {
        DType::F32 => F32,
        DType::F16 => F16,
        DType::Bf16 => BF16,
        DType::I32 | DType::U32 => I32,
    }
}

/// The layout in which a weight is read fastest.
pub(crate) fn layout(chip: Chip, source: &WeightSource) -> Layout {
    match WeightUpload::can_pack(source) {
        true => matvec::layout(chip, source.rows(), source.cols(), source.dtype(), source.role()),
        false => Layout::RowMajor,
    }
}

/// Packs `rows` of a weight, which lie row-major at `piece`; `None` where it is not packed.
pub(crate) fn pack(upload: &WeightUpload, rows: Range<u32>, piece: u64) -> Option<Launch> {
    let Layout::Packed { gate_up } = upload.layout() else { return None };
    let size = [upload.source().rows(), upload.source().cols()];
    Some(matvec::pack([upload.address(), piece], size, gate_up, rows))
}

/// What a product does with its result, as kernels take it.
const fn epilogue_tag(epilogue: Epilogue) -> u32 {
    match epilogue {
        Epilogue::Store => EPILOGUE_STORE,
        Epilogue::Add => EPILOGUE_ADD,
        Epilogue::SiluMul => EPILOGUE_SILU_MUL,
    }
}
