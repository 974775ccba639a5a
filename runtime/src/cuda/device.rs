//! Finding devices.

use std::sync::Arc;

use cudarc::driver::sys::CUdevice_attribute_enum as Attribute;
use cudarc::driver::{CudaContext, result, sys};
use himuon_templates::Architecture;

use super::driver;
use super::error::CudaError;
use super::module;
use crate::tuning::DeviceFingerprint;

/// The oldest driver, 12.0.
const OLDEST_DRIVER: u32 = 12000;
/// How the identity of an emulated device begins.
const EMULATOR: &[u8] = b"himuon-emulator";

/// What is known of a device without using it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its number, from 0.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Compute capability.
    pub capability: (u32, u32),
    /// Bytes of its memory.
    pub memory_bytes: u64,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of shared memory that a block may have.
    pub shared_bytes: u32,
    /// Version of the driver, as 13050 for 13.5.
    pub driver: u32,
    /// Bytes of its L2 cache; 0: the driver does not tell.
    pub l2_bytes: u32,
    /// Bytes that its memory moves in a second at best; 0: the driver does not tell.
    pub memory_bandwidth: u64,
    /// Whether a program plays the device, so that its times say nothing of any GPU.
    pub emulated: bool,
}

impl DeviceInfo {
    /// The version of its driver: `13.5`.
    pub fn driver_version(&self) -> String {
        version_text(self.driver)
    }

    /// What kernels are compiled for: `sm_86`.
    pub fn target(&self) -> String {
        match self.capability {
            (9, 0) => "sm_90a".to_owned(),
            (10, 0) => "sm_100a".to_owned(),
            (major, minor) => format!("sm_{major}{minor}"),
        }
    }

    /// The class of kernel text that it takes.
    ///
    /// # Errors
    /// [`CudaError::Capability`] below 7.5.
    pub fn architecture(&self) -> Result<Architecture, CudaError> {
        let (major, minor) = self.capability;
        Architecture::of_capability(major, minor).ok_or_else(|| CudaError::Capability {
            ordinal: self.ordinal,
            name: self.name.clone(),
            major,
            minor,
        })
    }

    /// The device as tuning tables name it.
    pub fn fingerprint(&self) -> DeviceFingerprint {
        DeviceFingerprint {
            kind: "cuda".to_owned(),
            name: self.name.clone(),
            architecture: self.target(),
            multiprocessors: self.multiprocessors,
            driver: self.driver_version(),
            toolkit: module::toolkit(),
            features: Vec::new(),
        }
    }
}

fn version_text(version: u32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

/// Starts the driver; gives its version.
pub(super) fn start() -> Result<u32, CudaError> {
    // cudarc would panic without a driver.
    let version = driver::driver_version()?;
    if version < OLDEST_DRIVER {
        return Err(CudaError::DriverTooOld {
            found: version_text(version),
        });
    }
    result::init().map_err(|error| no_device(version, format!("{:?}", error.0)))?;
    Ok(version)
}

fn no_device(version: u32, reason: String) -> CudaError {
    CudaError::NoDevice {
        version: version_text(version),
        reason,
    }
}

/// The devices of this machine.
///
/// # Errors
/// No driver, one older than 12.0, no device; each says what was found and what to do.
pub fn devices() -> Result<Vec<DeviceInfo>, CudaError> {
    let version = start()?;
    let count = result::device::get_count();
    let count = count.map_err(|error| no_device(version, format!("{:?}", error.0)))?;
    if count == 0 {
        return Err(no_device(version, "0 found".to_owned()));
    }
    (0..count).map(|ordinal| info(ordinal, version)).collect()
}

fn info(ordinal: i32, driver_version: u32) -> Result<DeviceInfo, CudaError> {
    let action = format!("asking about device {ordinal}");
    let device: sys::CUdevice =
        result::device::get(ordinal).map_err(CudaError::call(action.clone()))?;
    let attribute = |which| driver::attribute(device, which);
    Ok(DeviceInfo {
        ordinal: ordinal.unsigned_abs() as usize,
        name: result::device::get_name(device).map_err(CudaError::call(action))?,
        capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        memory_bytes: driver::total_memory(device)?,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        shared_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        driver: driver_version,
        l2_bytes: attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE).unwrap_or(0),
        memory_bandwidth: bandwidth(
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE).unwrap_or(0),
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH).unwrap_or(0),
        ),
        emulated: result::device::get_uuid(device).is_ok_and(|uuid| {
            let bytes = uuid.bytes.iter();
            bytes
                .map(|byte| *byte as u8)
                .take(EMULATOR.len())
                .eq(EMULATOR.iter().copied())
        }),
    })
}

/// Bytes a second of a memory that moves `bits` twice in each of its clock's periods.
fn bandwidth(kilohertz: u32, bits: u32) -> u64 {
    2 * 1000 * u64::from(kilohertz) * u64::from(bits / 8)
}

/// Opens a device: its primary context, which every library of the process shares.
///
/// # Errors
/// As [`devices`]; a number that no device has; a device that no kernel is made for.
pub fn open(ordinal: usize) -> Result<Arc<CudaContext>, CudaError> {
    let devices = devices()?;
    let device = devices.get(ordinal).ok_or(CudaError::Ordinal {
        found: ordinal,
        count: devices.len(),
    })?;
    device.architecture()?;
    CudaContext::new(ordinal).map_err(CudaError::call(format!("opening device {ordinal}")))
}
