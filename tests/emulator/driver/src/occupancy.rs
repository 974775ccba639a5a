//! Occupancy: how many blocks of a kernel fit on one multiprocessor, by the rules of the CUDA programming guide.

use himuon_emulator::{DeviceConfig, Kernel};

/// Registers are given to a warp in units of this.
const REGISTER_UNIT: u32 = 256;
/// Shared memory is given to a block in units of this (sm_75 and later).
const SHARED_UNIT: u32 = 128;
const WARP: u32 = 32;

/// What a block of some kernel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockNeeds {
    pub(crate) threads: u32,
    pub(crate) registers: u32,
    pub(crate) static_shared: u32,
}

impl BlockNeeds {
    pub(crate) fn of(kernel: &Kernel, threads: u32) -> Self {
        Self {
            threads,
            registers: kernel.registers(),
            static_shared: kernel.static_shared_bytes(),
        }
    }

    /// Blocks on one multiprocessor with this much dynamic shared memory.
    pub(crate) fn blocks(self, config: &DeviceConfig, dynamic_shared: u64) -> u32 {
        let by_shared = self.blocks_by_shared(config, dynamic_shared);
        self.blocks_without_shared(config).min(by_shared)
    }

    fn blocks_without_shared(self, config: &DeviceConfig) -> u32 {
        if self.threads == 0 || self.threads > config.max_threads_per_block {
            return 0;
        }
        let warps = self.threads.div_ceil(WARP);
        let by_threads = config.max_threads_per_multiprocessor / WARP / warps;
        let registers = (self.registers * WARP)
            .next_multiple_of(REGISTER_UNIT)
            .max(REGISTER_UNIT);
        let by_registers = config.registers_per_multiprocessor / registers / warps;
        config
            .max_blocks_per_multiprocessor
            .min(by_threads)
            .min(by_registers)
    }

    fn blocks_by_shared(self, config: &DeviceConfig, dynamic_shared: u64) -> u32 {
        let used = u64::from(self.static_shared).saturating_add(dynamic_shared);
        if used > u64::from(config.shared_bytes_per_block_optin) {
            return 0;
        }
        // Below the opt-in limit the value fits.
        let used = u32::try_from(used).unwrap_or(u32::MAX);
        let taken = (used + config.reserved_shared_bytes_per_block).next_multiple_of(SHARED_UNIT);
        config
            .shared_bytes_per_multiprocessor
            .checked_div(taken)
            .unwrap_or(u32::MAX)
    }

    /// Dynamic shared memory that each of `blocks` blocks may take; `None` if they do not fit in any case.
    pub(crate) fn dynamic_shared(self, config: &DeviceConfig, blocks: u32) -> Option<u32> {
        if blocks == 0 || blocks > self.blocks_without_shared(config) {
            return None;
        }
        let share = config.shared_bytes_per_multiprocessor / blocks / SHARED_UNIT * SHARED_UNIT;
        let most = share.checked_sub(config.reserved_shared_bytes_per_block)?;
        most.min(config.shared_bytes_per_block_optin)
            .checked_sub(self.static_shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(threads: u32, registers: u32, static_shared: u32) -> BlockNeeds {
        BlockNeeds {
            threads,
            registers,
            static_shared,
        }
    }

    /// 168 registers: 65536 / (168 x 32) = 12 warps, hence 3 blocks of 4 warps. Shared memory: 164 KiB / (40 + 1) KiB = 4.
    #[test]
    fn each_limit_of_an_a100_binds_in_turn() {
        let a100 = DeviceConfig::sm_80();
        assert_eq!(needs(32, 16, 0).blocks(&a100, 0), 32, "blocks");
        assert_eq!(needs(1024, 32, 0).blocks(&a100, 0), 2, "threads");
        assert_eq!(needs(128, 168, 0).blocks(&a100, 0), 3, "registers");
        assert_eq!(
            needs(256, 255, 0).blocks(&a100, 0),
            1,
            "registers at the limit"
        );
        assert_eq!(
            needs(128, 32, 0).blocks(&a100, 40 << 10),
            4,
            "shared memory"
        );
        assert_eq!(
            needs(128, 32, 1 << 10).blocks(&a100, 162 << 10),
            1,
            "the largest block"
        );
        assert_eq!(
            needs(128, 32, 1 << 10).blocks(&a100, 163 << 10),
            0,
            "past the limit"
        );
        assert_eq!(needs(2048, 32, 0).blocks(&a100, 0), 0, "too many threads");
    }

    #[test]
    fn the_available_shared_memory_is_the_most_that_keeps_the_blocks() {
        for config in DeviceConfig::presets() {
            let kernel = needs(128, 32, 2048);
            for blocks in 1..=4 {
                let bytes = u64::from(kernel.dynamic_shared(&config, blocks).unwrap());
                assert!(
                    kernel.blocks(&config, bytes) >= blocks,
                    "{} {blocks}",
                    config.name
                );
                assert!(
                    kernel.blocks(&config, bytes + 128) < blocks,
                    "{} {blocks}",
                    config.name
                );
            }
        }
    }
}
