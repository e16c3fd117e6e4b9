//! Copies to the host that the host does not wait for when it queues them.

#![allow(unsafe_code)]

use std::sync::Arc;

use tintype_ops::{Error, Result, StreamId, Tensor, require_copy_size};

use crate::driver::{Context, DriverError, Event, PinnedBuffer, Queue};
use crate::host_copy::HostCopy;

/// Landings hold at least this much: what steps bring to the host is small and of many sizes, and
/// page-locked memory is slow to get.
const MIN_LANDING_BYTES: usize = 4096;

/// A copy to the host that is on its way.
pub struct CudaDownload {
    landing: Landing,
    len: usize,
    stream: StreamId,
}

/// Page-locked memory that one copy at a time comes to.
struct Landing {
    /// Reached when the copy that came last is there.
    copied: Event,
    pinned: PinnedBuffer,
    context: Arc<Context>,
}

impl Landing {
    fn alloc(context: &Arc<Context>, len: usize) -> std::result::Result<Self, DriverError> {
        Ok(Self {
            copied: Event::new(context)?,
            pinned: PinnedBuffer::alloc(context, len)?,
            context: Arc::clone(context),
        })
    }

    /// Queues all parts of a copy of `len` bytes.
    fn queue_copy(
        &mut self,
        queue: &Queue,
        mut copy: HostCopy,
        len: usize,
    ) -> std::result::Result<(), DriverError> {
        let mut used = 0;
        while let Some(part) = copy.next(used, (len - used).max(1)) {
            // SAFETY: the tensor was checked to lie in a buffer, which lives as long as the stream
            // and is used by this queue alone. Nobody touches the host bytes, and they are not
            // freed, before the event that is recorded next is reached.
            unsafe { self.pinned.download(&part, queue) }?;
            used += part.width * part.height;
        }
        Ok(())
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        // A copy may be on its way to the memory that is freed next. After a fault none is.
        let _ = self.context.bind().and_then(|()| self.copied.synchronize());
    }
}

/// The landings of one stream that no download has.
pub(crate) struct Downloads {
    free: Vec<Landing>,
    context: Arc<Context>,
}

impl Downloads {
    pub(crate) fn new(context: &Arc<Context>) -> Self {
        Self { free: Vec::new(), context: Arc::clone(context) }
    }

    /// Queues a copy of `src`, which is at `address`.
    ///
    /// # Errors
    /// When there is no memory that can be locked, or what the driver refused.
    pub(crate) fn start(
        &mut self,
        stream: &StreamId,
        queue: &Queue,
        (src, address): (Tensor, u64),
    ) -> Result<CudaDownload> {
        let len = src.size_bytes() as usize;
        let mut landing = self.landing(len)?;
        let queued = landing.queue_copy(queue, HostCopy::new(src, address), len);
        if let Err(error) = queued.and_then(|()| landing.copied.record(queue)) {
            // A part of the copy may be on its way, and nothing else would wait for it.
            let _ = queue.synchronize();
            return Err(error.into());
        }
        Ok(CudaDownload { landing, len, stream: stream.clone() })
    }

    /// Waits for the copy and brings it to `dst`.
    ///
    /// # Errors
    /// When it is another stream's, sizes differ, or what was queued before it failed.
    pub(crate) fn finish(
        &mut self,
        stream: &StreamId,
        download: CudaDownload,
        dst: &mut [u8],
    ) -> Result<()> {
        let CudaDownload { landing, len, stream: own } = download;
        if &own != stream {
            let what = "the download belongs to another stream; finish it on the one it is from";
            return Err(Error::Device(what.into()));
        }
        landing.copied.synchronize()?;
        require_copy_size(dst.len() as u64, len as u64)?;
        // SAFETY: the copy that was queued to these bytes has run.
        dst.copy_from_slice(unsafe { landing.pinned.bytes(0..len) });
        self.free.push(landing);
        Ok(())
    }

    fn landing(&mut self, len: usize) -> std::result::Result<Landing, DriverError> {
        match self.free.iter().position(|landing| landing.pinned.len() >= len) {
            Some(index) => Ok(self.free.swap_remove(index)),
            None => Landing::alloc(&self.context, len.max(MIN_LANDING_BYTES)),
        }
    }
}
