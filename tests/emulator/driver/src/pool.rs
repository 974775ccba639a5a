//! Memory pools: accounts of asynchronous allocations. The emulator returns freed memory at once, so a pool reserves
//! what is in use and nothing more.

use std::ffi::c_int;

use crate::error::{CudaError, DriverResult};

#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) device: usize,
    used: u64,
    used_high: u64,
    release_threshold: u64,
    /// The three reuse policies, which are on by default.
    reuse: [c_int; 3],
}

/// A value of a pool attribute: the policies are `int`, the rest `cuuint64_t`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PoolValue {
    Flag(c_int),
    Bytes(u64),
}

/// `CUmemPool_attribute`.
mod attribute {
    pub(super) const FIRST_REUSE: u32 = 1;
    pub(super) const LAST_REUSE: u32 = 3;
    pub(super) const RELEASE_THRESHOLD: u32 = 4;
    pub(super) const RESERVED_CURRENT: u32 = 5;
    pub(super) const RESERVED_HIGH: u32 = 6;
    pub(super) const USED_CURRENT: u32 = 7;
    pub(super) const USED_HIGH: u32 = 8;
}

impl Pool {
    pub(crate) fn new(device: usize) -> Self {
        Self {
            device,
            used: 0,
            used_high: 0,
            release_threshold: 0,
            reuse: [1; 3],
        }
    }

    pub(crate) fn take(&mut self, bytes: u64) {
        self.used += bytes;
        self.used_high = self.used_high.max(self.used);
    }

    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    /// Whether the attribute is an `int`.
    pub(crate) fn is_flag(number: u32) -> bool {
        (attribute::FIRST_REUSE..=attribute::LAST_REUSE).contains(&number)
    }

    pub(crate) fn attribute(&self, number: u32) -> DriverResult<PoolValue> {
        Ok(match number {
            attribute::FIRST_REUSE..=attribute::LAST_REUSE => {
                PoolValue::Flag(self.reuse[(number - attribute::FIRST_REUSE) as usize])
            }
            attribute::RELEASE_THRESHOLD => PoolValue::Bytes(self.release_threshold),
            attribute::RESERVED_CURRENT | attribute::USED_CURRENT => PoolValue::Bytes(self.used),
            attribute::RESERVED_HIGH | attribute::USED_HIGH => PoolValue::Bytes(self.used_high),
            _ => return Err(CudaError::INVALID_VALUE),
        })
    }

    /// Sets a policy, the threshold, or resets a high-water mark, which only takes zero.
    pub(crate) fn set_attribute(&mut self, number: u32, value: PoolValue) -> DriverResult {
        match (number, value) {
            (attribute::FIRST_REUSE..=attribute::LAST_REUSE, PoolValue::Flag(flag)) => {
                self.reuse[(number - attribute::FIRST_REUSE) as usize] = flag;
            }
            (attribute::RELEASE_THRESHOLD, PoolValue::Bytes(bytes)) => {
                self.release_threshold = bytes;
            }
            (attribute::RESERVED_HIGH | attribute::USED_HIGH, PoolValue::Bytes(0)) => {
                self.used_high = self.used;
            }
            _ => return Err(CudaError::INVALID_VALUE),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_mark_stays_until_it_is_reset() {
        let mut pool = Pool::new(0);
        pool.take(512);
        pool.take(256);
        pool.give_back(512);
        assert_eq!(
            pool.attribute(attribute::USED_CURRENT),
            Ok(PoolValue::Bytes(256))
        );
        assert_eq!(
            pool.attribute(attribute::USED_HIGH),
            Ok(PoolValue::Bytes(768))
        );
        assert_eq!(
            pool.set_attribute(attribute::USED_HIGH, PoolValue::Bytes(0)),
            Ok(())
        );
        assert_eq!(
            pool.attribute(attribute::USED_HIGH),
            Ok(PoolValue::Bytes(256))
        );
        let refused = pool.set_attribute(attribute::USED_HIGH, PoolValue::Bytes(7));
        assert_eq!(refused, Err(CudaError::INVALID_VALUE));
    }
}
