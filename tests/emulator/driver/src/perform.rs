//! Executing one action: the only place where kernels run and memory moves.

use himuon_emulator::{FaultKind, Launch, MemoryError, Space};

use crate::context::Context;
use crate::driver::{Driver, Session};
use crate::error::CudaError;
use crate::handle::Handle;
use crate::injection::Target;
use crate::work::{Action, CopyRows, Fill, HostSource, KernelLaunch};

/// A failure that destroys the context: code and message.
struct Failure {
    code: CudaError,
    message: String,
}

impl Session {
    /// Executes `action`; how many warp instructions it took. A failure is left with the device. Work of a context
    /// that has faulted or was destroyed is dropped.
    pub(crate) fn perform(&mut self, context: Handle<Context>, action: Action) -> u64 {
        let Ok(Context { device, .. }) = self.state.contexts.get(context) else {
            return 0;
        };
        let device = *device;
        if self.state.devices[device].fault.is_some() {
            return 0;
        }
        let outcome = match action {
            Action::Join => Ok(0),
            Action::Launch(launch) => self.launch(&launch),
            Action::Upload {
                destination,
                source,
            } => self.upload(destination, source).map(|()| 0),
            Action::Download {
                destination,
                source,
                bytes,
            } => download(self.driver, source, bytes).and_then(|data| {
                destination
                    .write(&data)
                    .map_err(unusable_host_memory)
                    .map(|()| 0)
            }),
            Action::Copy {
                destination,
                source,
                bytes,
            } => copy(self.driver, destination, source, bytes).map(|()| 0),
            Action::CopyRows(rows) => copy_rows(self.driver, rows).map(|()| 0),
            Action::Fill(fill) => fill_rows(self.driver, fill).map(|()| 0),
            Action::Free { address } => {
                self.release(address);
                Ok(0)
            }
            // Host functions run on threads of their own; see `start_host_call`.
            Action::Call(_) => Ok(0),
        };
        outcome.unwrap_or_else(|Failure { code, message }| {
            self.state.reports.tell(message);
            self.state.devices[device].fault = Some(code);
            0
        })
    }

    fn launch(&mut self, launch: &KernelLaunch) -> Result<u64, Failure> {
        if let Some(count) = self.state.injection.strikes(Target::Launch) {
            return Err(Failure {
                code: CudaError::LAUNCH_FAILED,
                message: format!("kernel {}: launch {count} was told to fail", launch.kernel),
            });
        }
        let options = himuon_emulator::ExecutionOptions {
            shared_limit: Some(launch.shared_limit),
            ..self.driver.settings.execution.clone()
        };
        let request = Launch {
            kernel: &launch.kernel,
            grid: launch.grid,
            block: launch.block,
            dynamic_shared_bytes: launch.dynamic_shared,
            params: &launch.parameters,
            options,
        };
        let counters = self.driver.devices[launch.device]
            .launch(&launch.module, &request)
            .map_err(|fault| Failure {
                code: code_of(&fault.kind),
                message: fault.to_string(),
            })?;
        self.state.reports.count(&launch.kernel, &counters);
        Ok(counters.warp_instructions)
    }

    fn upload(&mut self, destination: u64, source: HostSource) -> Result<(), Failure> {
        let data = match source {
            HostSource::Staged(data) => data,
            HostSource::Deferred { address, bytes } => {
                address.read(bytes).map_err(unusable_host_memory)?.into()
            }
        };
        write(self.driver, destination, &data)
    }
}

/// The code that hardware gives. What only the emulator checks, hardware would pass over or turn into wrong numbers;
/// it becomes an unspecified launch failure.
fn code_of(kind: &FaultKind) -> CudaError {
    match kind {
        FaultKind::OutOfBounds {
            space: Space::Param,
            ..
        } => CudaError::LAUNCH_FAILED,
        FaultKind::OutOfBounds { .. } => CudaError::ILLEGAL_ADDRESS,
        FaultKind::Misaligned { .. } => CudaError::MISALIGNED_ADDRESS,
        FaultKind::Deadlock { .. } | FaultKind::InstructionLimit { .. } => {
            CudaError::LAUNCH_TIMEOUT
        }
        FaultKind::InvalidUse { .. } => CudaError::ILLEGAL_INSTRUCTION,
        FaultKind::ExceededResource { .. } => CudaError::LAUNCH_OUT_OF_RESOURCES,
        _ => CudaError::LAUNCH_FAILED,
    }
}

/// Memory was there when the work was queued and is gone when it executes: freed too early.
fn illegal_address(error: MemoryError) -> Failure {
    Failure {
        code: CudaError::ILLEGAL_ADDRESS,
        message: format!("a queued copy or fill: {error}"),
    }
}

fn unusable_host_memory(code: CudaError) -> Failure {
    Failure {
        code,
        message: "a queued copy: the host address is null".to_owned(),
    }
}

fn write(driver: &Driver, destination: u64, data: &[u8]) -> Result<(), Failure> {
    let device = driver.device_of(destination);
    driver.devices[device]
        .memory
        .write(destination, data)
        .map_err(illegal_address)
}

fn download(driver: &Driver, source: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
    let device = driver.device_of(source);
    let mut data = vec![0; bytes];
    driver.devices[device]
        .memory
        .read(source, &mut data)
        .map_err(illegal_address)?;
    Ok(data)
}

fn copy(driver: &Driver, destination: u64, source: u64, bytes: u64) -> Result<(), Failure> {
    let (from, to) = (driver.device_of(source), driver.device_of(destination));
    if from == to {
        // Inside one device the copy also carries over which bytes were never written.
        return driver.devices[from]
            .memory
            .copy(destination, source, bytes)
            .map_err(illegal_address);
    }
    let data = download(driver, source, bytes as usize)?;
    write(driver, destination, &data)
}

fn copy_rows(driver: &Driver, rows: CopyRows) -> Result<(), Failure> {
    let CopyRows {
        destination,
        source,
        width,
        height,
    } = rows;
    (0..height).try_for_each(|row| {
        let to = destination.address + row * destination.pitch;
        copy(driver, to, source.address + row * source.pitch, width)
    })
}

fn fill_rows(driver: &Driver, fill: Fill) -> Result<(), Failure> {
    let pattern = &fill.value.to_le_bytes()[..fill.element_bytes as usize];
    let row_bytes = fill.width * u64::from(fill.element_bytes);
    for row in 0..fill.height {
        let address = fill.destination + row * fill.pitch;
        let device = driver.device_of(address);
        driver.devices[device]
            .memory
            .fill(address, pattern, row_bytes)
            .map_err(illegal_address)?;
    }
    Ok(())
}
