//! How many blocks a multiprocessor holds at a time.

use super::device::{Device, REGISTER_UNIT, REGISTERS, RESERVED_SHARED, SCHEDULERS};

/// What a block takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockNeeds {
    /// Threads.
    pub threads: u32,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of shared memory.
    pub shared_bytes: u32,
}

/// Blocks and warps of a multiprocessor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Blocks.
    pub blocks: u32,
    /// Warps of all of them.
    pub warps: u32,
    /// Which limit is met first.
    pub limit: &'static str,
}

/// The occupancy of a block on a device; `None`: not one block fits.
pub fn occupancy(device: &Device, needs: BlockNeeds) -> Option<Occupancy> {
    let warps = needs.threads.div_ceil(32).max(1);
    let per_warp = (needs.registers.max(1) * 32).next_multiple_of(REGISTER_UNIT);
    // Each scheduler has its own quarter of the registers.
    let by_registers = (REGISTERS / SCHEDULERS / per_warp) * SCHEDULERS / warps;
    let shared = needs.shared_bytes + RESERVED_SHARED;
    let by_shared = match needs.shared_bytes <= device.block_shared_memory {
        true => device.shared_memory / shared,
        false => 0,
    };
    let limits = [
        (by_registers, "registers"),
        (by_shared, "shared memory"),
        (device.warps / warps, "warps"),
        (device.blocks, "blocks"),
    ];
    let (blocks, limit) = limits.into_iter().min_by_key(|(blocks, _)| *blocks)?;
    (blocks > 0).then_some(Occupancy {
        blocks,
        warps: blocks * warps,
        limit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the vendor's occupancy calculator.
    #[test]
    fn blocks_of_a_multiprocessor() {
        let device = Device::of("sm_80").unwrap();
        for (threads, registers, shared_bytes, blocks, limit) in [
            (256, 32, 0, 8, "registers"),
            (256, 64, 0, 4, "registers"),
            (256, 128, 0, 2, "registers"),
            (256, 255, 0, 1, "registers"),
            (32, 32, 0, 32, "blocks"),
            (1024, 32, 0, 2, "registers"),
            (128, 32, 48 * 1024, 3, "shared memory"),
            (128, 32, 100 * 1024, 1, "shared memory"),
        ] {
            let needs = BlockNeeds {
                threads,
                registers,
                shared_bytes,
            };
            let found = occupancy(&device, needs).unwrap();
            assert_eq!((found.blocks, found.limit), (blocks, limit), "{needs:?}");
        }
        let needs = BlockNeeds {
            threads: 1024,
            registers: 128,
            shared_bytes: 0,
        };
        assert_eq!(occupancy(&device, needs), None);
    }
}
