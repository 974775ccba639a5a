//! `cuEvent*`.

use std::ffi::c_uint;

use crate::abi::{Out, Status};
use crate::driver::in_context;
use crate::error::CudaError;
use crate::event::Event;
use crate::handle::Handle;
use crate::stream::Stream;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventCreate(event: Out<Handle<Event>>, flags: c_uint) -> Status {
    in_context(|session| event.put_made(|| session.create_event(flags)))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventDestroy_v2(event: Handle<Event>) -> Status {
    in_context(|session| session.state.events.remove(event).map(|_| ()))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventRecord(event: Handle<Event>, stream: Handle<Stream>) -> Status {
    in_context(|session| {
        let stream = session.stream(stream)?;
        session.record_event(event, stream)
    })
}

/// The external flag, which makes a captured record a node of its own, is not supported.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventRecordWithFlags(
    event: Handle<Event>,
    stream: Handle<Stream>,
    flags: c_uint,
) -> Status {
    if flags != 0 {
        return CudaError::NOT_SUPPORTED.0;
    }
    cuEventRecord(event, stream)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventSynchronize(event: Handle<Event>) -> Status {
    in_context(|session| session.synchronise_event(event))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventQuery(event: Handle<Event>) -> Status {
    in_context(|session| session.query_event(event))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventElapsedTime(
    milliseconds: Out<f32>,
    start: Handle<Event>,
    end: Handle<Event>,
) -> Status {
    in_context(|session| milliseconds.put(session.elapsed(start, end)?))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuEventElapsedTime_v2(
    milliseconds: Out<f32>,
    start: Handle<Event>,
    end: Handle<Event>,
) -> Status {
    cuEventElapsedTime(milliseconds, start, end)
}
