//! Capture on the CPU: a list of ops. Recording runs nothing, replaying runs exactly the list.

use std::sync::Arc;

use tintype_ops::{Allocations, Enqueue, Op, Result, check};

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

/// Tells streams apart: two are equal when they are clones of one.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamId(Arc<()>);

impl PartialEq for StreamId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
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
