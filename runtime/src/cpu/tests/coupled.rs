//! Matrices with a coarse part, in f32 and in f64.

use super::inputs::Normal;
use super::steps::SCALARS;
use crate::coarse::coarse_rank;
use crate::cpu::{CpuKernel, Pool, Workspace};
use crate::launch::{
    CoarseBasis, GroupScalars, LaunchReport, MatrixDemand, MatrixStep, RowNormalisation,
};
use crate::reference::{Matrix, ReferenceMap, RowMoments, StepState, seeded_basis, two_level_step};
use crate::tensor::{TensorMut, TensorRef};
use himuon_templates::{Coarse, Fine, KernelSpec, Tile};

/// A matrix with its state.
#[derive(Clone)]
pub(super) struct State {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) gradient: Vec<f32>,
    pub(super) momentum: Vec<f32>,
    pub(super) weight: Vec<f32>,
    pub(super) moments: Option<Vec<f32>>,
    pub(super) basis: Vec<f32>,
    pub(super) refresh: bool,
}

impl State {
    pub(super) fn of(spec: &KernelSpec, gradient: Vec<f32>, rows: usize, columns: usize) -> State {
        let rank = coarse_rank(spec, rows, columns);
        State {
            rows,
            columns,
            momentum: vec![0.0; gradient.len()],
            weight: vec![0.0; gradient.len()],
            moments: None,
            basis: vec![0.0; columns * rank],
            refresh: true,
            gradient,
        }
    }

    pub(super) fn random(spec: &KernelSpec, seed: u64, rows: usize, columns: usize) -> State {
        let gradient = Normal::new(seed).numbers(rows * columns);
        State::of(spec, gradient, rows, columns)
    }

    pub(super) fn matrix(&mut self, scalars: GroupScalars) -> MatrixStep<'_> {
        MatrixStep {
            rows: self.rows,
            columns: self.columns,
            gradient: TensorRef::F32(&self.gradient),
            gradient_leading: self.columns,
            momentum: TensorMut::F32(&mut self.momentum),
            weight: TensorMut::F32(&mut self.weight),
            weight_leading: self.columns,
            remainder: None,
            row_normalisation: self.moments.as_mut().map(|moments| RowNormalisation {
                second_moment: moments.as_mut_slice(),
                beta2: 0.95,
                epsilon: 1e-8,
            }),
            coarse: Some(CoarseBasis {
                capacity: self.basis.len() / self.columns,
                values: self.basis.as_mut_slice(),
                refresh: self.refresh,
                figures: None,
            }),
            scalars,
            diagnostics: None,
        }
    }
}

/// One launch, of exactly the workspace that was announced.
pub(super) fn launch(
    kernel: &CpuKernel,
    states: &mut [State],
    scalars: GroupScalars,
    threads: usize,
) -> LaunchReport {
    let mut matrices: Vec<_> = states
        .iter_mut()
        .map(|state| state.matrix(scalars))
        .collect();
    let demands: Vec<_> = matrices.iter().map(MatrixDemand::of).collect();
    let mut workspace = Workspace::new();
    let report = kernel
        .step(&Pool::new(threads).unwrap(), &mut matrices, &mut workspace)
        .unwrap();
    assert_eq!(workspace.bytes(), kernel.workspace_bytes(&demands, threads));
    report
}

/// The same state in f64.
pub(super) struct Exact {
    pub(super) gradient: Matrix,
    pub(super) state: StepState,
    pub(super) basis: Matrix,
}

impl Exact {
    pub(super) fn of(spec: &KernelSpec, state: &State) -> Exact {
        let (rows, columns) = (state.rows, state.columns);
        let matrix = |numbers: &[f32]| Matrix::from_f32(rows, columns, numbers);
        Exact {
            gradient: matrix(&state.gradient),
            state: StepState {
                weight: matrix(&state.weight),
                momentum: matrix(&state.momentum),
                row_moments: state.moments.as_ref().map(|moments| RowMoments {
                    values: moments.iter().map(|v| f64::from(*v)).collect(),
                    beta2: f64::from(0.95_f32),
                    epsilon: f64::from(1e-8_f32),
                }),
            },
            basis: seeded_basis(columns, coarse_rank(spec, rows, columns)),
        }
    }
}

pub(super) fn spec(tile: Tile, rank: u32, fine: Fine) -> KernelSpec {
    KernelSpec {
        coarse: Coarse::Polar { rank, fine },
        ..KernelSpec::new(tile)
    }
}

pub(super) const fn tile(rows: u32, columns: u32) -> Tile {
    Tile::Sized { rows, columns }
}

/// Of these tests: with a coarse part that counts less, and is forgotten sooner, than the tiles.
pub(super) const COUPLED: GroupScalars = GroupScalars {
    coarse_factor: 0.75,
    captured_decay: 0.2,
    ..SCALARS
};

/// Relative Frobenius distance after some steps, gradients alike, without decay: the larger one of weights and momentum.
pub(super) fn distance(spec: &KernelSpec, mut state: State, refreshes: &[bool]) -> f64 {
    let kernel = CpuKernel::new(spec).unwrap();
    let map = ReferenceMap::new(spec).unwrap();
    let mut exact = Exact::of(spec, &state);
    let scalars = GroupScalars {
        weight_decay: 0.0,
        ..COUPLED
    };
    for &refresh in refreshes {
        state.refresh = refresh;
        launch(&kernel, std::slice::from_mut(&mut state), scalars, 2);
        let Exact {
            gradient,
            state,
            basis,
        } = &mut exact;
        two_level_step(&map, &scalars, gradient, state, basis, refresh).unwrap();
    }
    let StepState {
        weight, momentum, ..
    } = &exact.state;
    [(&state.weight, weight), (&state.momentum, momentum)]
        .map(|(found, expected)| {
            let found = Matrix::from_f32(state.rows, state.columns, found);
            found.combined(1.0, -1.0, expected).norm() / expected.norm()
        })
        .into_iter()
        .fold(0.0, f64::max)
}
