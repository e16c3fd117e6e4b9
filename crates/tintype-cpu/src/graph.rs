//! Capture on the CPU: a list of ops. Recording runs nothing, replaying runs exactly the list.

use tintype_ops::{Allocations, Enqueue, Op, Result, StreamId, check};

use crate::memory::Memory;

/// Recorded ops, not yet runnable.
#[derive(Clone, Debug)]
pub struct CpuGraph {
    pub(crate) ops: Vec<Op>,
}

/// Ops that were checked against the memory of one stream.
#[derive(Clone, Debug)]
pub struct CpuGraphExec {
    pub(crate) ops: Box<[Op]>,
    pub(crate) stream: StreamId,
}

/// A queue that keeps what it is given. It borrows the stream's memory, so nothing can run on the
/// stream while one is recording; and it is a value of its own, so there is nothing to undo when
/// a recording ends in an error or a panic.
pub(crate) struct Recorder<'a> {
    memory: &'a Memory,
    ops: Vec<Op>,
}

impl<'a> Recorder<'a> {
    pub(crate) fn new(memory: &'a Memory) -> Self {
        Self { memory, ops: Vec::new() }
    }

    pub(crate) fn finish(self) -> CpuGraph {
        CpuGraph { ops: self.ops }
    }
}

impl Enqueue for Recorder<'_> {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        check_op(&op, self.memory)?;
        self.ops.push(op);
        Ok(())
    }
}

/// Checks an op against its rule and its operands against `memory`.
pub(crate) fn check_op(op: &Op, memory: &Memory) -> Result<()> {
    check::check(op)?;
    memory.require_operands(op)
}
