//! Contexts, and the part of a device's state that outlives them.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint};
use std::sync::Arc;
use std::thread::ThreadId;

use crate::driver::{Session, State};
use crate::error::{CudaError, DriverResult};
use crate::handle::Handle;
use crate::pool::Pool;
use crate::stream::{Stream, StreamKind};
use crate::work::{Action, Work};

/// A context: the owner of streams, modules and memory on one device.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) device: usize,
    pub(crate) flags: c_uint,
    pub(crate) primary: bool,
    /// The stream that null names.
    pub(crate) legacy: Handle<Stream>,
    pub(crate) per_thread: HashMap<ThreadId, Handle<Stream>>,
    pub(crate) limits: HashMap<c_uint, usize>,
    pub(crate) cache_config: c_uint,
}

/// What belongs to a device rather than to a context.
#[derive(Debug)]
pub(crate) struct DeviceState {
    /// Set by the first kernel that faults; the process can no longer use the device.
    pub(crate) fault: Option<CudaError>,
    pub(crate) primary: Option<Handle<Context>>,
    pub(crate) retained: u32,
    pub(crate) primary_flags: c_uint,
    pub(crate) default_pool: Handle<Pool>,
    pub(crate) pool: Handle<Pool>,
}

impl DeviceState {
    pub(crate) fn new(pool: Handle<Pool>) -> Self {
        Self {
            fault: None,
            primary: None,
            retained: 0,
            primary_flags: 0,
            default_pool: pool,
            pool,
        }
    }
}

impl State {
    pub(crate) fn create_context(
        &mut self,
        device: usize,
        flags: c_uint,
        primary: bool,
    ) -> DriverResult<Handle<Context>> {
        let context = self.contexts.insert(Context {
            device,
            flags,
            primary,
            legacy: Handle::NULL,
            per_thread: HashMap::new(),
            limits: HashMap::new(),
            cache_config: 0,
        });
        let legacy = self
            .streams
            .insert(Stream::new(context, StreamKind::Legacy, 0));
        self.contexts.get_mut(context)?.legacy = legacy;
        Ok(context)
    }

    /// The device index of an ordinal.
    pub(crate) fn ordinal(&self, device: c_int) -> DriverResult<usize> {
        usize::try_from(device)
            .ok()
            .filter(|index| *index < self.devices.len())
            .ok_or(CudaError::INVALID_DEVICE)
    }
}

impl Session {
    /// The fault of the current context's device.
    pub(crate) fn check_fault(&self) -> DriverResult {
        self.check_fault_of(self.context)
    }

    pub(crate) fn check_fault_of(&self, context: Handle<Context>) -> DriverResult {
        let Ok(found) = self.state.contexts.get(context) else {
            return Ok(());
        };
        self.state.devices[found.device].fault.map_or(Ok(()), Err)
    }

    /// Waits for everything that was queued in the current context.
    pub(crate) fn drain(&mut self) -> DriverResult {
        self.drain_context(self.context)
    }

    pub(crate) fn drain_context(&mut self, context: Handle<Context>) -> DriverResult {
        let last: Vec<Arc<Work>> = self
            .state
            .streams
            .iter()
            .filter(|(_, stream)| stream.context == context)
            .filter_map(|(_, stream)| stream.last.clone())
            .collect();
        let all = Work::new(context, last, Action::Join);
        self.complete(&all)
    }

    /// Ends the current context: its work is finished or, after a fault, dropped; what it owns is freed.
    pub(crate) fn destroy_context(&mut self) -> DriverResult {
        // After a fault there is nothing to wait for; either way the context goes.
        let _ = self.drain();
        let context = self.context;
        let owned: Vec<u64> = self
            .state
            .allocations
            .iter()
            .filter(|(_, allocation)| allocation.context == context)
            .map(|(address, _)| *address)
            .collect();
        for address in owned {
            self.release(address);
        }
        let driver = self.driver;
        let device = self.device()?;
        for (_, image) in self
            .state
            .modules
            .iter()
            .filter(|(_, image)| image.context == context)
        {
            // Its variables were allocated by the load; a second unload cannot happen.
            let _ = driver.devices[device].unload(&image.loaded);
        }
        let state = &mut *self.state;
        state.modules.retain(|image| image.context != context);
        state
            .functions
            .retain(|function| function.context != context);
        state.streams.retain(|stream| stream.context != context);
        state.events.retain(|event| event.context != context);
        state.captures.retain(|capture| capture.context != context);
        state.contexts.remove(context)?;
        Ok(())
    }
}
