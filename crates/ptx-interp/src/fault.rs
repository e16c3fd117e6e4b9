//! What a kernel did wrong, and where.

use std::fmt;

/// The class of a [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The launch itself breaks a rule: no such kernel, wrong size of parameters, too many threads.
    InvalidLaunch,
    /// An access outside any allocation, the block's shared memory, the stack or the parameters.
    OutOfBounds,
    /// An access to memory that was freed.
    UseAfterFree,
    /// An address that is not a multiple of the size of the access.
    Misaligned,
    /// A value that nothing wrote decides a branch, is an address or reaches global memory.
    Uninitialized,
    /// Two accesses to shared memory, one of them a write, with no barrier between them.
    Race,
    /// Lanes that a warp-wide instruction waits for cannot reach it.
    DivergentSync,
    /// Warps that wait at barriers which never complete.
    Deadlock,
    /// The kernel executed `trap`.
    Trap,
    /// An access to what an asynchronous copy writes or reads and nobody has waited for.
    MissingWait,
    /// An asynchronous copy of what was written the ordinary way, with no proxy fence between.
    MissingFence,
    /// A use of what was loaded from shared memory before a bulk copy into the same bytes started,
    /// and not used before that: the load may have returned the bytes of the copy.
    EarlyRefill,
    /// An access to the shared memory of a block of the cluster that has exited.
    BlockExited,
    /// A thread block ran more instructions than [`Options::max_steps`](crate::Options).
    StepLimit,
    /// An instruction used against its rules, e.g. a barrier whose participants do not agree.
    InvalidUse,
}

/// Why a launch stopped. The memory keeps whatever was written before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(Box<Site>);

/// The place of a fault; a box keeps results of every instruction small.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Site {
    kind: FaultKind,
    message: String,
    kernel: String,
    block: Option<[u32; 3]>,
    warp: Option<u32>,
    lane: Option<u32>,
    line: Option<u32>,
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self(Box::new(Site {
            kind,
            message: message.into(),
            kernel: String::new(),
            block: None,
            warp: None,
            lane: None,
            line: None,
        }))
    }

    /// Adds the lane, unless one is known.
    pub(crate) fn in_lane(mut self, lane: u32) -> Self {
        self.0.lane.get_or_insert(lane);
        self
    }

    /// Adds the warp and the PTX line, unless they are known.
    pub(crate) fn at(mut self, warp: u32, line: u32) -> Self {
        self.0.warp.get_or_insert(warp);
        self.0.line.get_or_insert(line);
        self
    }

    /// Adds the PTX line, unless it is known.
    pub(crate) fn at_line(mut self, line: u32) -> Self {
        self.0.line.get_or_insert(line);
        self
    }

    /// Adds the block, unless it is known.
    pub(crate) fn in_block(mut self, block: [u32; 3]) -> Self {
        self.0.block.get_or_insert(block);
        self
    }

    /// Adds the kernel.
    pub(crate) fn in_kernel(mut self, kernel: &str) -> Self {
        self.0.kernel = kernel.to_owned();
        self
    }

    /// The class of the fault.
    pub fn kind(&self) -> FaultKind {
        self.0.kind
    }

    /// What happened, without the place.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Name of the kernel.
    pub fn kernel(&self) -> &str {
        &self.0.kernel
    }

    /// Index of the thread block in the grid.
    pub fn block(&self) -> Option<[u32; 3]> {
        self.0.block
    }

    /// Index of the warp in its block.
    pub fn warp(&self) -> Option<u32> {
        self.0.warp
    }

    /// Index of the lane in its warp.
    pub fn lane(&self) -> Option<u32> {
        self.0.lane
    }

    /// Line in the PTX text, from 1.
    pub fn line(&self) -> Option<u32> {
        self.0.line
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let site = &*self.0;
        write!(f, "{}", site.kernel)?;
        if let Some([x, y, z]) = site.block {
            write!(f, " block ({x}, {y}, {z})")?;
        }
        for (what, value) in [("warp", site.warp), ("lane", site.lane), ("line", site.line)] {
            if let Some(value) = value {
                write!(f, " {what} {value}")?;
            }
        }
        write!(f, ": {}", site.message)
    }
}

impl std::error::Error for Fault {}
