//! The driver's side: cudarc's own code path on the emulated driver, or on a real one.
#![allow(unsafe_code)]

use super::bundle::{Entry, Parameter};
use cudarc::driver::sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
use cudarc::driver::{
    CudaContext, CudaModule, CudaSlice, CudaStream, DevicePtr, DriverError, LaunchConfig,
    PushKernelArg,
};
use cudarc::nvrtc::Ptx;
use himuon_toolkit::emulated::{EmulatedDriver, Inspection};
use std::sync::Arc;

/// Dynamic shared memory above this must be asked for.
const DEFAULT_SHARED: u32 = 48 * 1024;

/// A device with one stream.
#[derive(Debug)]
pub struct Device {
    /// Of the emulated driver alone.
    inspection: Option<Inspection>,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
}

/// Bytes in device memory.
#[derive(Debug)]
pub struct Memory {
    bytes: CudaSlice<u8>,
    address: u64,
}

impl Memory {
    /// The device address of the first byte.
    pub fn address(&self) -> u64 {
        self.address
    }
}

impl Device {
    /// Loads the emulated driver into this process and opens its first device.
    ///
    /// # Errors
    /// What the toolkit or the driver says.
    pub fn open() -> Result<Device, String> {
        let inspection = EmulatedDriver::build()
            .and_then(|driver| driver.load())
            .map_err(|error| error.to_string())?;
        Self::first(Some(inspection))
    }

    /// Opens the first GPU of this machine; the emulated driver must not have been loaded into this process.
    ///
    /// # Errors
    /// What the driver says.
    pub fn gpu() -> Result<Device, String> {
        Self::first(None)
    }

    fn first(inspection: Option<Inspection>) -> Result<Device, String> {
        let context = CudaContext::new(0).map_err(|error| error.to_string())?;
        let stream = context.new_stream().map_err(|error| error.to_string())?;
        Ok(Device {
            inspection,
            context,
            stream,
        })
    }

    /// The emulator's counters and messages.
    ///
    /// # Errors
    /// On a GPU.
    pub fn inspection(&self) -> Result<&Inspection, String> {
        let none = || "a GPU does not count what kernels do".to_owned();
        self.inspection.as_ref().ok_or_else(none)
    }

    /// The driver's words with the emulator's.
    fn failed(&self, error: DriverError) -> String {
        let message = self.inspection.as_ref().and_then(Inspection::last_message);
        format!("{error}: {}", message.unwrap_or_default())
    }

    /// Loads PTX.
    ///
    /// # Errors
    /// What the driver says.
    pub fn module(&self, ptx: &str) -> Result<Arc<CudaModule>, String> {
        self.context
            .load_module(Ptx::from_src(ptx))
            .map_err(|error| self.failed(error))
    }

    /// Bytes copied to the device; never empty, so that they have an address.
    ///
    /// # Errors
    /// What the driver says.
    pub fn upload(&self, bytes: &[u8]) -> Result<Memory, String> {
        let slice = if bytes.is_empty() { &[0][..] } else { bytes };
        let bytes = self
            .stream
            .clone_htod(slice)
            .map_err(|error| self.failed(error))?;
        Ok(self.memory(bytes))
    }

    /// Bytes that nothing has written: the emulator reports whoever reads them first. On a GPU they are all ones, which is no
    /// number in any type.
    ///
    /// # Errors
    /// What the driver says.
    pub fn uninitialised(&self, bytes: usize) -> Result<Memory, String> {
        if self.inspection.is_none() {
            return self.upload(&vec![0xff; bytes]);
        }
        // SAFETY: the bytes are only handed to kernels, and the emulator faults on reading what was never written.
        let bytes =
            unsafe { self.stream.alloc::<u8>(bytes.max(1)) }.map_err(|error| self.failed(error))?;
        Ok(self.memory(bytes))
    }

    fn memory(&self, bytes: CudaSlice<u8>) -> Memory {
        let address = bytes.device_ptr(&self.stream).0;
        Memory { bytes, address }
    }

    /// Copies bytes back, after everything before.
    ///
    /// # Errors
    /// What the driver says, a kernel's fault above all.
    pub fn download(&self, memory: &Memory) -> Result<Vec<u8>, String> {
        self.stream
            .clone_dtoh(&memory.bytes)
            .map_err(|error| self.failed(error))
    }

    /// Waits for everything.
    ///
    /// # Errors
    /// A kernel's fault.
    pub fn synchronise(&self) -> Result<(), String> {
        self.stream
            .synchronize()
            .map_err(|error| self.failed(error))
    }

    /// Queues one launch. `value` gives each parameter as 64 bits; a `u32` takes the lower half.
    ///
    /// # Errors
    /// What `value` or the driver says.
    pub fn launch(
        &self,
        module: &Arc<CudaModule>,
        entry: &Entry,
        blocks: u32,
        value: impl Fn(&Parameter) -> Result<u64, String>,
    ) -> Result<(), String> {
        let function = module
            .load_function(&entry.name)
            .map_err(|error| self.failed(error))?;
        if entry.dynamic_shared_bytes > DEFAULT_SHARED {
            let bytes = i32::try_from(entry.dynamic_shared_bytes).unwrap_or(i32::MAX);
            function
                .set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes)
                .map_err(|error| self.failed(error))?;
        }
        let words = entry.parameters.iter().map(|parameter| {
            let word = value(parameter)?;
            Ok((parameter.kind == "u32", word, word as u32))
        });
        let words: Vec<(bool, u64, u32)> = words.collect::<Result<_, String>>()?;
        let mut launch = self.stream.launch_builder(&function);
        for (short, long_word, word) in &words {
            if *short {
                launch.arg(word);
            } else {
                launch.arg(long_word);
            }
        }
        let config = LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (entry.block, 1, 1),
            shared_mem_bytes: entry.dynamic_shared_bytes,
        };
        // SAFETY: parameters have the types and order that the bundle's manifest states; that they are right is
        // what is tested, and the emulator stops at an access outside of an allocation.
        unsafe { launch.launch(config) }
            .map(drop)
            .map_err(|error| self.failed(error))
    }
}
