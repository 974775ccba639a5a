//! `cuLaunchKernel`, `cuLaunchKernelEx` and `cuLaunchCooperativeKernel`.

use std::ffi::c_uint;

use crate::abi::{In, LaunchAttribute, LaunchConfig, Status};
use crate::driver::{Session, in_context};
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::launch::{Arguments, Shape};
use crate::module::Function;
use crate::stream::Stream;
use crate::work::Action;

fn launch(
    session: &mut Session,
    function: Handle<Function>,
    shape: Shape,
    stream: Handle<Stream>,
    arguments: Arguments,
) -> DriverResult {
    session.count_submission()?;
    let stream = session.stream(stream)?;
    let launch = session.prepare_launch(function, shape, arguments)?;
    let stream_context = session.state.streams.get(stream)?.context;
    if session.state.functions.get(function)?.context != stream_context {
        return Err(CudaError::INVALID_CONTEXT);
    }
    session.submit(stream, Action::Launch(launch)).map(|_| ())
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuLaunchKernel(
    function: Handle<Function>,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    dynamic_shared: c_uint,
    stream: Handle<Stream>,
    pointers: usize,
    extra: usize,
) -> Status {
    in_context(|session| {
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let shape = Shape {
            grid,
            block,
            dynamic_shared,
        };
        launch(
            session,
            function,
            shape,
            stream,
            Arguments { pointers, extra },
        )
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuLaunchKernelEx(
    config: In<LaunchConfig>,
    function: Handle<Function>,
    pointers: usize,
    extra: usize,
) -> Status {
    in_context(|session| {
        let config = config.read()?;
        for attribute in config
            .attributes
            .read_all(config.attribute_count as usize)?
        {
            check_attribute(session, attribute)?;
        }
        let LaunchConfig {
            grid,
            block,
            shared_bytes: dynamic_shared,
            stream,
            ..
        } = config;
        let shape = Shape {
            grid,
            block,
            dynamic_shared,
        };
        launch(
            session,
            function,
            shape,
            stream,
            Arguments { pointers, extra },
        )
    })
}

/// Hints change nothing in an emulator and are accepted; what changes the execution model is refused, except in the
/// form that asks for the ordinary one.
fn check_attribute(session: &mut Session, attribute: LaunchAttribute) -> DriverResult {
    const IGNORE: c_uint = 0;
    const ACCESS_POLICY_WINDOW: c_uint = 1;
    const COOPERATIVE: c_uint = 2;
    const SYNCHRONIZATION_POLICY: c_uint = 3;
    const CLUSTER_DIMENSION: c_uint = 4;
    const CLUSTER_SCHEDULING: c_uint = 5;
    const PROGRAMMATIC_SERIALIZATION: c_uint = 6;
    const PRIORITY: c_uint = 8;
    const SYNC_DOMAIN_MAP: c_uint = 9;
    const SYNC_DOMAIN: c_uint = 10;
    const SHARED_CARVEOUT: c_uint = 14;
    let ordinary = match attribute.id {
        IGNORE
        | ACCESS_POLICY_WINDOW
        | SYNCHRONIZATION_POLICY
        | CLUSTER_SCHEDULING
        | PROGRAMMATIC_SERIALIZATION
        | PRIORITY
        | SYNC_DOMAIN_MAP
        | SYNC_DOMAIN
        | SHARED_CARVEOUT => true,
        COOPERATIVE => attribute.value[0] == 0,
        CLUSTER_DIMENSION => attribute.value[..3] == [1, 1, 1],
        _ => false,
    };
    if ordinary {
        return Ok(());
    }
    let message = format!(
        "launch attribute {} is not part of the emulator",
        attribute.id
    );
    session.state.reports.tell(message);
    Err(CudaError::NOT_SUPPORTED)
}

/// Blocks of the emulator do not run at the same time, so that a barrier over the grid could not end.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuLaunchCooperativeKernel(
    _function: Handle<Function>,
    _grid_x: c_uint,
    _grid_y: c_uint,
    _grid_z: c_uint,
    _block_x: c_uint,
    _block_y: c_uint,
    _block_z: c_uint,
    _dynamic_shared: c_uint,
    _stream: Handle<Stream>,
    _pointers: usize,
) -> Status {
    in_context(|_| Err(CudaError::NOT_SUPPORTED))
}
