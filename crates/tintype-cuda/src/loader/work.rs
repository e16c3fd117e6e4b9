//! The chunks that are to be loaded, shared between the stream and the threads.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tintype_ops::{Error, Result};

use crate::weights::WeightUpload;

/// Weights in the order in which they were given, chunk by chunk.
#[derive(Default)]
pub(super) struct Work {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    uploads: VecDeque<Progress>,
    /// Chunks that were taken and not handed back yet.
    num_taken: usize,
    /// The first error. What is on the device is incomplete from then on.
    error: Option<Error>,
    is_over: bool,
}

/// A weight, of which the first chunks were taken.
struct Progress {
    upload: Arc<WeightUpload>,
    next: usize,
}

impl Work {
    /// Adds a weight behind the others.
    ///
    /// # Errors
    /// What went wrong with an earlier one.
    pub(super) fn push(&self, upload: WeightUpload) -> Result<()> {
        let mut state = self.lock();
        state.error.clone().map_or(Ok(()), Err)?;
        state.uploads.push_back(Progress { upload: Arc::new(upload), next: 0 });
        self.changed.notify_all();
        Ok(())
    }

    /// The next chunk, as soon as there is one; `None` when it is over.
    pub(super) fn take(&self) -> Option<Taken<'_>> {
        let mut state = self.lock();
        loop {
            if state.is_over {
                return None;
            }
            if let Some((upload, index)) = state.next_chunk() {
                state.num_taken += 1;
                return Some(Taken { work: self, upload, index, outcome: None });
            }
            state = self.wait(state);
        }
    }

    /// What went wrong first, if anything did.
    ///
    /// # Errors
    /// That.
    pub(super) fn check(&self) -> Result<()> {
        self.lock().error.clone().map_or(Ok(()), Err)
    }

    /// Waits until every chunk was handed back.
    ///
    /// # Errors
    /// What went wrong first.
    pub(super) fn wait_until_done(&self) -> Result<()> {
        let mut state = self.lock();
        while state.num_taken > 0 || !state.uploads.is_empty() {
            state = self.wait(state);
        }
        state.error.clone().map_or(Ok(()), Err)
    }

    /// Drops what was not taken yet, and lets whoever waits for more go.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.uploads.clear();
        self.changed.notify_all();
    }

    /// The state; it is whole at every unlock, whoever panics.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next_chunk(&mut self) -> Option<(Arc<WeightUpload>, usize)> {
        let progress = self.uploads.front_mut()?;
        let chunk = (Arc::clone(&progress.upload), progress.next);
        progress.next += 1;
        if progress.next == progress.upload.num_chunks() {
            self.uploads.pop_front();
        }
        Some(chunk)
    }
}

/// A chunk in the hands of a thread. It is handed back when this is dropped; without an outcome
/// the thread panicked.
pub(super) struct Taken<'a> {
    work: &'a Work,
    pub(super) upload: Arc<WeightUpload>,
    pub(super) index: usize,
    pub(super) outcome: Option<Result<()>>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let panicked = || Err(Error::Device("its thread panicked".into()));
        let outcome = self.outcome.take().unwrap_or_else(panicked);
        let mut state = self.work.lock();
        state.num_taken -= 1;
        if let Err(error) = outcome {
            // The rest would be in vain.
            state.uploads.clear();
            state.error.get_or_insert_with(|| error.context("loading a weight"));
        }
        self.work.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::thread;

    use tintype_ops::{DType, SharedBytes, WeightPiece, WeightRole, WeightSource};

    use super::*;
    use crate::launch::Layout;
    use crate::weights::CHUNK_BYTES;

    /// A weight at `address` that is cut into `num_chunks`.
    fn upload(address: u64, num_chunks: usize) -> WeightUpload {
        let rows = (num_chunks * CHUNK_BYTES / 4) as u32;
        let bytes = SharedBytes::new(vec![0; rows as usize * 4]);
        let pieces = vec![WeightPiece { rows, bytes }];
        let source = WeightSource::new(pieces, 1, DType::F32, WeightRole::Plain).unwrap();
        WeightUpload::new(source, address, Layout::RowMajor)
    }

    fn finish(mut taken: Taken<'_>, outcome: Result<()>) {
        taken.outcome = Some(outcome);
    }

    fn failure() -> Error {
        Error::Device("unplugged".into())
    }

    #[test]
    fn chunks_are_taken_in_order() {
        let work = Work::default();
        work.push(upload(0, 2)).unwrap();
        work.push(upload(1, 1)).unwrap();
        let taken = [(); 3].map(|()| work.take().unwrap());
        let found = taken.each_ref().map(|taken| (taken.upload.address(), taken.index));
        assert_eq!(found, [(0, 0), (0, 1), (1, 0)]);
        taken.into_iter().for_each(|taken| finish(taken, Ok(())));
        assert_eq!(work.wait_until_done(), Ok(()));
    }

    #[test]
    fn whoever_waits_is_woken_by_the_last_chunk() {
        let work = Work::default();
        work.push(upload(0, 3)).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| (0..3).for_each(|_| finish(work.take().unwrap(), Ok(()))));
            assert_eq!(work.wait_until_done(), Ok(()));
        });
        assert!(work.lock().uploads.is_empty());
    }

    #[test]
    fn the_first_error_ends_the_loading_and_stays() {
        let work = Work::default();
        work.push(upload(0, 9)).unwrap();
        let [first, second] = [(); 2].map(|()| work.take().unwrap());
        finish(first, Err(failure()));
        finish(second, Err(Error::Device("later".into())));
        let expected = Err(failure().context("loading a weight"));
        assert_eq!(work.wait_until_done(), expected);
        assert_eq!(work.check(), expected);
        assert_eq!(work.push(upload(0, 1)), expected);
    }

    #[test]
    fn a_panic_in_a_thread_is_an_error() {
        let work = Work::default();
        work.push(upload(0, 2)).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _taken = work.take();
            resume_unwind(Box::new("stop"));
        }));
        assert!(panicked.is_err());
        let message = work.wait_until_done().unwrap_err().to_string();
        assert_eq!(message, "loading a weight: device: its thread panicked");
    }

    #[test]
    fn the_end_lets_waiting_threads_go() {
        let work = Work::default();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| work.take().is_none());
            work.end();
            assert!(waiting.join().unwrap());
        });
        work.push(upload(0, 1)).unwrap();
        assert!(work.take().is_none());
    }
}
