//! `cuStream*`, capture included.

use std::ffi::{c_int, c_uint, c_ulonglong};

use crate::abi::{HostCall, Out, Status};
use crate::capture::Mode;
use crate::context::Context;
use crate::driver::in_context;
use crate::error::CudaError;
use crate::event::Event;
use crate::graph::Graph;
use crate::handle::Handle;
use crate::stream::{GREATEST_PRIORITY, LEAST_PRIORITY, Stream};
use crate::work::Action;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamCreate(stream: Out<Handle<Stream>>, flags: c_uint) -> Status {
    cuStreamCreateWithPriority(stream, flags, 0)
}

/// Priorities outside the range are brought into it, as the driver does.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamCreateWithPriority(
    stream: Out<Handle<Stream>>,
    flags: c_uint,
    priority: c_int,
) -> Status {
    in_context(|session| {
        let priority = priority.clamp(GREATEST_PRIORITY, LEAST_PRIORITY);
        let created = Stream::new(session.context, Stream::kind_of(flags)?, priority);
        stream.put_made(|| Ok(session.state.streams.insert(created)))
    })
}

/// Queued work is finished first; its results may be waited for through events only.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamDestroy_v2(stream: Handle<Stream>) -> Status {
    in_context(|session| {
        session.refuse_captured(stream)?;
        if let Some(last) = session.state.streams.get(stream)?.last.clone() {
            session.complete(&last)?;
        }
        session.state.streams.remove(stream).map(|_| ())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamSynchronize(stream: Handle<Stream>) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        session.synchronise(stream)
    })
}

/// Each question lets the device do one piece of work, so that polling ends.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamQuery(stream: Handle<Stream>) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        session.refuse_captured(stream)?;
        match session.state.streams.get(stream)?.last.clone() {
            Some(last) => session.query(&last),
            None => Ok(()),
        }
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamWaitEvent(
    stream: Handle<Stream>,
    event: Handle<Event>,
    _flags: c_uint,
) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        session.wait_event(stream, event)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuLaunchHostFunc(
    stream: Handle<Stream>,
    function: Option<extern "C" fn(usize)>,
    argument: usize,
) -> Status {
    in_context(|session| {
        if function.is_none() {
            return Err(CudaError::INVALID_VALUE);
        }
        let stream = session.stream(stream)?;
        session
            .submit(stream, Action::Call(HostCall { function, argument }))
            .map(|_| ())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamGetFlags(stream: Handle<Stream>, flags: Out<c_uint>) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        flags.put(session.state.streams.get(stream)?.flags())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamGetPriority(
    stream: Handle<Stream>,
    priority: Out<c_int>,
) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        priority.put(session.state.streams.get(stream)?.priority)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamGetId(stream: Handle<Stream>, id: Out<c_ulonglong>) -> Status {
    in_context(|session| id.put(session.stream(stream)?.number()))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamGetCtx(
    stream: Handle<Stream>,
    context: Out<Handle<Context>>,
) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        context.put(session.state.streams.get(stream)?.context)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamGetDevice(stream: Handle<Stream>, device: Out<c_int>) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        let context = session.state.streams.get(stream)?.context;
        device.put(session.state.contexts.get(context)?.device as c_int)
    })
}

/// Memory of the emulator belongs to no stream; attaching is for managed memory, which it has not.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamAttachMemAsync(
    _stream: Handle<Stream>,
    _address: u64,
    _bytes: usize,
    _flags: c_uint,
) -> Status {
    in_context(|_| Err(CudaError::NOT_SUPPORTED))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamBeginCapture_v2(stream: Handle<Stream>, mode: c_int) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        session.begin_capture(stream, Mode::from_number(mode)?)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamEndCapture(
    stream: Handle<Stream>,
    graph: Out<Handle<Graph>>,
) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        match session.end_capture(stream) {
            Ok(captured) => graph.put(captured),
            Err(error) => {
                graph.put_if_wanted(Handle::NULL);
                Err(error)
            }
        }
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamIsCapturing(stream: Handle<Stream>, status: Out<c_int>) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        status.put(session.capture_status(stream)?)
    })
}

/// The dependencies, which later versions also return, are not shown.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuStreamGetCaptureInfo_v2(
    stream: Handle<Stream>,
    status: Out<c_int>,
    id: Out<c_ulonglong>,
    graph: Out<Handle<Graph>>,
    dependencies: Out<usize>,
    dependency_count: Out<usize>,
) -> Status {
    in_context(|session| {
        if !dependencies.is_null() || !dependency_count.is_null() {
            return Err(CudaError::NOT_SUPPORTED);
        }
        let stream = session.stream(stream)?;
        status.put(session.capture_status(stream)?)?;
        if let Some((captured, number)) = session.capture_graph(stream)? {
            id.put_if_wanted(number);
            graph.put_if_wanted(captured);
        }
        Ok(())
    })
}
