//! The whole step against the reference's.

use super::inputs::Normal;
use super::maps::{recurrences, sized};
use crate::cpu::{CpuKernel, Pool, Workspace};
use crate::launch::{
    GroupScalars, LaunchReport, MatrixDemand, MatrixStep, RowNormalisation, ScaleRule,
    TileDiagnostics,
};
use crate::reference::{Matrix, ReferenceMap, RowMoments, StepState, step, tiles};
use crate::tensor::{TensorMut, TensorRef};
use half::bf16;
use himuon_templates::{
    Criterion, Element, Finite, KernelSpec, Measure, Otherwise, Scope, Storage, Tile,
};

pub(super) const SCALARS: GroupScalars = GroupScalars {
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
};

/// A matrix with its state, in `f32`.
#[derive(Clone)]
pub(super) struct State {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) gradient: Vec<f32>,
    pub(super) momentum: Vec<f32>,
    pub(super) weight: Vec<f32>,
    pub(super) moments: Option<Vec<f32>>,
}

impl State {
    pub(super) fn new(seed: u64, rows: usize, columns: usize) -> State {
        let mut normal = Normal::new(seed);
        State {
            rows,
            columns,
            gradient: normal.numbers(rows * columns),
            momentum: normal.numbers(rows * columns),
            weight: normal.numbers(rows * columns),
            moments: None,
        }
    }

    pub(super) fn step(
        &mut self,
        spec: &KernelSpec,
        scalars: GroupScalars,
        threads: usize,
    ) -> (LaunchReport, Vec<TileDiagnostics>) {
        let count = tiles(spec.tile, self.rows, self.columns).len();
        let mut diagnostics = vec![TileDiagnostics::default(); count];
        let mut matrices = [MatrixStep {
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
            coarse: None,
            scalars,
            diagnostics: Some(&mut diagnostics),
        }];
        let demand = MatrixDemand::of(&matrices[0]);
        let kernel = CpuKernel::new(spec).expect("a kernel");
        let pool = Pool::new(threads).expect("a pool");
        let mut workspace = Workspace::new();
        let report = kernel
            .step(&pool, &mut matrices, &mut workspace)
            .expect("a step");
        assert!(workspace.bytes() <= kernel.workspace_bytes(&[demand], threads));
        (report, diagnostics)
    }

    fn matrix(&self, numbers: &[f32]) -> Matrix {
        Matrix::from_f32(self.rows, self.columns, numbers)
    }

    /// Steps here and in the reference, and compares everything.
    fn compare(&mut self, spec: &KernelSpec, scalars: GroupScalars, bound: f64) -> LaunchReport {
        let mut expected = StepState {
            weight: self.matrix(&self.weight),
            momentum: self.matrix(&self.momentum),
            row_moments: self.moments.as_ref().map(|moments| RowMoments {
                values: moments.iter().map(|v| f64::from(*v)).collect(),
                beta2: f64::from(0.95f32),
                epsilon: f64::from(1e-8f32),
            }),
        };
        let before = expected.weight.clone();
        let reference = ReferenceMap::new(spec).expect("a reference");
        let mapped = step(
            &reference,
            &scalars,
            &self.matrix(&self.gradient),
            &mut expected,
        )
        .expect("a reference step");
        let (report, diagnostics) = self.step(spec, scalars, 2);
        let change = expected.weight.combined(1.0, -1.0, &before).norm();
        let error = self
            .matrix(&self.weight)
            .combined(1.0, -1.0, &expected.weight)
            .norm()
            / change;
        // The stored weight itself is rounded: that much of a change of 2e-3 relative size cannot be seen.
        assert!(error <= bound, "{error:e} {spec:?}");
        let momentum = self.matrix(&self.momentum);
        let error = momentum.combined(1.0, -1.0, &expected.momentum).norm() / momentum.norm();
        assert!(error <= 1e-6, "momentum {error:e}");
        if let (Some(found), Some(expected)) = (&self.moments, &expected.row_moments) {
            for (found, expected) in found.iter().zip(&expected.values) {
                assert!((f64::from(*found) - expected).abs() <= 1e-5 * expected);
            }
        }
        assert_eq!(report.non_finite_tiles, mapped.non_finite_tiles());
        assert_eq!(
            report.unorthogonalised_tiles,
            mapped.unorthogonalised_tiles()
        );
        for (found, (_, expected)) in diagnostics.iter().zip(&mapped.tiles) {
            assert_eq!(found.non_finite, expected.non_finite);
            assert_eq!(
                found.orthogonalised,
                expected.orthogonalised && !expected.non_finite
            );
            assert!((f64::from(found.norm) - expected.norm).abs() <= 1e-5 * expected.norm);
            if found.orthogonalised {
                let difference = f64::from(found.inner_product) - expected.inner_product;
                assert!(difference.abs() <= 1e-4 * expected.inner_product.abs());
            }
        }
        report
    }
}

#[test]
fn every_recurrence_steps_like_the_reference() {
    for tile in [Tile::square(16), sized(48, 20), Tile::Full] {
        for spec in recurrences(tile) {
            State::new(1, 50, 70).compare(&spec, SCALARS, 1e-4);
        }
    }
}

#[test]
fn every_scale_rule_steps_like_the_reference() {
    for scale in [
        ScaleRule::Exact,
        ScaleRule::Paper,
        ScaleRule::Original,
        ScaleRule::MatchRmsAdamW,
        ScaleRule::None,
    ] {
        for tile in [Tile::square(32), sized(64, 128), Tile::Full] {
            let scalars = GroupScalars {
                scale,
                alpha: 0.0,
                beta: 1.0,
                c: 0.05,
                ..SCALARS
            };
            State::new(2, 80, 40).compare(&KernelSpec::new(tile), scalars, 1e-4);
        }
    }
}

#[test]
fn rows_are_normalised_like_the_reference() {
    for spec in recurrences(Tile::square(32)) {
        let mut state = State::new(3, 70, 90);
        state.moments = Some((0..70).map(|row| 1e-3 * row as f32).collect());
        state.gradient[5] = f32::NAN;
        state.compare(&spec, SCALARS, 1e-4);
    }
}

/// Thresholds near the median of each measure, so that both branches are taken.
#[test]
fn criteria_decide_like_the_reference() {
    let measures = [
        (Measure::FroNorm, 46.0),
        (Measure::EffectiveRank, 0.51),
        (Measure::NuclearRank, 0.72),
        (Measure::MinGap, 1e-4),
    ];
    for (measure, threshold) in measures {
        for scope in [Scope::Tile, Scope::Matrix] {
            for otherwise in [Otherwise::Momentum, Otherwise::RmsMatched] {
                for tile in [Tile::square(32), sized(16, 40)] {
                    let criterion = Criterion::Tested {
                        measure,
                        threshold: Finite::new(threshold).expect("finite"),
                        scope,
                        otherwise,
                    };
                    let spec = KernelSpec {
                        criterion,
                        ..KernelSpec::new(tile)
                    };
                    let mut state = State::new(4, 96, 96);
                    state.gradient[0] = f32::INFINITY;
                    state.compare(&spec, SCALARS, 1e-4);
                }
            }
        }
    }
}

#[test]
fn a_non_finite_tile_keeps_weight_and_momentum() {
    for spec in recurrences(Tile::square(16)) {
        let mut state = State::new(5, 40, 40);
        state.gradient[17 * 40 + 20] = f32::NAN;
        state.momentum[39 * 40 + 39] = f32::NEG_INFINITY;
        let before = state.clone();
        let (report, diagnostics) = state.step(&spec, SCALARS, 1);
        assert_eq!((report.tiles, report.non_finite_tiles), (9, 2));
        assert!(diagnostics[4].non_finite && diagnostics[8].non_finite);
        for row in 0..40 {
            for column in 0..40 {
                let at = row * 40 + column;
                let kept = (row / 16, column / 16) == (1, 1) || (row / 16, column / 16) == (2, 2);
                let same = state.weight[at].to_bits() == before.weight[at].to_bits()
                    && state.momentum[at].to_bits() == before.momentum[at].to_bits();
                assert_eq!(same, kept, "({row}, {column}) {spec:?}");
            }
        }
    }
}

/// Rounding the result to bf16 once is all that differs from the same numbers in `f32`.
#[test]
fn bf16_storage_rounds_the_stored_result_once() {
    let numbers =
        |values: &[f32]| -> Vec<bf16> { values.iter().map(|v| bf16::from_f32(*v)).collect() };
    let wide = |values: &[bf16]| -> Vec<f32> { values.iter().map(|v| v.to_f32()).collect() };
    let state = State::new(6, 40, 50);
    let (gradient, mut weight) = (numbers(&state.gradient), numbers(&state.weight));
    let mut single = State {
        gradient: wide(&gradient),
        weight: wide(&weight),
        ..state.clone()
    };
    let spec = KernelSpec::new(Tile::square(32));
    single.step(&spec, SCALARS, 1);
    let mut momentum = state.momentum.clone();
    let storage = Storage {
        weight: Element::Bf16,
        momentum: Element::F32,
        ..Storage::F32
    };
    let kernel = CpuKernel::new(&KernelSpec { storage, ..spec }).expect("a kernel");
    let mut matrices = [MatrixStep {
        rows: 40,
        columns: 50,
        gradient: TensorRef::Bf16(&gradient),
        gradient_leading: 50,
        momentum: TensorMut::F32(&mut momentum),
        weight: TensorMut::Bf16(&mut weight),
        weight_leading: 50,
        // Of no master weights, so that the weights are all there is.
        remainder: Some([].as_mut_slice()),
        row_normalisation: None,
        coarse: None,
        scalars: SCALARS,
        diagnostics: None,
    }];
    let pool = Pool::new(1).expect("a pool");
    kernel
        .step(&pool, &mut matrices, &mut Workspace::new())
        .expect("a step");
    assert_eq!(momentum, single.momentum);
    assert_eq!(weight, numbers(&single.weight));
}
