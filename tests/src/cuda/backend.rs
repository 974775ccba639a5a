//! The generated kernels as a backend of the suite.

use super::bundle::{Bundle, Manifest};
use super::device::{Device, Memory};
use super::range::Range;
use super::record::{Value, append, word};
use super::session::Session;
use crate::backend::{Backend, Refusal};
use crate::storage::{bytes, bytes_mut, filled};
use cudarc::driver::CudaModule;
use half::{bf16, f16};
use himuon::KernelSpec;
use himuon::launch::{GroupScalars, LaunchReport, MatrixStep, ScaleRule, TileDiagnostics};
use himuon::reference::Normalisation;
use himuon::templates::{Element, Power, Storage, Variant, VariantError};
use himuon::tensor::TensorRef;
use himuon_codegen::RenderError;
use himuon_codegen::compile::Compiler;
use himuon_codegen::pipeline::{EmitError, emit};
use himuon_toolkit::{Toolkit, target_folder};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Launches are recorded for steps 5 .. 9 and run at this one.
const STEP: u32 = 7;

/// The generated kernels of one architecture on the emulated driver.
#[derive(Debug)]
pub struct CudaBackend {
    pub(super) device: Device,
    compiler: Compiler,
    target: &'static str,
    variant: Option<Variant>,
    /// Numbers that every tensor is moved by from an aligned address.
    shift: usize,
    /// Whether tiles are reported one by one.
    pub(super) reports: bool,
    /// Whether maps are kept in the gradient between launches where that is possible.
    consumes_gradient: bool,
    /// Tiles that are worked on together, at most.
    range: usize,
    /// Blocks of launches that take any number.
    pub(super) blocks: Option<u32>,
    loaded: BTreeMap<PathBuf, Loaded>,
}

#[derive(Clone, Debug)]
pub(super) struct Loaded {
    pub(super) bundle: Arc<Bundle>,
    pub(super) module: Arc<CudaModule>,
}

impl CudaBackend {
    /// Kernels for `target`, as in `sm_80`, in their default variants.
    ///
    /// # Errors
    /// When there is no compiler or no emulated driver.
    pub fn new(target: &'static str) -> Result<CudaBackend, String> {
        let device = Device::open()?;
        let toolkit = Toolkit::locate_or_install().map_err(|error| error.to_string())?;
        Ok(CudaBackend {
            device,
            compiler: Compiler::new(toolkit.nvrtc_library()),
            target,
            variant: None,
            shift: 0,
            reports: true,
            consumes_gradient: false,
            range: usize::MAX,
            blocks: None,
            loaded: BTreeMap::new(),
        })
    }

    /// In one variant, whatever the specification.
    pub fn with_variant(self, variant: Variant) -> CudaBackend {
        CudaBackend {
            variant: Some(variant),
            ..self
        }
    }

    /// With every tensor moved by so many numbers from an aligned address.
    pub fn shifted(self, shift: usize) -> CudaBackend {
        CudaBackend { shift, ..self }
    }

    /// Without a report of each tile, at power 0.
    pub fn without_reports(self) -> CudaBackend {
        CudaBackend {
            reports: false,
            ..self
        }
    }

    /// With maps kept in contiguous f32 gradients between the launches of power > 0.
    pub fn consuming_gradients(self) -> CudaBackend {
        CudaBackend {
            consumes_gradient: true,
            ..self
        }
    }

    /// With at most so many tiles in a sequence of launches, where the family takes ranges of tiles.
    pub fn in_ranges_of(self, range: usize) -> CudaBackend {
        CudaBackend { range, ..self }
    }

    /// With so many blocks where any number computes the same.
    pub fn with_blocks(self, blocks: u32) -> CudaBackend {
        CudaBackend {
            blocks: Some(blocks),
            ..self
        }
    }

    /// What kernels are compiled for.
    pub fn target(&self) -> &'static str {
        self.target
    }

    /// The device, for its counters.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Emits, compiles and loads the kernel of a specification. PTX of an unchanged text is compiled once and kept
    /// in the target folder.
    fn load(&mut self, spec: &KernelSpec) -> Result<Loaded, Refusal> {
        let folder = target_folder().join("test-bundles").join(self.target);
        let emitted = emit(spec, self.variant, self.target, None, &folder).map_err(refusal)?;
        if let Some(loaded) = self.loaded.get(&emitted.folder) {
            return Ok(loaded.clone());
        }
        let failed = Refusal::Failed;
        if !self.is_compiled(&emitted.folder) {
            self.compile(&emitted.folder)?;
        }
        let bundle = Bundle::read(&emitted.folder).map_err(failed)?;
        let module = self.device.module(&bundle.ptx).map_err(failed)?;
        let loaded = Loaded {
            bundle: Arc::new(bundle),
            module,
        };
        self.loaded.insert(emitted.folder, loaded.clone());
        Ok(loaded)
    }

    /// The folder's name holds a digest of the text, so that the PTX beside it is of that text.
    fn is_compiled(&self, folder: &Path) -> bool {
        let by = self.compiler.nvrtc().display().to_string();
        folder.join("kernel.ptx").is_file()
            && std::fs::read_to_string(folder.join("compiled-by")).is_ok_and(|found| found == by)
    }

    fn compile(&self, folder: &Path) -> Result<(), Refusal> {
        let failed = |error: std::io::Error| Refusal::Failed(error.to_string());
        let text = std::fs::read_to_string(folder.join("kernel.cu")).map_err(failed)?;
        let ptx = self
            .compiler
            .ptx(&text, self.target)
            .map_err(|error| Refusal::Failed(error.to_string()))?;
        // Several test processes may be here at once.
        let partial = folder.join(format!("kernel.ptx.{}", std::process::id()));
        std::fs::write(&partial, ptx).map_err(failed)?;
        std::fs::rename(partial, folder.join("kernel.ptx")).map_err(failed)?;
        let by = self.compiler.nvrtc().display().to_string();
        std::fs::write(folder.join("compiled-by"), by).map_err(failed)
    }

    /// A tensor on the device, its first number `shift` numbers behind an aligned address.
    fn tensor(&self, element: Element, numbers: &[u8]) -> Result<Memory, String> {
        let mut padded = vec![0xff; self.shift * element.bytes()];
        padded.extend_from_slice(numbers);
        self.device.upload(&padded)
    }

    fn address(&self, memory: &Memory, element: Element) -> u64 {
        memory.address() + (self.shift * element.bytes()) as u64
    }

    /// Copies a tensor back.
    fn fetch(&self, memory: &Memory, element: Element, to: &mut [u8]) -> Result<(), String> {
        let found = self.device.download(memory)?;
        to.copy_from_slice(&found[self.shift * element.bytes()..]);
        Ok(())
    }

    /// Runs the launches of `purpose` on matrices that are on the device.
    fn run(
        &self,
        loaded: &Loaded,
        purpose: &str,
        matrices: &[OnDevice],
        groups: &[GroupScalars],
    ) -> Result<Outcome, String> {
        let manifest = &loaded.bundle.manifest;
        let (table, tile_count) = matrix_table(manifest, matrices)?;
        let report_bytes = manifest.table("TileReport")?.bytes * tile_count as usize;
        let session = Session {
            backend: self,
            loaded,
            purpose,
            on_device: matrices,
            tile_count,
            matrices: self.device.upload(&table)?,
            groups: self.device.upload(&group_table(manifest, groups)?)?,
            reports: self.device.upload(&vec![0xff; report_bytes])?,
            counters: self.device.upload(&[0; 8])?,
            step: self.device.upload(&STEP.to_le_bytes())?,
        };
        let tiles = matrices
            .iter()
            .flat_map(|m| manifest.cut(m.rows, m.columns));
        let tiles: Vec<(u32, u32)> = tiles.collect();
        let ranges = Range::cut(&self.device, manifest, &tiles, self.range)?;
        if manifest.has_sequence("layout") {
            session.sequence("layout", &ranges)?;
        }
        let kernels = session.sequence(purpose, &ranges)?;
        self.device.synchronise()?;
        let counted = self.device.download(&session.counters)?;
        let counter =
            |index: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| counted[4 * index + i]));
        Ok(Outcome {
            report: LaunchReport {
                kernels,
                pending: false,
                tiles: tile_count as usize,
                non_finite_tiles: counter(0) as usize,
                unorthogonalised_tiles: counter(1) as usize,
            },
            tile_reports: self.device.download(&session.reports)?,
        })
    }
}

/// What a launch left behind besides the tensors.
struct Outcome {
    report: LaunchReport,
    tile_reports: Vec<u8>,
}

/// A matrix whose tensors are on the device.
pub(super) struct OnDevice {
    pub(super) rows: u32,
    pub(super) columns: u32,
    gradient: u64,
    gradient_leading: u32,
    momentum: u64,
    weight: u64,
    weight_leading: u32,
    mapped: u64,
    group: u32,
}

fn matrix_table(manifest: &Manifest, matrices: &[OnDevice]) -> Result<(Vec<u8>, u32), String> {
    let table = manifest.table("Matrix")?;
    let (mut entries, mut first_tile) = (Vec::new(), 0);
    for matrix in matrices {
        let values = [
            ("gradient", Value::Pointer(matrix.gradient)),
            ("momentum", Value::Pointer(matrix.momentum)),
            ("weight", Value::Pointer(matrix.weight)),
            ("mapped", Value::Pointer(matrix.mapped)),
            ("rows", Value::U32(matrix.rows)),
            ("columns", Value::U32(matrix.columns)),
            ("gradient_leading", Value::U32(matrix.gradient_leading)),
            ("weight_leading", Value::U32(matrix.weight_leading)),
            ("first_tile", Value::U32(first_tile)),
            ("group", Value::U32(matrix.group)),
            ("factor", Value::F32(f32::NAN)),
            ("largest", Value::F32(f32::NAN)),
        ];
        append(table, &values, &mut entries)?;
        first_tile += manifest.tiles(matrix.rows, matrix.columns);
    }
    Ok((entries, first_tile))
}

fn group_table(manifest: &Manifest, groups: &[GroupScalars]) -> Result<Vec<u8>, String> {
    let table = manifest.table("Group")?;
    let mut entries = Vec::new();
    for group in groups {
        let rule = match group.scale {
            ScaleRule::Exact => 0,
            ScaleRule::Paper => 1,
            ScaleRule::Original => 2,
            ScaleRule::MatchRmsAdamW => 3,
            ScaleRule::None => 4,
        };
        let values = [
            ("learning_rate", Value::F32(group.learning_rate)),
            ("weight_decay", Value::F32(group.weight_decay)),
            ("mu", Value::F32(group.mu)),
            ("c", Value::F32(group.c)),
            ("alpha", Value::F32(group.alpha)),
            ("beta", Value::F32(group.beta)),
            ("scale_factor", Value::F32(group.scale_factor)),
            ("scale_rule", Value::U32(rule)),
        ];
        append(table, &values, &mut entries)?;
    }
    Ok(entries)
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

/// A step that leaves `factor` times the scaled map of the gradient in a zero weight.
fn map_as_a_step(factor: f32) -> GroupScalars {
    GroupScalars {
        learning_rate: -1.0,
        weight_decay: 0.0,
        mu: 0.0,
        c: 1.0,
        alpha: 1.0,
        beta: 0.0,
        scale_factor: factor,
        scale: ScaleRule::Exact,
    }
}

impl Backend for CudaBackend {
    fn name(&self) -> &str {
        "cuda"
    }

    fn map_element(&self, spec: &KernelSpec) -> Element {
        spec.storage.weight
    }

    fn map(
        &mut self,
        spec: &KernelSpec,
        matrix: TensorRef<'_>,
        rows: usize,
        columns: usize,
        normalisation: Normalisation,
    ) -> Result<(Vec<f32>, LaunchReport), Refusal> {
        let (purpose, factor) = match (normalisation, spec.power > Power::ZERO) {
            (Normalisation::None, _) => ("map", 0.0),
            (Normalisation::Tile { factor }, false) | (Normalisation::Rms { factor }, true) => {
                ("step", factor)
            }
            (other, _) => {
                return Err(Refusal::Unsupported(format!(
                    "the kernels of power {} do not scale by {other:?}",
                    spec.power
                )));
            }
        };
        let loaded = self.load(spec)?;
        let Storage { weight, momentum } = spec.storage;
        let work = || {
            // What a map does not write shows; a step starts from zero.
            let start = if purpose == "map" { f32::NAN } else { 0.0 };
            let gradient = self.tensor(weight, bytes(matrix))?;
            let output = self.tensor(weight, &filled(weight, rows * columns, start))?;
            let buffer = self.tensor(momentum, &filled(momentum, rows * columns, 0.0))?;
            let mapped = self.device.uninitialised(4 * rows * columns)?;
            let on_device = OnDevice {
                rows: rows as u32,
                columns: columns as u32,
                gradient: self.address(&gradient, weight),
                gradient_leading: columns as u32,
                momentum: self.address(&buffer, momentum),
                weight: self.address(&output, weight),
                weight_leading: columns as u32,
                mapped: mapped.address(),
                group: 0,
            };
            let scalars = [map_as_a_step(factor as f32)];
            let outcome = self.run(&loaded, purpose, &[on_device], &scalars)?;
            let mut found = vec![0; rows * columns * weight.bytes()];
            self.fetch(&output, weight, &mut found)?;
            Ok((numbers(weight, &found), outcome.report))
        };
        work().map_err(Refusal::Failed)
    }

    fn step(
        &mut self,
        spec: &KernelSpec,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, Refusal> {
        if matrices.iter().any(|m| m.row_normalisation.is_some()) {
            return Err(Refusal::Unsupported(
                "row normalisation is not in the CUDA kernels".to_owned(),
            ));
        }
        let loaded = self.load(spec)?;
        self.step_loaded(spec, &loaded, matrices)
            .map_err(Refusal::Failed)
    }
}

/// The tensors of one matrix on the device.
struct Tensors {
    gradient: Memory,
    momentum: Memory,
    weight: Memory,
    mapped: Memory,
}

impl CudaBackend {
    fn step_loaded(
        &self,
        spec: &KernelSpec,
        loaded: &Loaded,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, String> {
        let Storage { weight, momentum } = spec.storage;
        let (mut tensors, mut on_device, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for matrix in matrices.iter() {
            let placed = Tensors {
                gradient: self.tensor(weight, bytes(matrix.gradient))?,
                momentum: self.tensor(momentum, bytes(matrix.momentum.as_ref()))?,
                weight: self.tensor(weight, bytes(matrix.weight.as_ref()))?,
                mapped: self
                    .device
                    .uninitialised(4 * matrix.rows * matrix.columns)?,
            };
            let gradient = self.address(&placed.gradient, weight);
            let consumed = self.consumes_gradient
                && weight == Element::F32
                && matrix.gradient_leading == matrix.columns;
            on_device.push(OnDevice {
                rows: matrix.rows as u32,
                columns: matrix.columns as u32,
                gradient,
                gradient_leading: matrix.gradient_leading as u32,
                momentum: self.address(&placed.momentum, momentum),
                weight: self.address(&placed.weight, weight),
                weight_leading: matrix.weight_leading as u32,
                mapped: if consumed {
                    gradient
                } else {
                    placed.mapped.address()
                },
                group: groups.len() as u32,
            });
            groups.push(matrix.scalars);
            tensors.push(placed);
        }
        let outcome = self.run(loaded, "step", &on_device, &groups)?;
        let mut first_tile = 0;
        for ((matrix, placed), shape) in matrices.iter_mut().zip(&tensors).zip(&on_device) {
            self.fetch(
                &placed.momentum,
                momentum,
                bytes_mut(matrix.momentum.reborrow()),
            )?;
            self.fetch(&placed.weight, weight, bytes_mut(matrix.weight.reborrow()))?;
            let manifest = &loaded.bundle.manifest;
            if let Some(diagnostics) = &mut matrix.diagnostics {
                for (tile, place) in diagnostics.iter_mut().enumerate() {
                    *place = diagnosed(manifest, &outcome.tile_reports, first_tile + tile)?;
                }
            }
            first_tile += manifest.tiles(shape.rows, shape.columns) as usize;
        }
        Ok(outcome.report)
    }
}

fn diagnosed(manifest: &Manifest, reports: &[u8], tile: usize) -> Result<TileDiagnostics, String> {
    let table = manifest.table("TileReport")?;
    let field = |name: &str| word(table, reports, tile, name);
    let flags = field("flags")?;
    Ok(TileDiagnostics {
        norm: f32::from_bits(field("norm")?),
        inner_product: f32::from_bits(field("inner_product")?),
        mapped_norm_squared: f32::from_bits(field("mapped_norm_squared")?),
        non_finite: flags & 1 != 0,
        orthogonalised: flags == 0,
    })
}

fn numbers(element: Element, bytes: &[u8]) -> Vec<f32> {
    let halves = || {
        bytes
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
    };
    match element {
        Element::F32 => bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect(),
        Element::Bf16 => halves()
            .map(|bits| bf16::from_bits(bits).to_f32())
            .collect(),
        Element::F16 => halves().map(|bits| f16::from_bits(bits).to_f32()).collect(),
    }
}
