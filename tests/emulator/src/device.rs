//! A device: limits, memory, loaded modules and launches.

use std::collections::HashMap;

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
    globals: HashMap<String, (u64, u64)>,
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
        self.globals.get(name).copied()
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
        Ok(LoadedModule {
            module: module.clone(),
            globals: HashMap::new(),
        })
    }

    /// Frees the module's variables.
    ///
    /// # Errors
    /// [`MemoryError::NotAllocated`] when it was unloaded before.
    pub fn unload(&self, module: &LoadedModule) -> Result<(), MemoryError> {
        module
            .globals
            .values()
            .try_for_each(|(address, _)| self.memory.free(*address))
    }

    /// Runs a kernel to its end.
    ///
    /// # Errors
    /// The first fault that a check finds. What other blocks had already written stays written.
    pub fn launch(&self, module: &LoadedModule, launch: &Launch<'_>) -> Result<Counters, Fault> {
        crate::exec::launch(self, module, launch)
    }
}
