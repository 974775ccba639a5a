//! A specification resolved for this processor.

use super::coarse::SmallMap;
use super::error::CpuError;
use super::job::{Grid, Map};
use super::launch;
use super::pool::Pool;
use super::simd::InstructionSet;
use super::validate;
use super::variant::CpuVariant;
use super::workspace::Workspace;
use crate::launch::{LaunchReport, MatrixDemand, MatrixStep};
use crate::tensor::TensorRef;
use himuon_templates::{Coarse, Criterion, KernelSpec, Scope};

/// How [`CpuKernel::map`] scales mapped tiles.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ApplyScale {
    /// Not at all: the map of X = tile / ||tile||_F.
    #[default]
    None,
    /// 0.2 sqrt(max(h, w)) for an h x w tile.
    Tile,
    /// Each tile times f_t^p, f_t its norm, then the RMS of the whole matrix set to 0.2.
    Rms,
}

/// A specification with its coefficients, and how it is computed.
#[derive(Clone, Debug)]
pub struct CpuKernel {
    spec: KernelSpec,
    variant: CpuVariant,
    map: Map,
    /// The r x r map of the coarse part.
    small: Option<SmallMap>,
}

impl CpuKernel {
    /// The kernel of `spec` with the default variant of this processor's best instruction set.
    ///
    /// # Errors
    /// When the parts of the specification do not go together, or the CPU lacks something it asks for.
    ///
    /// ```
    /// use himuon::{KernelSpec, Tile, tensor::TensorRef};
    /// use himuon::cpu::{ApplyScale, CpuKernel, Pool, Workspace};
    ///
    /// let kernel = CpuKernel::new(&KernelSpec::new(Tile::square(2)))?;
    /// let (input, mut output) = ([3.0, 0.0, 0.0, 3.0], [0.0; 4]);
    /// let (pool, mut workspace) = (Pool::new(1)?, Workspace::new());
    /// kernel.map(&pool, TensorRef::F32(&input), 2, 2, &mut output, ApplyScale::None, &mut workspace)?;
    /// assert!(output[0] > 0.6 && output[1] == 0.0);
    /// # Ok::<(), himuon::cpu::CpuError>(())
    /// ```
    pub fn new(spec: &KernelSpec) -> Result<Self, CpuError> {
        Self::with_variant(spec, CpuVariant::new(InstructionSet::best()))
    }

    /// The kernel of `spec` computed as `variant` says. The bits do not depend on it.
    ///
    /// # Errors
    /// As [`CpuKernel::new`]; when this processor lacks the instruction set; when the blocking is none of that set, or the
    /// batch not 1 to 8.
    pub fn with_variant(spec: &KernelSpec, variant: CpuVariant) -> Result<Self, CpuError> {
        let table = spec.step_table()?;
        if !variant.is_known() {
            return Err(CpuError::Variant(variant.name()));
        }
        if !variant.instruction_set.is_available() {
            return Err(CpuError::InstructionSet(variant.instruction_set.name()));
        }
        let small = match spec.coarse {
            Coarse::Off => None,
            Coarse::Polar { .. } => Some(SmallMap::new(spec.power)?),
        };
        Ok(CpuKernel {
            small,
            spec: spec.clone(),
            variant,
            map: Map {
                table,
                power: spec.power.to_f64(),
                tile: spec.tile,
                criterion: spec.criterion,
                mode: spec.mode,
                variant,
            },
        })
    }

    /// The variants that make sense for `spec` on this processor, the default first.
    pub fn variants(_spec: &KernelSpec) -> Vec<CpuVariant> {
        CpuVariant::all()
    }

    /// The specification.
    pub fn spec(&self) -> &KernelSpec {
        &self.spec
    }

    /// How it is computed.
    pub fn variant(&self) -> CpuVariant {
        self.variant
    }

    /// What all its tiles have in common.
    pub(super) fn resolved(&self) -> &Map {
        &self.map
    }

    /// The r x r map of the coarse part.
    pub(super) fn small_map(&self) -> Option<&SmallMap> {
        self.small.as_ref()
    }

    pub(super) fn set(&self) -> InstructionSet {
        self.variant.instruction_set
    }

    /// Whether the criterion needs the whole matrix.
    pub(super) fn decides_by_matrix(&self) -> bool {
        matches!(
            self.spec.criterion,
            Criterion::Tested {
                scope: Scope::Matrix,
                ..
            }
        )
    }

    /// One optimizer step of every matrix, in place. All tiles of all matrices form one list that the threads
    /// work off.
    ///
    /// A tile whose gradient or momentum holds a NaN or an infinity keeps its weight and its momentum.
    ///
    /// # Errors
    /// When a tensor, a shape or a scalar is wrong, or the workspace cannot grow; then nothing has been written.
    pub fn step(
        &self,
        pool: &Pool,
        matrices: &mut [MatrixStep<'_>],
        workspace: &mut Workspace,
    ) -> Result<LaunchReport, CpuError> {
        for (index, matrix) in matrices.iter().enumerate() {
            let tiles = || Grid::new(self.spec.tile, matrix.rows, matrix.columns).tiles();
            validate::matrix_step(&self.spec, index, matrix, tiles)?;
        }
        launch::step(self, pool, matrices, workspace)
    }

    /// The bare map of every tile of a rows x columns matrix, to `output`; row i of both starts at i x columns. Of a
    /// specification with a coarse part the tiles are coupled, by a basis of [`COLD_START_ITERATIONS`] power iterations
    /// from its seeds. A tile that holds a NaN or an infinity becomes zero and is counted; its matrix has no coarse part.
    ///
    /// [`COLD_START_ITERATIONS`]: crate::coarse::COLD_START_ITERATIONS
    ///
    /// # Errors
    /// When a tensor is too short, or the workspace cannot grow; then nothing has been written.
    #[expect(
        clippy::too_many_arguments,
        reason = "two tensors with their size, and what a step is handed too"
    )]
    pub fn map(
        &self,
        pool: &Pool,
        input: TensorRef<'_>,
        rows: usize,
        columns: usize,
        output: &mut [f32],
        scale: ApplyScale,
        workspace: &mut Workspace,
    ) -> Result<LaunchReport, CpuError> {
        validate::size(0, rows, columns)?;
        validate::length(0, "input", input.len(), rows * columns)?;
        validate::length(0, "output", output.len(), rows * columns)?;
        let output = &mut output[..rows * columns];
        launch::apply(self, pool, input, (rows, columns), output, scale, workspace)
    }

    /// Bytes that a launch of these matrices takes of its [`Workspace`].
    pub fn workspace_bytes(&self, matrices: &[MatrixDemand], threads: usize) -> usize {
        launch::needs(self, matrices.iter().copied(), threads).bytes()
    }

    /// Allocates what a launch of these matrices takes, so that the launch itself allocates no scratch memory.
    ///
    /// # Errors
    /// [`CpuError::OutOfMemory`].
    pub fn reserve(
        &self,
        matrices: &[MatrixDemand],
        threads: usize,
        workspace: &mut Workspace,
    ) -> Result<(), CpuError> {
        let needs = launch::needs(self, matrices.iter().copied(), threads);
        workspace.reserve(needs)
    }
}
