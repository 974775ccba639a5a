//! What all blocks of a launch share.

use super::global::GlobalView;
use crate::config::DeviceConfig;
use crate::isa::{Constant, Special};
use crate::lanes::{Lanes, WARP};
use crate::options::ExecutionOptions;
use crate::ptx::Kernel;

pub(super) struct Env<'a> {
    pub kernel: &'a Kernel,
    pub config: &'a DeviceConfig,
    pub options: &'a ExecutionOptions,
    pub params: &'a [u8],
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub view: GlobalView<'a>,
    /// Constants, the same in every lane.
    pub constants: Vec<Lanes>,
    pub dynamic_shared_bytes: u32,
    /// Static and dynamic shared memory, bytes.
    pub shared_bytes: u32,
}

impl Env<'_> {
    pub(super) fn threads(&self) -> u32 {
        self.block.iter().product()
    }

    pub(super) fn warps(&self) -> usize {
        self.threads().div_ceil(WARP as u32) as usize
    }

    /// Lanes of a warp that have a thread.
    pub(super) fn lanes_of_warp(&self, warp: usize) -> u32 {
        let left = self.threads() as usize - warp * WARP;
        if left >= WARP {
            u32::MAX
        } else {
            (1 << left) - 1
        }
    }

    /// The value of a special register in each lane.
    pub(super) fn special(&self, special: Special, block: [u32; 3], warp: usize) -> Lanes {
        std::array::from_fn(|lane| u64::from(self.special_lane(special, block, warp, lane as u32)))
    }

    fn special_lane(&self, special: Special, block: [u32; 3], warp: usize, lane: u32) -> u32 {
        let [x, y, _] = self.block;
        let thread = (warp * WARP) as u32 + lane;
        match special {
            Special::Thread(0) => thread % x,
            Special::Thread(1) => thread / x % y,
            Special::Thread(_) => thread / (x * y),
            Special::BlockExtent(axis) => self.block[usize::from(axis)],
            Special::Block(axis) => block[usize::from(axis)],
            Special::GridExtent(axis) => self.grid[usize::from(axis)],
            Special::Lane => lane,
            Special::Warp => warp as u32,
            Special::Warps => self.warps() as u32,
            Special::Zero => 0,
            Special::One => 1,
            Special::LaneMaskEq => 1 << lane,
            Special::LaneMaskLt => (1 << lane) - 1,
            Special::LaneMaskLe => u32::MAX >> (31 - lane),
            Special::LaneMaskGt => !(u32::MAX >> (31 - lane)),
            Special::LaneMaskGe => u32::MAX << lane,
            Special::Multiprocessors => self.config.multiprocessors,
            Special::DynamicSharedBytes => self.dynamic_shared_bytes,
            Special::TotalSharedBytes => self.shared_bytes,
        }
    }
}

/// The lanes of each constant, given where module variables and dynamic shared memory lie.
pub(super) fn constants(kernel: &Kernel, globals: &[u64], dynamic_base: u32) -> Vec<Lanes> {
    let value = |constant: &Constant| match *constant {
        Constant::Bits(bits) => bits,
        Constant::Global { index, offset } => globals[index as usize].wrapping_add_signed(offset),
        Constant::DynamicShared { offset } => u64::from(dynamic_base).wrapping_add_signed(offset),
    };
    kernel
        .constants
        .iter()
        .map(|constant| [value(constant); WARP])
        .collect()
}
