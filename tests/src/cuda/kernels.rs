//! Emitting, compiling and loading: from a specification to a module on the device.

use super::bundle::Bundle;
use super::device::Device;
use crate::backend::Refusal;
use cudarc::driver::CudaModule;
use himuon::KernelSpec;
use himuon::templates::{Variant, VariantError};
use himuon_codegen::RenderError;
use himuon_codegen::compile::{Compiler, Part};
use himuon_codegen::pipeline::{EmitError, emit};
use himuon_toolkit::{Toolkit, target_folder};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// The kernels of one architecture, each made at its first use.
#[derive(Debug)]
pub struct Kernels {
    compiler: Compiler,
    target: &'static str,
    /// Bundles of this process.
    bundles: TempDir,
    loaded: BTreeMap<(PathBuf, Part), Loaded>,
}

/// A kernel on the device.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What its folder holds.
    pub bundle: Arc<Bundle>,
    /// Its PTX, loaded.
    pub module: Arc<CudaModule>,
}

impl Kernels {
    /// For `target`, as in `sm_80`.
    ///
    /// # Errors
    /// When there is no compiler.
    pub fn new(target: &'static str) -> Result<Kernels, String> {
        let toolkit = Toolkit::locate_or_install().map_err(|error| error.to_string())?;
        Ok(Kernels {
            compiler: Compiler::new(toolkit.nvrtc_library()),
            target,
            bundles: tempfile::tempdir().map_err(|error| error.to_string())?,
            loaded: BTreeMap::new(),
        })
    }

    /// Whether the device takes what the compiler makes.
    ///
    /// # Errors
    /// What the compiler or the driver says.
    pub fn try_on(&self, device: &Device) -> Result<(), String> {
        let nothing = "extern \"C\" __global__ void nothing() {}";
        let ptx = self.compiler.ptx(nothing, self.target, Part::All);
        let ptx = ptx.map_err(|error| error.to_string())?;
        let compiler = self.compiler.version().unwrap_or_default();
        let refused =
            |error| format!("the driver does not take what NVRTC {compiler} makes: {error}");
        device.module(&ptx).map(drop).map_err(refused)
    }

    /// What kernels are compiled for.
    pub fn target(&self) -> &'static str {
        self.target
    }

    /// The kernels that `purpose`, `step` or `map`, launches of a specification.
    ///
    /// # Errors
    /// [`Refusal::Unsupported`] for what no kernel computes.
    pub fn load(
        &mut self,
        device: &Device,
        spec: &KernelSpec,
        variant: Option<Variant>,
        purpose: &str,
    ) -> Result<Loaded, Refusal> {
        let emitted =
            emit(spec, variant, self.target, None, self.bundles.path()).map_err(refusal)?;
        let part = Part::of(&emitted.variant, purpose);
        let key = (emitted.folder, part);
        if let Some(loaded) = self.loaded.get(&key) {
            return Ok(loaded.clone());
        }
        let folder = &key.0;
        let failed = |error: std::io::Error| Refusal::Failed(error.to_string());
        let text = std::fs::read_to_string(folder.join("kernel.cu")).map_err(failed)?;
        let ptx = self.ptx(&emitted.manifest.id, &text, part)?;
        std::fs::write(folder.join("kernel.ptx"), ptx).map_err(failed)?;
        let bundle = Bundle::read(folder).map_err(Refusal::Failed)?;
        let module = device.module(&bundle.ptx).map_err(Refusal::Failed)?;
        let loaded = Loaded {
            bundle: Arc::new(bundle),
            module,
        };
        self.loaded.insert(key, loaded.clone());
        Ok(loaded)
    }

    /// The PTX of a part of a text. It is kept in the target folder under the kernel's name, which holds a digest of the text, and
    /// the compiler's.
    fn ptx(&self, id: &str, text: &str, part: Part) -> Result<String, Refusal> {
        let failed = |error: std::io::Error| Refusal::Failed(error.to_string());
        let mut hasher = DefaultHasher::new();
        (self.compiler.nvrtc(), text, part).hash(&mut hasher);
        let folder = target_folder().join("test-ptx").join(self.target);
        let kept = folder.join(format!("{id}-{:016x}.ptx", hasher.finish()));
        if let Ok(ptx) = std::fs::read_to_string(&kept) {
            return Ok(ptx);
        }
        let ptx = self
            .compiler
            .ptx(text, self.target, part)
            .map_err(|error| Refusal::Failed(error.to_string()))?;
        // Several tests may be here at once: what is seen under the final name is whole.
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let partial = tempfile::NamedTempFile::new_in(&folder).map_err(failed)?;
        std::fs::write(partial.path(), &ptx).map_err(failed)?;
        partial
            .persist(&kept)
            .map_err(|error| failed(error.error))?;
        Ok(ptx)
    }
}

fn refusal(error: EmitError) -> Refusal {
    match error {
        EmitError::Render(RenderError::Variant(
            VariantError::HostCriterion { .. }
            | VariantError::Resident { .. }
            | VariantError::Streamed { .. },
        )) => Refusal::Unsupported(error.to_string()),
        other => Refusal::Failed(other.to_string()),
    }
}
