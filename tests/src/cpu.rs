//! The CPU kernels under judgement.

use crate::backend::{Backend, Refusal};
use himuon::KernelSpec;
use himuon::cpu::{ApplyScale, CpuError, CpuKernel, CpuVariant, Pool, Workspace};
use himuon::launch::{LaunchReport, MatrixStep};
use himuon::reference::Normalisation;
use himuon::tensor::TensorRef;

/// The CPU kernels with a number of threads and, if given, a variant.
#[derive(Debug)]
pub struct CpuBackend {
    pool: Pool,
    workspace: Workspace,
    variant: Option<CpuVariant>,
}

impl CpuBackend {
    /// The default variant on `threads` threads.
    ///
    /// # Panics
    /// When the threads cannot be started.
    #[allow(clippy::expect_used)]
    pub fn new(threads: usize) -> CpuBackend {
        CpuBackend {
            pool: Pool::new(threads).expect("threads start"),
            workspace: Workspace::new(),
            variant: None,
        }
    }

    /// With a variant.
    pub fn with_variant(self, variant: CpuVariant) -> CpuBackend {
        CpuBackend {
            variant: Some(variant),
            ..self
        }
    }

    fn kernel(&self, spec: &KernelSpec) -> Result<CpuKernel, Refusal> {
        match self.variant {
            Some(variant) => CpuKernel::with_variant(spec, variant),
            None => CpuKernel::new(spec),
        }
        .map_err(refusal)
    }
}

fn refusal(error: CpuError) -> Refusal {
    match error {
        CpuError::Unsupported { .. } | CpuError::InstructionSet(_) => {
            Refusal::Unsupported(error.to_string())
        }
        other => Refusal::Failed(other.to_string()),
    }
}

impl Backend for CpuBackend {
    fn name(&self) -> &str {
        "cpu"
    }

    fn map(
        &mut self,
        spec: &KernelSpec,
        matrix: TensorRef<'_>,
        rows: usize,
        columns: usize,
        normalisation: Normalisation,
    ) -> Result<(Vec<f32>, LaunchReport), Refusal> {
        let scale = match normalisation {
            Normalisation::None => ApplyScale::None,
            Normalisation::Tile { factor: 0.2 } => ApplyScale::Tile,
            Normalisation::Rms { factor: 0.2 } => ApplyScale::Rms,
            other => {
                return Err(Refusal::Unsupported(format!(
                    "{other:?}: the factor is 0.2"
                )));
            }
        };
        // What is not written shows.
        let mut output = vec![f32::NAN; rows * columns];
        let report = self
            .kernel(spec)?
            .map(
                &self.pool,
                matrix,
                rows,
                columns,
                &mut output,
                scale,
                &mut self.workspace,
            )
            .map_err(refusal)?;
        Ok((output, report))
    }

    fn step(
        &mut self,
        spec: &KernelSpec,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, Refusal> {
        self.kernel(spec)?
            .step(&self.pool, matrices, &mut self.workspace)
            .map_err(refusal)
    }
}
