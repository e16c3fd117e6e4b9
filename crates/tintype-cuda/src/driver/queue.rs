//! In-order queues of device work, which the driver calls streams, and the events on them.

#![allow(unsafe_code)]

use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use cudarc::driver::sys::{CUevent_flags, CUevent_st, CUstream_flags, CUstream_st};

use super::handle::Handle;
use super::{Context, DriverError};

/// A stream that does not wait for the legacy stream.
#[derive(Debug)]
pub(crate) struct Queue {
    handle: Handle<CUstream_st>,
    context: Arc<Context>,
}

impl Queue {
    /// A new, empty queue.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self, DriverError> {
        let mut handle = ptr::null_mut();
        let flags = CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: the pointer is valid for the one handle written.
        unsafe { call!(context, cuStreamCreate(&raw mut handle, flags)) }?;
        Ok(Self { handle: Handle::new(handle), context: Arc::clone(context) })
    }

    /// The context that it belongs to.
    pub(crate) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Waits until everything that was queued has run.
    ///
    /// # Errors
    /// When any of it failed.
    pub(crate) fn synchronize(&self) -> Result<(), DriverError> {
        // SAFETY: the handle is destroyed by `Drop` alone.
        unsafe { call!(self.context, cuStreamSynchronize(self.raw())) }
    }

    /// Lets what is queued from now on wait until `event`, as it was recorded last, is reached; at
    /// once if it never was.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn wait(&self, event: &Event) -> Result<(), DriverError> {
        // SAFETY: both handles are destroyed by the `Drop` of their owners alone.
        unsafe { call!(self.context, cuStreamWaitEvent(self.raw(), event.handle.raw(), 0)) }
    }

    pub(super) fn raw(&self) -> *mut CUstream_st {
        self.handle.raw()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: nobody else destroys it, and work that is still queued runs to its end.
        self.context.release(|| unsafe { call!(self.context, cuStreamDestroy_v2(self.raw())) });
    }
}

/// A point in a queue.
#[derive(Debug)]
pub(crate) struct Event {
    handle: Handle<CUevent_st>,
    context: Arc<Context>,
}

impl Event {
    /// An event for waiting.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self, DriverError> {
        Self::with_flags(context, CUevent_flags::CU_EVENT_DISABLE_TIMING)
    }

    /// An event that keeps the time when it was reached.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn timed(context: &Arc<Context>) -> Result<Self, DriverError> {
        Self::with_flags(context, CUevent_flags::CU_EVENT_DEFAULT)
    }

    fn with_flags(context: &Arc<Context>, flags: CUevent_flags) -> Result<Self, DriverError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the pointer is valid for the one handle written.
        unsafe { call!(context, cuEventCreate(&raw mut handle, flags as u32)) }?;
        Ok(Self { handle: Handle::new(handle), context: Arc::clone(context) })
    }

    /// Puts the event behind all that is queued.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn record(&self, queue: &Queue) -> Result<(), DriverError> {
        // SAFETY: both handles are destroyed by the `Drop` of their owners alone.
        unsafe { call!(self.context, cuEventRecord(self.handle.raw(), queue.raw())) }
    }

    /// Waits until the event, as it was recorded last, is reached; not at all if it never was.
    ///
    /// # Errors
    /// When what was queued in front of it failed.
    pub(crate) fn synchronize(&self) -> Result<(), DriverError> {
        // SAFETY: the handle is destroyed by `Drop` alone.
        unsafe { call!(self.context, cuEventSynchronize(self.handle.raw())) }
    }

    /// Time between two timed events, both reached.
    ///
    /// # Errors
    /// When they are not.
    pub(crate) fn elapsed(start: &Self, end: &Self) -> Result<Duration, DriverError> {
        let mut ms = 0.0f32;
        let (from, to) = (start.handle.raw(), end.handle.raw());
        // SAFETY: the pointer is valid for the one number written, and both handles are live.
        unsafe { call!(start.context, cuEventElapsedTime(&raw mut ms, from, to)) }?;
        Ok(Duration::from_secs_f32(ms.max(0.0) / 1e3))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let event = self.handle.raw();
        // SAFETY: nobody else destroys it; the driver keeps what a queue still needs of it.
        self.context.release(|| unsafe { call!(self.context, cuEventDestroy_v2(event)) });
    }
}
