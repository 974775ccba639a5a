//! Device memory: who owns which allocation, and what happens when memory runs out.

use himuon_emulator::MemoryError;

use crate::abi::HostAddress;
use crate::context::Context;
use crate::driver::Session;
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::injection::Target;
use crate::pool::Pool;
use crate::stream::Stream;
use crate::work::{Action, CopyRows, Fill, HostSource, Rows};

/// Bytes from row to row that a copy takes at most; what `CU_DEVICE_ATTRIBUTE_MAX_PITCH` says.
pub(crate) const LARGEST_PITCH: u64 = i32::MAX as u64;

/// One device allocation.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) context: Handle<Context>,
    pub(crate) device: usize,
    pub(crate) bytes: u64,
    pub(crate) pool: Option<Handle<Pool>>,
    /// A free is queued: further frees are errors.
    freeing: bool,
}

impl Session {
    /// `cuMemAlloc`.
    pub(crate) fn allocate(&mut self, bytes: usize) -> DriverResult<u64> {
        self.refuse_unsafe_call()?;
        self.reserve(bytes as u64, None)
    }

    /// `cuMemAllocAsync`. Memory that the stream has freed before is free by then, so that freeing and allocating in
    /// a loop takes the memory of one round.
    pub(crate) fn allocate_async(
        &mut self,
        bytes: usize,
        pool: Handle<Pool>,
        stream: Handle<Stream>,
    ) -> DriverResult<u64> {
        // An allocation node would need the same address in each replay, which the emulator does not offer.
        self.refuse_captured(stream)?;
        if self.state.pools.get(pool)?.device != self.device()? {
            return Err(CudaError::INVALID_VALUE);
        }
        let last_free = self.state.streams.get(stream)?.last_free.clone();
        if let Some(free) = last_free {
            self.complete(&free)?;
            self.state.streams.get_mut(stream)?.last_free = None;
        }
        self.reserve(bytes as u64, Some(pool))
    }

    fn reserve(&mut self, bytes: u64, pool: Option<Handle<Pool>>) -> DriverResult<u64> {
        if bytes == 0 {
            return Err(CudaError::INVALID_VALUE);
        }
        let device = self.device()?;
        if let Some(count) = self.state.injection.strikes(Target::Allocation) {
            let message = format!("allocation {count} ({bytes} bytes) was told to fail");
            self.state.reports.tell(message);
            return Err(CudaError::OUT_OF_MEMORY);
        }
        let memory = &self.driver.devices[device].memory;
        let address = match memory.alloc(bytes) {
            Ok(address) => address,
            Err(MemoryError::OutOfMemory { .. }) => {
                // Queued frees may make room.
                self.drain()?;
                memory.alloc(bytes).map_err(|error| {
                    self.state.reports.tell(error.to_string());
                    CudaError::OUT_OF_MEMORY
                })?
            }
            Err(_) => return Err(CudaError::INVALID_VALUE),
        };
        if let Some(pool) = pool {
            self.state.pools.get_mut(pool)?.take(bytes);
        }
        let context = self.context;
        let allocation = Allocation {
            context,
            device,
            bytes,
            pool,
            freeing: false,
        };
        self.state.allocations.insert(address, allocation);
        Ok(address)
    }

    /// `cuMemFree`: waits for the context, then frees. Null is no allocation and freeing it no error.
    pub(crate) fn free(&mut self, address: u64) -> DriverResult {
        if address == 0 {
            return Ok(());
        }
        self.refuse_unsafe_call()?;
        self.claim_for_freeing(address)?;
        self.drain()?;
        self.release(address);
        Ok(())
    }

    /// `cuMemFreeAsync`.
    pub(crate) fn free_async(&mut self, address: u64, stream: Handle<Stream>) -> DriverResult {
        if address == 0 {
            return Ok(());
        }
        self.refuse_captured(stream)?;
        self.claim_for_freeing(address)?;
        let free = self.submit(stream, Action::Free { address })?;
        self.state.streams.get_mut(stream)?.last_free = free;
        Ok(())
    }

    fn claim_for_freeing(&mut self, address: u64) -> DriverResult {
        match self.state.allocations.get_mut(&address) {
            Some(allocation) if !allocation.freeing => {
                allocation.freeing = true;
                Ok(())
            }
            _ => Err(CudaError::INVALID_VALUE),
        }
    }

    /// Gives memory back to the device.
    pub(crate) fn release(&mut self, address: u64) {
        let Some(allocation) = self.state.allocations.remove(&address) else {
            return;
        };
        if let Some(pool) = allocation
            .pool
            .and_then(|pool| self.state.pools.get_mut(pool).ok())
        {
            pool.give_back(allocation.bytes);
        }
        // The table of allocations and the device's memory change together, so the address is live.
        let _ = self.driver.devices[allocation.device].memory.free(address);
    }

    /// Refuses a range that is not inside one live allocation.
    pub(crate) fn check_range(&self, address: u64, bytes: u64) -> DriverResult {
        if bytes == 0 {
            Ok(())
        } else {
            self.driver.holder(address, bytes).map(|_| ())
        }
    }

    /// Counts a copy or fill, and refuses it if it was told to fail.
    fn count_transfer(&mut self) -> DriverResult {
        if let Some(count) = self.state.injection.strikes(Target::Copy) {
            self.state
                .reports
                .tell(format!("copy {count} was told to fail"));
            return Err(CudaError::LAUNCH_OUT_OF_RESOURCES);
        }
        Ok(())
    }

    /// An upload; pageable memory is copied now, unless the upload becomes part of a graph.
    pub(crate) fn upload_action(
        &mut self,
        destination: u64,
        address: HostAddress,
        bytes: usize,
        stream: Handle<Stream>,
    ) -> DriverResult<Action> {
        self.count_transfer()?;
        self.check_range(destination, bytes as u64)?;
        let captured = self.state.streams.get(stream)?.capture.is_some();
        let source = if captured || self.state.host_ranges.holds(address, bytes) {
            HostSource::Deferred { address, bytes }
        } else {
            HostSource::Staged(address.read(bytes)?.into())
        };
        Ok(Action::Upload {
            destination,
            source,
        })
    }

    pub(crate) fn download_action(
        &mut self,
        destination: HostAddress,
        source: u64,
        bytes: usize,
    ) -> DriverResult<Action> {
        self.count_transfer()?;
        self.check_range(source, bytes as u64)?;
        Ok(Action::Download {
            destination,
            source,
            bytes,
        })
    }

    pub(crate) fn copy_action(
        &mut self,
        destination: u64,
        source: u64,
        bytes: usize,
    ) -> DriverResult<Action> {
        self.count_transfer()?;
        let bytes = bytes as u64;
        self.check_range(source, bytes)?;
        self.check_range(destination, bytes)?;
        Ok(Action::Copy {
            destination,
            source,
            bytes,
        })
    }

    /// A copy of rows inside device memory. Pitches below a row are refused, those above what the device takes too,
    /// and those that are no multiple of what the settings ask for.
    pub(crate) fn copy_rows_action(&mut self, rows: CopyRows) -> DriverResult<Action> {
        self.count_transfer()?;
        for side in [rows.source, rows.destination] {
            if side.pitch < rows.width
                || side.pitch > LARGEST_PITCH
                || !side.pitch.is_multiple_of(self.driver.settings.pitch_unit)
            {
                return Err(CudaError::INVALID_VALUE);
            }
            self.check_rows(side, rows.width, rows.height)?;
        }
        Ok(Action::CopyRows(rows))
    }

    /// Refuses rows that do not lie inside one live allocation, from the first to the last byte.
    fn check_rows(&self, rows: Rows, width: u64, height: u64) -> DriverResult {
        if height == 0 || width == 0 {
            return Ok(());
        }
        let bytes = rows
            .pitch
            .checked_mul(height - 1)
            .and_then(|before| before.checked_add(width))
            .ok_or(CudaError::INVALID_VALUE)?;
        self.check_range(rows.address, bytes)
    }

    pub(crate) fn fill_action(&mut self, fill: Fill) -> DriverResult<Action> {
        self.count_transfer()?;
        let row_bytes = fill
            .width
            .checked_mul(u64::from(fill.element_bytes))
            .ok_or(CudaError::INVALID_VALUE)?;
        if !fill
            .destination
            .is_multiple_of(u64::from(fill.element_bytes.max(1)))
            || !matches!(fill.element_bytes, 1 | 2 | 4)
            || (fill.height > 1 && fill.pitch < row_bytes)
        {
            return Err(CudaError::INVALID_VALUE);
        }
        let rows = Rows {
            address: fill.destination,
            pitch: fill.pitch,
        };
        self.check_rows(rows, row_bytes, fill.height)?;
        Ok(Action::Fill(fill))
    }
}
