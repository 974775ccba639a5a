//! The generated kernels as a backend of the suite.

use super::device::{Device, Memory};
use super::kernels::{Kernels, Loaded};
use super::range::Range;
use super::session::Session;
use super::tables::{OnDevice, group_table, matrix_table};
use crate::backend::{Backend, Refusal};
use crate::storage::{bytes, filled};
use half::{bf16, f16};
use himuon::KernelSpec;
use himuon::launch::{GroupScalars, LaunchReport, MatrixStep, ScaleRule};
use himuon::reference::Normalisation;
use himuon::templates::{Element, Power, Storage, Variant};
use himuon::tensor::TensorRef;
use himuon_codegen::pipeline::{FURTHER_TARGETS, TARGETS};

/// Launches are recorded for steps 5 .. 9 and run at this one.
const STEP: u32 = 7;

/// The generated kernels of one architecture on the emulated driver or a GPU.
#[derive(Debug)]
pub struct CudaBackend {
    pub(super) device: Device,
    kernels: Kernels,
    variant: Option<Variant>,
    /// Numbers that every tensor is moved by from an aligned address.
    shift: usize,
    /// Whether tiles are reported one by one.
    pub(super) reports: bool,
    /// Whether maps are kept in the gradient between launches where that is possible.
    pub(super) consumes_gradient: bool,
    /// Tiles that are worked on together, at most.
    range: usize,
    /// Blocks of launches that take any number.
    pub(super) blocks: Option<u32>,
}

impl CudaBackend {
    /// Kernels for `target`, as in `sm_80`, in their default variants.
    ///
    /// # Errors
    /// When there is no compiler or no emulated driver.
    pub fn new(target: &'static str) -> Result<CudaBackend, String> {
        Self::of(Device::open()?, target)
    }

    /// Kernels for `target` on the first GPU of this machine.
    ///
    /// # Errors
    /// When there is no compiler, no GPU, one that no kernels are made for, or one whose driver does not take what the
    /// compiler makes.
    pub fn on_gpu(target: &str) -> Result<CudaBackend, String> {
        let tested = TARGETS.into_iter().map(|(name, _)| name);
        let target = tested
            .chain(FURTHER_TARGETS)
            .find(|name| *name == target)
            .ok_or_else(|| format!("no kernels are made for {target}"))?;
        let backend = Self::of(Device::gpu()?, target)?;
        backend.kernels.try_on(&backend.device)?;
        Ok(backend)
    }

    fn of(device: Device, target: &'static str) -> Result<CudaBackend, String> {
        Ok(CudaBackend {
            device,
            kernels: Kernels::new(target)?,
            variant: None,
            shift: 0,
            reports: true,
            consumes_gradient: false,
            range: usize::MAX,
            blocks: None,
        })
    }

    /// In one variant, whatever the specification.
    pub fn with_variant(self, variant: Variant) -> CudaBackend {
        CudaBackend {
            variant: Some(variant),
            ..self
        }
    }

    /// Goes on in this variant; `None`: in the default of each specification.
    pub fn select(&mut self, variant: Option<Variant>) {
        self.variant = variant;
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

    /// The variant, if one was chosen.
    pub fn variant(&self) -> Option<Variant> {
        self.variant
    }

    /// What kernels are compiled for.
    pub fn target(&self) -> &'static str {
        self.kernels.target()
    }

    /// The device, for its counters.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A tensor on the device, its first number `shift` numbers behind an aligned address.
    pub(super) fn tensor(&self, element: Element, numbers: &[u8]) -> Result<Memory, String> {
        let mut padded = vec![0xff; self.shift * element.bytes()];
        padded.extend_from_slice(numbers);
        self.device.upload(&padded)
    }

    pub(super) fn address(&self, memory: &Memory, element: Element) -> u64 {
        memory.address() + (self.shift * element.bytes()) as u64
    }

    /// Copies a tensor back.
    pub(super) fn fetch(
        &self,
        memory: &Memory,
        element: Element,
        to: &mut [u8],
    ) -> Result<(), String> {
        let found = self.device.download(memory)?;
        to.copy_from_slice(&found[self.shift * element.bytes()..]);
        Ok(())
    }

    /// Runs the launches of `purpose` on matrices that are on the device.
    pub(super) fn run(
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
                uncoupled_matrices: 0,
            },
            tile_reports: self.device.download(&session.reports)?,
        })
    }
}

/// What a launch left behind besides the tensors.
pub(super) struct Outcome {
    pub(super) report: LaunchReport,
    pub(super) tile_reports: Vec<u8>,
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
        coarse_factor: 1.0,
        captured_decay: 0.0,
    }
}

impl Backend for CudaBackend {
    fn name(&self) -> &str {
        "cuda"
    }

    fn map_element(&self, spec: &KernelSpec) -> Element {
        spec.storage.weight
    }

    /// Tiles that fit on chip and those that do not have kernels of different families.
    fn sums_in_one_order(&self) -> bool {
        false
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
        let loaded = (self.kernels).load(&self.device, spec, self.variant, purpose)?;
        let Storage {
            weight, momentum, ..
        } = spec.storage;
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
                remainder: 0,
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
        let loaded = (self.kernels).load(&self.device, spec, self.variant, "step")?;
        self.step_loaded(spec, &loaded, matrices)
            .map_err(Refusal::Failed)
    }
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
