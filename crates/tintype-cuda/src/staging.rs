//! Copies between the host's ordinary memory and the device, through page-locked memory.
//!
//! The device reads page-locked memory when a copy runs, long after it was queued. So an upload
//! copies its bytes into a ring first, and a part of the ring is written again only when an event
//! says that the copies out of it have run.

#![allow(unsafe_code)]

use std::sync::Arc;

use tintype_ops::{Result, Tensor};

use crate::driver::{Context, DriverError, Event, PinnedBuffer, Queue};
use crate::host_copy::HostCopy;

/// One of the ring's halves. A step uploads a few KiB: ids, positions, lengths, block tables.
const HALF_BYTES: usize = 256 << 10;

/// Where the next upload's bytes go: one half of the ring after the other.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ring {
    half: usize,
    used: usize,
}

impl Ring {
    /// Copies start on a cache line.
    const ALIGN: usize = 64;

    /// Bytes that are left in this half.
    fn remaining(&self) -> usize {
        HALF_BYTES - self.used
    }

    /// Offset of the next byte in the whole ring.
    fn offset(&self) -> usize {
        self.half * HALF_BYTES + self.used
    }

    /// Marks the next `len` bytes as used; there are as many.
    fn take(&mut self, len: usize) {
        self.used = (self.used + len).next_multiple_of(Self::ALIGN);
    }

    /// Goes on to the other half.
    fn turn(&mut self) {
        *self = Self { half: 1 - self.half, used: 0 };
    }
}

/// The ring of one queue.
pub(crate) struct Staging {
    ring: Ring,
    /// Recorded when a half is left.
    left: [Event; 2],
    // Dropped by a stream that has waited for its queue.
    pinned: PinnedBuffer,
}

impl Staging {
    /// An empty ring.
    ///
    /// # Errors
    /// When there is no memory that can be locked.
    pub(crate) fn new(context: &Arc<Context>) -> std::result::Result<Self, DriverError> {
        Ok(Self {
            ring: Ring::default(),
            left: [Event::new(context)?, Event::new(context)?],
            pinned: PinnedBuffer::alloc(context, 2 * HALF_BYTES)?,
        })
    }

    /// Queues a copy of `src` to `dst`, which is at `address`; their sizes are the same. `src` may
    /// be reused on return.
    ///
    /// # Errors
    /// What the driver refused.
    pub(crate) fn upload(
        &mut self,
        queue: &Queue,
        (dst, address): (Tensor, u64),
        mut src: &[u8],
    ) -> Result<()> {
        let mut copy = HostCopy::new(dst, address);
        loop {
            if self.ring.remaining() < copy.next_run().min(HALF_BYTES) {
                self.turn(queue)?;
            }
            let (offset, limit) = (self.ring.offset(), self.ring.remaining());
            let Some(part) = copy.next(offset, limit) else { return Ok(()) };
            let len = part.width * part.height;
            let (bytes, rest) = src.split_at(len);
            // SAFETY: copies from these bytes are over: `turn` waited for those of this half's
            // last round, and this round has not come here yet. Downloads use the ring only until
            // they return.
            unsafe { self.pinned.bytes_mut(offset..offset + len) }.copy_from_slice(bytes);
            // SAFETY: the tensor was checked to lie in a buffer, which lives as long as the stream
            // and is used by this queue alone. The bytes are not written before `turn` has waited.
            unsafe { self.pinned.upload(&part, queue) }?;
            self.ring.take(len);
            src = rest;
        }
    }

    /// Waits for all queued work, and copies `src`, which is at `address`, to `dst`; their sizes
    /// are the same.
    ///
    /// # Errors
    /// When queued work failed.
    pub(crate) fn download(
        &mut self,
        queue: &Queue,
        mut dst: &mut [u8],
        (src, address): (Tensor, u64),
    ) -> Result<()> {
        if dst.is_empty() {
            queue.synchronize()?;
        }
        let mut copy = HostCopy::new(src, address);
        while let Some(part) = copy.next(0, self.pinned.len()) {
            let len = part.width * part.height;
            // SAFETY: the tensor was checked to lie in a buffer, which lives as long as the stream.
            // Uploads from the same bytes are in front of it in the same queue, and the host waits
            // for it before it touches them.
            unsafe { self.pinned.download(&part, queue) }?;
            queue.synchronize()?;
            let (head, rest) = dst.split_at_mut(len);
            // SAFETY: everything that was queued has run.
            head.copy_from_slice(unsafe { self.pinned.bytes(0..len) });
            dst = rest;
        }
        self.ring = Ring::default();
        Ok(())
    }

    /// Leaves a half and waits until nothing reads the other one.
    fn turn(&mut self, queue: &Queue) -> Result<()> {
        self.left[self.ring.half].record(queue)?;
        self.left[1 - self.ring.half].synchronize()?;
        self.ring.turn();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_goes_from_half_to_half() {
        let mut ring = Ring::default();
        assert_eq!((ring.offset(), ring.remaining()), (0, HALF_BYTES));
        ring.take(HALF_BYTES - 64);
        assert_eq!((ring.offset(), ring.remaining()), (HALF_BYTES - 64, 64));
        ring.take(1);
        assert_eq!(ring.remaining(), 0);
        ring.turn();
        assert_eq!((ring.offset(), ring.remaining()), (HALF_BYTES, HALF_BYTES));
        ring.turn();
        assert_eq!(ring, Ring::default());
    }

    #[test]
    fn parts_start_on_cache_lines() {
        let mut ring = Ring::default();
        ring.take(4);
        assert_eq!(ring.offset(), 64);
        ring.take(64);
        assert_eq!(ring.offset(), 128);
    }
}
