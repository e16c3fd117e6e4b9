//! The guard around a capture.

#![allow(unsafe_code)]

use std::mem::ManuallyDrop;
use std::ptr;

use cudarc::driver::sys::CUstreamCaptureMode;

use super::{DriverError, Graph, Queue};

/// A queue that records what is queued on it and runs none of it, until this value is dropped.
///
/// The mode is thread-local: what this thread may not do meanwhile, other threads may, so weights
/// can be loaded while graphs are captured.
#[derive(Debug)]
pub(crate) struct Capture<'a> {
    queue: &'a Queue,
}

impl<'a> Capture<'a> {
    /// Begins to record on `queue`.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn begin(queue: &'a Queue) -> Result<Self, DriverError> {
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the queue is live, and this value borrows it.
        unsafe { call!(queue.context(), cuStreamBeginCapture_v2(queue.raw(), mode)) }?;
        Ok(Self { queue })
    }

    /// Where to queue what shall be recorded.
    pub(crate) fn queue(&self) -> &'a Queue {
        self.queue
    }

    /// Ends the recording and gives out what was recorded.
    ///
    /// # Errors
    /// When something invalidated the capture: a call that is not allowed inside one, or a launch
    /// that the driver refused. The queue can be used again all the same.
    pub(crate) fn end(self) -> Result<Graph, DriverError> {
        ManuallyDrop::new(self).stop()
    }

    fn stop(&self) -> Result<Graph, DriverError> {
        let mut graph = ptr::null_mut();
        let context = self.queue.context();
        // SAFETY: the queue is live, and the pointer is valid for the one handle written. The
        // capture began on this queue and ends once: either `end` or `Drop` comes here.
        unsafe { call!(context, cuStreamEndCapture(self.queue.raw(), &raw mut graph)) }?;
        Ok(Graph::new(context, graph))
    }
}

impl Drop for Capture<'_> {
    fn drop(&mut self) {
        // What was recorded is destroyed with the graph.
        drop(self.stop());
    }
}
