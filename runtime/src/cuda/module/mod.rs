//! A kernel's text to a module in the device: what the program carries compiled, else the cache on disk, else NVRTC.

mod ahead;
mod bundles;
mod cache;
mod compiler;
mod image;
mod shipped;

use std::io;
use std::sync::{Arc, OnceLock};

use cudarc::driver::{CudaContext, CudaModule};
use himuon_codegen::compile::Part;
use himuon_codegen::render::Rendered;

use super::device::DeviceInfo;
use super::error::CudaError;
pub(super) use ahead::{are_compiled, compile_ahead};
pub use bundles::read_bundles;
use cache::ModuleCache;
use image::{Image, Refused, first_taken};
pub(super) use shipped::Shipped;

/// Loads kernels into a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loader<'a> {
    pub(super) context: &'a Arc<CudaContext>,
    pub(super) device: &'a DeviceInfo,
    /// What the program carries.
    pub(super) shipped: &'a Shipped,
}

impl Loader<'_> {
    /// A module with at least `part` of a text's kernels: what the program carries, which is all of them, else what the
    /// compiler made or makes.
    pub(super) fn load(&self, kernel: &Rendered, part: Part) -> Result<Arc<CudaModule>, CudaError> {
        let (id, text) = (kernel.id.to_string(), &kernel.text);
        let target = self.device.target();
        let mut refused = Refused::default();
        let images = self.shipped.images(&id, text, &target);
        if let Some(module) = first_taken(self.context, &id, images, &mut refused)? {
            return Ok(module);
        }
        self.load_made(&id, (text, part), &target, refused)
            .map_err(|error| match error {
                CudaError::Compile(_) | CudaError::NotCompiled { .. }
                    if !self.shipped.is_empty() =>
                {
                    CudaError::NotShipped {
                        found: self.shipped.account(&id, &target),
                        id,
                        target,
                        compiling: error.to_string(),
                    }
                }
                error => error,
            })
    }

    /// From the cache, what the compiler at hand made; else what was compiled ahead; else the compiler is asked.
    fn load_made(
        &self,
        id: &str,
        (text, part): (&str, Part),
        target: &str,
        mut refused: Refused,
    ) -> Result<Arc<CudaModule>, CudaError> {
        let cache = ModuleCache::of(id, text, target, part);
        let images = |cache: &ModuleCache| cache.images(compiler::version());
        let kept = cache.as_ref().map(images).unwrap_or_default();
        if let Some(module) = first_taken(self.context, id, kept.clone(), &mut refused)? {
            return Ok(module);
        }
        let made = match ahead::taken(text, target, part) {
            Some(outcome) => outcome?,
            None => make(id, (text, part), self.device, cache.as_ref(), &kept)?,
        };
        let module = first_taken(self.context, id, made, &mut refused)?;
        module.ok_or_else(|| CudaError::Refused {
            id: id.to_owned(),
            target: target.to_owned(),
            compiler: compiler::version().unwrap_or_default().to_owned(),
            driver: self.device.driver_version(),
            refused: refused.text(),
        })
    }
}

/// Whether a text can be compiled here.
pub(super) fn has_compiler() -> bool {
    compiler::version().is_some()
}

/// What the compiler makes of a part of a text, kept in the cache, if there is one. Processes that share it and start together compile each text
/// once: whoever comes second waits, and takes what the cache then has beyond `known`.
fn make(
    id: &str,
    (text, part): (&str, Part),
    device: &DeviceInfo,
    cache: Option<&ModuleCache>,
    known: &[Image],
) -> Result<Vec<Image>, CudaError> {
    let not_kept = |cache: &ModuleCache, error: io::Error| {
        tracing::warn!(
            "{}: {error}; the compiled kernel is not kept",
            cache.folder().display()
        );
    };
    let kept_by = cache.filter(|_| has_compiler());
    let locked = kept_by.and_then(|cache| match cache.lock() {
        Ok(lock) => Some((cache, lock?)),
        Err(error) => {
            not_kept(cache, error);
            None
        }
    });
    if let Some((cache, _)) = &locked {
        let images = cache.images(compiler::version());
        if !images.is_empty() && images != known {
            return Ok(images);
        }
    }
    let made = compiler::compile(id, text, part, device)?;
    if let Some((cache, lock)) = &locked
        && let Err(error) = cache.store(lock, text, &made)
    {
        not_kept(cache, error);
    }
    Ok(made.images().collect())
}

/// The version of the compiler that kernels come from: the one at hand, else the newest that filled the cache; empty where
/// there is neither. One answer for the whole process, so that its tuning tables have one name.
pub(super) fn toolkit() -> String {
    static TOOLKIT: OnceLock<String> = OnceLock::new();
    let at_hand = || compiler::version().map(str::to_owned);
    let ask = || at_hand().or_else(cache::newest_version).unwrap_or_default();
    TOOLKIT.get_or_init(ask).clone()
}
