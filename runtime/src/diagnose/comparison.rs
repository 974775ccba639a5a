//! The tiled map against the map of the whole matrix.

use himuon_templates::{KernelSpec, Power, Tile};
use nalgebra::DMatrix;
use rayon::ThreadPool;
use rayon::prelude::*;

use super::error::DiagnoseError;
use super::lanczos::spectral_norm;
use super::operator::Operator;
use super::options::DiagnosisOptions;
use super::report::{Estimate, MapDiagnosis};
use super::sampled::{Sample, SampledMap};
use super::tile_statistics::sample;
use crate::cpu::{ApplyScale, CpuKernel, Pool, Workspace};
use crate::launch::MatrixDemand;
use crate::plan::operations;
use crate::reference::tiles;
use crate::tensor::TensorRef;

/// 0.2: the RMS of an update (arXiv 2606.27216).
const SCALE_FACTOR: f64 = 0.2;
/// Lanczos steps to a spectral norm.
const NORM_STEPS: usize = 16;

/// Runs the maps of one matrix.
pub(super) struct Comparison<'a> {
    matrix: Operator<'a>,
    sample: Option<&'a Sample>,
    options: &'a DiagnosisOptions,
    workers: &'a ThreadPool,
    pool: Pool,
    workspace: Workspace,
}

/// The whole matrix's update.
enum Whole {
    Mapped {
        update: Vec<f32>,
        norm: f64,
        spectral_norm: f64,
    },
    Sampled {
        map: SampledMap,
        spectral_norm: f64,
    },
}

impl<'a> Comparison<'a> {
    pub(super) fn new(
        matrix: Operator<'a>,
        sample: Option<&'a Sample>,
        options: &'a DiagnosisOptions,
        workers: &'a ThreadPool,
    ) -> Result<Self, DiagnoseError> {
        Ok(Comparison {
            matrix,
            sample,
            options,
            workers,
            pool: Pool::new(options.threads)?,
            workspace: Workspace::new(),
        })
    }

    /// Every tile at one power, in order.
    pub(super) fn power(
        &mut self,
        power: Power,
        tiles: &[Tile],
    ) -> Result<Vec<MapDiagnosis>, DiagnoseError> {
        let whole = self.whole(power)?;
        let mut update = Vec::new();
        tiles
            .iter()
            .map(|tile| self.tile(*tile, power, &whole, &mut update))
            .collect()
    }

    fn whole(&mut self, power: Power) -> Result<Whole, DiagnoseError> {
        let spec = self.options.spec(Tile::Full, power)?;
        if let Some(sample) = self.sample {
            let map = self.workers.install(|| sample.map(&spec))?;
            let (rows, columns) = self.matrix.shape();
            let scale = if power == Power::ZERO {
                SCALE_FACTOR * (rows.max(columns) as f64).sqrt()
            } else {
                SCALE_FACTOR * ((rows * columns) as f64).sqrt() / map.norm()
            };
            return Ok(Whole::Sampled {
                spectral_norm: scale * map.spectral_norm,
                map,
            });
        }
        let mut update = Vec::new();
        self.map(&spec, &mut update)?;
        let (norm, spectral_norm) = self.norms(&update);
        Ok(Whole::Mapped {
            update,
            norm,
            spectral_norm,
        })
    }

    fn tile(
        &mut self,
        tile: Tile,
        power: Power,
        whole: &Whole,
        update: &mut Vec<f32>,
    ) -> Result<MapDiagnosis, DiagnoseError> {
        let spec = self.options.spec(tile, power)?;
        let (rows, columns) = self.matrix.shape();
        let kernel = CpuKernel::new(&spec)?;
        let mut found = MapDiagnosis {
            power: power.to_string(),
            operations: operations(&spec, rows, columns)?,
            workspace_bytes: kernel.workspace_bytes(&[MatrixDemand::new(rows, columns)], 1) as u64,
            spec: spec.to_string(),
            cosine: Estimate {
                value: 1.0,
                standard_error: None,
            },
            orthogonality_error: None,
            worst_orthogonality_error: None,
            spectral_norm: whole.spectral_norm(),
            full_spectral_norm: whole.spectral_norm(),
        };
        let covers = tile.effective(rows, columns) == (rows, columns);
        match whole {
            // Too large for the kernel in reasonable time, and equal to itself anyway.
            Whole::Sampled { .. } if covers => return Ok(found),
            Whole::Mapped { update: whole, .. } if covers => update.clone_from(whole),
            _ => self.map(&spec, update)?,
        }
        if !covers {
            (found.cosine, found.spectral_norm) = self.compare(update, whole);
        }
        if power == Power::ZERO {
            let errors = self.orthogonality_errors(update, tile);
            let sum: f64 = errors.iter().sum();
            found.orthogonality_error = Some(sum / errors.len() as f64);
            found.worst_orthogonality_error = errors.into_iter().reduce(f64::max);
        }
        Ok(found)
    }

    /// The scaled update, to `update`.
    fn map(&mut self, spec: &KernelSpec, update: &mut Vec<f32>) -> Result<(), DiagnoseError> {
        let (rows, columns) = self.matrix.shape();
        update.resize(rows * columns, 0.0);
        let scale = if spec.power == Power::ZERO {
            ApplyScale::Tile
        } else {
            ApplyScale::Rms
        };
        CpuKernel::new(spec)?.map(
            &self.pool,
            TensorRef::F32(self.matrix.values()),
            rows,
            columns,
            update,
            scale,
            &mut self.workspace,
        )?;
        Ok(())
    }

    /// ||O||_F and ||O||_2.
    fn norms(&self, update: &[f32]) -> (f64, f64) {
        let (rows, columns) = self.matrix.shape();
        let update = Operator::new(update, rows, columns);
        self.workers.install(|| {
            (
                update.norm(),
                spectral_norm(&update, self.options.seed, NORM_STEPS),
            )
        })
    }

    /// The cosine to the whole matrix's update, and ||O||_2.
    fn compare(&self, update: &[f32], whole: &Whole) -> (Estimate, f64) {
        let (rows, columns) = self.matrix.shape();
        let (own, spectral) = self.norms(update);
        let update = Operator::new(update, rows, columns);
        let cosine = self.workers.install(|| match (whole, self.sample) {
            (
                Whole::Mapped {
                    update: whole,
                    norm,
                    ..
                },
                _,
            ) => Estimate {
                value: update.inner_product(&Operator::new(whole, rows, columns)) / (own * norm),
                standard_error: None,
            },
            (Whole::Sampled { map, .. }, Some(sample)) => {
                let crossed = self.matrix.gram_with(&update, &sample.vectors);
                let (value, error) = map.cosine(&crossed, own);
                Estimate {
                    value,
                    standard_error: Some(error),
                }
            }
            (Whole::Sampled { .. }, None) => Estimate {
                value: f64::NAN,
                standard_error: None,
            },
        });
        (cosine, spectral)
    }

    /// ||O O^T - I||_F / sqrt(r) of the sampled tiles, from their scaled update.
    fn orthogonality_errors(&self, update: &[f32], tile: Tile) -> Vec<f64> {
        let (rows, columns) = self.matrix.shape();
        let bounds = tiles(tile, rows, columns);
        let update = Operator::new(update, rows, columns);
        let error = |place: &usize| {
            let part = &bounds[*place];
            let scale = 1.0 / (SCALE_FACTOR * (part.rows.max(part.columns) as f64).sqrt());
            let numbers = update
                .tile_rows(part)
                .flatten()
                .map(|value| scale * f64::from(*value));
            let tile = DMatrix::from_row_iterator(part.rows, part.columns, numbers);
            let mut gram = if part.columns <= part.rows {
                tile.tr_mul(&tile)
            } else {
                &tile * tile.transpose()
            };
            for place in 0..gram.nrows() {
                gram[(place, place)] -= 1.0;
            }
            gram.norm() / (gram.nrows() as f64).sqrt()
        };
        self.workers
            .install(|| sample(&bounds).par_iter().map(error).collect())
    }
}

impl Whole {
    fn spectral_norm(&self) -> f64 {
        match self {
            Whole::Mapped { spectral_norm, .. } | Whole::Sampled { spectral_norm, .. } => {
                *spectral_norm
            }
        }
    }
}
