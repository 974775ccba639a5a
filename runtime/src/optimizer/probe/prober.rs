//! The maps of what is looked at.

use himuon_templates::{Coarse, Criterion, KernelSpec, Power, Tile};

use super::options::{ProbeOptions, ProbeReading};
use crate::cpu::{ApplyScale, CpuError, CpuKernel, Pool, Workspace};
use crate::launch::MatrixDemand;
use crate::reference::{TileBounds, tiles};
use crate::tensor::TensorRef;

/// Maps what is looked at, on the CPU.
pub(super) struct Prober<'a> {
    pub(super) pool: &'a Pool,
    pub(super) workspace: Workspace,
    pub(super) options: &'a ProbeOptions,
    pub(super) step: u64,
}

/// Sums over the tiles that count.
#[derive(Default)]
struct Sums {
    tiles: usize,
    least: f64,
    greatest: f64,
    nuclear_rank: f64,
    defect: f64,
}

impl Prober<'_> {
    /// None where no tile counts.
    pub(super) fn read(
        &mut self,
        spec: &KernelSpec,
        (rows, columns): (usize, usize),
        momentum: &[f32],
        whole: bool,
    ) -> Result<Option<ProbeReading>, CpuError> {
        let spec = tiled(spec);
        let kernel = CpuKernel::new(&spec)?;
        let bounds = tiles(spec.tile, rows, columns);
        let mut sums = Sums::default();
        let wanted = self.options.tiles.min(bounds.len());
        for place in 0..wanted {
            // Evenly spaced, and others at the next time.
            let turn = (self.step / self.options.every) as usize;
            let tile = &bounds[(place * bounds.len() / wanted + turn) % bounds.len()];
            self.add(&kernel, momentum, columns, tile, &mut sums)?;
        }
        if sums.tiles == 0 {
            return Ok(None);
        }
        let covers = spec.tile.effective(rows, columns) == (rows, columns);
        let whole_cosine = if whole && !covers {
            self.whole_cosine(&kernel, momentum, rows, columns)?
        } else {
            None
        };
        let count = sums.tiles as f64;
        Ok(Some(ProbeReading {
            step: self.step,
            parameter: String::new(),
            matrix: 0,
            tile: spec.tile.to_string(),
            tiles: sums.tiles,
            norms: (sums.least, sums.greatest),
            nuclear_rank: sums.nuclear_rank / count,
            defect: (spec.power == Power::ZERO).then_some(sums.defect / count),
            whole_cosine,
            raised_to: None,
        }))
    }

    fn add(
        &mut self,
        kernel: &CpuKernel,
        momentum: &[f32],
        columns: usize,
        tile: &TileBounds,
        sums: &mut Sums,
    ) -> Result<(), CpuError> {
        let rows = (tile.row..tile.row + tile.rows).map(|row| row * columns + tile.column);
        let cut: Vec<f32> = rows
            .flat_map(|start| momentum[start..start + tile.columns].iter().copied())
            .collect();
        let norm = norm(&cut);
        if !norm.is_finite() || norm == 0.0 {
            return Ok(());
        }
        let mapped = self.map(kernel, &cut, (tile.rows, tile.columns), ApplyScale::None)?;
        let squared = inner_product(&mapped, &mapped);
        let rank = tile.rows.min(tile.columns) as f64;
        let cosine = inner_product(&cut, &mapped) / (norm * squared.sqrt());
        sums.least = if sums.tiles == 0 {
            norm
        } else {
            sums.least.min(norm)
        };
        sums.greatest = sums.greatest.max(norm);
        sums.nuclear_rank += cosine * cosine;
        sums.defect += (1.0 - squared / rank).abs();
        sums.tiles += 1;
        Ok(())
    }

    /// None where the momentum is not finite.
    fn whole_cosine(
        &mut self,
        kernel: &CpuKernel,
        momentum: &[f32],
        rows: usize,
        columns: usize,
    ) -> Result<Option<f64>, CpuError> {
        if !norm(momentum).is_finite() {
            return Ok(None);
        }
        let spec = kernel.spec();
        let scale = if spec.power == Power::ZERO {
            ApplyScale::Tile
        } else {
            ApplyScale::Rms
        };
        let whole = CpuKernel::new(&whole(spec))?;
        let tiled = self.map(kernel, momentum, (rows, columns), scale)?;
        let whole = self.map(&whole, momentum, (rows, columns), scale)?;
        let norms = norm(&tiled) * norm(&whole);
        Ok((norms > 0.0).then(|| inner_product(&tiled, &whole) / norms))
    }

    fn map(
        &mut self,
        kernel: &CpuKernel,
        input: &[f32],
        (rows, columns): (usize, usize),
        scale: ApplyScale,
    ) -> Result<Vec<f32>, CpuError> {
        let mut output = vec![0.0; input.len()];
        let input = TensorRef::F32(input);
        kernel.map(
            self.pool,
            input,
            rows,
            columns,
            &mut output,
            scale,
            &mut self.workspace,
        )?;
        Ok(output)
    }
}

/// What of a matrix's map is looked at: what a criterion would leave alone says nothing of it.
fn tiled(spec: &KernelSpec) -> KernelSpec {
    KernelSpec {
        criterion: Criterion::Always,
        ..spec.clone()
    }
}

/// What it is compared with: one tile, and so no coarse part.
fn whole(spec: &KernelSpec) -> KernelSpec {
    KernelSpec {
        tile: Tile::Full,
        coarse: Coarse::Off,
        ..tiled(spec)
    }
}

/// Bytes that reading one matrix takes at most: copies in f32, and scratch memory of the maps.
pub(super) fn reading_bytes(
    spec: &KernelSpec,
    (rows, columns): (usize, usize),
    threads: usize,
    compared: bool,
) -> Result<usize, CpuError> {
    let copy = 4 * rows * columns;
    let scratch = |spec: &KernelSpec, sides: (usize, usize)| {
        let demand = [MatrixDemand::new(sides.0, sides.1)];
        Ok::<_, CpuError>(CpuKernel::new(spec)?.workspace_bytes(&demand, threads))
    };
    let tile = spec.tile.effective(rows, columns);
    let mut maps = copy + scratch(&tiled(spec), tile)? + 8 * tile.0 * tile.1;
    if compared && tile != (rows, columns) {
        let both =
            scratch(&tiled(spec), (rows, columns))? + scratch(&whole(spec), (rows, columns))?;
        maps = maps.max(3 * copy + both);
    }
    // Before the maps: the momentum, and of the gradient a copy, its bytes and its numbers.
    Ok(maps.max(4 * copy))
}

fn inner_product(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

fn norm(values: &[f32]) -> f64 {
    inner_product(values, values).sqrt()
}
