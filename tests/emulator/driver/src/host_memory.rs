//! Pinned host memory: what the driver hands out itself, and what programs register.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ffi::c_uint;

use crate::abi::HostAddress;
use crate::error::{CudaError, DriverResult};

const PAGE: usize = 4096;

/// Pinned ranges by their first address.
#[derive(Debug, Default)]
pub(crate) struct HostRanges {
    ranges: BTreeMap<usize, HostRange>,
}

#[derive(Debug)]
struct HostRange {
    bytes: usize,
    flags: c_uint,
    /// Allocated here; otherwise registered by the program.
    layout: Option<Layout>,
}

impl HostRanges {
    /// Zeroed pages.
    pub(crate) fn allocate(&mut self, bytes: usize, flags: c_uint) -> DriverResult<HostAddress> {
        let layout = Layout::from_size_align(bytes, PAGE).map_err(|_| CudaError::INVALID_VALUE)?;
        if bytes == 0 {
            return Err(CudaError::INVALID_VALUE);
        }
        // SAFETY: the layout is of more than zero bytes (checked above).
        let memory = unsafe { alloc_zeroed(layout) };
        if memory.is_null() {
            return Err(CudaError::OUT_OF_MEMORY);
        }
        let address = memory.expose_provenance();
        self.ranges.insert(
            address,
            HostRange {
                bytes,
                flags,
                layout: Some(layout),
            },
        );
        Ok(HostAddress(address))
    }

    /// Frees what [`Self::allocate`] returned.
    pub(crate) fn free(&mut self, address: HostAddress) -> DriverResult {
        match self.ranges.get(&address.0) {
            Some(HostRange {
                layout: Some(layout),
                ..
            }) => {
                let layout = *layout;
                self.ranges.remove(&address.0);
                // SAFETY: `alloc_zeroed` returned this address for this layout, and the range has just left the
                // table, so that it is freed once.
                unsafe { dealloc(std::ptr::with_exposed_provenance_mut(address.0), layout) };
                Ok(())
            }
            _ => Err(CudaError::INVALID_VALUE),
        }
    }

    pub(crate) fn register(
        &mut self,
        address: HostAddress,
        bytes: usize,
        flags: c_uint,
    ) -> DriverResult {
        if address.0 == 0 || bytes == 0 || address.0.checked_add(bytes).is_none() {
            return Err(CudaError::INVALID_VALUE);
        }
        let overlaps = self
            .ranges
            .range(..address.0 + bytes)
            .next_back()
            .is_some_and(|(first, range)| first + range.bytes > address.0);
        if overlaps {
            return Err(CudaError::HOST_MEMORY_ALREADY_REGISTERED);
        }
        self.ranges.insert(
            address.0,
            HostRange {
                bytes,
                flags,
                layout: None,
            },
        );
        Ok(())
    }

    pub(crate) fn unregister(&mut self, address: HostAddress) -> DriverResult {
        match self.ranges.get(&address.0) {
            Some(HostRange { layout: None, .. }) => {
                self.ranges.remove(&address.0);
                Ok(())
            }
            _ => Err(CudaError::HOST_MEMORY_NOT_REGISTERED),
        }
    }

    fn range_of(&self, address: HostAddress, bytes: usize) -> Option<&HostRange> {
        let (first, range) = self.ranges.range(..=address.0).next_back()?;
        let offset = address.0 - first;
        (bytes <= range.bytes && offset <= range.bytes - bytes).then_some(range)
    }

    /// Whether the whole range is pinned.
    pub(crate) fn holds(&self, address: HostAddress, bytes: usize) -> bool {
        self.range_of(address, bytes).is_some()
    }

    pub(crate) fn flags(&self, address: HostAddress) -> DriverResult<c_uint> {
        self.range_of(address, 1)
            .map(|range| range.flags)
            .ok_or(CudaError::INVALID_VALUE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocated_memory_is_zeroed_page_aligned_and_freed_once() {
        let mut ranges = HostRanges::default();
        let address = ranges.allocate(5000, 1).unwrap();
        assert_eq!(address.0 % PAGE, 0);
        assert_eq!(address.read(5000).unwrap(), vec![0; 5000]);
        assert_eq!(ranges.flags(HostAddress(address.0 + 4999)), Ok(1));
        assert!(!ranges.holds(address, 5001));
        assert_eq!(ranges.free(address), Ok(()));
        assert_eq!(ranges.free(address), Err(CudaError::INVALID_VALUE));
    }

    #[test]
    fn a_registered_range_is_pinned_until_it_is_unregistered() {
        let mut ranges = HostRanges::default();
        let address = HostAddress(0x1000);
        assert_eq!(ranges.register(address, 64, 0), Ok(()));
        let overlapping = ranges.register(HostAddress(0x1020), 64, 0);
        assert_eq!(overlapping, Err(CudaError::HOST_MEMORY_ALREADY_REGISTERED));
        assert!(ranges.holds(HostAddress(0x1020), 32));
        assert!(!ranges.holds(HostAddress(0x1020), 33));
        assert_eq!(ranges.free(address), Err(CudaError::INVALID_VALUE));
        assert_eq!(ranges.unregister(address), Ok(()));
        assert!(!ranges.holds(address, 1));
    }
}
