//! Threads that bring weights to the device while the stream does something else.
//!
//! Each thread has a queue of its own and two page-locked buffers: it fills one from the mapped
//! file while the device copies out of the other. A packed weight is copied to a strip of device
//! memory that belongs to the buffer, and packed from there by a kernel on the same queue.
//!
//! The stream waits for all of it before the first work that could read a weight, and not before:
//! graphs are captured while weights load.

mod work;
mod worker;

use std::sync::Arc;
use std::thread::JoinHandle;

use tintype_ops::{Error, Result};

use crate::driver::{Context, DeviceBuffer, DriverError, Event, Queue};
use crate::kernels::Kernels;
use crate::memory::alloc_bytes;
use crate::weights::{CHUNK_BYTES, WeightUpload};
use work::Work;
use worker::Worker;

/// More threads than this do not fill the bus any faster.
const MAX_THREADS: usize = 8;
/// Page-locked buffers of a thread.
const NUM_SLOTS: usize = 2;

/// The threads, and what they share with the stream.
pub(crate) struct Loader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Whether weights were given out since the queue waited last.
    is_behind: bool,
}

/// What the threads share.
struct Shared {
    work: Work,
    /// Recorded behind the work on each chunk, one for each slot of each thread.
    copied: Vec<Event>,
    /// A chunk's room for each slot, on chips with packed weights.
    strips: Option<DeviceBuffer>,
    kernels: Arc<Kernels>,
    context: Arc<Context>,
}

impl Loader {
    /// The loader that is there, started if there is none. `packs` says whether any weight of this
    /// chip is packed.
    ///
    /// # Errors
    /// When there is no room for what its threads need, or the system gives no threads.
    pub(crate) fn running<'a>(
        loader: &'a mut Option<Self>,
        context: &Arc<Context>,
        kernels: &Arc<Kernels>,
        packs: bool,
    ) -> Result<&'a mut Self> {
        Ok(match loader {
            Some(loader) => loader,
            none => none.insert(Self::start(context, kernels, packs)?),
        })
    }

    /// Starts the threads, as many as the machine runs at once but no more than are of use.
    fn start(context: &Arc<Context>, kernels: &Arc<Kernels>, packs: bool) -> Result<Self> {
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        let num_threads = available.min(MAX_THREADS);
        let shared = Shared::new(context, kernels, num_threads * NUM_SLOTS, packs)?;
        let (shared, threads) = (Arc::new(shared), Vec::with_capacity(num_threads));
        let mut loader = Self { shared, threads, is_behind: false };
        (0..num_threads).try_for_each(|index| loader.spawn(index))?;
        Ok(loader)
    }

    fn spawn(&mut self, index: usize) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(format!("tintype-load-{index}"))
            .spawn(move || Worker::run(&shared, index))
            .map_err(|error| Error::Device(format!("starting a thread that loads: {error}")))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Gives a weight to the threads and returns at once.
    ///
    /// # Errors
    /// What went wrong with an earlier one.
    pub(crate) fn load(&mut self, upload: WeightUpload) -> Result<()> {
        self.is_behind = true;
        self.shared.work.push(upload)
    }

    /// Whether anything went wrong so far: weights are incomplete then, for good.
    ///
    /// # Errors
    /// What went wrong first.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_behind { self.shared.work.check() } else { Ok(()) }
    }

    /// Lets what is queued from now on wait for all weights. Returns when the last copy is queued.
    ///
    /// # Errors
    /// What went wrong with a weight.
    pub(crate) fn join(&mut self, queue: &Queue) -> Result<()> {
        if self.is_behind {
            self.shared.work.wait_until_done()?;
            self.shared.copied.iter().try_for_each(|event| queue.wait(event))?;
            self.is_behind = false;
        }
        Ok(())
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.work.end();
        for thread in self.threads.drain(..) {
            // One that panicked has left its error behind.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn new(
        context: &Arc<Context>,
        kernels: &Arc<Kernels>,
        num_slots: usize,
        packs: bool,
    ) -> Result<Self> {
        let strips = || alloc_bytes(context, (num_slots * CHUNK_BYTES) as u64);
        Ok(Self {
            work: Work::default(),
            copied: (0..num_slots)
                .map(|_| Event::new(context))
                .collect::<std::result::Result<_, DriverError>>()?,
            strips: packs.then(strips).transpose()?,
            kernels: Arc::clone(kernels),
            context: Arc::clone(context),
        })
    }
}
