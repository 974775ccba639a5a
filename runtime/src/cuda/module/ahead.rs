//! Compiling side by side: a compiler uses one core for one text, and who has several texts waits for the longest alone.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use himuon_codegen::compile::Part;
use himuon_codegen::render::Rendered;

use super::cache::ModuleCache;
use super::image::Image;
use super::{Shipped, compiler, has_compiler, make};
use crate::cuda::device::DeviceInfo;
use crate::cuda::error::CudaError;

/// Texts that are compiled at once, at most: each takes some hundred megabytes.
const MOST_THREADS: usize = 16;
/// Bytes of stack of a thread that compiles: more than a thread of Rust has, for compilers recurse.
const STACK: usize = 16 << 20;

/// Text, target and part: what the result depends on.
type Key = (String, String, Part);
type Outcome = Result<Vec<Image>, CudaError>;

/// What has been compiled and not been loaded yet: failures, and what no cache keeps.
static MADE: Mutex<BTreeMap<Key, Outcome>> = Mutex::new(BTreeMap::new());

fn made() -> MutexGuard<'static, BTreeMap<Key, Outcome>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a text that was compiled ahead, once.
pub(super) fn taken(text: &str, target: &str, part: Part) -> Option<Outcome> {
    made().remove(&(text.to_owned(), target.to_owned(), part))
}

/// Compiles, side by side, whatever of `wanted` the program does not carry and no cache has, for the loads that follow. Why a text is
/// refused, its load says.
pub(in crate::cuda) fn compile_ahead(
    device: &DeviceInfo,
    shipped: &Shipped,
    wanted: Vec<(Rendered, Part)>,
) {
    if !has_compiler() {
        return;
    }
    let target = device.target();
    let missing: BTreeMap<Key, String> = wanted
        .into_iter()
        .filter(|(kernel, part)| is_missing(kernel, *part, &target, shipped))
        .map(|(kernel, part)| {
            let id = kernel.id.to_string();
            ((kernel.text, target.clone(), part), id)
        })
        .collect();
    // One alone is as soon compiled by its load.
    if missing.len() < 2 {
        return;
    }
    let missing: Vec<(Key, String)> = missing.into_iter().collect();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cores.min(MOST_THREADS).min(missing.len());
    tracing::info!(
        "{} kernels are compiled for {target}, {threads} at once",
        missing.len()
    );
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some((key, id)) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            compile_one(key, id, device);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            let thread = thread::Builder::new().stack_size(STACK);
            // Those that there are do the work of those that there are not.
            if let Err(error) = thread.spawn_scoped(scope, work) {
                tracing::debug!("compiling with fewer threads: {error}");
                break;
            }
        }
        work();
    });
}

/// Whether no compiler is needed for any of these texts.
pub(in crate::cuda) fn are_compiled(
    device: &DeviceInfo,
    shipped: &Shipped,
    texts: &[(Rendered, Part)],
) -> bool {
    let target = device.target();
    let mut texts = texts.iter();
    !texts.any(|(kernel, part)| is_missing(kernel, *part, &target, shipped))
}

fn is_missing(kernel: &Rendered, part: Part, target: &str, shipped: &Shipped) -> bool {
    let id = kernel.id.to_string();
    let is_kept = || {
        let cache = ModuleCache::of(&id, &kernel.text, target, part);
        cache.is_some_and(|cache| !cache.images(compiler::version()).is_empty())
    };
    let key = (kernel.text.clone(), target.to_owned(), part);
    shipped.images(&id, &kernel.text, target).is_empty() && !made().contains_key(&key) && !is_kept()
}

fn compile_one(key: &Key, id: &str, device: &DeviceInfo) {
    let (text, target, part) = key;
    let cache = ModuleCache::of(id, text, target, *part);
    let outcome = make(id, (text, *part), device, cache.as_ref(), &[]);
    let is_kept = || cache.is_some_and(|cache| !cache.images(compiler::version()).is_empty());
    if outcome.is_err() || !is_kept() {
        made().insert(key.clone(), outcome);
    }
}
