//! Streams: each remembers its last piece of work, and new work depends on it.

use std::ffi::{c_int, c_uint};
use std::sync::Arc;
use std::thread;

use crate::capture::Capture;
use crate::context::Context;
use crate::driver::Session;
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::settings::StreamPolicy;
use crate::work::{Action, Patience, Work};

/// How a stream relates to the legacy stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// The null stream: waits for every blocking stream, and they for it.
    Legacy,
    Blocking,
    NonBlocking,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) context: Handle<Context>,
    pub(crate) kind: StreamKind,
    pub(crate) priority: c_int,
    pub(crate) last: Option<Arc<Work>>,
    /// The last queued free that may not be done.
    pub(crate) last_free: Option<Arc<Work>>,
    pub(crate) capture: Option<Handle<Capture>>,
}

/// `CU_STREAM_NON_BLOCKING`.
const NON_BLOCKING: c_uint = 1;
/// `CU_STREAM_LEGACY` and `CU_STREAM_PER_THREAD`.
const LEGACY: u64 = 1;
const PER_THREAD: u64 = 2;
/// Stream priorities; they do not change what an emulator does.
pub(crate) const LEAST_PRIORITY: c_int = 0;
pub(crate) const GREATEST_PRIORITY: c_int = -5;

impl Stream {
    pub(crate) fn new(context: Handle<Context>, kind: StreamKind, priority: c_int) -> Self {
        Self {
            context,
            kind,
            priority,
            last: None,
            last_free: None,
            capture: None,
        }
    }

    /// The kind that creation flags name.
    pub(crate) fn kind_of(flags: c_uint) -> DriverResult<StreamKind> {
        match flags {
            0 => Ok(StreamKind::Blocking),
            NON_BLOCKING => Ok(StreamKind::NonBlocking),
            _ => Err(CudaError::INVALID_VALUE),
        }
    }

    pub(crate) fn flags(&self) -> c_uint {
        if self.kind == StreamKind::NonBlocking {
            NON_BLOCKING
        } else {
            0
        }
    }
}

impl Session {
    /// The stream that a handle names, the special ones included.
    pub(crate) fn stream(&mut self, handle: Handle<Stream>) -> DriverResult<Handle<Stream>> {
        match handle.number() {
            0 | LEGACY => Ok(self.state.contexts.get(self.context)?.legacy),
            PER_THREAD => self.per_thread_stream(),
            _ => self.state.streams.get(handle).map(|_| handle),
        }
    }

    fn per_thread_stream(&mut self) -> DriverResult<Handle<Stream>> {
        let (context, thread) = (self.context, thread::current().id());
        if let Some(stream) = self.state.contexts.get(context)?.per_thread.get(&thread) {
            return Ok(*stream);
        }
        let stream = self
            .state
            .streams
            .insert(Stream::new(context, StreamKind::Blocking, 0));
        self.state
            .contexts
            .get_mut(context)?
            .per_thread
            .insert(thread, stream);
        Ok(stream)
    }

    /// Queues an action behind everything that the stream must wait for; while the stream is captured, records it
    /// instead and returns `None`.
    pub(crate) fn submit(
        &mut self,
        stream: Handle<Stream>,
        action: Action,
    ) -> DriverResult<Option<Arc<Work>>> {
        self.submit_after(stream, action, Vec::new())
    }

    /// As [`Self::submit`], behind `others` too.
    pub(crate) fn submit_after(
        &mut self,
        stream: Handle<Stream>,
        action: Action,
        others: Vec<Arc<Work>>,
    ) -> DriverResult<Option<Arc<Work>>> {
        if let Some(capture) = self.state.streams.get(stream)?.capture {
            self.record(capture, stream, action)?;
            return Ok(None);
        }
        let mut dependencies = self.dependencies(stream)?;
        dependencies.extend(others);
        let work = Work::new(
            self.state.streams.get(stream)?.context,
            dependencies,
            action,
        );
        self.append(stream, &work)?;
        Ok(Some(work))
    }

    /// Makes `work` the last of the stream.
    pub(crate) fn append(&mut self, stream: Handle<Stream>, work: &Arc<Work>) -> DriverResult {
        self.state.streams.get_mut(stream)?.last = Some(Arc::clone(work));
        if self.driver.settings.streams == StreamPolicy::Eager {
            self.execute(work, Patience::ToTheEnd);
        }
        Ok(())
    }

    /// What new work in the stream must wait for.
    pub(crate) fn dependencies(&mut self, stream: Handle<Stream>) -> DriverResult<Vec<Arc<Work>>> {
        let Stream {
            context,
            kind,
            last,
            ..
        } = self.state.streams.get(stream)?;
        let (context, kind) = (*context, *kind);
        let mut dependencies: Vec<Arc<Work>> = last.iter().cloned().collect();
        match kind {
            StreamKind::NonBlocking => {}
            StreamKind::Blocking => {
                let legacy = self.state.contexts.get(context)?.legacy;
                dependencies.extend(self.state.streams.get(legacy)?.last.clone());
            }
            StreamKind::Legacy => {
                self.refuse_while_blocking_streams_are_captured(context)?;
                let blocking = self.state.streams.iter().filter(|(_, other)| {
                    other.context == context && other.kind == StreamKind::Blocking
                });
                dependencies.extend(blocking.filter_map(|(_, other)| other.last.clone()));
            }
        }
        Ok(dependencies)
    }

    /// Waits for everything in the stream.
    pub(crate) fn synchronise(&mut self, stream: Handle<Stream>) -> DriverResult {
        self.refuse_captured(stream)?;
        match self.submit(stream, Action::Join)? {
            Some(end) => self.complete(&end),
            None => Ok(()),
        }
    }

    /// Queues an action and waits for it, as calls without a stream do.
    pub(crate) fn submit_and_wait(&mut self, action: Action) -> DriverResult {
        let legacy = self.state.contexts.get(self.context)?.legacy;
        match self.submit(legacy, action)? {
            Some(work) => self.complete(&work),
            None => Ok(()),
        }
    }
}
