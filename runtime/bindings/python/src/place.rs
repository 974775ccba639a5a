//! Where an optimizer steps: in this process's memory, or on a CUDA device.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use himuon::HiMuon;
use himuon::cuda::{self, CudaBackend, CudaError, CurrentContext, Device};
use himuon::optimizer::HiMuonBuilder;
use pyo3::prelude::*;

use crate::errors::{BuildError, StepError, argument, unbuilt};

/// DLPack's `kDLCPU`, `kDLCUDAHost` and `kDLCUDAManaged` are read and written by this process,
const HOST_KINDS: [i32; 3] = [1, 3, 13];
/// and its `kDLCUDA` and `kDLCUDAManaged` by a device.
const CUDA_KINDS: [i32; 2] = [2, 13];

/// The place of an optimizer and its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// This process's memory.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

impl Place {
    /// What `str` makes `cpu`, `cuda` (device 0) or `cuda:1`.
    pub(crate) fn parse(device: &Bound<'_, PyAny>) -> PyResult<Self> {
        let text = device.str()?.to_string();
        let is_number = |number: &&str| number.bytes().all(|byte| byte.is_ascii_digit());
        let number = match text.as_str() {
            "cpu" => return Ok(Place::Cpu),
            "cuda" => Some(0),
            _ => text
                .strip_prefix("cuda:")
                .filter(is_number)
                .and_then(|number| number.parse().ok()),
        };
        number.map(Place::Cuda).ok_or_else(|| {
            argument(format!(
                "device is {text:?}, expected \"cpu\", \"cuda\" or \"cuda:N\""
            ))
        })
    }

    /// Where DLPack says that a tensor is.
    pub(crate) fn of(kind: i32, number: i32) -> Option<Self> {
        match number.try_into() {
            _ if HOST_KINDS.contains(&kind) => Some(Place::Cpu),
            Ok(number) if CUDA_KINDS.contains(&kind) => Some(Place::Cuda(number)),
            _ => None,
        }
    }

    /// Whether a tensor that is where DLPack says can be used here as it lies.
    pub(crate) fn has(self, kind: i32, number: i32) -> bool {
        match self {
            Place::Cpu => HOST_KINDS.contains(&kind),
            Place::Cuda(ordinal) => {
                CUDA_KINDS.contains(&kind) && usize::try_from(number) == Ok(ordinal)
            }
        }
    }

    /// Keeps, of a device's, what is current for this thread.
    pub(crate) fn keep_context(self) -> PyResult<Option<CurrentContext>> {
        match self {
            Place::Cpu => Ok(None),
            Place::Cuda(_) => CurrentContext::keep()
                .map(Some)
                .map_err(|error| StepError::new_err(error.to_string())),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Cpu => f.write_str("the CPU"),
            Place::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// The optimizer of either place.
pub(crate) enum Placed {
    Host(HiMuon),
    Device(OnDevice),
}

impl Placed {
    /// Builds on the kernels of the CPU, or on the legacy default stream of a device.
    pub(crate) fn build(py: Python<'_>, builder: HiMuonBuilder, place: Place) -> PyResult<Self> {
        let Place::Cuda(ordinal) = place else {
            let built = py.detach(|| builder.build()).map_err(unbuilt)?;
            return Ok(Placed::Host(built));
        };
        name_packages(py)?;
        py.detach(|| {
            let missing = |error: CudaError| BuildError::new_err(error.to_string());
            let _current = CurrentContext::keep().map_err(missing)?;
            let stream = cuda::open(ordinal).map_err(missing)?.default_stream();
            let backend = CudaBackend::new(&stream).map_err(missing)?;
            let built = builder.build_on(Box::new(backend)).map_err(unbuilt)?;
            Ok(Placed::Device(OnDevice(ManuallyDrop::new(built))))
        })
    }
}

/// The compiler of kernels is also looked for where this interpreter finds packages, as PyTorch's wheels bring it.
fn name_packages(py: Python<'_>) -> PyResult<()> {
    let folders: Vec<Option<String>> = py.import("sys")?.getattr("path")?.extract()?;
    let folders = folders
        .into_iter()
        .flatten()
        .filter(|folder| !folder.is_empty());
    cuda::look_for_compiler_below(folders.map(PathBuf::from).collect());
    Ok(())
}

/// An optimizer on a device. It is let go with the thread's own context kept, and while other Python threads run, since
/// freeing its memory waits for the device.
pub(crate) struct OnDevice(ManuallyDrop<HiMuon<Device>>);

impl Deref for OnDevice {
    type Target = HiMuon<Device>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for OnDevice {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for OnDevice {
    fn drop(&mut self) {
        // SAFETY: taken here alone, and the place is not used after.
        let mut optimizer = Some(unsafe { ManuallyDrop::take(&mut self.0) });
        let mut let_go = || {
            let _current = CurrentContext::keep();
            drop(optimizer.take());
        };
        if Python::try_attach(|py| py.detach(&mut let_go)).is_none() {
            let_go();
        }
    }
}

/// Asks the same of an optimizer of either place: `on_either!(placed, optimizer => optimizer.steps_taken())`.
macro_rules! on_either {
    ($placed:expr, $optimizer:ident => $body:expr) => {
        match $placed {
            $crate::place::Placed::Host($optimizer) => $body,
            $crate::place::Placed::Device($optimizer) => $body,
        }
    };
}
pub(crate) use on_either;
