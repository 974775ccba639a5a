//! What maps a matrix: the CPU's kernels, or a CUDA device's.

use himuon::KernelSpec;
use himuon::cpu::{ApplyScale, CpuKernel, Pool, Workspace};
use himuon::cuda::{self, CudaMap};
use himuon::launch::TileDiagnostics;
use himuon::reference::{TileBounds, tiles};

use super::ApplyError;
use super::matrices::Values;

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On so many threads; 0 stands for all.
    Cpu {
        /// Threads.
        threads: usize,
    },
    /// On the CUDA device of this number.
    Cuda {
        /// Its number, from 0.
        ordinal: usize,
    },
}

/// A kernel that is ready to map.
#[derive(Debug)]
pub(super) enum Engine {
    Cpu {
        kernel: Box<CpuKernel>,
        pool: Pool,
        workspace: Workspace,
    },
    Cuda {
        map: Box<CudaMap>,
        spec: KernelSpec,
    },
}

/// The factor of both scales.
const FACTOR: f64 = 0.2;

impl Engine {
    pub(super) fn new(place: Place, spec: &KernelSpec) -> Result<Engine, ApplyError> {
        match place {
            Place::Cpu { threads } => Ok(Engine::Cpu {
                kernel: Box::new(CpuKernel::new(spec)?),
                pool: Pool::new(threads)?,
                workspace: Workspace::new(),
            }),
            Place::Cuda { ordinal } => {
                let stream = cuda::open(ordinal)?.default_stream();
                Ok(Engine::Cuda {
                    map: Box::new(CudaMap::new(&stream, spec)?),
                    spec: spec.clone(),
                })
            }
        }
    }

    /// Threads of the host that compute.
    pub(super) fn threads(&self) -> usize {
        match self {
            Engine::Cpu { pool, .. } => pool.threads(),
            Engine::Cuda { .. } => 1,
        }
    }

    /// In words: what the time was taken on.
    pub(super) fn name(&self) -> String {
        match self {
            Engine::Cpu { pool, .. } => format!("{} threads", pool.threads()),
            Engine::Cuda { map, .. } => map.device().name.clone(),
        }
    }

    /// Maps a matrix; returns how many tiles were not finite.
    pub(super) fn map(
        &mut self,
        values: &Values,
        (rows, columns): (usize, usize),
        output: &mut [f32],
        scale: ApplyScale,
    ) -> Result<usize, ApplyError> {
        match self {
            Engine::Cpu {
                kernel,
                pool,
                workspace,
            } => {
                let input = values.as_ref();
                let report = kernel.map(pool, input, rows, columns, output, scale, workspace)?;
                Ok(report.non_finite_tiles)
            }
            Engine::Cuda { map, spec } => {
                let reports = map.map(&values.to_f32(), rows, columns, output)?;
                let bounds = tiles(spec.tile, rows, columns);
                rescale(scale, spec, columns, &bounds, &reports, output);
                Ok(reports.iter().filter(|report| report.non_finite).count())
            }
        }
    }
}

/// Scales mapped tiles by the norms that the device reported.
fn rescale(
    scale: ApplyScale,
    spec: &KernelSpec,
    columns: usize,
    bounds: &[TileBounds],
    reports: &[TileDiagnostics],
    output: &mut [f32],
) {
    let mut factors: Vec<f64> = match scale {
        ApplyScale::None => return,
        ApplyScale::Tile => {
            let edge = |tile: &TileBounds| tile.rows.max(tile.columns) as f64;
            bounds
                .iter()
                .map(|tile| FACTOR * edge(tile).sqrt())
                .collect()
        }
        ApplyScale::Rms => rms_factors(spec, bounds, reports),
    };
    for (factor, report) in factors.iter_mut().zip(reports) {
        if is_plain(spec, report) {
            *factor = 1.0;
        }
    }
    for (tile, factor) in bounds.iter().zip(factors) {
        for row in tile.row..tile.row + tile.rows {
            let start = row * columns + tile.column;
            for value in &mut output[start..start + tile.columns] {
                *value = (f64::from(*value) * factor) as f32;
            }
        }
    }
}

/// Whether the criterion left a tile as it is, which no scale touches.
fn is_plain(spec: &KernelSpec, report: &TileDiagnostics) -> bool {
    spec.criterion.leaves_momentum() && !report.non_finite && !report.orthogonalised
}

/// Each tile times f_t^p, then the RMS of all finite tiles set to [`FACTOR`], but for those that the criterion left as they are.
/// The largest f_t cancels.
fn rms_factors(spec: &KernelSpec, bounds: &[TileBounds], reports: &[TileDiagnostics]) -> Vec<f64> {
    let power = spec.power.to_f64();
    let largest = reports.iter().map(|report| report.norm).fold(0.0, f32::max);
    let part = |report: &TileDiagnostics| {
        if largest > 0.0 && !report.non_finite {
            f64::from(report.norm / largest).powf(power)
        } else {
            0.0
        }
    };
    let (mut squares, mut numbers) = (0.0, 0.0);
    for (tile, report) in bounds.iter().zip(reports) {
        if !report.non_finite && !is_plain(spec, report) {
            squares += part(report).powi(2) * mapped_square(tile, report);
            numbers += (tile.rows * tile.columns) as f64;
        }
    }
    let whole = if squares > 0.0 {
        FACTOR * (numbers / squares).sqrt()
    } else {
        0.0
    };
    reports.iter().map(|report| whole * part(report)).collect()
}

/// ||O||_F^2 of a tile's map. What the criterion scales instead of mapping it has the norm of an orthogonal factor, or none.
fn mapped_square(tile: &TileBounds, report: &TileDiagnostics) -> f64 {
    if report.orthogonalised {
        f64::from(report.mapped_norm_squared)
    } else if report.norm > 0.0 {
        tile.rows.min(tile.columns) as f64
    } else {
        0.0
    }
}
