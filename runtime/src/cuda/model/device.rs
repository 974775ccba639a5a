//! What the model knows of a device: one representative card of each architecture.
//!
//! Limits are those of the CUDA programming guide's table of compute capabilities; clocks, bandwidths and tensor rates
//! those of the vendor's data sheets (dense, f32 accumulation, at the boost clock).

use himuon_templates::Architecture;

use crate::cuda::device::DeviceInfo;

/// A card.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Device {
    /// What kernels are compiled for, as `sm_80`.
    pub target: &'static str,
    /// The class whose text it takes.
    pub class: Architecture,
    /// The card that the numbers are of.
    pub name: &'static str,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Cycles a second.
    pub clock: f64,
    /// Bytes a second of its memory.
    pub bandwidth: f64,
    /// Bytes of its L2 cache.
    pub l2: f64,
    /// 16-bit multiply-adds of a multiprocessor's tensor cores in a cycle, by `mma.sync`.
    pub tensor_rate: f64,
    /// f32 multiply-adds of a multiprocessor in a cycle.
    pub float_rate: f64,
    /// Bytes of shared memory of a multiprocessor.
    pub shared_memory: u32,
    /// Bytes of shared memory that a block may opt in to.
    pub block_shared_memory: u32,
    /// Warps of a multiprocessor.
    pub warps: u32,
    /// Blocks of a multiprocessor.
    pub blocks: u32,
}

/// Bytes of shared memory that the system takes of each block (from compute capability 8.0).
pub const RESERVED_SHARED: u32 = 1024;
/// 32-bit registers of a multiprocessor.
pub const REGISTERS: u32 = 65_536;
/// Schedulers of a multiprocessor; each has a quarter of the registers and issues one instruction a cycle.
pub const SCHEDULERS: u32 = 4;
/// Bytes that shared memory moves in a cycle: one wavefront.
pub const WAVEFRONT: f64 = 128.0;
/// Registers are given to a warp in multiples of this.
pub const REGISTER_UNIT: u32 = 256;

const KIB: u32 = 1024;

/// The cards, oldest first.
pub const DEVICES: [Device; 7] = [
    Device {
        target: "sm_75",
        class: Architecture::Sm75,
        name: "T4",
        multiprocessors: 40,
        clock: 1.59e9,
        bandwidth: 320e9,
        l2: 4e6,
        tensor_rate: 512.0,
        float_rate: 64.0,
        shared_memory: 64 * KIB,
        block_shared_memory: 64 * KIB,
        warps: 32,
        blocks: 16,
    },
    Device {
        target: "sm_80",
        class: Architecture::Sm80,
        name: "A100 SXM 80 GB",
        multiprocessors: 108,
        clock: 1.41e9,
        bandwidth: 2039e9,
        l2: 40e6,
        tensor_rate: 1024.0,
        float_rate: 64.0,
        shared_memory: 164 * KIB,
        block_shared_memory: 163 * KIB,
        warps: 64,
        blocks: 32,
    },
    Device {
        target: "sm_86",
        class: Architecture::Sm80,
        name: "RTX 3090",
        multiprocessors: 82,
        clock: 1.695e9,
        bandwidth: 936e9,
        l2: 6e6,
        tensor_rate: 256.0,
        float_rate: 128.0,
        shared_memory: 100 * KIB,
        block_shared_memory: 99 * KIB,
        warps: 48,
        blocks: 16,
    },
    Device {
        target: "sm_89",
        class: Architecture::Sm80,
        name: "RTX 4090",
        multiprocessors: 128,
        clock: 2.52e9,
        bandwidth: 1008e9,
        l2: 72e6,
        tensor_rate: 256.0,
        float_rate: 128.0,
        shared_memory: 100 * KIB,
        block_shared_memory: 99 * KIB,
        warps: 48,
        blocks: 24,
    },
    Device {
        target: "sm_90a",
        class: Architecture::Sm90a,
        name: "H100 SXM",
        multiprocessors: 132,
        clock: 1.83e9,
        bandwidth: 3350e9,
        l2: 50e6,
        // The warp-wide instructions that these kernels use reach about five eighths of the warp-group rate, 2048.
        tensor_rate: 1280.0,
        float_rate: 128.0,
        shared_memory: 228 * KIB,
        block_shared_memory: 227 * KIB,
        warps: 64,
        blocks: 32,
    },
    Device {
        target: "sm_100a",
        class: Architecture::Sm80,
        name: "B200",
        multiprocessors: 148,
        clock: 1.85e9,
        bandwidth: 8000e9,
        l2: 126e6,
        // The full rate, 4096, is that of tcgen05 alone; of the warp-wide instructions no data sheet speaks: as on 8.0.
        tensor_rate: 1024.0,
        float_rate: 128.0,
        shared_memory: 228 * KIB,
        block_shared_memory: 227 * KIB,
        warps: 64,
        blocks: 32,
    },
    Device {
        target: "sm_120",
        class: Architecture::Sm80,
        name: "RTX 5090",
        multiprocessors: 170,
        clock: 2.407e9,
        bandwidth: 1792e9,
        l2: 96e6,
        tensor_rate: 256.0,
        float_rate: 128.0,
        shared_memory: 100 * KIB,
        block_shared_memory: 99 * KIB,
        warps: 48,
        blocks: 24,
    },
];

impl Device {
    /// The card of a target.
    pub fn of(target: &str) -> Option<Device> {
        let name = target.strip_prefix("sm_").unwrap_or(target);
        DEVICES
            .into_iter()
            .find(|device| device.target.strip_prefix("sm_") == Some(name))
    }

    /// What the model takes a device at hand for: the card of its target, else of the nearest older one, with what the driver
    /// says of the device's multiprocessors, shared memory, L2 cache and bandwidth: an H200 is no H100. `None`: older
    /// than all.
    pub fn like(info: &DeviceInfo) -> Option<Device> {
        let number = |target: &str| -> Option<u32> {
            let digits = target.trim_matches(|c: char| !c.is_ascii_digit());
            digits.parse().ok()
        };
        let wanted = number(&info.target())?;
        let mut older = DEVICES.into_iter().rev();
        let card = older.find(|card| number(card.target).is_some_and(|n| n <= wanted))?;
        let told = |found: f64, else_of_card: f64| if found > 0.0 { found } else { else_of_card };
        Some(Device {
            multiprocessors: info.multiprocessors.max(1),
            block_shared_memory: info.shared_bytes.max(card.class.limits().shared_memory),
            bandwidth: told(info.memory_bandwidth as f64, card.bandwidth),
            l2: told(f64::from(info.l2_bytes), card.l2),
            ..card
        })
    }
}
