//! The process-wide state: devices, and under one lock everything that handles stand for.
//!
//! One lock is enough: a kernel executes while it is held, since nothing else could run meanwhile that a program may
//! rely on. Only host functions run without it, on threads of their own, because they may wait for other threads.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use himuon_emulator::memory::GLOBAL_BASE;
use himuon_emulator::{Device, GlobalMemory};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::abi::{Status, guard};
use crate::capture::Capture;
use crate::context::{Context, DeviceState};
use crate::error::{CudaError, DriverResult};
use crate::event::Event;
use crate::graph::{Executable, Graph, NodePlace};
use crate::handle::{Handle, Table};
use crate::host_memory::HostRanges;
use crate::injection::Injection;
use crate::memory::Allocation;
use crate::module::{Function, Image};
use crate::pool::Pool;
use crate::report::{Reports, announce};
use crate::settings::Settings;
use crate::stream::Stream;

/// Distance between the first addresses of two devices: more memory than any of them has.
const DEVICE_SPAN: u64 = 1 << 44;

pub(crate) struct Driver {
    pub(crate) devices: Vec<Device>,
    pub(crate) settings: Settings,
    pub(crate) state: Mutex<State>,
    /// Signals that some work has finished.
    pub(crate) finished: Condvar,
}

/// Everything that changes.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) devices: Vec<DeviceState>,
    pub(crate) contexts: Table<Context>,
    pub(crate) streams: Table<Stream>,
    pub(crate) events: Table<Event>,
    pub(crate) modules: Table<Image>,
    pub(crate) functions: Table<Function>,
    pub(crate) captures: Table<Capture>,
    pub(crate) graphs: Table<Graph>,
    pub(crate) nodes: Table<NodePlace>,
    pub(crate) executables: Table<Executable>,
    pub(crate) pools: Table<Pool>,
    /// Device allocations by their first address.
    pub(crate) allocations: BTreeMap<u64, Allocation>,
    pub(crate) host_ranges: HostRanges,
    pub(crate) injection: Injection,
    pub(crate) reports: Reports,
}

static DRIVER: OnceLock<Driver> = OnceLock::new();

thread_local! {
    /// The contexts of this thread; the last one is current.
    static CONTEXTS: RefCell<Vec<Handle<Context>>> = const { RefCell::new(Vec::new()) };
}

impl Driver {
    fn new(settings: Settings) -> Self {
        let devices: Vec<Device> = (0_u64..)
            .zip(&settings.devices)
            .map(|(ordinal, config)| {
                let first = GLOBAL_BASE + ordinal * DEVICE_SPAN;
                let memory = GlobalMemory::starting_at(first, config.memory_bytes);
                Device {
                    memory,
                    ..Device::new(config.clone())
                }
            })
            .collect();
        let mut state = State {
            injection: settings.injection.clone(),
            ..State::default()
        };
        for ordinal in 0..devices.len() {
            let pool = state.pools.insert(Pool::new(ordinal));
            state.devices.push(DeviceState::new(pool));
        }
        Self {
            devices,
            settings,
            state: Mutex::new(state),
            finished: Condvar::new(),
        }
    }

    /// The device that an address belongs to, whether or not anything is allocated there; the first one for what is
    /// no device address.
    pub(crate) fn device_of(&self, address: u64) -> usize {
        let span = address.saturating_sub(GLOBAL_BASE) / DEVICE_SPAN;
        usize::try_from(span)
            .ok()
            .filter(|index| *index < self.devices.len())
            .unwrap_or(0)
    }

    /// The device whose memory holds the whole range in one live allocation.
    pub(crate) fn holder(&self, address: u64, bytes: u64) -> DriverResult<usize> {
        let device = self.device_of(address);
        match self.devices[device].memory.allocation_of(address) {
            Some((first, length)) if bytes <= length && address - first <= length - bytes => {
                Ok(device)
            }
            _ => Err(CudaError::INVALID_VALUE),
        }
    }
}

/// `cuInit`.
pub(crate) fn initialise() -> DriverResult {
    if DRIVER.get().is_some() {
        return Ok(());
    }
    let settings = Settings::from_environment().map_err(|error| {
        announce(&error.to_string());
        CudaError::INVALID_VALUE
    })?;
    let driver = DRIVER.get_or_init(|| Driver::new(settings));
    if driver.devices.is_empty() {
        Err(CudaError::NO_DEVICE)
    } else {
        Ok(())
    }
}

/// The driver, once `cuInit` was called.
pub(crate) fn driver() -> DriverResult<&'static Driver> {
    DRIVER.get().ok_or(CudaError::NOT_INITIALIZED)
}

/// The context of the calling thread, null if it has none.
pub(crate) fn current_context() -> Handle<Context> {
    CONTEXTS.with_borrow(|contexts| contexts.last().copied().unwrap_or(Handle::NULL))
}

/// Changes the calling thread's contexts.
pub(crate) fn with_contexts<T>(change: impl FnOnce(&mut Vec<Handle<Context>>) -> T) -> T {
    CONTEXTS.with_borrow_mut(change)
}

/// One API call: the locked state and the context that the call works in.
pub(crate) struct Session {
    pub(crate) driver: &'static Driver,
    pub(crate) state: MutexGuard<'static, State>,
    pub(crate) context: Handle<Context>,
}

impl Session {
    /// A session in the calling thread's context, which may have faulted.
    pub(crate) fn open() -> DriverResult<Self> {
        let driver = driver()?;
        let state = driver.state.lock();
        let context = current_context();
        if context.is_null() {
            return Err(CudaError::INVALID_CONTEXT);
        }
        if !state.contexts.contains(context) {
            return Err(CudaError::CONTEXT_IS_DESTROYED);
        }
        Ok(Self {
            driver,
            state,
            context,
        })
    }

    /// Index of the current context's device.
    pub(crate) fn device(&self) -> DriverResult<usize> {
        Ok(self.state.contexts.get(self.context)?.device)
    }
}

/// Runs an exported function that only needs the driver.
pub(crate) fn with_driver(body: impl FnOnce(&'static Driver) -> DriverResult) -> Status {
    guard(|| body(driver()?))
}

/// Runs an exported function that needs the state but no context.
pub(crate) fn with_state(
    body: impl FnOnce(&'static Driver, &mut MutexGuard<'static, State>) -> DriverResult,
) -> Status {
    guard(|| {
        let driver = driver()?;
        body(driver, &mut driver.state.lock())
    })
}

/// Runs an exported function in the calling thread's context. After a kernel has faulted, each such call returns the
/// fault's code, as on hardware.
pub(crate) fn in_context(body: impl FnOnce(&mut Session) -> DriverResult) -> Status {
    guard(|| {
        let mut session = Session::open()?;
        session.check_fault()?;
        body(&mut session)
    })
}
