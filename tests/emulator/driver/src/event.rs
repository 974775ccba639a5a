//! Events: a mark in a stream. Time is the instruction clock of the work that an event marks.

use std::ffi::c_uint;
use std::sync::Arc;

use crate::capture::Capture;
use crate::context::Context;
use crate::driver::Session;
use crate::error::{CudaError, DriverResult};
use crate::graph::Node;
use crate::handle::Handle;
use crate::stream::Stream;
use crate::work::{Action, Patience, Work};

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) context: Handle<Context>,
    pub(crate) flags: c_uint,
    pub(crate) recorded: Option<Recorded>,
}

/// What an event marks.
#[derive(Debug, Clone)]
pub(crate) enum Recorded {
    Work(Arc<Work>),
    /// A place in a capture, which never executes by itself.
    Captured {
        capture: Handle<Capture>,
        after: Vec<Handle<Node>>,
    },
}

/// `CU_EVENT_DISABLE_TIMING`.
pub(crate) const DISABLE_TIMING: c_uint = 2;
/// Every flag that `cuEventCreate` knows.
const KNOWN_FLAGS: c_uint = 1 | DISABLE_TIMING | 4;

/// One warp instruction counts as one nanosecond; events report milliseconds.
const MILLISECONDS_PER_INSTRUCTION: f64 = 1e-6;

impl Session {
    pub(crate) fn create_event(&mut self, flags: c_uint) -> DriverResult<Handle<Event>> {
        if flags & !KNOWN_FLAGS != 0 {
            return Err(CudaError::INVALID_VALUE);
        }
        let context = self.context;
        Ok(self.state.events.insert(Event {
            context,
            flags,
            recorded: None,
        }))
    }

    /// Marks what is in the stream so far. Earlier waits on the event keep their earlier mark.
    pub(crate) fn record_event(
        &mut self,
        event: Handle<Event>,
        stream: Handle<Stream>,
    ) -> DriverResult {
        let event_context = self.state.events.get(event)?.context;
        let Stream {
            context, capture, ..
        } = self.state.streams.get(stream)?;
        if event_context != *context {
            return Err(CudaError::INVALID_HANDLE);
        }
        let recorded = match *capture {
            Some(capture) => {
                let after = self.capture_heads(capture, stream)?;
                Some(Recorded::Captured { capture, after })
            }
            None => self.submit(stream, Action::Join)?.map(Recorded::Work),
        };
        self.state.events.get_mut(event)?.recorded = recorded;
        Ok(())
    }

    /// Makes later work of the stream wait for the event's mark; an event never recorded is no wait.
    pub(crate) fn wait_event(
        &mut self,
        stream: Handle<Stream>,
        event: Handle<Event>,
    ) -> DriverResult {
        let recorded = self.state.events.get(event)?.recorded.clone();
        let capture = self.state.streams.get(stream)?.capture;
        match (recorded, capture) {
            (None, _) => Ok(()),
            (Some(Recorded::Work(_)), Some(capture)) => {
                // The wait would reach out of the capture.
                self.invalidate(capture);
                Err(CudaError::STREAM_CAPTURE_ISOLATION)
            }
            (Some(Recorded::Work(work)), None) => self
                .submit_after(stream, Action::Join, vec![work])
                .map(|_| ()),
            (Some(Recorded::Captured { capture, after }), _) => {
                self.join_capture(capture, stream, &after)
            }
        }
    }

    /// The work that the host asks about. To ask about a place in a capture is an error that spoils the capture.
    fn marked_work(&mut self, event: Handle<Event>) -> DriverResult<Option<Arc<Work>>> {
        match self.state.events.get(event)?.recorded {
            None => Ok(None),
            Some(Recorded::Work(ref work)) => Ok(Some(Arc::clone(work))),
            Some(Recorded::Captured { capture, .. }) => {
                self.invalidate(capture);
                Err(CudaError::CAPTURED_EVENT)
            }
        }
    }

    pub(crate) fn synchronise_event(&mut self, event: Handle<Event>) -> DriverResult {
        match self.marked_work(event)? {
            Some(work) => self.complete(&work),
            None => Ok(()),
        }
    }

    /// Whether the mark is reached. Each question lets the device do one piece of work, so that polling ends.
    pub(crate) fn query_event(&mut self, event: Handle<Event>) -> DriverResult {
        match self.marked_work(event)? {
            Some(work) => self.query(&work),
            None => Ok(()),
        }
    }

    pub(crate) fn query(&mut self, work: &Arc<Work>) -> DriverResult {
        if work.finish().is_some() {
            return self.check_fault_of(work.context);
        }
        self.execute(work, Patience::OneStep);
        self.check_fault_of(work.context)?;
        Err(CudaError::NOT_READY)
    }

    /// Milliseconds of the instruction clock between two marks.
    pub(crate) fn elapsed(
        &mut self,
        start: Handle<Event>,
        end: Handle<Event>,
    ) -> DriverResult<f32> {
        let mut clock = |event| {
            if self.state.events.get(event)?.flags & DISABLE_TIMING != 0 {
                return Err(CudaError::INVALID_HANDLE);
            }
            let work = self.marked_work(event)?.ok_or(CudaError::INVALID_HANDLE)?;
            work.finish().ok_or(CudaError::NOT_READY)
        };
        let instructions = clock(end)? as f64 - clock(start)? as f64;
        Ok((instructions * MILLISECONDS_PER_INSTRUCTION) as f32)
    }
}
