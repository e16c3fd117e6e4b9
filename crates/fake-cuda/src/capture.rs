//! Stream capture: what becomes a node, what is forbidden meanwhile, and what escapes.

use std::collections::BTreeSet;
use std::thread::ThreadId;

use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::graph::{Edge, Graph, Node};
use crate::handle::Handle;
use crate::operation::Operation;
use crate::stream::LEGACY;

/// `CUstreamCaptureMode`: which calls of which threads a capture forbids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CaptureMode {
    Global,
    ThreadLocal,
    Relaxed,
}

impl CaptureMode {
    /// # Errors
    /// `INVALID_VALUE` for a number that is no mode.
    pub(crate) fn new(value: u32) -> Result<CaptureMode> {
        match value {
            0 => Ok(CaptureMode::Global),
            1 => Ok(CaptureMode::ThreadLocal),
            2 => Ok(CaptureMode::Relaxed),
            _ => Code::INVALID_VALUE.err(format!("{value} is no capture mode")),
        }
    }
}

/// The name of a call that a capture may forbid: it may synchronise or change what graphs use.
#[derive(Clone, Copy)]
pub(crate) struct Unsafe(pub(crate) &'static str);

/// A capture in progress.
pub(crate) struct Capture {
    /// The stream on which it began and must end.
    origin: Handle,
    thread: ThreadId,
    mode: CaptureMode,
    invalidated: bool,
}

/// A stream's part in a capture.
pub(crate) struct Branch {
    /// The graph under construction, which names the capture.
    pub(crate) graph: Handle,
    /// The nodes that the next one depends on.
    pub(crate) tail: Vec<usize>,
}

/// `CUstreamCaptureStatus`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CaptureStatus {
    None,
    Active,
    Invalidated,
}

impl Driver {
    /// `cuStreamBeginCapture`.
    pub(crate) fn begin_capture(
        &mut self,
        stream: Handle,
        mode: CaptureMode,
        caller: &Caller,
    ) -> Result<()> {
        let stream = self.streams.resolve(stream, caller)?;
        if stream == LEGACY {
            return Code::STREAM_CAPTURE_UNSUPPORTED.err("the legacy stream cannot be captured");
        }
        if self.streams.get(stream).branch.is_some() {
            return Code::ILLEGAL_STATE.err("the stream is capturing already");
        }
        let graph = self.graphs.insert(Graph::default());
        let capture = Capture { origin: stream, thread: caller.thread, mode, invalidated: false };
        self.captures.insert(graph, capture);
        self.streams.get_mut(stream).branch = Some(Branch { graph, tail: Vec::new() });
        Ok(())
    }

    /// `cuStreamEndCapture`. Whatever it returns, the stream can be used again, unless it was not
    /// the stream of a capture that could end.
    pub(crate) fn end_capture(&mut self, stream: Handle, caller: &Caller) -> Result<Handle> {
        let stream = self.streams.resolve(stream, caller)?;
        let Some(branch) = &self.streams.get(stream).branch else {
            return Code::ILLEGAL_STATE.err("the stream is not capturing");
        };
        let graph = branch.graph;
        let capture = &self.captures[&graph];
        if capture.origin != stream {
            return Code::STREAM_CAPTURE_UNMATCHED.err("the capture began on another stream");
        }
        let verdict = if capture.mode != CaptureMode::Relaxed && capture.thread != caller.thread {
            Code::STREAM_CAPTURE_WRONG_THREAD
        } else if capture.invalidated {
            Code::STREAM_CAPTURE_INVALIDATED
        } else if !self.all_joined(graph, &branch.tail) {
            Code::STREAM_CAPTURE_UNJOINED
        } else {
            self.leave_capture(graph);
            return Ok(graph);
        };
        self.abandon_capture(graph);
        Err(verdict.into())
    }

    /// Whether every node is in front of the end of the origin stream.
    fn all_joined(&self, graph: Handle, tail: &[usize]) -> bool {
        let Ok(graph) = self.graphs.get(graph) else { return false };
        let mut seen = BTreeSet::new();
        let mut open = tail.to_vec();
        while let Some(index) = open.pop() {
            if seen.insert(index) {
                open.extend(graph.nodes[index].edges.iter().map(|edge| edge.from));
            }
        }
        seen.len() == graph.nodes.len()
    }

    fn leave_capture(&mut self, graph: Handle) {
        self.captures.remove(&graph);
        for (_, stream) in self.streams.iter_mut() {
            if stream.branch.as_ref().is_some_and(|branch| branch.graph == graph) {
                stream.branch = None;
            }
        }
    }

    /// Ends a capture without a graph.
    pub(crate) fn abandon_capture(&mut self, graph: Handle) {
        self.leave_capture(graph);
        // The graph of a capture is known to nobody else who could have destroyed it.
        let _ = self.graphs.remove(graph);
    }

    /// `cuStreamIsCapturing`.
    pub(crate) fn capture_status(&self, stream: Handle) -> Result<CaptureStatus> {
        if stream == LEGACY && self.blocking_capture().is_some() {
            return Err(Code::STREAM_CAPTURE_IMPLICIT.into());
        }
        Ok(match &self.streams.get(stream).branch {
            None => CaptureStatus::None,
            Some(branch) if self.captures[&branch.graph].invalidated => CaptureStatus::Invalidated,
            Some(_) => CaptureStatus::Active,
        })
    }

    /// Whether work for `stream` belongs into a graph.
    ///
    /// # Errors
    /// `STREAM_CAPTURE_INVALIDATED`.
    pub(crate) fn is_capturing(&self, stream: Handle) -> Result<bool> {
        match &self.streams.get(stream).branch {
            None => Ok(false),
            Some(branch) if self.captures[&branch.graph].invalidated => {
                Err(Code::STREAM_CAPTURE_INVALIDATED.into())
            }
            Some(_) => Ok(true),
        }
    }

    /// Adds a node behind what the stream has captured so far.
    pub(crate) fn capture_node(
        &mut self,
        stream: Handle,
        operation: Operation,
        programmatic: bool,
    ) {
        let Some(branch) = &mut self.streams.get_mut(stream).branch else { return };
        let Ok(graph) = self.graphs.get_mut(branch.graph) else { return };
        // Only a kernel can let its successor start early, and only its single one.
        let early = programmatic
            && matches!(branch.tail[..], [last]
                if matches!(graph.nodes[last].operation, Operation::Kernel(_)));
        let edges = branch.tail.iter().map(|&from| Edge { from, programmatic: early }).collect();
        branch.tail = vec![graph.nodes.len()];
        graph.nodes.push(Node { operation, edges });
    }

    /// Where a capturing stream is now.
    pub(crate) fn capture_position(&self, stream: Handle) -> (Handle, Vec<usize>) {
        match &self.streams.get(stream).branch {
            Some(branch) => (branch.graph, branch.tail.clone()),
            None => (Handle::NULL, Vec::new()),
        }
    }

    /// Puts `stream` behind `nodes` of a capture, which it becomes part of.
    pub(crate) fn join_capture(
        &mut self,
        stream: Handle,
        graph: Handle,
        nodes: &[usize],
    ) -> Result<()> {
        if !self.captures.contains_key(&graph) {
            return Code::CAPTURED_EVENT.err("the event was recorded in a capture that has ended");
        }
        if self.captures[&graph].invalidated {
            return Err(Code::STREAM_CAPTURE_INVALIDATED.into());
        }
        let branch = &mut self.streams.get_mut(stream).branch;
        match branch {
            Some(branch) if branch.graph != graph => {
                let own = branch.graph;
                self.invalidate(own);
                self.invalidate(graph);
                Code::STREAM_CAPTURE_MERGE.err("the stream is part of another capture")
            }
            Some(branch) => {
                branch.tail.extend(nodes);
                branch.tail.sort_unstable();
                branch.tail.dedup();
                Ok(())
            }
            None => {
                *branch = Some(Branch { graph, tail: nodes.to_vec() });
                Ok(())
            }
        }
    }

    pub(crate) fn invalidate(&mut self, graph: Handle) {
        if let Some(capture) = self.captures.get_mut(&graph) {
            capture.invalidated = true;
        }
    }

    /// Invalidates the capture that `stream` is part of, if any.
    pub(crate) fn invalidate_stream(&mut self, stream: Handle) {
        if let Some(graph) =
            self.streams.find(stream).and_then(|s| s.branch.as_ref()).map(|b| b.graph)
        {
            self.invalidate(graph);
        }
    }

    /// Runs `body`, whose failure, a wrong argument included, invalidates a capture of `stream`.
    pub(crate) fn or_invalidate<T>(
        &mut self,
        stream: Handle,
        body: impl FnOnce(&mut Driver) -> Result<T>,
    ) -> Result<T> {
        let result = body(self);
        if result.is_err() {
            self.invalidate_stream(stream);
        }
        result
    }
}

/// What is forbidden while streams capture.
impl Driver {
    fn refuse(&mut self, captures: Vec<Handle>, name: &str) -> Result<()> {
        if captures.is_empty() {
            return Ok(());
        }
        captures.into_iter().for_each(|graph| self.invalidate(graph));
        Code::STREAM_CAPTURE_UNSUPPORTED.err(format!("{name} while a stream is capturing"))
    }

    /// For calls that may be unsafe: the mode of the captures and of the thread decides.
    pub(crate) fn forbid_in_capture(&mut self, call: Unsafe, caller: &Caller) -> Result<()> {
        let forbids = |capture: &Capture| {
            let own = capture.thread == caller.thread;
            match caller.mode {
                CaptureMode::Relaxed => false,
                CaptureMode::ThreadLocal => own && capture.mode != CaptureMode::Relaxed,
                CaptureMode::Global if own => capture.mode != CaptureMode::Relaxed,
                CaptureMode::Global => capture.mode == CaptureMode::Global,
            }
        };
        let hit = self.captures.iter().filter(|(_, capture)| forbids(capture));
        let hit = hit.map(|(&graph, _)| graph).collect();
        self.refuse(hit, call.0)
    }

    /// For calls that wait for the whole device.
    pub(crate) fn forbid_in_any_capture(&mut self, name: &str) -> Result<()> {
        self.refuse(self.captures.keys().copied().collect(), name)
    }

    /// For calls that no captured stream can take, whatever the mode.
    pub(crate) fn forbid_on_capturing_stream(&mut self, stream: Handle) -> Result<()> {
        let branch = self.streams.get(stream).branch.as_ref();
        self.refuse(branch.map(|branch| branch.graph).into_iter().collect(), "a wait or a launch")
    }

    fn blocking_capture(&self) -> Option<Handle> {
        let blocking = self.streams.iter().filter(|(_, stream)| stream.is_blocking());
        blocking.filter_map(|(_, stream)| stream.branch.as_ref()).map(|branch| branch.graph).next()
    }

    /// Work on the legacy stream would wait for a blocking stream, which is not running but
    /// capturing. Non-blocking streams do not care.
    pub(crate) fn forbid_implicit_dependency(&mut self, stream: Handle) -> Result<()> {
        match self.blocking_capture().filter(|_| stream == LEGACY) {
            None => Ok(()),
            Some(graph) => {
                self.invalidate(graph);
                Code::STREAM_CAPTURE_IMPLICIT.err("the legacy stream while a blocking one captures")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread::ThreadId;

    use super::*;
    use crate::config::Config;
    use crate::stream::NON_BLOCKING;

    fn other_thread() -> ThreadId {
        std::thread::spawn(|| std::thread::current().id()).join().unwrap()
    }

    /// Whether a capture by this thread in mode `capture` forbids a call of `caller`.
    fn forbids(capture: CaptureMode, caller: &Caller) -> bool {
        let mut driver = Driver::new(Config::default());
        let stream = driver.stream_create(NON_BLOCKING, 0).unwrap();
        let own = Caller::new(std::thread::current().id());
        driver.begin_capture(stream, capture, &own).unwrap();
        let forbidden = driver.forbid_in_capture(Unsafe("a call"), caller).is_err();
        let invalidated = driver.capture_status(stream).unwrap() == CaptureStatus::Invalidated;
        assert_eq!(forbidden, invalidated);
        forbidden
    }

    #[test]
    fn modes_of_captures_and_threads_decide_together() {
        use CaptureMode::{Global, Relaxed, ThreadLocal};
        let modes = [Global, ThreadLocal, Relaxed];
        let in_all = |thread, mode| {
            let caller = Caller { mode, ..Caller::new(thread) };
            modes.map(|capture| forbids(capture, &caller))
        };
        let (own, other) = (std::thread::current().id(), other_thread());
        assert_eq!(in_all(own, Global), [true, true, false]);
        assert_eq!(in_all(own, ThreadLocal), [true, true, false]);
        assert_eq!(in_all(own, Relaxed), [false; 3]);
        assert_eq!(in_all(other, Global), [true, false, false]);
        assert_eq!(in_all(other, ThreadLocal), [false; 3]);
    }

    #[test]
    fn a_capture_that_fails_leaves_no_graph() {
        let mut driver = Driver::new(Config::default());
        let caller = Caller::new(std::thread::current().id());
        let stream = driver.stream_create(NON_BLOCKING, 0).unwrap();
        driver.begin_capture(stream, CaptureMode::Relaxed, &caller).unwrap();
        driver.invalidate_stream(stream);
        assert!(driver.end_capture(stream, &caller).is_err());
        assert_eq!(driver.graphs.iter().count(), 0);
        assert_eq!(driver.capture_status(stream).unwrap(), CaptureStatus::None);
    }
}
