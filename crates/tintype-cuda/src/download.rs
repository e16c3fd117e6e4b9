//! Copies to the host that the host does not wait for when it queues them.

#![allow(unsafe_code)]

use std::sync::Arc;

use tintype_kernels::params::CopyWordsParams;
use tintype_ops::{Error, Result, StreamId, Tensor, require_copy_size};

use crate::driver::{Context, DriverError, Event, PinnedBuffer, Queue};
use crate::host_copy::HostCopy;
use crate::kernels::Kernels;
use crate::launch::Launch;

/// Landings hold at least this much: what steps bring to the host is small and of many sizes, and
/// page-locked memory is slow to get.
const MIN_LANDING_BYTES: usize = 4096;

/// Copies of up to this much are made by a kernel. Work that is queued behind a copy waits some
/// 7 µs for the copy engine and 1 µs for a kernel.
const MAX_KERNEL_BYTES: usize = 16 << 10;
const NUM_THREADS: u32 = 256;

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
    device_address: u64,
    context: Arc<Context>,
}

impl Landing {
    fn alloc(context: &Arc<Context>, len: usize) -> std::result::Result<Self, DriverError> {
        let pinned = PinnedBuffer::alloc(context, len)?;
        Ok(Self {
            copied: Event::new(context)?,
            device_address: pinned.device_address()?,
            pinned,
            context: Arc::clone(context),
        })
    }

    /// Queues a copy of `src`, which is at `address`.
    fn queue_copy(
        &mut self,
        programmatic: bool,
        kernels: &Kernels,
        queue: &Queue,
        (src, address): (Tensor, u64),
    ) -> Result<()> {
        let len = src.size_bytes() as usize;
        if src.is_contiguous() && len.is_multiple_of(4) && (1..=MAX_KERNEL_BYTES).contains(&len) {
            let launch = copy_words(programmatic, self.device_address, address, len);
            // SAFETY: the tensor was checked to lie in a buffer, which lives as long as the stream
            // and is used by this queue alone, and the landing is as large. Nobody touches the
            // landing, and it is not freed, before the event that is recorded next is reached.
            return unsafe { kernels.launch(queue, &launch) };
        }
        let (mut copy, mut used) = (HostCopy::new(src, address), 0);
        while let Some(part) = copy.next(used, (len - used).max(1)) {
            // SAFETY: as above.
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
    /// Whether a copy may start before the kernel in front of it ends.
    programmatic: bool,
    context: Arc<Context>,
}

impl Downloads {
    pub(crate) fn new(context: &Arc<Context>, programmatic: bool) -> Self {
        Self { free: Vec::new(), programmatic, context: Arc::clone(context) }
    }

    /// Queues a copy of a tensor, which is at this address.
    ///
    /// # Errors
    /// When there is no memory that can be locked, or what the driver refused.
    pub(crate) fn start(
        &mut self,
        stream: &StreamId,
        kernels: &Kernels,
        queue: &Queue,
        src: (Tensor, u64),
    ) -> Result<CudaDownload> {
        let len = src.0.size_bytes() as usize;
        let mut landing = self.landing(len)?;
        let queued = landing.queue_copy(self.programmatic, kernels, queue, src);
        if let Err(error) = queued.and_then(|()| Ok(landing.copied.record(queue)?)) {
            // A part of the copy may be on its way, and nothing else would wait for it.
            let _ = queue.synchronize();
            return Err(error);
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

fn copy_words(programmatic: bool, out: u64, src: u64, len: usize) -> Launch {
    let num_words = (len / 4) as u32;
    let params = CopyWordsParams { out, src, num_words, reserved: 0 };
    let grid = [num_words.div_ceil(NUM_THREADS), 1, 1];
    let launch = Launch::new("copy_words", grid, [NUM_THREADS, 1, 1], &params);
    Launch { programmatic, ..launch }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_a_thread_for_each_word() {
        let num_blocks = |len| copy_words(true, 0, 0, len).grid[0];
        assert_eq!([4, 1024, 1028, MAX_KERNEL_BYTES].map(num_blocks), [1, 1, 2, 16]);
    }
}
