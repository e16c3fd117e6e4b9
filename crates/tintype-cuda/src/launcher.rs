//! From an op to launches on a queue: checked, planned, launched.

#![allow(unsafe_code)]

use tintype_ops::{Op, Result};

use crate::driver::Queue;
use crate::kernels::Kernels;
use crate::launch::{Launch, plan};
use crate::memory::Memory;

/// What launching an op takes.
pub(crate) struct Launcher<'a> {
    /// Where its operands are.
    pub(crate) memory: &'a Memory,
    /// What runs.
    pub(crate) kernels: &'a Kernels,
    /// Where it is queued.
    pub(crate) queue: &'a Queue,
    /// Room for the launches of one op, kept from op to op.
    pub(crate) launches: &'a mut Vec<Launch>,
}

impl Launcher<'_> {
    /// Queues the launches of `op`, and says how many there are.
    ///
    /// # Errors
    /// When the op breaks its rule, names memory that is not there, or cannot be launched.
    pub(crate) fn launch(&mut self, op: &Op) -> Result<usize> {
        self.memory.check(op)?;
        self.launches.clear();
        plan(op, self.memory, self.launches)?;
        for launch in &*self.launches {
            // SAFETY: the launch was planned for this op, whose operands were just checked to lie
            // in memory that lives as long as the stream, and all work on that memory is in this
            // one queue. What a kernel reads through its operands (slots, block tables, ids) it
            // checks itself, as the op set asks for.
            let outcome = unsafe { self.kernels.launch(self.queue, launch) };
            outcome.map_err(|error| error.context(op.to_string()))?;
        }
        Ok(self.launches.len())
    }
}
