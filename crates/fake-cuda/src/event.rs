//! Events: marks in the work of a stream, or places in a capture.

use std::time::Instant;

use crate::capture::Unsafe;
use crate::driver::{Caller, Driver};
use crate::error::{Code, Result};
use crate::handle::Handle;
use crate::stream::{Marker, Work};

/// `CU_EVENT_DISABLE_TIMING`.
const DISABLE_TIMING: u32 = 2;
/// Every flag that an event can have.
const ALL_FLAGS: u32 = 7;

pub(crate) struct Event {
    flags: u32,
    state: State,
}

enum State {
    Fresh,
    /// Recorded in a stream; the time is known once the work is done.
    Recorded {
        marker: Marker,
        time: Option<Instant>,
    },
    /// Recorded in a capture, behind these nodes.
    Captured {
        graph: Handle,
        nodes: Vec<usize>,
    },
}

impl Event {
    /// A place at which the event was recorded has been reached. It counts unless the event has
    /// been recorded elsewhere since.
    pub(crate) fn reached(&mut self, place: Marker, now: Instant) {
        if let State::Recorded { marker, time } = &mut self.state
            && *marker == place
        {
            *time = Some(now);
        }
    }
}

impl Driver {
    /// `cuEventCreate`.
    pub(crate) fn event_create(&mut self, flags: u32) -> Result<Handle> {
        if flags & !ALL_FLAGS != 0 {
            return Code::INVALID_VALUE.err(format!("unknown event flags {flags:#x}"));
        }
        Ok(self.events.insert(Event { flags, state: State::Fresh }))
    }

    /// `cuEventRecord`.
    pub(crate) fn event_record(
        &mut self,
        event: Handle,
        stream: Handle,
        caller: &Caller,
    ) -> Result<()> {
        self.events.get(event)?;
        let stream = self.streams.resolve(stream, caller)?;
        let state = if self.is_capturing(stream)? {
            let (graph, nodes) = self.capture_position(stream);
            State::Captured { graph, nodes }
        } else {
            self.forbid_implicit_dependency(stream)?;
            let marker = self.streams.enqueue(stream, Work::Record(event));
            State::Recorded { marker, time: None }
        };
        self.events.get_mut(event)?.state = state;
        Ok(())
    }

    /// The mark to wait for; none for an event that was never recorded.
    ///
    /// # Errors
    /// `CAPTURED_EVENT` for an event in a capture, which is thereby invalidated.
    fn recorded(&mut self, event: Handle) -> Result<Option<Marker>> {
        match &self.events.get(event)?.state {
            State::Fresh => Ok(None),
            State::Recorded { marker, .. } => Ok(Some(*marker)),
            State::Captured { graph, .. } => {
                let graph = *graph;
                self.invalidate(graph);
                Code::CAPTURED_EVENT.err("the event was recorded in a capture")
            }
        }
    }

    /// `cuEventQuery`; like a query of its stream.
    pub(crate) fn event_query(&mut self, event: Handle, caller: &Caller) -> Result<()> {
        let marker = self.recorded(event)?;
        self.forbid_in_capture(Unsafe("cuEventQuery"), caller)?;
        marker.map_or(Ok(()), |marker| self.poll(marker))
    }

    /// `cuEventSynchronize`.
    pub(crate) fn event_synchronize(&mut self, event: Handle, caller: &Caller) -> Result<()> {
        let marker = self.recorded(event)?;
        self.forbid_in_capture(Unsafe("cuEventSynchronize"), caller)?;
        if let Some(marker) = marker {
            self.run_until(marker);
        }
        self.healthy()
    }

    /// `cuStreamWaitEvent`.
    pub(crate) fn stream_wait_event(
        &mut self,
        stream: Handle,
        event: Handle,
        caller: &Caller,
    ) -> Result<()> {
        let stream = self.streams.resolve(stream, caller)?;
        match &self.events.get(event)?.state {
            State::Fresh => Ok(()),
            State::Captured { graph, nodes } => {
                let (graph, nodes) = (*graph, nodes.clone());
                self.join_capture(stream, graph, &nodes)
            }
            &State::Recorded { marker, .. } => {
                if self.is_capturing(stream)? {
                    self.invalidate_stream(stream);
                    return Code::STREAM_CAPTURE_ISOLATION
                        .err("a captured stream waits for an event recorded outside the capture");
                }
                self.streams.enqueue(stream, Work::Wait(marker));
                Ok(())
            }
        }
    }

    /// `cuEventElapsedTime`, in milliseconds.
    pub(crate) fn event_elapsed(&self, start: Handle, end: Handle) -> Result<f32> {
        let time = |handle| {
            let event = self.events.get(handle)?;
            match event.state {
                State::Recorded { time, .. } if event.flags & DISABLE_TIMING == 0 => Ok(time),
                State::Captured { .. } => Err(Code::CAPTURED_EVENT.into()),
                _ => Code::INVALID_HANDLE.err("an event without timing, or never recorded"),
            }
        };
        match (time(start)?, time(end)?) {
            (Some(start), Some(end)) => {
                let forward = end.saturating_duration_since(start);
                let backward = start.saturating_duration_since(end);
                Ok((forward.as_secs_f64() - backward.as_secs_f64()) as f32 * 1e3)
            }
            _ => Err(Code::NOT_READY.into()),
        }
    }

    /// `cuEventDestroy`. What waits for the event goes on waiting for its mark.
    pub(crate) fn event_destroy(&mut self, event: Handle) -> Result<()> {
        self.events.remove(event).map(drop)
    }
}
