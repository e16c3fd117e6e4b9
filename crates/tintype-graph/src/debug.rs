//! Running one op at a time, so that a fault has a name.

use tintype_ops::{Enqueue, Op, Result, Stream};

use crate::capture::describe;

/// A queue that waits after every op. A device reports a fault at the next synchronisation, so
/// the op just queued is the one that failed.
///
/// The forward pass queues into it directly, so whatever context the model puts on the errors of
/// its layers stands before the op.
pub(crate) struct DebugQueue<'a, S> {
    stream: &'a mut S,
    index: usize,
}

impl<'a, S: Stream> DebugQueue<'a, S> {
    pub(crate) fn new(stream: &'a mut S) -> Self {
        Self { stream, index: 0 }
    }
}

impl<S: Stream> Enqueue for DebugQueue<'_, S> {
    fn enqueue(&mut self, op: Op) -> Result<()> {
        let index = self.index;
        self.index += 1;
        let outcome = self.stream.enqueue(op).and_then(|()| self.stream.synchronize());
        outcome.map_err(|error| error.context(describe(index, &op)))
    }
}
