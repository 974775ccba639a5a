//! Stream capture: what is queued in capturing streams becomes a graph.

use std::collections::{HashMap, HashSet};
use std::ffi::c_int;
use std::thread::{self, ThreadId};

use crate::context::Context;
use crate::driver::Session;
use crate::error::{CudaError, DriverResult};
use crate::graph::{Graph, Node};
use crate::handle::Handle;
use crate::stream::{Stream, StreamKind};
use crate::work::{Action, HostSource};

/// `CUstreamCaptureMode`: who is kept from calls that could disturb a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Every thread.
    Global,
    /// The capturing thread.
    ThreadLocal,
    /// Nobody.
    Relaxed,
}

#[derive(Debug)]
pub(crate) struct Capture {
    pub(crate) context: Handle<Context>,
    pub(crate) graph: Handle<Graph>,
    origin: Handle<Stream>,
    mode: Mode,
    thread: ThreadId,
    /// What the next node of each participating stream depends on.
    heads: HashMap<Handle<Stream>, Vec<Handle<Node>>>,
    valid: bool,
}

/// `CUstreamCaptureStatus`.
mod status {
    pub(super) const NONE: i32 = 0;
    pub(super) const ACTIVE: i32 = 1;
    pub(super) const INVALIDATED: i32 = 2;
}

impl Mode {
    pub(crate) fn from_number(number: c_int) -> DriverResult<Self> {
        match number {
            0 => Ok(Self::Global),
            1 => Ok(Self::ThreadLocal),
            2 => Ok(Self::Relaxed),
            _ => Err(CudaError::INVALID_VALUE),
        }
    }
}

impl Session {
    pub(crate) fn begin_capture(&mut self, stream: Handle<Stream>, mode: Mode) -> DriverResult {
        let Stream {
            context,
            kind,
            capture,
            ..
        } = self.state.streams.get(stream)?;
        if *kind == StreamKind::Legacy {
            return Err(CudaError::STREAM_CAPTURE_UNSUPPORTED);
        }
        if capture.is_some() {
            return Err(CudaError::ILLEGAL_STATE);
        }
        let context = *context;
        let graph = self.create_graph();
        let capture = self.state.captures.insert(Capture {
            context,
            graph,
            origin: stream,
            mode,
            thread: thread::current().id(),
            heads: HashMap::from([(stream, Vec::new())]),
            valid: true,
        });
        self.state.streams.get_mut(stream)?.capture = Some(capture);
        Ok(())
    }

    /// Ends the capture that began in `stream`; its graph, or why there is none. The streams are free either way.
    pub(crate) fn end_capture(&mut self, stream: Handle<Stream>) -> DriverResult<Handle<Graph>> {
        let handle = self
            .state
            .streams
            .get(stream)?
            .capture
            .ok_or(CudaError::ILLEGAL_STATE)?;
        let capture = self.state.captures.get(handle)?;
        if capture.origin != stream {
            self.invalidate(handle);
            return Err(CudaError::STREAM_CAPTURE_UNMATCHED);
        }
        if capture.mode != Mode::Relaxed && capture.thread != thread::current().id() {
            return Err(CudaError::STREAM_CAPTURE_WRONG_THREAD);
        }
        let capture = self.state.captures.remove(handle)?;
        for stream in self.state.streams.values_mut() {
            if stream.capture == Some(handle) {
                stream.capture = None;
            }
        }
        let outcome = if !capture.valid {
            Err(CudaError::STREAM_CAPTURE_INVALIDATED)
        } else if self.has_unjoined_work(&capture)? {
            Err(CudaError::STREAM_CAPTURE_UNJOINED)
        } else {
            Ok(capture.graph)
        };
        if outcome.is_err() {
            self.destroy_graph(capture.graph)?;
        }
        outcome
    }

    /// Whether a node was captured that the end of the origin stream does not depend on.
    fn has_unjoined_work(&self, capture: &Capture) -> DriverResult<bool> {
        let graph = self.state.graphs.get(capture.graph)?;
        let mut pending = capture
            .heads
            .get(&capture.origin)
            .cloned()
            .unwrap_or_default();
        let mut joined = HashSet::new();
        while let Some(node) = pending.pop() {
            if joined.insert(node) {
                pending.extend(&graph.node(node)?.dependencies);
            }
        }
        Ok(joined.len() < graph.nodes.len())
    }

    pub(crate) fn capture_status(&self, stream: Handle<Stream>) -> DriverResult<c_int> {
        Ok(match self.state.streams.get(stream)?.capture {
            None => status::NONE,
            Some(capture) if self.state.captures.get(capture)?.valid => status::ACTIVE,
            Some(_) => status::INVALIDATED,
        })
    }

    /// The graph that a stream is captured into, with a number that tells captures apart.
    pub(crate) fn capture_graph(
        &self,
        stream: Handle<Stream>,
    ) -> DriverResult<Option<(Handle<Graph>, u64)>> {
        let Some(capture) = self.state.streams.get(stream)?.capture else {
            return Ok(None);
        };
        Ok(Some((
            self.state.captures.get(capture)?.graph,
            capture.number(),
        )))
    }

    /// What the next node of the stream would depend on.
    pub(crate) fn capture_heads(
        &self,
        capture: Handle<Capture>,
        stream: Handle<Stream>,
    ) -> DriverResult<Vec<Handle<Node>>> {
        let capture = self.valid_capture(capture)?;
        Ok(capture.heads.get(&stream).cloned().unwrap_or_default())
    }

    fn valid_capture(&self, capture: Handle<Capture>) -> DriverResult<&Capture> {
        let capture = self.state.captures.get(capture)?;
        if capture.valid {
            Ok(capture)
        } else {
            Err(CudaError::STREAM_CAPTURE_INVALIDATED)
        }
    }

    /// Adds a node behind the stream's heads.
    pub(crate) fn record(
        &mut self,
        capture: Handle<Capture>,
        stream: Handle<Stream>,
        action: Action,
    ) -> DriverResult {
        if let Action::Free { .. } = action {
            self.invalidate(capture);
            return Err(CudaError::STREAM_CAPTURE_UNSUPPORTED);
        }
        if let Action::Upload {
            source: HostSource::Staged(_),
            ..
        } = action
        {
            // Uploads are deferred while capturing; see `upload_source`.
            return Err(CudaError::ILLEGAL_STATE);
        }
        let context = self.state.streams.get(stream)?.context;
        let graph = self.valid_capture(capture)?.graph;
        let heads = self.capture_heads(capture, stream)?;
        let node = self.add_node(graph, context, action, heads)?;
        self.state
            .captures
            .get_mut(capture)?
            .heads
            .insert(stream, vec![node]);
        Ok(())
    }

    /// Brings a stream into a capture, or adds dependencies to one that is in it.
    pub(crate) fn join_capture(
        &mut self,
        capture: Handle<Capture>,
        stream: Handle<Stream>,
        after: &[Handle<Node>],
    ) -> DriverResult {
        if !self.state.captures.contains(capture) {
            return Err(CudaError::CAPTURED_EVENT);
        }
        self.valid_capture(capture)?;
        let Stream {
            kind,
            capture: present,
            ..
        } = self.state.streams.get(stream)?;
        match *present {
            Some(other) if other != capture => {
                self.invalidate(capture);
                self.invalidate(other);
                return Err(CudaError::STREAM_CAPTURE_MERGE);
            }
            None if *kind == StreamKind::Legacy => {
                self.invalidate(capture);
                return Err(CudaError::STREAM_CAPTURE_IMPLICIT);
            }
            _ => {}
        }
        self.state.streams.get_mut(stream)?.capture = Some(capture);
        let heads = self
            .state
            .captures
            .get_mut(capture)?
            .heads
            .entry(stream)
            .or_default();
        heads.extend(
            after
                .iter()
                .filter(|node| !heads.contains(node))
                .copied()
                .collect::<Vec<_>>(),
        );
        Ok(())
    }

    /// After a forbidden call a capture can only be ended, and gives no graph.
    pub(crate) fn invalidate(&mut self, capture: Handle<Capture>) {
        if let Ok(capture) = self.state.captures.get_mut(capture) {
            capture.valid = false;
        }
    }

    /// Refuses a call that would wait for a capturing stream.
    pub(crate) fn refuse_captured(&mut self, stream: Handle<Stream>) -> DriverResult {
        match self.state.streams.get(stream)?.capture {
            Some(capture) => {
                self.invalidate(capture);
                Err(CudaError::STREAM_CAPTURE_UNSUPPORTED)
            }
            None => Ok(()),
        }
    }

    /// Refuses a call that waits for the whole context while some of it is captured.
    pub(crate) fn refuse_while_context_is_captured(&mut self) -> DriverResult {
        let context = self.context;
        self.refuse_where(CudaError::STREAM_CAPTURE_UNSUPPORTED, |_, capture| {
            capture.context == context
        })
    }

    /// Refuses work in the legacy stream, which would wait for captured streams.
    pub(crate) fn refuse_while_blocking_streams_are_captured(
        &mut self,
        context: Handle<Context>,
    ) -> DriverResult {
        self.refuse_where(CudaError::STREAM_CAPTURE_IMPLICIT, |session, capture| {
            capture.context == context
                && capture.heads.keys().any(|stream| {
                    session
                        .state
                        .streams
                        .get(*stream)
                        .is_ok_and(|stream| stream.kind == StreamKind::Blocking)
                })
        })
    }

    /// Refuses a call that may wait for the device behind the program's back: allocation, freeing, module loads.
    pub(crate) fn refuse_unsafe_call(&mut self) -> DriverResult {
        let thread = thread::current().id();
        self.refuse_where(
            CudaError::STREAM_CAPTURE_UNSUPPORTED,
            |_, capture| match capture.mode {
                Mode::Global => true,
                Mode::ThreadLocal => capture.thread == thread,
                Mode::Relaxed => false,
            },
        )
    }

    fn refuse_where(
        &mut self,
        error: CudaError,
        concerns: impl Fn(&Self, &Capture) -> bool,
    ) -> DriverResult {
        let concerned: Vec<Handle<Capture>> = self
            .state
            .captures
            .iter()
            .filter(|(_, capture)| concerns(self, capture))
            .map(|(handle, _)| handle)
            .collect();
        for capture in &concerned {
            self.invalidate(*capture);
        }
        if concerned.is_empty() {
            Ok(())
        } else {
            Err(error)
        }
    }
}
