//! Streams: queues of work that run as late as the API allows.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::ThreadId;

use crate::capture::{Branch, Unsafe};
use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::graph::Node;
use crate::handle::{Handle, Kind, Table};
use crate::operation::Operation;

/// `CU_STREAM_LEGACY`; a null handle means the same.
pub(crate) const LEGACY: Handle = Handle(1);
/// `CU_STREAM_PER_THREAD`.
pub(crate) const PER_THREAD: Handle = Handle(2);
/// `CU_STREAM_NON_BLOCKING`.
pub(crate) const NON_BLOCKING: u32 = 1;

/// Priorities from least to greatest, as a GPU of this generation has them.
pub(crate) const PRIORITIES: (i32, i32) = (0, -5);

/// A point in a stream's work: reached when that many items of it are done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Marker {
    pub(crate) stream: Handle,
    pub(crate) count: u64,
}

/// An item of a stream's queue.
#[derive(Clone)]
pub(crate) enum Work {
    /// One operation; `programmatic` if it may overlap the one in front.
    Run { operation: Operation, programmatic: bool },
    /// A launch of a graph with the parameters that it had at the call.
    Replay(Arc<[Node]>),
    /// An event is recorded.
    Record(Handle),
    /// Nothing behind this runs before the point is reached.
    Wait(Marker),
}

pub(crate) struct Stream {
    pub(crate) flags: u32,
    pub(crate) priority: i32,
    pub(crate) queue: VecDeque<Work>,
    /// Items ever queued, and items done.
    pub(crate) queued: u64,
    pub(crate) done: u64,
    /// The capture that the stream is part of.
    pub(crate) branch: Option<Branch>,
    /// Destroyed by the program; it lives on until its work is done.
    pub(crate) destroyed: bool,
}

impl Stream {
    fn new(flags: u32, priority: i32) -> Stream {
        Stream {
            flags,
            priority,
            queue: VecDeque::new(),
            queued: 0,
            done: 0,
            branch: None,
            destroyed: false,
        }
    }

    /// Whether the stream and the legacy stream wait for each other.
    pub(crate) fn is_blocking(&self) -> bool {
        self.flags & NON_BLOCKING == 0
    }

    fn push(&mut self, work: Work) {
        self.queue.push_back(work);
        self.queued += 1;
    }
}

/// The streams of the context.
pub(crate) struct Streams {
    legacy: Stream,
    created: Table<Stream>,
    per_thread: HashMap<ThreadId, Handle>,
}

impl Streams {
    pub(crate) fn new() -> Streams {
        Streams {
            legacy: Stream::new(0, 0),
            created: Table::new(Kind::Stream),
            per_thread: HashMap::new(),
        }
    }

    /// The stream that a handle of the program means.
    ///
    /// # Errors
    /// `INVALID_HANDLE` for a stream that is not, or no longer, there.
    pub(crate) fn resolve(&mut self, handle: Handle, caller: &Caller) -> Result<Handle> {
        match handle {
            Handle::NULL | LEGACY => Ok(LEGACY),
            PER_THREAD => Ok(*self
                .per_thread
                .entry(caller.thread)
                .or_insert_with(|| self.created.insert(Stream::new(0, 0)))),
            _ if self.created.get(handle)?.destroyed => {
                Code::INVALID_HANDLE.err("the stream has been destroyed")
            }
            _ => Ok(handle),
        }
    }

    /// A stream by its resolved handle; none once a destroyed stream has done all its work.
    pub(crate) fn find(&self, stream: Handle) -> Option<&Stream> {
        if stream == LEGACY { Some(&self.legacy) } else { self.created.get(stream).ok() }
    }

    pub(crate) fn find_mut(&mut self, stream: Handle) -> Option<&mut Stream> {
        if stream == LEGACY { Some(&mut self.legacy) } else { self.created.get_mut(stream).ok() }
    }

    /// A stream that `resolve` has just vouched for.
    pub(crate) fn get(&self, stream: Handle) -> &Stream {
        self.find(stream).expect("resolved in this call")
    }

    pub(crate) fn get_mut(&mut self, stream: Handle) -> &mut Stream {
        self.find_mut(stream).expect("resolved in this call")
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Handle, &Stream)> {
        std::iter::once((LEGACY, &self.legacy)).chain(self.created.iter())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Handle, &mut Stream)> {
        std::iter::once((LEGACY, &mut self.legacy)).chain(self.created.iter_mut())
    }

    pub(crate) fn create(&mut self, flags: u32, priority: i32) -> Handle {
        self.created.insert(Stream::new(flags, priority))
    }

    /// Forgets destroyed streams that have nothing left to do.
    pub(crate) fn bury(&mut self) {
        self.created.retain(|stream| !stream.destroyed || !stream.queue.is_empty());
    }

    /// Streams that the program has created and not destroyed.
    pub(crate) fn living(&self) -> impl Iterator<Item = Handle> {
        let own: Vec<Handle> = self.per_thread.values().copied().collect();
        let alive = self.created.iter().filter(|(_, stream)| !stream.destroyed);
        alive.map(|(handle, _)| handle).filter(move |handle| !own.contains(handle))
    }

    /// Whether the work up to `marker` is done.
    pub(crate) fn reached(&self, marker: Marker) -> bool {
        self.find(marker.stream).is_none_or(|stream| stream.done >= marker.count)
    }

    /// The end of the work that `stream` has now.
    pub(crate) fn end(&self, stream: Handle) -> Marker {
        Marker { stream, count: self.find(stream).map_or(0, |stream| stream.queued) }
    }

    /// What new work on `stream` waits for without being told: the legacy stream and the
    /// blocking streams wait for each other.
    fn implied_waits(&self, stream: Handle) -> Vec<Marker> {
        let pending = |marker: &Marker| !self.reached(*marker);
        if stream == LEGACY {
            let blocking = self.created.iter().filter(|(_, other)| other.is_blocking());
            return blocking.map(|(other, _)| self.end(other)).filter(pending).collect();
        }
        let legacy = self.get(stream).is_blocking().then(|| self.end(LEGACY));
        legacy.into_iter().filter(pending).collect()
    }

    /// Queues `work` and returns the point at which it is done.
    pub(crate) fn enqueue(&mut self, stream: Handle, work: Work) -> Marker {
        for marker in self.implied_waits(stream) {
            self.get_mut(stream).push(Work::Wait(marker));
        }
        self.get_mut(stream).push(work);
        self.end(stream)
    }
}

impl Driver {
    /// `cuStreamCreateWithPriority`.
    pub(crate) fn stream_create(&mut self, flags: u32, priority: i32) -> Result<Handle> {
        if flags > NON_BLOCKING {
            return Code::INVALID_VALUE.err(format!("unknown stream flags {flags:#x}"));
        }
        Ok(self.streams.create(flags, priority.clamp(PRIORITIES.1, PRIORITIES.0)))
    }

    /// `cuStreamDestroy`: the work goes on. A capture of the stream ends unfinished.
    pub(crate) fn stream_destroy(&mut self, handle: Handle, caller: &Caller) -> Result<()> {
        let stream = self.streams.resolve(handle, caller)?;
        if stream != handle {
            return Code::INVALID_VALUE.err("a default stream cannot be destroyed");
        }
        if let Some(branch) = &self.streams.get(stream).branch {
            let graph = branch.graph;
            self.abandon_capture(graph);
        }
        self.streams.get_mut(stream).destroyed = true;
        self.streams.bury();
        Ok(())
    }

    /// `cuStreamSynchronize`.
    pub(crate) fn stream_synchronize(&mut self, handle: Handle, caller: &Caller) -> Result<()> {
        let stream = self.streams.resolve(handle, caller)?;
        self.forbid_on_capturing_stream(stream)?;
        self.forbid_in_capture(Unsafe("cuStreamSynchronize"), caller)?;
        self.run_until(self.streams.end(stream));
        self.healthy()
    }

    /// `cuStreamQuery`: every query lets one item run, so that a loop of queries ends, late.
    pub(crate) fn stream_query(&mut self, handle: Handle, caller: &Caller) -> Result<()> {
        let stream = self.streams.resolve(handle, caller)?;
        self.forbid_on_capturing_stream(stream)?;
        self.forbid_in_capture(Unsafe("cuStreamQuery"), caller)?;
        self.poll(self.streams.end(stream))
    }

    /// Succeeds if `marker` is reached; otherwise does a little of what is in front of it.
    pub(crate) fn poll(&mut self, marker: Marker) -> Result<()> {
        if self.streams.reached(marker) {
            return Ok(());
        }
        self.run_one(marker);
        self.healthy()?;
        Err(Code::NOT_READY.into())
    }

    /// `cuCtxSynchronize`.
    pub(crate) fn context_synchronize(&mut self) -> Result<()> {
        self.forbid_in_any_capture("cuCtxSynchronize")?;
        self.run_everything();
        self.healthy()
    }
}
