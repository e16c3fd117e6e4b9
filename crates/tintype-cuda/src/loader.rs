//! Threads that bring weights to the device while the stream does something else.
//!
//! Each thread has a queue of its own and two page-locked buffers: it fills one from the mapped
//! file while the device copies out of the other. A packed weight is copied to a strip of device
//! memory that belongs to the buffer, and packed from there by a kernel on the same queue.
//!
//! The stream waits for all of it before the first work that could read a weight, and not before:
//! graphs are captured while weights load.
//!
//! Threads, buffers and strips stay for the life of the stream: up to 8 threads, 32 MiB of locked
//! memory, and as much of the device's where weights are packed. To free either kind of memory the
//! driver waits for the device, so it would hold up the first steps, and weights may come later.

mod work;
mod worker;

use std::io;
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
        let shared = Arc::new(shared);
        let spawn = |index| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("tintype-load-{index}"));
            thread.spawn(move || Worker::run(&shared, index))
        };
        let threads = spawn_up_to(num_threads, spawn)?;
        Ok(Self { shared, threads, is_behind: false })
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

/// Spawns threads until there are `num_threads` or the system gives no more. Fewer load the same,
/// if not as quickly.
///
/// # Errors
/// When there is not even one.
fn spawn_up_to<T>(
    num_threads: usize,
    mut spawn: impl FnMut(usize) -> io::Result<T>,
) -> Result<Vec<T>> {
    let first = spawn(0).map_err(|error| {
        Error::Device(format!(
            "no thread to load weights can be started: {error}; raise the limit on processes \
             (ulimit -u, or the container's)"
        ))
    })?;
    let others = (1..num_threads).map_while(|index| spawn(index).ok());
    Ok(std::iter::once(first).chain(others).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of wanting `num_threads` on a system that gives out `limit`.
    fn spawned(num_threads: usize, limit: usize) -> Result<Vec<usize>> {
        spawn_up_to(num_threads, |index| match index < limit {
            true => Ok(index),
            false => Err(io::Error::from(io::ErrorKind::WouldBlock)),
        })
    }

    #[test]
    fn as_many_threads_load_as_the_system_gives() {
        assert_eq!(spawned(4, 9), Ok(vec![0, 1, 2, 3]));
        assert_eq!(spawned(4, 2), Ok(vec![0, 1]));
    }

    #[test]
    fn no_thread_at_all_is_an_error_with_the_way_out() {
        let message = spawned(4, 0).unwrap_err().to_string();
        assert!(message.contains("ulimit -u"), "{message}");
    }
}
