//! The front end: PTX text to decoded, typed instructions.

/// A kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Param {
    /// Name in the PTX.
    pub name: String,
    /// Offset in the parameter block, bytes.
    pub offset: u32,
    /// Size in bytes.
    pub bytes: u32,
    /// Alignment in bytes.
    pub align: u32,
}

/// One `.entry` of a module, decoded.
#[derive(Debug, Clone)]
pub struct Kernel {
    name: String,
    params: Vec<Param>,
    param_bytes: u32,
    static_shared_bytes: u32,
    local_bytes: u32,
    registers: u32,
    max_threads: Option<[u32; 3]>,
}

impl Kernel {
    /// Name as in the PTX.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Parameters in order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }
    /// Length of the parameter block.
    pub fn param_bytes(&self) -> u32 {
        self.param_bytes
    }
    /// Shared memory that the kernel declares with a size, bytes.
    pub fn static_shared_bytes(&self) -> u32 {
        self.static_shared_bytes
    }
    /// Local memory of one thread, bytes.
    pub fn local_bytes(&self) -> u32 {
        self.local_bytes
    }
    /// 32-bit registers of one thread: the most that are live at once. What ptxas allocates differs by its
    /// scheduling, and never exceeds 255.
    pub fn registers(&self) -> u32 {
        self.registers
    }
    /// `.maxntid` or `.reqntid`.
    pub fn max_threads(&self) -> Option<[u32; 3]> {
        self.max_threads
    }
}

/// A parsed module.
#[derive(Debug, Clone)]
pub struct Module {
    kernels: Vec<Kernel>,
    version: (u32, u32),
    target: String,
}

impl Module {
    /// Parses and decodes PTX text.
    ///
    /// # Errors
    /// [`PtxError`] with the line, for text that is not PTX or uses an instruction that the emulator does not know.
    pub fn parse(_ptx: &str) -> Result<Self, PtxError> {
        Err(PtxError {
            line: 1,
            message: "the front end is not complete".to_owned(),
        })
    }
    /// The kernels, in the order of the text.
    pub fn kernels(&self) -> impl Iterator<Item = &Kernel> {
        self.kernels.iter()
    }
    /// A kernel by name.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }
    /// PTX version: (8, 7) for `.version 8.7`.
    pub fn version(&self) -> (u32, u32) {
        self.version
    }
    /// Target, for example `sm_90a`.
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// PTX text that the emulator cannot take, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PTX line {line}: {message}")]
pub struct PtxError {
    /// Line of the text, from 1.
    pub line: u32,
    /// What was found and what was expected.
    pub message: String,
}
