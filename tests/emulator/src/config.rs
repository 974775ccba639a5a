//! What the emulated device offers: compute capability and limits, with presets from the CUDA programming guide's
//! table of technical specifications.

/// The limits of an emulated device. Fields are public so that a test can shrink any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceConfig {
    /// Name as a driver reports it; it says that the device is emulated.
    pub name: String,
    /// Compute capability: (8, 0) is sm_80.
    pub compute_capability: (u32, u32),
    /// Streaming multiprocessors. Occupancy questions use it; execution does not.
    pub multiprocessors: u32,
    /// Device memory in bytes. An allocation beyond it fails.
    pub memory_bytes: u64,
    /// Shared memory that a block may use without opting in, bytes.
    pub shared_bytes_per_block: u32,
    /// Shared memory that a block may use after raising the function's limit, bytes.
    pub shared_bytes_per_block_optin: u32,
    /// Shared memory of one multiprocessor, bytes.
    pub shared_bytes_per_multiprocessor: u32,
    /// Shared memory that the system takes from each block, bytes.
    pub reserved_shared_bytes_per_block: u32,
    /// 32-bit registers that one block may use.
    pub registers_per_block: u32,
    /// 32-bit registers of one multiprocessor.
    pub registers_per_multiprocessor: u32,
    /// Threads of one block at most.
    pub max_threads_per_block: u32,
    /// Resident threads of one multiprocessor at most.
    pub max_threads_per_multiprocessor: u32,
    /// Resident blocks of one multiprocessor at most.
    pub max_blocks_per_multiprocessor: u32,
    /// Largest block extents.
    pub max_block: [u32; 3],
    /// Largest grid extents.
    pub max_grid: [u32; 3],
    /// Level-two cache, bytes. Reported only.
    pub l2_bytes: u32,
}

/// The rows of the specification table that differ between architectures.
struct Limits {
    capability: (u32, u32),
    multiprocessors: u32,
    optin_kib: u32,
    shared_kib: u32,
    threads: u32,
    blocks: u32,
    l2_mib: u32,
}

const KIB: u32 = 1024;
const DEFAULT_MEMORY: u64 = 2 << 30;

impl DeviceConfig {
    fn from_limits(limits: &Limits) -> Self {
        let (major, minor) = limits.capability;
        Self {
            name: format!("himuon PTX emulator (sm_{major}{minor})"),
            compute_capability: limits.capability,
            multiprocessors: limits.multiprocessors,
            memory_bytes: DEFAULT_MEMORY,
            shared_bytes_per_block: 48 * KIB,
            shared_bytes_per_block_optin: limits.optin_kib * KIB,
            shared_bytes_per_multiprocessor: limits.shared_kib * KIB,
            reserved_shared_bytes_per_block: if major >= 8 { KIB } else { 0 },
            registers_per_block: 64 * KIB,
            registers_per_multiprocessor: 64 * KIB,
            max_threads_per_block: 1024,
            max_threads_per_multiprocessor: limits.threads,
            max_blocks_per_multiprocessor: limits.blocks,
            max_block: [1024, 1024, 64],
            max_grid: [i32::MAX as u32, 65_535, 65_535],
            l2_bytes: limits.l2_mib * KIB * KIB,
        }
    }

    /// Turing (T4).
    pub fn sm_75() -> Self {
        Self::from_limits(&Limits {
            capability: (7, 5),
            multiprocessors: 40,
            optin_kib: 64,
            shared_kib: 64,
            threads: 1024,
            blocks: 16,
            l2_mib: 4,
        })
    }

    /// Ampere (A100).
    pub fn sm_80() -> Self {
        Self::from_limits(&Limits {
            capability: (8, 0),
            multiprocessors: 108,
            optin_kib: 163,
            shared_kib: 164,
            threads: 2048,
            blocks: 32,
            l2_mib: 40,
        })
    }

    /// Ampere (RTX 30, A10).
    pub fn sm_86() -> Self {
        Self::from_limits(&Limits {
            capability: (8, 6),
            multiprocessors: 84,
            optin_kib: 99,
            shared_kib: 100,
            threads: 1536,
            blocks: 16,
            l2_mib: 6,
        })
    }

    /// Ada (RTX 40, L4).
    pub fn sm_89() -> Self {
        Self::from_limits(&Limits {
            capability: (8, 9),
            multiprocessors: 128,
            optin_kib: 99,
            shared_kib: 100,
            threads: 1536,
            blocks: 24,
            l2_mib: 72,
        })
    }

    /// Hopper (H100).
    pub fn sm_90() -> Self {
        Self::from_limits(&Limits {
            capability: (9, 0),
            multiprocessors: 132,
            optin_kib: 227,
            shared_kib: 228,
            threads: 2048,
            blocks: 32,
            l2_mib: 50,
        })
    }

    /// Blackwell, data centre (B200).
    pub fn sm_100() -> Self {
        Self::from_limits(&Limits {
            capability: (10, 0),
            multiprocessors: 148,
            optin_kib: 227,
            shared_kib: 228,
            threads: 2048,
            blocks: 32,
            l2_mib: 126,
        })
    }

    /// Blackwell, workstation (RTX 50).
    pub fn sm_120() -> Self {
        Self::from_limits(&Limits {
            capability: (12, 0),
            multiprocessors: 170,
            optin_kib: 99,
            shared_kib: 100,
            threads: 1536,
            blocks: 24,
            l2_mib: 96,
        })
    }

    /// The preset of a compute capability, or `None` where there is none.
    ///
    /// ```
    /// use himuon_emulator::DeviceConfig;
    /// assert_eq!(DeviceConfig::for_capability(9, 0), Some(DeviceConfig::sm_90()));
    /// assert_eq!(DeviceConfig::for_capability(3, 5), None);
    /// ```
    pub fn for_capability(major: u32, minor: u32) -> Option<Self> {
        Self::presets()
            .into_iter()
            .find(|config| config.compute_capability == (major, minor))
    }

    /// Every preset, oldest first.
    pub fn presets() -> Vec<Self> {
        vec![
            Self::sm_75(),
            Self::sm_80(),
            Self::sm_86(),
            Self::sm_89(),
            Self::sm_90(),
            Self::sm_100(),
            Self::sm_120(),
        ]
    }
}
