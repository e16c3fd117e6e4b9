//! What streams run and graphs hold: kernels, copies, fills, host functions, allocations.

use std::sync::Arc;

use crate::copy::Copy;
use crate::driver::{Driver, outside_the_driver};
use crate::error::Result;
use crate::faults::Fault;
use crate::ffi::HostCall;
use crate::handle::Handle;
use crate::launch::KernelCall;
use crate::memory::Origin;
use crate::stream::{Marker, Work};
use crate::types::node_type;

/// One operation, with all that it needs to run later, or again.
#[derive(Clone)]
pub(crate) enum Operation {
    Kernel(Arc<KernelCall>),
    Copy(Copy),
    Fill(Fill),
    Host(HostCall),
    /// The memory of an allocation node becomes accessible.
    Alloc {
        address: u64,
        bytes: u64,
    },
    Free {
        address: u64,
    },
}

/// A fill of `count` elements of one, two or four bytes.
#[derive(Clone)]
pub(crate) struct Fill {
    pub(crate) address: u64,
    pub(crate) element: Arc<[u8]>,
    pub(crate) count: u64,
}

impl Operation {
    /// The `CUgraphNodeType` of a node that holds this.
    pub(crate) fn node_type(&self) -> u32 {
        match self {
            Operation::Kernel(_) => node_type::KERNEL,
            Operation::Copy(_) => node_type::MEMCPY,
            Operation::Fill(_) => node_type::MEMSET,
            Operation::Host(_) => node_type::HOST,
            Operation::Alloc { .. } => node_type::MEM_ALLOC,
            Operation::Free { .. } => node_type::MEM_FREE,
        }
    }
}

impl Driver {
    /// Queues `operation`, or adds it to the graph that the stream captures. Returns the point at
    /// which it is done, if it was queued.
    pub(crate) fn submit(
        &mut self,
        stream: Handle,
        operation: Operation,
        programmatic: bool,
    ) -> Result<Option<Marker>> {
        if self.is_capturing(stream)? {
            self.capture_node(stream, operation, programmatic);
            return Ok(None);
        }
        self.forbid_implicit_dependency(stream)?;
        Ok(Some(self.streams.enqueue(stream, Work::Run { operation, programmatic })))
    }

    /// Runs anything but a kernel.
    pub(crate) fn perform(&mut self, operation: &Operation) {
        let done = match operation {
            Operation::Kernel(call) => {
                self.run_kernels(&[(Arc::clone(call), false)]);
                Ok(())
            }
            Operation::Copy(copy) => copy.perform(self),
            Operation::Fill(fill) => self.memory.fill(fill.address, &fill.element, fill.count),
            Operation::Host(call) => {
                outside_the_driver(|| call.run());
                Ok(())
            }
            &Operation::Alloc { address, bytes } => {
                self.memory.alloc_at(address, bytes, Origin::Graph).map_err(|e| e.why.into_owned())
            }
            &Operation::Free { address } => {
                self.memory.free(address).map(drop).map_err(|e| e.why.into_owned())
            }
        };
        if let Err(why) = done {
            self.fail(Fault::of_access(why));
        }
    }
}
