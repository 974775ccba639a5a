//! What a kernel of the resident family costs a whole tile: from machine code and from the emulator's counters.

use super::backend::CudaBackend;
use crate::backend::{Backend, Refusal};
use crate::inputs::gaussian;
use crate::random::Random;
use crate::storage::Buffer;
use himuon::KernelSpec;
use himuon::launch::{GroupScalars, MatrixStep, ScaleRule};
use himuon::reference::Normalisation;
use himuon::templates::Tile;
use himuon_codegen::compile::{Compiler, Resources};
use himuon_codegen::pipeline::emit;
use himuon_toolkit::Toolkit;
use himuon_toolkit::emulated::KernelCounters;
use std::sync::{Mutex, PoisonError};

/// One entry point on one whole, aligned tile, without a report of the tile.
#[derive(Clone, Debug)]
pub struct Figures {
    /// `himuon_map` or `himuon_step`.
    pub entry: &'static str,
    /// Warps that share a tile.
    pub warps: u32,
    /// What `ptxas` and `nvdisasm` say.
    pub resources: Resources,
    /// Instructions that all warps of the tile issue at most.
    pub issued: u32,
    /// What the emulator counted.
    pub counters: KernelCounters,
    /// Bytes of gradient, momentum and weight that must be read, and written.
    pub least_bytes: (u64, u64),
}

impl Figures {
    /// Bytes that warps read of global memory, in whole sectors of 32.
    pub fn bytes_read(&self) -> u64 {
        32 * self.counters.global_sectors_read
    }

    /// Bytes that warps write to global memory, in whole sectors of 32.
    pub fn bytes_written(&self) -> u64 {
        32 * self.counters.global_sectors_written
    }

    /// Tensor instructions of the tile.
    pub fn tensor_instructions(&self) -> u64 {
        self.counters.mma.values().sum()
    }
}

/// The compiler of the toolkit with assembler and disassembler.
///
/// # Errors
/// When there is none.
pub fn compiler() -> Result<Compiler, String> {
    let toolkit = Toolkit::locate_or_install().map_err(|error| error.to_string())?;
    Ok(Compiler::new(toolkit.nvrtc_library())
        .with_ptxas(toolkit.ptxas())
        .with_nvdisasm(toolkit.nvdisasm()))
}

/// The figures of the map alone and of the whole step of `spec` at power 0, in the backend's variant.
///
/// # Errors
/// What compiler or driver say, or a tile that is not sized.
pub fn figures(
    backend: &mut CudaBackend,
    compiler: &Compiler,
    spec: &KernelSpec,
) -> Result<Vec<Figures>, String> {
    let Tile::Sized { rows, columns } = spec.tile else {
        return Err(format!("{spec}: a whole tile of no size"));
    };
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (variant, target) = (backend.variant(), backend.target());
    let emitted = emit(spec, variant, target, Some(compiler), folder.path())
        .map_err(|error| error.to_string())?;
    let elements = u64::from(rows) * u64::from(columns);
    let weight = elements * spec.storage.weight.bytes() as u64;
    let momentum = elements * spec.storage.momentum.bytes() as u64;
    let mut found = Vec::new();
    for (entry, least_bytes) in [
        ("himuon_map", (weight, weight)),
        ("himuon_step", (2 * weight + momentum, weight + momentum)),
    ] {
        let counters = counted(backend, entry, spec, rows as usize, columns as usize)?;
        let described = emitted
            .manifest
            .entries
            .iter()
            .find(|described| described.name == entry)
            .ok_or_else(|| format!("{spec}: no {entry}"))?;
        let warps = described.block / 32 / described.grid.per_block;
        let resources = emitted
            .manifest
            .resources
            .iter()
            .find(|resources| resources.entry == entry)
            .cloned()
            .ok_or_else(|| format!("{spec}: no resources of {entry}"))?;
        let issued = resources
            .instructions
            .as_ref()
            .map_or(0, |counts| warps * counts.issued_whole_tile(spec.steps));
        found.push(Figures {
            entry,
            warps,
            resources,
            issued,
            counters,
            least_bytes,
        });
    }
    Ok(found)
}

fn counted(
    backend: &mut CudaBackend,
    entry: &str,
    spec: &KernelSpec,
    rows: usize,
    columns: usize,
) -> Result<KernelCounters, String> {
    let input = gaussian(rows, columns, &mut Random::new(1));
    let gradient = Buffer::contiguous(&input, spec.storage.weight);
    let failed = |refusal: Refusal| format!("{spec}: {refusal:?}");
    // The driver counts by name for the whole process, whoever launches.
    static COUNTING: Mutex<()> = Mutex::new(());
    let _alone = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    backend.device().inspection()?.reset_counters();
    if entry == "himuon_map" {
        backend
            .map(spec, gradient.read(), rows, columns, Normalisation::None)
            .map_err(failed)?;
    } else {
        let mut weight = Buffer::contiguous(&input, spec.storage.weight);
        let mut momentum = Buffer::contiguous(&input, spec.storage.momentum);
        let mut matrices = [MatrixStep {
            rows,
            columns,
            gradient: gradient.read(),
            gradient_leading: columns,
            momentum: momentum.write(),
            weight: weight.write(),
            weight_leading: columns,
            remainder: None,
            row_normalisation: None,
            coarse: None,
            scalars: GroupScalars {
                learning_rate: 0.02,
                weight_decay: 0.1,
                mu: 0.95,
                c: 1.0,
                alpha: 1.0,
                beta: 0.95,
                scale_factor: 0.2,
                scale: ScaleRule::Exact,
                coarse_factor: 1.0,
                captured_decay: 0.0,
            },
            diagnostics: None,
        }];
        backend.step(spec, &mut matrices).map_err(failed)?;
    }
    let counters = backend.device().inspection()?.counters();
    counters
        .get(entry)
        .cloned()
        .ok_or_else(|| format!("{spec}: {entry} was not counted"))
}
