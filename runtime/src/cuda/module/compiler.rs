//! The compiler at hand: NVRTC, unless this build is without the feature `jit`.

use super::image::Image;
use crate::cuda::device::DeviceInfo;
use crate::cuda::error::CudaError;

/// What a compiler made, and its version.
pub(super) struct Made {
    pub(super) cubin: Option<Vec<u8>>,
    pub(super) ptx: String,
    /// As `13.5`.
    pub(super) version: String,
}

impl Made {
    pub(super) fn images(self) -> impl Iterator<Item = Image> {
        let cubin = self.cubin.map(Image::Cubin);
        cubin.into_iter().chain([Image::Ptx(self.ptx)])
    }
}

#[cfg(feature = "jit")]
mod nvrtc {
    use std::sync::OnceLock;

    use himuon_codegen::compile::{CompileError, Compiler, Part};

    use super::{CudaError, DeviceInfo, Made};

    type AtHand = (Compiler, String);

    fn find() -> Result<AtHand, CompileError> {
        let compiler = Compiler::locate_nvrtc()?;
        let version = compiler.version()?;
        Ok((compiler, version))
    }

    /// One answer for the whole process.
    fn at_hand() -> Option<&'static AtHand> {
        static FOUND: OnceLock<Option<AtHand>> = OnceLock::new();
        FOUND.get_or_init(|| find().ok()).as_ref()
    }

    pub(in super::super) fn version() -> Option<&'static str> {
        at_hand().map(|(_, version)| version.as_str())
    }

    pub(in super::super) fn compile(
        _id: &str,
        text: &str,
        part: Part,
        device: &DeviceInfo,
    ) -> Result<Made, CudaError> {
        // Where there is none, looking once more says why.
        let (compiler, version) = at_hand().cloned().map_or_else(find, Ok)?;
        let target = device.target();
        // An emulated device runs PTX alone.
        let (ptx, cubin) = match device.emulated {
            true => (compiler.ptx_for_device(text, &target, part)?, None),
            false => compiler.ptx_and_cubin(text, &target, part)?,
        };
        Ok(Made {
            cubin,
            ptx,
            version,
        })
    }
}

#[cfg(feature = "jit")]
pub(super) use nvrtc::{compile, version};

#[cfg(not(feature = "jit"))]
pub(super) fn version() -> Option<&'static str> {
    None
}

#[cfg(not(feature = "jit"))]
pub(super) fn compile(
    id: &str,
    _text: &str,
    _part: himuon_codegen::compile::Part,
    device: &DeviceInfo,
) -> Result<Made, CudaError> {
    Err(CudaError::NotCompiled {
        id: id.to_owned(),
        target: device.target(),
    })
}
