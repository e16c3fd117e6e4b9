//! One loading thread.

#![allow(unsafe_code)]

use tintype_ops::Result;

use super::work::Taken;
use super::{NUM_SLOTS, Shared};
use crate::driver::{CopyPart, DeviceBuffer, DriverError, Event, PinnedBuffer, Queue};
use crate::launch::pack;
use crate::weights::{CHUNK_BYTES, Chunk, WeightUpload};

/// What a thread works with. Made when its first chunk comes: locking memory takes its time.
pub(super) struct Worker<'a> {
    shared: &'a Shared,
    queue: Queue,
    slots: [Slot<'a>; NUM_SLOTS],
    next: usize,
}

/// A page-locked buffer, and what belongs to it.
struct Slot<'a> {
    pinned: PinnedBuffer,
    /// Recorded behind the work on the last chunk that was in it.
    copied: &'a Event,
    /// Address of its strip of device memory; 0 on chips that pack no weights.
    strip: u64,
}

impl<'a> Worker<'a> {
    /// Works until the loader ends. `index` is the thread's among all of them.
    pub(super) fn run(shared: &'a Shared, index: usize) {
        let mut worker: Option<Self> = None;
        while let Some(mut taken) = shared.work.take() {
            let started = match &mut worker {
                Some(worker) => Ok(worker),
                none => Self::start(shared, index).map(|started| none.insert(started)),
            };
            let outcome = started.map_err(Into::into).and_then(|worker| worker.load(&taken));
            taken.outcome = Some(outcome);
        }
    }

    fn start(shared: &'a Shared, index: usize) -> std::result::Result<Self, DriverError> {
        shared.context.bind()?;
        let [first, second] = [0, 1].map(|slot| Slot::new(shared, index * NUM_SLOTS + slot));
        let (queue, slots) = (Queue::new(&shared.context)?, [first?, second?]);
        Ok(Self { shared, queue, slots, next: 0 })
    }

    /// Reads a chunk and queues its way to the device.
    fn load(&mut self, taken: &Taken<'_>) -> Result<()> {
        let chunk = taken.upload.chunk(taken.index);
        let slot = &mut self.slots[self.next];
        self.next = (self.next + 1) % NUM_SLOTS;
        slot.copied.synchronize()?;
        // SAFETY: the event says that the last copy out of this buffer has run.
        let bytes = unsafe { slot.pinned.bytes_mut(0..chunk.bytes.len()) };
        taken.upload.read(&chunk, bytes);
        slot.send(&taken.upload, &chunk, &self.queue, self.shared)?;
        Ok(slot.copied.record(&self.queue)?)
    }
}

impl<'a> Slot<'a> {
    fn new(shared: &'a Shared, index: usize) -> std::result::Result<Self, DriverError> {
        let strips = shared.strips.as_ref().map_or(0, DeviceBuffer::address);
        Ok(Self {
            pinned: PinnedBuffer::alloc(&shared.context, CHUNK_BYTES)?,
            copied: &shared.copied[index],
            strip: strips + (index * CHUNK_BYTES) as u64,
        })
    }

    /// Queues the copy of a chunk, and its packing.
    fn send(
        &self,
        upload: &WeightUpload,
        chunk: &Chunk,
        queue: &Queue,
        shared: &Shared,
    ) -> Result<()> {
        let width = chunk.bytes.len();
        let packing = pack(upload, chunk.rows.clone(), self.strip);
        let device = match packing {
            Some(_) => self.strip,
            None => upload.address() + chunk.bytes.start as u64,
        };
        let part = CopyPart { host: 0, device, width, height: 1, pitch: width };
        // SAFETY: the destination is a part of a weight that no other chunk covers and that the
        // stream reads only behind the slot's event, or the slot's own strip, whose last reader is
        // in front in the same queue. The host bytes are next written behind the slot's event.
        unsafe { self.pinned.upload(&part, queue) }?;
        if let Some(launch) = packing {
            // SAFETY: the kernel reads the strip, which this queue has just written, and writes
            // the elements of these rows in the weight, which no other chunk has.
            unsafe { shared.kernels.launch(queue, &launch) }?;
            shared.kernels.count_launches(1);
        }
        Ok(())
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        // The buffers may not go before the copies out of them have run. After a fault none runs.
        let _ = self.queue.synchronize();
    }
}
