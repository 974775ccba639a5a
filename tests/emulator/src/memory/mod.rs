//! The device's address space: allocations with bounds, a shadow of initialised bytes, and accounts of what is in use.
//!
//! Addresses are handles far outside any host address space ([`GLOBAL_BASE`] and up): a host that dereferences one
//! faults at once instead of reading something. No address is used twice, so that a dangling pointer is told apart.

mod allocation;

pub use allocation::Allocation;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// First address of device memory. Not canonical on any 64-bit host.
pub const GLOBAL_BASE: u64 = 1 << 52;
/// Generic addresses of shared memory start here.
pub const SHARED_WINDOW: u64 = 1 << 56;
/// Generic addresses of local memory start here.
pub const LOCAL_WINDOW: u64 = 2 << 56;
/// Generic addresses of kernel parameters start here.
pub const PARAM_WINDOW: u64 = 3 << 56;
/// Bytes of each of those windows.
pub const WINDOW_BYTES: u64 = 1 << 32;

/// Allocations start at multiples of this, as the CUDA driver's do.
const ALIGNMENT: u64 = 256;

/// A failed operation on device memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MemoryError {
    /// The device has not enough memory left.
    #[error("out of device memory: {requested} bytes asked for, {available} of {capacity} left")]
    OutOfMemory {
        /// Bytes asked for.
        requested: u64,
        /// Bytes left.
        available: u64,
        /// The device's memory.
        capacity: u64,
    },
    /// A range that no live allocation holds.
    #[error("{bytes} bytes at {address:#x} are not inside one allocation: {detail}")]
    OutOfBounds {
        /// First address.
        address: u64,
        /// Length of the range.
        bytes: u64,
        /// What lies near.
        detail: String,
    },
    /// Not the start of a live allocation.
    #[error("{address:#x} is not the start of a live allocation: {detail}")]
    NotAllocated {
        /// The address.
        address: u64,
        /// What lies near.
        detail: String,
    },
    /// A fill whose byte count is not a whole number of patterns.
    #[error("a fill of {bytes} bytes is not a whole number of {pattern}-byte patterns")]
    PartialPattern {
        /// Bytes to fill.
        bytes: u64,
        /// Bytes of the pattern.
        pattern: usize,
    },
}

#[derive(Debug)]
struct Table {
    next: u64,
    live: BTreeMap<u64, Arc<Allocation>>,
    freed: BTreeMap<u64, u64>,
    live_bytes: u64,
    peak_bytes: u64,
}

/// The memory of one emulated device. All methods take `&self`; it may be shared between threads.
#[derive(Debug)]
pub struct GlobalMemory {
    capacity: u64,
    table: Mutex<Table>,
}

impl GlobalMemory {
    /// Memory of `capacity` bytes, nothing allocated.
    pub fn new(capacity: u64) -> Self {
        Self::starting_at(GLOBAL_BASE, capacity)
    }

    /// As [`Self::new`], with a first address of its own at or above [`GLOBAL_BASE`], so that the addresses of several
    /// devices differ.
    pub fn starting_at(first: u64, capacity: u64) -> Self {
        let table = Table {
            next: first.next_multiple_of(ALIGNMENT),
            live: BTreeMap::new(),
            freed: BTreeMap::new(),
            live_bytes: 0,
            peak_bytes: 0,
        };
        Self {
            capacity,
            table: Mutex::new(table),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Every update of the table is complete before the lock is released, so a poisoned lock holds valid data.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves `bytes` (zero counts as one), uninitialised, at a multiple of 256.
    ///
    /// # Errors
    /// [`MemoryError::OutOfMemory`] when less is left.
    pub fn alloc(&self, bytes: u64) -> Result<u64, MemoryError> {
        let mut table = self.table();
        let reserved = bytes
            .max(1)
            .checked_next_multiple_of(ALIGNMENT)
            .unwrap_or(u64::MAX);
        let available = self.capacity.saturating_sub(table.live_bytes);
        if reserved > available {
            return Err(MemoryError::OutOfMemory {
                requested: bytes,
                available,
                capacity: self.capacity,
            });
        }
        let base = table.next;
        // One unused stretch after each allocation, so that running over the end never lands in a neighbour.
        table.next = base + reserved + ALIGNMENT;
        table
            .live
            .insert(base, Arc::new(Allocation::new(base, bytes)));
        table.live_bytes += reserved;
        table.peak_bytes = table.peak_bytes.max(table.live_bytes);
        Ok(base)
    }

    /// Gives an allocation back. Kernels that still run on it keep its bytes alive.
    ///
    /// # Errors
    /// [`MemoryError::NotAllocated`] unless `address` is what [`alloc`](Self::alloc) returned and is not freed yet.
    pub fn free(&self, address: u64) -> Result<(), MemoryError> {
        let mut table = self.table();
        let Some(allocation) = table.live.remove(&address) else {
            let detail = table.describe(address);
            return Err(MemoryError::NotAllocated { address, detail });
        };
        table.freed.insert(address, allocation.bytes());
        table.live_bytes -= allocation.bytes().max(1).next_multiple_of(ALIGNMENT);
        Ok(())
    }

    /// Start and length of the live allocation that holds `address`.
    pub fn allocation_of(&self, address: u64) -> Option<(u64, u64)> {
        self.table()
            .holding(address, 1)
            .map(|allocation| (allocation.base(), allocation.bytes()))
    }

    fn holding(&self, address: u64, bytes: u64) -> Result<Arc<Allocation>, MemoryError> {
        let table = self.table();
        table
            .holding(address, bytes)
            .cloned()
            .ok_or_else(|| MemoryError::OutOfBounds {
                address,
                bytes,
                detail: table.describe(address),
            })
    }

    /// Copies device bytes to the host. Bytes never written read as zero.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] unless one allocation holds the range.
    pub fn read(&self, address: u64, host: &mut [u8]) -> Result<(), MemoryError> {
        if host.is_empty() {
            return Ok(());
        }
        let allocation = self.holding(address, host.len() as u64)?;
        allocation.read(address - allocation.base(), host);
        Ok(())
    }

    /// Copies host bytes to the device and marks them initialised.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] unless one allocation holds the range.
    pub fn write(&self, address: u64, host: &[u8]) -> Result<(), MemoryError> {
        if host.is_empty() {
            return Ok(());
        }
        let allocation = self.holding(address, host.len() as u64)?;
        allocation.write(address - allocation.base(), host);
        Ok(())
    }

    /// Fills `bytes` with a repeated pattern (1, 2 or 4 bytes for the driver's memsets).
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] unless one allocation holds the range; [`MemoryError::PartialPattern`] when
    /// `bytes` is not a multiple of the pattern's length.
    pub fn fill(&self, address: u64, pattern: &[u8], bytes: u64) -> Result<(), MemoryError> {
        if pattern.is_empty() || !bytes.is_multiple_of(pattern.len() as u64) {
            return Err(MemoryError::PartialPattern {
                bytes,
                pattern: pattern.len(),
            });
        }
        if bytes == 0 {
            return Ok(());
        }
        let allocation = self.holding(address, bytes)?;
        let chunk: Vec<u8> = pattern
            .iter()
            .copied()
            .cycle()
            .take(pattern.len() * 1024)
            .collect();
        let mut offset = address - allocation.base();
        let end = offset + bytes;
        while offset < end {
            let length = (end - offset).min(chunk.len() as u64);
            allocation.write(offset, &chunk[..length as usize]);
            offset += length;
        }
        Ok(())
    }

    /// Copies device to device; bytes that were never written stay so.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] unless each range lies in one allocation.
    pub fn copy(&self, destination: u64, source: u64, bytes: u64) -> Result<(), MemoryError> {
        if bytes == 0 {
            return Ok(());
        }
        let from = self.holding(source, bytes)?;
        let to = self.holding(destination, bytes)?;
        let mut data = vec![0u8; bytes as usize];
        let (source, destination) = (source - from.base(), destination - to.base());
        from.read(source, &mut data);
        let written: Vec<bool> = (0..bytes)
            .map(|byte| from.is_initialised(source + byte, 1))
            .collect();
        to.write(destination, &data);
        for (byte, written) in written.iter().enumerate().filter(|(_, written)| !**written) {
            debug_assert!(!written);
            to.forget(destination + byte as u64);
        }
        Ok(())
    }

    /// Whether every byte of the range was written since its allocation.
    ///
    /// # Errors
    /// [`MemoryError::OutOfBounds`] unless one allocation holds the range.
    pub fn is_initialised(&self, address: u64, bytes: u64) -> Result<bool, MemoryError> {
        let allocation = self.holding(address, bytes)?;
        Ok(allocation.is_initialised(address - allocation.base(), bytes))
    }

    /// The device's memory in bytes.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes in use, in units of 256 an allocation.
    pub fn live_bytes(&self) -> u64 {
        self.table().live_bytes
    }

    /// The most that was ever in use.
    pub fn peak_bytes(&self) -> u64 {
        self.table().peak_bytes
    }

    /// Live allocations.
    pub fn live_allocations(&self) -> usize {
        self.table().live.len()
    }

    /// The allocations as they are now, by address: what a launch works on.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Allocation>> {
        self.table().live.values().cloned().collect()
    }

    /// Says what lies near an address, for messages.
    pub(crate) fn describe(&self, address: u64) -> String {
        self.table().describe(address)
    }
}

impl Table {
    fn holding(&self, address: u64, bytes: u64) -> Option<&Arc<Allocation>> {
        let (_, allocation) = self.live.range(..=address).next_back()?;
        let offset = address - allocation.base();
        let end = offset.checked_add(bytes)?;
        (end <= allocation.bytes()).then_some(allocation)
    }

    fn describe(&self, address: u64) -> String {
        if address < GLOBAL_BASE {
            return format!("{address:#x} is no device address");
        }
        if let Some((base, bytes)) = self.freed.range(..=address).next_back()
            && address - base < *bytes
        {
            return format!(
                "byte {} of the {bytes}-byte allocation at {base:#x}, which was freed",
                address - base
            );
        }
        match self.live.range(..=address).next_back() {
            Some((base, allocation)) => {
                format!(
                    "byte {} from the start of the {}-byte allocation at {base:#x}",
                    address - base,
                    allocation.bytes()
                )
            }
            None => "no allocation lies below it".to_owned(),
        }
    }
}
