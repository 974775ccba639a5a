//! A device: limits, memory, loaded modules and launches.

use crate::{
    Counters, DeviceConfig, ExecutionOptions, Fault, GlobalMemory, Kernel, MemoryError, Module,
};

/// An emulated device. Modules are loaded and kernels launched through it; it may be shared between threads.
#[derive(Debug)]
pub struct Device {
    /// Limits.
    pub config: DeviceConfig,
    /// Address space.
    pub memory: GlobalMemory,
}

/// A module whose global and constant variables have addresses on one device.
#[derive(Debug, Clone)]
pub struct LoadedModule {
    module: Module,
    /// Addresses, in the order of the module's variables.
    addresses: Vec<u64>,
}

/// One kernel launch.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// Name of the kernel in the module.
    pub kernel: &'a str,
    /// Blocks in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a block in x, y, z.
    pub block: [u32; 3],
    /// Shared memory beyond what the kernel declares, bytes.
    pub dynamic_shared_bytes: u32,
    /// The parameter block: each parameter at its [`crate::Param::offset`], [`Kernel::param_bytes`] in all.
    pub params: &'a [u8],
    /// How to execute.
    pub options: ExecutionOptions,
}

impl LoadedModule {
    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// A kernel by name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.module.kernel(name)
    }

    /// Address and bytes of a `.global` or `.const` variable.
    pub fn global(&self, name: &str) -> Option<(u64, u64)> {
        let index = self
            .module
            .globals()
            .iter()
            .position(|variable| variable.name == name)?;
        Some((self.addresses[index], self.module.globals()[index].bytes))
    }

    pub(crate) fn global_addresses(&self) -> &[u64] {
        &self.addresses
    }
}

impl Device {
    /// A device with empty memory.
    pub fn new(config: DeviceConfig) -> Self {
        let memory = GlobalMemory::new(config.memory_bytes);
        Self { config, memory }
    }

    /// Gives a module's variables addresses and initial values.
    ///
    /// # Errors
    /// [`MemoryError::OutOfMemory`] when they do not fit; nothing stays allocated then.
    pub fn load(&self, module: &Module) -> Result<LoadedModule, MemoryError> {
        let mut loaded = LoadedModule {
            module: module.clone(),
            addresses: Vec::new(),
        };
        for variable in module.globals() {
            match self.memory.alloc(variable.bytes) {
                Ok(address) => loaded.addresses.push(address),
                Err(error) => {
                    self.unload(&loaded)?;
                    return Err(error);
                }
            }
        }
        for (variable, address) in module.globals().iter().zip(&loaded.addresses) {
            let mut contents = variable.initial.clone();
            contents.resize(variable.bytes as usize, 0);
            for (offset, target) in &variable.relocations {
                let place = *offset as usize..*offset as usize + 8;
                contents[place].copy_from_slice(&loaded.addresses[*target as usize].to_le_bytes());
            }
            self.memory.write(*address, &contents)?;
        }
        Ok(loaded)
    }

    /// Frees the module's variables.
    ///
    /// # Errors
    /// [`MemoryError::NotAllocated`] when it was unloaded before.
    pub fn unload(&self, module: &LoadedModule) -> Result<(), MemoryError> {
        module
            .addresses
            .iter()
            .try_for_each(|address| self.memory.free(*address))
    }

    /// Runs a kernel to its end.
    ///
    /// # Errors
    /// The first fault that a check finds. What other blocks had already written stays written.
    pub fn launch(&self, module: &LoadedModule, launch: &Launch<'_>) -> Result<Counters, Fault> {
        crate::exec::launch(self, module, launch)
    }
}
