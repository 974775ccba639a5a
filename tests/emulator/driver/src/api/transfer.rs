//! Copies and fills: `cuMemcpy*` and `cuMemset*`, each with and without a stream.

use std::ffi::{c_uchar, c_uint, c_ushort};

use crate::abi::{HostAddress, In, Memcpy2D, Memcpy2DSide, Status};
use crate::context::Context;
use crate::driver::{Session, in_context};
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::stream::Stream;
use crate::work::{Action, CopyRows, Fill, Rows};

fn upload(
    session: &mut Session,
    destination: u64,
    source: HostAddress,
    bytes: usize,
    stream: Handle<Stream>,
) -> DriverResult<Action> {
    let stream = session.stream(stream)?;
    session.upload_action(destination, source, bytes, stream)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyHtoD_v2(
    destination: u64,
    source: HostAddress,
    bytes: usize,
) -> Status {
    in_context(|session| {
        let action = upload(session, destination, source, bytes, Handle::NULL)?;
        session.submit_and_wait(action)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyHtoDAsync_v2(
    destination: u64,
    source: HostAddress,
    bytes: usize,
    stream: Handle<Stream>,
) -> Status {
    in_context(|session| {
        let action = upload(session, destination, source, bytes, stream)?;
        let stream = session.stream(stream)?;
        session.submit(stream, action).map(|_| ())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyDtoH_v2(
    destination: HostAddress,
    source: u64,
    bytes: usize,
) -> Status {
    in_context(|session| {
        let action = session.download_action(destination, source, bytes)?;
        session.submit_and_wait(action)
    })
}

/// To pageable memory the copy is complete on return, as on hardware; to pinned memory it is queued.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyDtoHAsync_v2(
    destination: HostAddress,
    source: u64,
    bytes: usize,
    stream: Handle<Stream>,
) -> Status {
    in_context(|session| {
        let action = session.download_action(destination, source, bytes)?;
        let stream = session.stream(stream)?;
        let pinned = session.state.host_ranges.holds(destination, bytes);
        match session.submit(stream, action)? {
            Some(work) if !pinned => session.complete(&work),
            _ => Ok(()),
        }
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyDtoD_v2(destination: u64, source: u64, bytes: usize) -> Status {
    in_context(|session| {
        let action = session.copy_action(destination, source, bytes)?;
        session.submit_and_wait(action)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyDtoDAsync_v2(
    destination: u64,
    source: u64,
    bytes: usize,
    stream: Handle<Stream>,
) -> Status {
    in_context(|session| {
        let action = session.copy_action(destination, source, bytes)?;
        let stream = session.stream(stream)?;
        session.submit(stream, action).map(|_| ())
    })
}

/// One side of a copy of rows: device memory alone.
fn device_rows(side: &Memcpy2DSide, width: usize) -> DriverResult<Rows> {
    const DEVICE: c_uint = 2;
    if side.memory_type != DEVICE {
        return Err(CudaError::NOT_SUPPORTED);
    }
    let row_end = side.x_bytes.checked_add(width);
    if row_end.is_none_or(|end| end > side.pitch) {
        return Err(CudaError::INVALID_VALUE);
    }
    let before = (side.y as u64).checked_mul(side.pitch as u64);
    let address = before
        .and_then(|rows| rows.checked_add(side.x_bytes as u64))
        .and_then(|offset| offset.checked_add(side.device))
        .ok_or(CudaError::INVALID_VALUE)?;
    let pitch = side.pitch as u64;
    Ok(Rows { address, pitch })
}

/// Between two places in device memory; host memory and arrays are not supported.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpy2DAsync_v2(copy: In<Memcpy2D>, stream: Handle<Stream>) -> Status {
    in_context(|session| {
        let copy = copy.read()?;
        let rows = CopyRows {
            destination: device_rows(&copy.destination, copy.width_bytes)?,
            source: device_rows(&copy.source, copy.width_bytes)?,
            width: copy.width_bytes as u64,
            height: copy.height as u64,
        };
        let action = session.copy_rows_action(rows)?;
        let stream = session.stream(stream)?;
        session.submit(stream, action).map(|_| ())
    })
}

/// Which sides of a unified copy are device memory is told by the addresses.
fn unified(
    session: &mut Session,
    destination: u64,
    source: u64,
    bytes: usize,
    stream: Handle<Stream>,
) -> DriverResult<(Action, bool)> {
    let is_device = |address| session.driver.holder(address, bytes.max(1) as u64).is_ok();
    Ok(match (is_device(destination), is_device(source)) {
        (true, true) => (session.copy_action(destination, source, bytes)?, false),
        (true, false) => (
            upload(
                session,
                destination,
                HostAddress(source as usize),
                bytes,
                stream,
            )?,
            false,
        ),
        (false, true) => {
            let host = HostAddress(destination as usize);
            let pageable = !session.state.host_ranges.holds(host, bytes);
            (session.download_action(host, source, bytes)?, pageable)
        }
        (false, false) => return Err(CudaError::INVALID_VALUE),
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpy(destination: u64, source: u64, bytes: usize) -> Status {
    in_context(|session| {
        let (action, _) = unified(session, destination, source, bytes, Handle::NULL)?;
        session.submit_and_wait(action)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyAsync(
    destination: u64,
    source: u64,
    bytes: usize,
    stream: Handle<Stream>,
) -> Status {
    in_context(|session| {
        let (action, must_wait) = unified(session, destination, source, bytes, stream)?;
        let stream = session.stream(stream)?;
        match session.submit(stream, action)? {
            Some(work) if must_wait => session.complete(&work),
            _ => Ok(()),
        }
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyPeerAsync(
    destination: u64,
    destination_context: Handle<Context>,
    source: u64,
    source_context: Handle<Context>,
    bytes: usize,
    stream: Handle<Stream>,
) -> Status {
    in_context(|session| {
        for context in [destination_context, source_context] {
            session
                .state
                .contexts
                .get(context)
                .map_err(|_| CudaError::INVALID_CONTEXT)?;
        }
        let action = session.copy_action(destination, source, bytes)?;
        let stream = session.stream(stream)?;
        session.submit(stream, action).map(|_| ())
    })
}

/// In contrast to the asynchronous form, this waits for both contexts.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemcpyPeer(
    destination: u64,
    destination_context: Handle<Context>,
    source: u64,
    source_context: Handle<Context>,
    bytes: usize,
) -> Status {
    in_context(|session| {
        for context in [destination_context, source_context] {
            session
                .state
                .contexts
                .get(context)
                .map_err(|_| CudaError::INVALID_CONTEXT)?;
            session.drain_context(context)?;
        }
        let action = session.copy_action(destination, source, bytes)?;
        session.submit_and_wait(action)
    })
}

/// One row of elements.
fn row(destination: u64, value: u32, element_bytes: u32, count: usize) -> Fill {
    Fill {
        destination,
        pitch: 0,
        value,
        element_bytes,
        width: count as u64,
        height: 1,
    }
}

/// Fills wait for nobody, with a stream or without: the host sees their effect through later copies.
fn fill(fill: Fill, stream: Handle<Stream>) -> Status {
    in_context(|session| {
        let action = session.fill_action(fill)?;
        let stream = session.stream(stream)?;
        session.submit(stream, action).map(|_| ())
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD8_v2(destination: u64, value: c_uchar, count: usize) -> Status {
    fill(row(destination, value.into(), 1, count), Handle::NULL)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD8Async(
    destination: u64,
    value: c_uchar,
    count: usize,
    stream: Handle<Stream>,
) -> Status {
    fill(row(destination, value.into(), 1, count), stream)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD16_v2(destination: u64, value: c_ushort, count: usize) -> Status {
    fill(row(destination, value.into(), 2, count), Handle::NULL)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD16Async(
    destination: u64,
    value: c_ushort,
    count: usize,
    stream: Handle<Stream>,
) -> Status {
    fill(row(destination, value.into(), 2, count), stream)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD32_v2(destination: u64, value: c_uint, count: usize) -> Status {
    fill(row(destination, value, 4, count), Handle::NULL)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD32Async(
    destination: u64,
    value: c_uint,
    count: usize,
    stream: Handle<Stream>,
) -> Status {
    fill(row(destination, value, 4, count), stream)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD2D8Async(
    destination: u64,
    pitch: usize,
    value: c_uchar,
    width: usize,
    height: usize,
    stream: Handle<Stream>,
) -> Status {
    let (pitch, width, height) = (pitch as u64, width as u64, height as u64);
    fill(
        Fill {
            destination,
            pitch,
            value: value.into(),
            element_bytes: 1,
            width,
            height,
        },
        stream,
    )
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuMemsetD2D32Async(
    destination: u64,
    pitch: usize,
    value: c_uint,
    width: usize,
    height: usize,
    stream: Handle<Stream>,
) -> Status {
    let (pitch, width, height) = (pitch as u64, width as u64, height as u64);
    fill(
        Fill {
            destination,
            pitch,
            value,
            element_bytes: 4,
            width,
            height,
        },
        stream,
    )
}
