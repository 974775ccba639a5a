//! `cuInit`, `cuDriverGetVersion` and `cuDevice*`.

use std::ffi::{c_char, c_int, c_uint};

use himuon_emulator::DeviceConfig;

use crate::abi::{Out, Status, guard, with_terminator};
use crate::driver::{initialise, with_state};
use crate::error::{CudaError, DriverResult};
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
    Some(match attribute {
        1 => config.max_threads_per_block,
        2..=4 => config.max_block[attribute as usize - 2],
        5..=7 => config.max_grid[attribute as usize - 5],
        8 => config.shared_bytes_per_block,
        12 => config.registers_per_block,
        16 => config.multiprocessors,
        38 => config.l2_bytes,
        39 => config.max_threads_per_multiprocessor,
        75 => config.compute_capability.0,
        76 => config.compute_capability.1,
        81 => config.shared_bytes_per_multiprocessor,
        82 => config.registers_per_multiprocessor,
        97 => config.shared_bytes_per_block_optin,
        106 => config.max_blocks_per_multiprocessor,
        111 => config.reserved_shared_bytes_per_block,
        _ => return None,
    })
}

/// Attributes that are the same for every emulated device. Clock rates are zero: an emulator has none.
fn feature(attribute: c_uint, device: usize) -> Option<u32> {
    /// Highest number of `CUdevice_attribute` in CUDA 13.
    const LAST: c_uint = 146;
    Some(match attribute {
        9 => 64 << 10,         // constant memory
        10 => 32,              // warp size
        11 => i32::MAX as u32, // largest pitch
        31 => 1,               // concurrent kernels
        33 => device as u32,   // PCI bus
        40 => 1,               // copy engines
        41 => 1,               // unified addressing
        78 => 1,               // stream priorities
        79 | 80 => 1,          // caching of globals and locals
        115 => 1,              // memory pools
        14 => 512,             // texture alignment
        1..=LAST => 0,
        _ => return None,
    })
}
