//! `cuOccupancy*`.

use std::ffi::{c_int, c_uint};

use himuon_emulator::DeviceConfig;

use crate::abi::{Out, SharedForBlock, Status};
use crate::driver::{Session, in_context};
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::module::{Function, max_threads};
use crate::occupancy::BlockNeeds;

fn needs(
    session: &Session,
    function: Handle<Function>,
    threads: c_int,
) -> DriverResult<(BlockNeeds, &'static DeviceConfig)> {
    let threads = u32::try_from(threads).ok().filter(|threads| *threads > 0);
    let threads = threads.ok_or(CudaError::INVALID_VALUE)?;
    let kernel = session.state.functions.get(function)?.kernel()?;
    Ok((
        BlockNeeds::of(kernel, threads),
        session.config_of(function)?,
    ))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    blocks: Out<c_int>,
    function: Handle<Function>,
    threads: c_int,
    dynamic_shared: usize,
) -> Status {
    cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
        blocks,
        function,
        threads,
        dynamic_shared,
        0,
    )
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    blocks: Out<c_int>,
    function: Handle<Function>,
    threads: c_int,
    dynamic_shared: usize,
    _flags: c_uint,
) -> Status {
    in_context(|session| {
        let (needs, config) = needs(session, function, threads)?;
        blocks.put(needs.blocks(config, dynamic_shared as u64) as c_int)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuOccupancyAvailableDynamicSMemPerBlock(
    bytes: Out<usize>,
    function: Handle<Function>,
    blocks: c_int,
    threads: c_int,
) -> Status {
    in_context(|session| {
        let (needs, config) = needs(session, function, threads)?;
        let blocks = u32::try_from(blocks).map_err(|_| CudaError::INVALID_VALUE)?;
        let available = needs
            .dynamic_shared(config, blocks)
            .ok_or(CudaError::INVALID_VALUE)?;
        bytes.put(available as usize)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuOccupancyMaxPotentialBlockSize(
    min_grid: Out<c_int>,
    block: Out<c_int>,
    function: Handle<Function>,
    shared_for: SharedForBlock,
    dynamic_shared: usize,
    limit: c_int,
) -> Status {
    cuOccupancyMaxPotentialBlockSizeWithFlags(
        min_grid,
        block,
        function,
        shared_for,
        dynamic_shared,
        limit,
        0,
    )
}

/// The largest block among those that keep most threads resident.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuOccupancyMaxPotentialBlockSizeWithFlags(
    min_grid: Out<c_int>,
    block: Out<c_int>,
    function: Handle<Function>,
    shared_for: SharedForBlock,
    dynamic_shared: usize,
    limit: c_int,
    _flags: c_uint,
) -> Status {
    in_context(|session| {
        let config = session.config_of(function)?;
        let kernel = session.state.functions.get(function)?.kernel()?;
        let largest = max_threads(kernel, config);
        let largest = match u32::try_from(limit) {
            Ok(0) => largest,
            Ok(limit) => largest.min(limit),
            Err(_) => return Err(CudaError::INVALID_VALUE),
        };
        let best = (32..=largest.max(32))
            .rev()
            .step_by(32)
            .map(|threads| {
                let shared = shared_for.bytes(threads).unwrap_or(dynamic_shared);
                (
                    BlockNeeds::of(kernel, threads).blocks(config, shared as u64),
                    threads,
                )
            })
            .max_by_key(|(blocks, threads)| (blocks * threads, *threads));
        let (blocks, threads) = best.ok_or(CudaError::INVALID_VALUE)?;
        min_grid.put((blocks * config.multiprocessors) as c_int)?;
        block.put(threads as c_int)
    })
}
