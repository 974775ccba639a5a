//! Modules and functions: PTX text to kernels on a device.

use std::collections::HashMap;
use std::ffi::{CString, c_int, c_uint};
use std::sync::Arc;

use himuon_emulator::{DeviceConfig, Kernel, LoadedModule, Module};

use crate::abi;
use crate::context::Context;
use crate::driver::Session;
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::injection::Target;

/// A loaded module.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) context: Handle<Context>,
    pub(crate) loaded: Arc<LoadedModule>,
    functions: HashMap<String, Handle<Function>>,
}

/// A kernel of a module with its adjustable attributes.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) context: Handle<Context>,
    pub(crate) module: Handle<Image>,
    pub(crate) loaded: Arc<LoadedModule>,
    pub(crate) name: Arc<str>,
    pub(crate) c_name: CString,
    /// Dynamic shared memory that a launch may ask for, bytes.
    pub(crate) dynamic_shared_limit: u32,
    carveout: c_int,
    pub(crate) cache_config: c_uint,
}

/// `CUfunction_attribute`.
mod attribute {
    pub(super) const MAX_THREADS_PER_BLOCK: u32 = 0;
    pub(super) const SHARED_SIZE_BYTES: u32 = 1;
    pub(super) const CONST_SIZE_BYTES: u32 = 2;
    pub(super) const LOCAL_SIZE_BYTES: u32 = 3;
    pub(super) const NUM_REGS: u32 = 4;
    pub(super) const PTX_VERSION: u32 = 5;
    pub(super) const BINARY_VERSION: u32 = 6;
    pub(super) const CACHE_MODE_CA: u32 = 7;
    pub(super) const MAX_DYNAMIC_SHARED_SIZE_BYTES: u32 = 8;
    pub(super) const PREFERRED_SHARED_MEMORY_CARVEOUT: u32 = 9;
    pub(super) const FIRST_CLUSTER: u32 = 10;
    pub(super) const LAST_CLUSTER: u32 = 15;
}

impl Session {
    /// Loads PTX; the message of a refusal goes to stderr and to the JIT error log.
    pub(crate) fn load_module(&mut self, image: abi::Image) -> DriverResult<Handle<Image>> {
        self.refuse_unsafe_call()?;
        if let Some(count) = self.state.injection.strikes(Target::Module) {
            self.state
                .reports
                .tell(format!("module load {count} was told to fail"));
            return Err(CudaError::OUT_OF_MEMORY);
        }
        let device = self.device()?;
        let module = self.parse(image, device).inspect_err(|refusal| {
            let message = refusal.message.clone();
            self.state.reports.tell(message);
        });
        let module = module.map_err(|refusal| refusal.code)?;
        let loaded = self.driver.devices[device].load(&module).map_err(|error| {
            self.state.reports.tell(error.to_string());
            CudaError::OUT_OF_MEMORY
        })?;
        let context = self.context;
        let image = Image {
            context,
            loaded: Arc::new(loaded),
            functions: HashMap::new(),
        };
        Ok(self.state.modules.insert(image))
    }

    fn parse(&self, image: abi::Image, device: usize) -> Result<Module, Refusal> {
        refuse_binary(&image.magic()?)?;
        let text = String::from_utf8(image.text().bytes()?.to_vec()).map_err(|_| Refusal {
            code: CudaError::INVALID_IMAGE,
            message: "the module image is neither PTX text nor a known binary".to_owned(),
        })?;
        let module = Module::parse(&text).map_err(|error| Refusal {
            code: CudaError::INVALID_PTX,
            message: error.to_string(),
        })?;
        check_version(module.version(), self.driver.settings.driver_version)?;
        check_target(module.target(), &self.driver.devices[device].config)?;
        Ok(module)
    }

    /// Waits for the context, then forgets the module and its functions.
    pub(crate) fn unload_module(&mut self, module: Handle<Image>) -> DriverResult {
        self.refuse_unsafe_call()?;
        self.state.modules.get(module)?;
        self.drain()?;
        let image = self.state.modules.remove(module)?;
        let device = self.state.contexts.get(image.context)?.device;
        self.state
            .functions
            .retain(|function| function.module != module);
        self.driver.devices[device]
            .unload(&image.loaded)
            .map_err(|_| CudaError::INVALID_HANDLE)
    }

    pub(crate) fn function(
        &mut self,
        module: Handle<Image>,
        name: &str,
    ) -> DriverResult<Handle<Function>> {
        let image = self.state.modules.get(module)?;
        if let Some(function) = image.functions.get(name) {
            return Ok(*function);
        }
        let kernel = image.loaded.kernel(name).ok_or(CudaError::NOT_FOUND)?;
        let device = self.state.contexts.get(image.context)?.device;
        let default_limit = self.driver.devices[device]
            .config
            .shared_bytes_per_block
            .saturating_sub(kernel.static_shared_bytes());
        let function = Function {
            context: image.context,
            module,
            loaded: Arc::clone(&image.loaded),
            name: name.into(),
            c_name: CString::new(name).map_err(|_| CudaError::INVALID_VALUE)?,
            dynamic_shared_limit: default_limit,
            carveout: -1,
            cache_config: 0,
        };
        let handle = self.state.functions.insert(function);
        self.state
            .modules
            .get_mut(module)?
            .functions
            .insert(name.to_owned(), handle);
        Ok(handle)
    }

    /// Limits of the device that a function runs on.
    pub(crate) fn config_of(
        &self,
        function: Handle<Function>,
    ) -> DriverResult<&'static DeviceConfig> {
        let context = self.state.functions.get(function)?.context;
        let device = self.state.contexts.get(context)?.device;
        Ok(&self.driver.devices[device].config)
    }

    pub(crate) fn function_attribute(
        &self,
        function: Handle<Function>,
        number: u32,
    ) -> DriverResult<c_int> {
        let config = self.config_of(function)?;
        let function = self.state.functions.get(function)?;
        let kernel = function.kernel()?;
        let (major, minor) = config.compute_capability;
        let (version, subversion) = function.loaded.module().version();
        let value = match number {
            attribute::MAX_THREADS_PER_BLOCK => max_threads(kernel, config),
            attribute::SHARED_SIZE_BYTES => kernel.static_shared_bytes(),
            attribute::CONST_SIZE_BYTES => 0,
            attribute::LOCAL_SIZE_BYTES => kernel.local_bytes(),
            attribute::NUM_REGS => kernel.registers(),
            attribute::PTX_VERSION => 10 * version + subversion,
            attribute::BINARY_VERSION => 10 * major + minor,
            attribute::CACHE_MODE_CA => 0,
            attribute::MAX_DYNAMIC_SHARED_SIZE_BYTES => function.dynamic_shared_limit,
            attribute::PREFERRED_SHARED_MEMORY_CARVEOUT => return Ok(function.carveout),
            attribute::FIRST_CLUSTER..=attribute::LAST_CLUSTER => 0,
            _ => return Err(CudaError::INVALID_VALUE),
        };
        c_int::try_from(value).map_err(|_| CudaError::INVALID_VALUE)
    }

    pub(crate) fn set_function_attribute(
        &mut self,
        function: Handle<Function>,
        number: u32,
        value: c_int,
    ) -> DriverResult {
        let config = self.config_of(function)?;
        let function = self.state.functions.get_mut(function)?;
        let static_bytes = function.kernel()?.static_shared_bytes();
        match number {
            attribute::MAX_DYNAMIC_SHARED_SIZE_BYTES => {
                let bytes = u32::try_from(value).map_err(|_| CudaError::INVALID_VALUE)?;
                let total = bytes
                    .checked_add(static_bytes)
                    .ok_or(CudaError::INVALID_VALUE)?;
                if total > config.shared_bytes_per_block_optin {
                    return Err(CudaError::INVALID_VALUE);
                }
                function.dynamic_shared_limit = bytes;
                Ok(())
            }
            attribute::PREFERRED_SHARED_MEMORY_CARVEOUT if (-1..=100).contains(&value) => {
                function.carveout = value;
                Ok(())
            }
            _ => Err(CudaError::INVALID_VALUE),
        }
    }
}

impl Function {
    pub(crate) fn kernel(&self) -> DriverResult<&Kernel> {
        self.loaded.kernel(&self.name).ok_or(CudaError::NOT_FOUND)
    }
}

/// Threads that a block of the kernel may have: what it declares, what its registers allow, what the device allows.
pub(crate) fn max_threads(kernel: &Kernel, config: &DeviceConfig) -> u32 {
    let declared = kernel
        .max_threads()
        .map(|[x, y, z]| x.saturating_mul(y).saturating_mul(z));
    let by_registers = config.registers_per_block / kernel.registers().max(1) / 32 * 32;
    declared
        .unwrap_or(u32::MAX)
        .min(by_registers)
        .min(config.max_threads_per_block)
}

/// Why an image cannot be loaded.
struct Refusal {
    code: CudaError,
    message: String,
}

impl From<CudaError> for Refusal {
    fn from(code: CudaError) -> Self {
        Self {
            code,
            message: "the module image cannot be read".to_owned(),
        }
    }
}

/// Cubins and fat binaries hold machine code of other devices.
fn refuse_binary(magic: &[u8]) -> Result<(), Refusal> {
    const FAT_BINARY: [u8; 4] = 0xBA55_ED50_u32.to_le_bytes();
    const FAT_BINARY_WRAPPER: [u8; 4] = 0x4662_43B1_u32.to_le_bytes();
    let kind = match magic {
        b"\x7FELF" => "a cubin",
        magic if magic == FAT_BINARY || magic == FAT_BINARY_WRAPPER => "a fat binary",
        _ => return Ok(()),
    };
    let message =
        format!("{kind} holds machine code, which an emulator of PTX cannot run; load the PTX");
    Err(Refusal {
        code: CudaError::NO_BINARY_FOR_GPU,
        message,
    })
}

/// A driver knows the PTX of its own CUDA version and older ones.
fn check_version(ptx: (u32, u32), driver: (u32, u32)) -> Result<(), Refusal> {
    let newest = match driver {
        (12, minor @ 0..=5) => (8, minor),
        (12, 6 | 7) => (8, 5),
        (12, minor) => (8, minor - 1),
        (major, minor) if major >= 13 => (major - 4, minor),
        _ => (7, 8),
    };
    if ptx <= newest {
        return Ok(());
    }
    let message = format!(
        "PTX {}.{} is newer than what a driver of CUDA {}.{} knows ({}.{})",
        ptx.0, ptx.1, driver.0, driver.1, newest.0, newest.1
    );
    Err(Refusal {
        code: CudaError::UNSUPPORTED_PTX_VERSION,
        message,
    })
}

/// `sm_80` runs on 8.0 and everything later, `sm_90a` on 9.0 only, `sm_100f` on its major version.
fn check_target(target: &str, config: &DeviceConfig) -> Result<(), Refusal> {
    let (major, minor) = config.compute_capability;
    let digits = target
        .trim_start_matches("sm_")
        .trim_end_matches(['a', 'f']);
    let device = 10 * major + minor;
    let fits = digits
        .parse::<u32>()
        .is_ok_and(|needed| match target.chars().last() {
            Some('a') => needed == device,
            Some('f') => needed <= device && needed / 10 == major,
            _ => needed <= device,
        });
    if fits {
        return Ok(());
    }
    let message = format!("PTX for {target} does not run on a device of sm_{device}");
    Err(Refusal {
        code: CudaError::INVALID_PTX,
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_run_where_the_ptx_manual_says() {
        let code = |target, config: &DeviceConfig| check_target(target, config).map_err(|r| r.code);
        let (a100, h100) = (DeviceConfig::sm_80(), DeviceConfig::sm_90());
        assert_eq!(code("sm_75", &a100), Ok(()));
        assert_eq!(code("sm_80", &h100), Ok(()));
        assert_eq!(code("sm_90a", &h100), Ok(()));
        assert_eq!(code("sm_90", &a100), Err(CudaError::INVALID_PTX));
        assert_eq!(
            code("sm_90a", &DeviceConfig::sm_100()),
            Err(CudaError::INVALID_PTX)
        );
        assert_eq!(code("sm_100f", &DeviceConfig::sm_100()), Ok(()));
        assert_eq!(
            code("sm_100f", &DeviceConfig::sm_120()),
            Err(CudaError::INVALID_PTX)
        );
    }

    #[test]
    fn a_driver_refuses_ptx_that_is_newer_than_itself() {
        let code = |ptx, driver| check_version(ptx, driver).map_err(|refusal| refusal.code);
        assert_eq!(code((9, 5), (13, 5)), Ok(()));
        assert_eq!(code((8, 7), (12, 8)), Ok(()));
        assert_eq!(
            code((8, 8), (12, 8)),
            Err(CudaError::UNSUPPORTED_PTX_VERSION)
        );
        assert_eq!(code((8, 5), (12, 6)), Ok(()));
        assert_eq!(
            code((9, 5), (13, 0)),
            Err(CudaError::UNSUPPORTED_PTX_VERSION)
        );
    }

    #[test]
    fn binaries_are_told_from_text() {
        assert!(refuse_binary(b"\x7FELF").is_err());
        assert!(refuse_binary(&0xBA55_ED50_u32.to_le_bytes()).is_err());
        assert!(refuse_binary(b"//\n.").is_ok());
    }
}
