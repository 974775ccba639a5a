//! Launches: the checks that the driver makes before it queues a kernel, and the parameter block.

use std::sync::Arc;

use himuon_emulator::{DeviceConfig, Kernel};

use crate::abi::{HostAddress, KernelNodeParams};
use crate::driver::Session;
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::injection::Target;
use crate::module::{Function, max_threads};
use crate::work::KernelLaunch;

/// The extents of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) dynamic_shared: u32,
}

/// The two ways in which C passes kernel parameters, by address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// An array of pointers, one to each parameter.
    pub(crate) pointers: usize,
    /// Pairs of option and value that name one buffer with its size.
    pub(crate) extra: usize,
}

/// Keys of the `extra` array of `cuLaunchKernel`.
mod extra {
    pub(super) const END: usize = 0;
    pub(super) const BUFFER_POINTER: usize = 1;
    pub(super) const BUFFER_SIZE: usize = 2;
}

impl Session {
    /// A checked launch, ready to be queued or recorded.
    pub(crate) fn prepare_launch(
        &mut self,
        handle: Handle<Function>,
        shape: Shape,
        arguments: Arguments,
    ) -> DriverResult<KernelLaunch> {
        let config = self.config_of(handle)?;
        let function = self.state.functions.get(handle)?;
        let kernel = function.kernel()?;
        check_shape(shape, kernel, config, function.dynamic_shared_limit)?;
        let parameters = parameter_block(kernel, arguments)?;
        let shared_limit = kernel.static_shared_bytes() + function.dynamic_shared_limit;
        Ok(KernelLaunch {
            function: handle,
            device: self.state.contexts.get(function.context)?.device,
            module: Arc::clone(&function.loaded),
            kernel: Arc::clone(&function.name),
            grid: shape.grid,
            block: shape.block,
            dynamic_shared: shape.dynamic_shared,
            shared_limit,
            parameters,
        })
    }

    /// The launch that kernel-node parameters describe.
    pub(crate) fn node_launch(&mut self, params: KernelNodeParams) -> DriverResult<KernelLaunch> {
        if params.function.is_null() {
            // A `CUkernel` instead of a function: the library interface is not part of the emulator.
            return Err(CudaError::NOT_SUPPORTED);
        }
        let KernelNodeParams {
            grid,
            block,
            shared_bytes: dynamic_shared,
            ..
        } = params;
        let arguments = Arguments {
            pointers: params.parameters,
            extra: params.extra,
        };
        self.prepare_launch(
            params.function,
            Shape {
                grid,
                block,
                dynamic_shared,
            },
            arguments,
        )
    }

    /// Counts a submission, and refuses it if it was told to fail.
    pub(crate) fn count_submission(&mut self) -> DriverResult {
        if let Some(count) = self.state.injection.strikes(Target::Submission) {
            self.state
                .reports
                .tell(format!("submission {count} was told to fail"));
            return Err(CudaError::LAUNCH_OUT_OF_RESOURCES);
        }
        Ok(())
    }
}

fn check_shape(
    shape: Shape,
    kernel: &Kernel,
    config: &DeviceConfig,
    dynamic_limit: u32,
) -> DriverResult {
    let within = |extents: [u32; 3], limits: [u32; 3]| {
        extents
            .iter()
            .zip(limits)
            .all(|(extent, limit)| (1..=limit).contains(extent))
    };
    if !within(shape.grid, config.max_grid) || !within(shape.block, config.max_block) {
        return Err(CudaError::INVALID_VALUE);
    }
    let [x, y, z] = shape.block.map(u64::from);
    let threads = x * y * z;
    if threads > u64::from(config.max_threads_per_block) {
        return Err(CudaError::INVALID_VALUE);
    }
    if threads > u64::from(max_threads(kernel, config)) {
        return Err(CudaError::LAUNCH_OUT_OF_RESOURCES);
    }
    if shape.dynamic_shared > dynamic_limit {
        return Err(CudaError::INVALID_VALUE);
    }
    Ok(())
}

/// Gathers the parameters into one block, laid out as the kernel declares.
fn parameter_block(kernel: &Kernel, arguments: Arguments) -> DriverResult<Vec<u8>> {
    let bytes = kernel.param_bytes() as usize;
    if arguments.extra != 0 {
        if arguments.pointers != 0 {
            return Err(CudaError::INVALID_VALUE);
        }
        let block = extra_block(arguments.extra)?;
        return if block.len() >= bytes {
            Ok(block[..bytes].to_vec())
        } else {
            Err(CudaError::INVALID_VALUE)
        };
    }
    if kernel.params().is_empty() {
        return Ok(Vec::new());
    }
    if arguments.pointers == 0 {
        return Err(CudaError::INVALID_VALUE);
    }
    let mut block = vec![0; bytes];
    for (index, param) in kernel.params().iter().enumerate() {
        let value = HostAddress(word(arguments.pointers, index)?).read(param.bytes as usize)?;
        let start = param.offset as usize;
        block[start..start + value.len()].copy_from_slice(&value);
    }
    Ok(block)
}

fn extra_block(address: usize) -> DriverResult<Vec<u8>> {
    let (mut buffer, mut size) = (None, None);
    let mut index = 0;
    loop {
        match word(address, index)? {
            extra::END => break,
            extra::BUFFER_POINTER => buffer = Some(HostAddress(word(address, index + 1)?)),
            extra::BUFFER_SIZE => size = Some(word(word(address, index + 1)?, 0)?),
            _ => return Err(CudaError::INVALID_VALUE),
        }
        index += 2;
    }
    match (buffer, size) {
        (Some(buffer), Some(size)) => buffer.read(size),
        _ => Err(CudaError::INVALID_VALUE),
    }
}

/// The `index`-th pointer-sized word of an array of the program.
fn word(array: usize, index: usize) -> DriverResult<usize> {
    let bytes = HostAddress(array + index * size_of::<usize>()).read(size_of::<usize>())?;
    bytes
        .try_into()
        .map(usize::from_ne_bytes)
        .map_err(|_| CudaError::INVALID_VALUE)
}
