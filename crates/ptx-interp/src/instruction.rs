//! Decoded kernels: what the executor runs.
//!
//! # Adding an instruction
//! One that computes each lane from registers alone needs only a line in a table of
//! [`crate::parse`]: a closure. Any other has three parts:
//!
//! 1. a struct with its decoded operands and a method of
//!    [`Executor`](crate::exec::Executor) that runs it, both in one file per family under `exec/`
//!    (`exec/warp_ops.rs` is a short example);
//! 2. a variant of [`Op`], and an arm in `Executor::execute` that calls the method;
//! 3. a function in `parse/` that decodes it from a `Statement`, listed by its opcode in the
//!    family's `TABLE`.
//!
//! Instructions that several lanes execute together call `Executor::gather` first.

use crate::exec::atomic::Atomic;
use crate::exec::barrier::Barrier;
use crate::exec::cluster_barrier::ClusterSync;
use crate::exec::copy_ops::{ArriveOnLanding, StartCopy, WaitGroups};
use crate::exec::matrix::{MoveMatrices, Multiply};
use crate::exec::mbarrier_ops::MbarrierOp;
use crate::exec::memory_access::{Load, Store};
use crate::exec::special::ReadSpecial;
use crate::exec::warp_ops::{Elect, Match, Reduce, Shuffle, Vote};
use crate::exec::wgmma::{ProductSync, StartProduct};
use crate::lane_op::LaneOp;
use crate::lanes::{Register, RegisterCounts, Slot};

/// One decoded instruction.
pub(crate) struct Instruction {
    pub(crate) op: Op,
    pub(crate) guard: Option<Guard>,
    /// Line in the PTX text.
    pub(crate) line: u32,
}

/// Runs the instruction only in lanes where the predicate holds (or does not).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    pub(crate) predicate: Slot<bool>,
    pub(crate) negated: bool,
}

/// What an instruction does. Large operand lists are boxed to keep the code compact.
pub(crate) enum Op {
    /// Arithmetic on registers, lane by lane.
    Lanes(Box<dyn LaneOp>),
    /// `mov` from a special register.
    Special(ReadSpecial),
    /// `ld`
    Load(Box<Load>),
    /// `st`
    Store(Box<Store>),
    /// `atom`, `red`
    Atomic(Box<Atomic>),
    /// `membar`, `fence`
    Fence,
    /// `fence.proxy.async`
    FenceProxy,
    /// `fence.mbarrier_init`
    FenceMbarrierInit,
    /// `bra`, to the index of an instruction.
    Branch(u32),
    /// `brx.idx`
    BranchIndexed(Box<BranchIndexed>),
    /// `ret`, `exit`
    Exit,
    /// `trap`
    Trap,
    /// A hint without effect here.
    Nop,
    /// `shfl.sync`
    Shuffle(Box<Shuffle>),
    /// `vote.sync`
    Vote(Box<Vote>),
    /// `match.sync`
    Match(Box<Match>),
    /// `redux.sync`
    Reduce(Box<Reduce>),
    /// `elect.sync`
    Elect(Box<Elect>),
    /// `activemask`
    ActiveMask(Slot<u32>),
    /// `bar.warp.sync`, with the register that holds the mask.
    SyncWarp(Slot<u32>),
    /// `bar`, `barrier`
    Barrier(Box<Barrier>),
    /// `mma.sync`
    Multiply(Box<Multiply>),
    /// `wgmma.mma_async`
    StartProduct(Box<StartProduct>),
    /// `wgmma.fence`, `wgmma.commit_group`, `wgmma.wait_group`
    ProductSync(ProductSync),
    /// `ldmatrix`
    LoadMatrices(Box<MoveMatrices>),
    /// `stmatrix`
    StoreMatrices(Box<MoveMatrices>),
    /// `movmatrix`
    TransposeMatrix { dst: Slot<u32>, source: Slot<u32> },
    /// `cp.async`, `cp.async.bulk`
    StartCopy(Box<StartCopy>),
    /// `cp.async.commit_group`, `cp.async.bulk.commit_group`
    CommitGroup { bulk: bool },
    /// `cp.async.wait_group` and its variants
    WaitGroups(WaitGroups),
    /// `cp.async.mbarrier.arrive`
    ArriveOnLanding(Box<ArriveOnLanding>),
    /// `mbarrier.*`
    Mbarrier(Box<MbarrierOp>),
    /// `barrier.cluster`
    ClusterSync(ClusterSync),
    /// `griddepcontrol.wait`
    WaitForDependency,
    /// `griddepcontrol.launch_dependents`
    LaunchDependents,
}

impl Op {
    /// Whether it starts a bulk copy.
    pub(crate) fn is_bulk_copy(&self) -> bool {
        matches!(self, Self::StartCopy(copy) if copy.kind.is_bulk())
    }
}

/// `brx.idx`: a branch through a table.
pub(crate) struct BranchIndexed {
    pub(crate) index: Slot<u32>,
    pub(crate) targets: Vec<u32>,
}

/// The value of a register that instructions use as an immediate operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    /// A number.
    Value(u64),
    /// The address of a variable of the module, plus an offset.
    Global(usize, i64),
    /// An offset behind the static shared memory; gone once the kernel is parsed.
    DynamicShared(i64),
}

/// The registers, predicates excepted, that an instruction reads or writes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Touched {
    pub(crate) reads: Box<[Register]>,
    pub(crate) writes: Box<[Register]>,
    /// `mov`: the registers hold the same afterwards, which counts as no use.
    pub(crate) renames: bool,
}

/// The code of one kernel.
#[derive(Default)]
pub(crate) struct Code {
    /// Ends with an [`Op::Exit`].
    pub(crate) instructions: Vec<Instruction>,
    /// The registers that each instruction reads or writes.
    pub(crate) touched: Vec<Touched>,
    /// Whether there are bulk copies: only then are loads watched until they are used.
    pub(crate) has_bulk_copies: bool,
    /// Whether there are products of `wgmma`: only then are their registers watched.
    pub(crate) has_products: bool,
    pub(crate) counts: RegisterCounts,
    /// Registers that hold constants.
    pub(crate) constants: Vec<(Register, Constant)>,
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} instructions, {:?}", self.instructions.len(), self.counts)
    }
}
