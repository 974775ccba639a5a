//! Tuning of the CPU kernels: their search space, a model that ranks it, and the processor under the tuner.

mod core;
mod model;
mod space;
mod target;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use himuon_templates::KernelSpec;

pub use target::CpuTarget;

pub(crate) use space::{predicted, variant_named};

use super::error::TuningError;
use super::table::TuningTable;
use super::tuner::{TuneJob, TuneOptions, TuneProgress, Tuner};
use crate::cpu::InstructionSet;

/// Digest of what the build compiled the CPU kernels from, shared code and that of one instruction set: kernels of
/// another digest have other times.
pub fn digest(set: InstructionSet) -> String {
    let own = match set {
        InstructionSet::Avx512 => env!("HIMUON_CPU_DIGEST_AVX512"),
        InstructionSet::Avx2 => env!("HIMUON_CPU_DIGEST_AVX2"),
        InstructionSet::Portable => env!("HIMUON_CPU_DIGEST_PORTABLE"),
    };
    own.to_owned()
}

/// Digest of the source of a variant; `None`: no variant has this name.
pub fn digest_of(variant: &str) -> Option<String> {
    variant_named(variant).map(|variant| digest(variant.instruction_set))
}

/// Tunes each specification for a launch of matrices of these shapes (rows, columns) on `threads` threads (`None`: as
/// many as the system has), in `budget` altogether, and returns the entries without keeping them.
///
/// # Errors
/// As [`Tuner::tune`]; the threads cannot be started.
pub fn tune_cpu(
    specs: &[KernelSpec],
    shapes: &[(usize, usize)],
    budget: Duration,
    threads: Option<usize>,
    progress: &mut dyn FnMut(&TuneProgress<'_>),
) -> Result<TuningTable, TuningError> {
    let mut target = CpuTarget::new(threads).map_err(|error| TuningError::Measure {
        spec: "threads".to_owned(),
        reason: error.to_string(),
    })?;
    let options = TuneOptions {
        budget: budget / u32::try_from(specs.len().max(1)).unwrap_or(u32::MAX),
        ..TuneOptions::default()
    };
    let jobs: Vec<TuneJob> = specs
        .iter()
        .map(|spec| TuneJob {
            spec: spec.clone(),
            shapes: shapes.to_vec(),
        })
        .collect();
    let never = AtomicBool::new(false);
    let tuned = Tuner::new(&mut target, options)
        .stop_at(&never)
        .tune(&jobs, None, progress)?;
    Ok(tuned.table)
}
