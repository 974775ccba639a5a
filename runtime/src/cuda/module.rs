//! Compiled kernels: from the cache on disk, or by NVRTC, and into the device.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use cudarc::driver::sys::cudaError_enum as Code;
use cudarc::driver::{CudaContext, CudaModule, DriverError};
use cudarc::nvrtc::Ptx;
#[cfg(feature = "jit")]
use himuon_codegen::compile::Compiler;

use super::error::CudaError;
use crate::tuning::cache_folder;

/// In the folder of all modules: the version of the compiler that made the last of them.
const TOOLKIT_FILE: &str = "toolkit";

/// Loads the kernel `id` for the architecture `target`: machine code of exactly this architecture, else PTX, else
/// what NVRTC makes of `text`.
pub(super) fn load(
    context: &Arc<CudaContext>,
    id: &str,
    text: &str,
    target: &str,
) -> Result<Arc<CudaModule>, CudaError> {
    let cache = ModuleCache::of(id, text, target);
    if let Some(cache) = &cache
        && let Some(module) = load_images(context, id, cache.cubin(), cache.ptx())?
    {
        return Ok(module);
    }
    let Compiled {
        cubin,
        ptx,
        toolkit,
    } = compile(id, text, target)?;
    if let Some(cache) = &cache
        && let Err(error) = cache.store(text, cubin.as_deref(), &ptx, &toolkit)
    {
        tracing::warn!(
            "{}: {error}; the compiled kernel is not kept",
            cache.folder.display()
        );
    }
    match load_images(context, id, cubin, Some(ptx))? {
        Some(module) => Ok(module),
        None => Err(CudaError::Layout {
            id: id.to_owned(),
            reason: format!("the driver takes neither machine code nor PTX for {target}"),
        }),
    }
}

/// What a compiler made, and its version.
struct Compiled {
    cubin: Option<Vec<u8>>,
    ptx: String,
    toolkit: String,
}

#[cfg(feature = "jit")]
fn compile(_id: &str, text: &str, target: &str) -> Result<Compiled, CudaError> {
    let compiler = Compiler::locate()?;
    let compiled = compiler.compile(text, target)?;
    Ok(Compiled {
        cubin: compiled.cubin.map(|(bytes, _)| bytes),
        ptx: compiled.ptx,
        toolkit: compiler.version()?,
    })
}

/// The version of the compiler at hand.
#[cfg(feature = "jit")]
fn compiler_version() -> Option<String> {
    Compiler::locate().ok()?.version().ok()
}

#[cfg(not(feature = "jit"))]
fn compiler_version() -> Option<String> {
    None
}

/// The version of the compiler that the kernels come from: the one that filled the cache, else the one at hand; empty
/// where there is neither. One answer for the whole process, so that its tuning tables have one name.
pub(super) fn toolkit() -> String {
    static TOOLKIT: OnceLock<String> = OnceLock::new();
    let found = || {
        let folder = cache_folder().ok()?.join("modules");
        fs::read_to_string(folder.join(TOOLKIT_FILE)).ok()
    };
    let ask = || found().or_else(compiler_version).unwrap_or_default();
    TOOLKIT.get_or_init(|| ask().trim().to_owned()).clone()
}

#[cfg(not(feature = "jit"))]
fn compile(id: &str, _text: &str, target: &str) -> Result<Compiled, CudaError> {
    Err(CudaError::NotCompiled {
        id: id.to_owned(),
        target: target.to_owned(),
    })
}

/// The first image that the driver takes; `None` where it takes none of them.
fn load_images(
    context: &Arc<CudaContext>,
    id: &str,
    cubin: Option<Vec<u8>>,
    ptx: Option<String>,
) -> Result<Option<Arc<CudaModule>>, CudaError> {
    let images = [cubin.map(Ptx::from_binary), ptx.map(Ptx::from_src)];
    for image in images.into_iter().flatten() {
        match context.load_module(image) {
            Ok(module) => return Ok(Some(module)),
            Err(error) if is_foreign(error) => {
                tracing::debug!("kernel {id}: {:?}, the next form is tried", error.0);
            }
            Err(error) => {
                return Err(CudaError::call(format!("loading kernel {id}"))(error));
            }
        }
    }
    Ok(None)
}

/// Whether the image is for another device or driver, so that another form may do.
fn is_foreign(error: DriverError) -> bool {
    matches!(
        error.0,
        Code::CUDA_ERROR_NO_BINARY_FOR_GPU
            | Code::CUDA_ERROR_INVALID_IMAGE
            | Code::CUDA_ERROR_INVALID_PTX
            | Code::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
    )
}

/// One kernel's folder in the cache: `modules/<id>/` with its text and, by architecture, what was compiled.
struct ModuleCache {
    folder: PathBuf,
    target: String,
}

impl ModuleCache {
    /// The folder, if it can be used: there is a cache, and what lies there is this text's.
    fn of(id: &str, text: &str, target: &str) -> Option<Self> {
        let folder = match cache_folder() {
            Ok(folder) => folder.join("modules").join(id),
            Err(error) => {
                tracing::debug!("{error}; compiled kernels are not kept");
                return None;
            }
        };
        match fs::read_to_string(folder.join("kernel.cu")) {
            Ok(kept) if kept != text => {
                tracing::warn!(
                    "{}: it holds another text of this name; it is left alone and not used",
                    folder.display()
                );
                None
            }
            _ => Some(ModuleCache {
                folder,
                target: target.to_owned(),
            }),
        }
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.target))
    }

    fn cubin(&self) -> Option<Vec<u8>> {
        fs::read(self.file("cubin")).ok()
    }

    fn ptx(&self) -> Option<String> {
        fs::read_to_string(self.file("ptx")).ok()
    }

    /// Keeps what was compiled, file by file whole or not at all. The lock ends with the process.
    fn store(&self, text: &str, cubin: Option<&[u8]>, ptx: &str, toolkit: &str) -> io::Result<()> {
        if std::env::var_os("HIMUON_CACHE_READONLY")
            .is_some_and(|value| !value.is_empty() && value != "0")
        {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        let lock = File::create(self.folder.join("lock"))?;
        lock.lock()?;
        let put = |path: &Path, bytes: &[u8]| {
            himuon_templates::files::write(path, |file| file.write_all(bytes))
        };
        put(&self.folder.join("kernel.cu"), text.as_bytes())?;
        if let Some(cubin) = cubin {
            put(&self.file("cubin"), cubin)?;
        }
        put(&self.file("ptx"), ptx.as_bytes())?;
        match self.folder.parent() {
            Some(modules) => put(&modules.join(TOOLKIT_FILE), toolkit.as_bytes()),
            None => Ok(()),
        }
    }
}
