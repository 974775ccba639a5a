//! `cuInit`, `cuDriverGetVersion` and `cuDevice*`.

use std::ffi::{c_char, c_int, c_uint};

use himuon_emulator::DeviceConfig;

use crate::abi::{Out, Status, guard, with_terminator};
use crate::driver::{initialise, with_state};
use crate::error::{CudaError, DriverResult};
use crate::memory::LARGEST_PITCH;
use crate::settings::Settings;

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuInit(flags: c_uint) -> Status {
    guard(|| {
        if flags == 0 {
            initialise()
        } else {
            Err(CudaError::INVALID_VALUE)
        }
    })
}

/// May be called before `cuInit`.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDriverGetVersion(version: Out<c_int>) -> Status {
    guard(|| {
        let settings = Settings::from_environment().map_err(|_| CudaError::INVALID_VALUE)?;
        let (major, minor) = settings.driver_version;
        version.put((1000 * major + 10 * minor) as c_int)
    })
}

fn with_config(device: c_int, body: impl FnOnce(usize, &DeviceConfig) -> DriverResult) -> Status {
    with_state(|driver, state| {
        let index = state.ordinal(device)?;
        body(index, &driver.devices[index].config)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetCount(count: Out<c_int>) -> Status {
    with_state(|driver, _| count.put(driver.devices.len() as c_int))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGet(device: Out<c_int>, ordinal: c_int) -> Status {
    with_config(ordinal, |_, _| device.put(ordinal))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetName(
    name: Out<c_char>,
    length: c_int,
    device: c_int,
) -> Status {
    with_config(device, |_, config| {
        let capacity = usize::try_from(length).map_err(|_| CudaError::INVALID_VALUE)?;
        name.put_all(&with_terminator(&config.name, capacity), capacity)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: c_int) -> Status {
    with_config(device, |_, config| bytes.put(config.memory_bytes as usize))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceComputeCapability(
    major: Out<c_int>,
    minor: Out<c_int>,
    device: c_int,
) -> Status {
    with_config(device, |_, config| {
        major.put(config.compute_capability.0 as c_int)?;
        minor.put(config.compute_capability.1 as c_int)
    })
}

/// The word "emulator" and the ordinal, so that no real device has the same identity.
#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: c_int) -> Status {
    with_config(device, |index, _| {
        let mut bytes = *b"himuon-emulator\0";
        bytes[15] = index as u8;
        uuid.put(bytes)
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetUuid(uuid: Out<[u8; 16]>, device: c_int) -> Status {
    cuDeviceGetUuid_v2(uuid, device)
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetPCIBusId(
    text: Out<c_char>,
    length: c_int,
    device: c_int,
) -> Status {
    with_config(device, |index, _| {
        let capacity = usize::try_from(length).map_err(|_| CudaError::INVALID_VALUE)?;
        text.put_all(
            &with_terminator(&format!("0000:{index:02x}:00.0"), capacity),
            capacity,
        )
    })
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceCanAccessPeer(
    can_access: Out<c_int>,
    device: c_int,
    peer: c_int,
) -> Status {
    with_config(device, |_, _| Ok(()));
    with_config(peer, |_, _| can_access.put(0))
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn cuDeviceGetAttribute(
    value: Out<c_int>,
    attribute: c_uint,
    device: c_int,
) -> Status {
    with_config(device, |index, config| {
        let found = limit(config, attribute).or_else(|| feature(attribute, index));
        value.put(found.ok_or(CudaError::INVALID_VALUE)? as c_int)
    })
}

/// Attributes that the configuration decides, by the numbers of `CUdevice_attribute`.
fn limit(config: &DeviceConfig, attribute: c_uint) -> Option<u32> {
    /// `MAX_BLOCK_DIM_X` and `MAX_GRID_DIM_X`, each followed by Y and Z.
    const BLOCK_X: c_uint = 2;
    const GRID_X: c_uint = 5;
    Some(match attribute {
        /* MAX_THREADS_PER_BLOCK */ 1 => config.max_threads_per_block,
        BLOCK_X..=4 => config.max_block[(attribute - BLOCK_X) as usize],
        GRID_X..=7 => config.max_grid[(attribute - GRID_X) as usize],
        /* MAX_SHARED_MEMORY_PER_BLOCK */ 8 => config.shared_bytes_per_block,
        /* MAX_REGISTERS_PER_BLOCK */ 12 => config.registers_per_block,
        /* MULTIPROCESSOR_COUNT */ 16 => config.multiprocessors,
        /* L2_CACHE_SIZE */ 38 => config.l2_bytes,
        /* MAX_THREADS_PER_MULTIPROCESSOR */ 39 => config.max_threads_per_multiprocessor,
        /* COMPUTE_CAPABILITY_MAJOR */ 75 => config.compute_capability.0,
        /* COMPUTE_CAPABILITY_MINOR */ 76 => config.compute_capability.1,
        /* MAX_SHARED_MEMORY_PER_MULTIPROCESSOR */
        81 => config.shared_bytes_per_multiprocessor,
        /* MAX_REGISTERS_PER_MULTIPROCESSOR */ 82 => config.registers_per_multiprocessor,
        /* MAX_SHARED_MEMORY_PER_BLOCK_OPTIN */ 97 => config.shared_bytes_per_block_optin,
        /* MAX_BLOCKS_PER_MULTIPROCESSOR */ 106 => config.max_blocks_per_multiprocessor,
        /* RESERVED_SHARED_MEMORY_PER_BLOCK */ 111 => config.reserved_shared_bytes_per_block,
        _ => return None,
    })
}

/// Attributes that are the same for every emulated device. What the emulator has not (clocks, managed and mapped
/// memory, clusters, cooperative launches) is zero.
fn feature(attribute: c_uint, device: usize) -> Option<u32> {
    /// Highest number of `CUdevice_attribute` in CUDA 13.
    const LAST: c_uint = 146;
    Some(match attribute {
        /* TOTAL_CONSTANT_MEMORY */ 9 => 64 << 10,
        /* WARP_SIZE */ 10 => 32,
        /* MAX_PITCH */ 11 => LARGEST_PITCH as u32,
        /* TEXTURE_ALIGNMENT */ 14 => 512,
        /* CONCURRENT_KERNELS */ 31 => 1,
        /* PCI_BUS_ID */ 33 => device as u32,
        /* ASYNC_ENGINE_COUNT */ 40 => 1,
        /* UNIFIED_ADDRESSING */ 41 => 1,
        /* STREAM_PRIORITIES_SUPPORTED */ 78 => 1,
        /* GLOBAL_L1_CACHE_SUPPORTED, LOCAL_L1_CACHE_SUPPORTED */ 79 | 80 => 1,
        /* MEMORY_POOLS_SUPPORTED */ 115 => 1,
        1..=LAST => 0,
        _ => return None,
    })
}
