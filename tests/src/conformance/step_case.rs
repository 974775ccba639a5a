//! One launch of several matrices, judged against the step in `f64`.

use super::step_judge::{judge_diagnostics, judge_state, judge_weight};
use crate::backend::{Backend, Refusal};
use crate::inputs::{gaussian, rounded};
use crate::random::Random;
use crate::report::Report;
use crate::storage::Buffer;
use half::bf16;
use himuon::KernelSpec;
use himuon::launch::{
    GroupScalars, LaunchReport, MatrixStep, RowNormalisation, ScaleRule, TileDiagnostics,
};
use himuon::master_weight::{master_weight, split_master_weight};
use himuon::reference::{Matrix, ReferenceMap, RowMoments, StepState, step, tiles};
use himuon::templates::Element;

/// What stands between the rows of a weight, and must stay there.
pub(super) const BETWEEN: f32 = 12345.0;

/// The defaults of the project: heavy-ball Nesterov, exact scale.
pub const DEFAULTS: GroupScalars = GroupScalars {
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

/// Several matrices of one specification and several steps.
#[derive(Clone, Debug)]
pub struct StepCase {
    /// For reports.
    pub label: String,
    /// The specification, storage included.
    pub spec: KernelSpec,
    /// Scalars of the group.
    pub scalars: GroupScalars,
    /// Rows and columns of each matrix.
    pub shapes: Vec<(usize, usize)>,
    /// How much longer than a row the leading dimensions of gradient and weight are.
    pub gaps: (usize, usize),
    /// NorMuon's row normalisation.
    pub normalise_rows: bool,
    /// Put a NaN into the gradient and an infinity into the momentum of each matrix at the first step.
    pub poison: bool,
    /// Steps, each with its own gradient.
    pub steps: usize,
    /// Seed of the numbers.
    pub seed: u64,
}

impl StepCase {
    /// Matrices of mixed shapes with the defaults, two steps.
    pub fn new(label: &str, spec: KernelSpec) -> StepCase {
        StepCase {
            label: label.to_owned(),
            spec,
            scalars: DEFAULTS,
            shapes: vec![(48, 64), (33, 17), (17, 33), (1, 20), (16, 16), (5, 1)],
            gaps: (0, 0),
            normalise_rows: false,
            poison: false,
            steps: 2,
            seed: 1,
        }
    }
}

/// One matrix in both worlds.
pub(super) struct Pair {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) weight_leading: usize,
    pub(super) weight: Buffer,
    pub(super) momentum: Buffer,
    pub(super) row_moments: Vec<f32>,
    /// What master weights have more than the weights; empty without them.
    remainder: Vec<i16>,
    pub(super) expected: StepState,
}

impl Pair {
    fn new(case: &StepCase, rows: usize, columns: usize, random: &mut Random) -> Pair {
        let storage = case.spec.storage;
        let weight_leading = columns + case.gaps.1;
        let values = gaussian(rows, columns, random).scaled(0.02);
        let (weight, stored, remainder) = match storage.master_weights {
            true => masters(&values),
            false => {
                let weight = rounded(&values, storage.weight);
                (weight.clone(), weight, Vec::new())
            }
        };
        let mut momentum = rounded(&gaussian(rows, columns, random), storage.momentum);
        if case.poison {
            momentum.set(0, 0, f64::INFINITY);
        }
        let row_moments: Vec<f32> = (0..rows).map(|_| 0.01 * random.uniform() as f32).collect();
        let moments = RowMoments {
            values: row_moments.iter().map(|v| f64::from(*v)).collect(),
            beta2: 0.95,
            epsilon: f64::from(1e-8f32),
        };
        Pair {
            rows,
            columns,
            weight_leading,
            weight: Buffer::new(&stored, storage.weight, weight_leading, BETWEEN),
            momentum: Buffer::contiguous(&momentum, storage.momentum),
            row_moments,
            remainder,
            expected: StepState {
                weight,
                momentum,
                row_moments: case.normalise_rows.then_some(RowMoments {
                    beta2: f64::from(0.95f32),
                    ..moments
                }),
            },
        }
    }

    /// The weight after a step: the master where there is one.
    pub(super) fn found_weight(&self) -> Matrix {
        let stored = self
            .weight
            .matrix(self.rows, self.columns, self.weight_leading);
        if self.remainder.is_empty() {
            return stored;
        }
        Matrix::from_fn(self.rows, self.columns, |row, column| {
            let weight = bf16::from_f64(stored.get(row, column));
            let remainder = self.remainder[row * self.columns + column];
            f64::from(master_weight(weight, remainder))
        })
    }
}

/// Numbers as f32, as bf16 weights, and what these leave of them.
fn masters(values: &Matrix) -> (Matrix, Matrix, Vec<i16>) {
    let master = rounded(values, Element::F32);
    let split = |value: f64| split_master_weight(value as f32);
    let stored = Matrix::from_fn(master.rows(), master.columns(), |row, column| {
        split(master.get(row, column)).0.to_f64()
    });
    let remainder = master.values().iter().map(|value| split(*value).1);
    let remainder = remainder.collect();
    (master, stored, remainder)
}

/// Runs a case.
pub fn run(backend: &mut dyn Backend, case: &StepCase) -> Report {
    let mut report = Report::default();
    let map = match ReferenceMap::new(&case.spec) {
        Ok(map) => map,
        Err(error) => {
            report.skip(format!("{}: {error}", case.label));
            return report;
        }
    };
    let mut random = Random::new(case.seed);
    let mut pairs: Vec<Pair> = case
        .shapes
        .iter()
        .map(|(rows, columns)| Pair::new(case, *rows, *columns, &mut random))
        .collect();
    for number in 0..case.steps {
        let name = format!("{} {} step {number}", backend.name(), case.label);
        let go_on = one_step(
            backend,
            case,
            &map,
            &mut pairs,
            &mut random,
            &name,
            &mut report,
        );
        if !go_on {
            break;
        }
    }
    report
}

/// One step in both worlds; whether the backend took it.
fn one_step(
    backend: &mut dyn Backend,
    case: &StepCase,
    map: &ReferenceMap,
    pairs: &mut [Pair],
    random: &mut Random,
    name: &str,
    report: &mut Report,
) -> bool {
    let gradients: Vec<Matrix> = pairs
        .iter()
        .map(|pair| {
            let mut gradient = gaussian(pair.rows, pair.columns, random);
            if case.poison {
                gradient.set(pair.rows - 1, pair.columns - 1, f64::NAN);
            }
            rounded(&gradient, case.spec.storage.weight)
        })
        .collect();
    let mut diagnostics: Vec<Vec<TileDiagnostics>> = pairs
        .iter()
        .map(|p| vec![TileDiagnostics::default(); tiles(case.spec.tile, p.rows, p.columns).len()])
        .collect();
    let launched = launch(backend, case, pairs, &gradients, &mut diagnostics);
    let launched = match launched {
        Ok(launched) => launched,
        Err(Refusal::Unsupported(why)) => {
            report.skip(why);
            return false;
        }
        Err(Refusal::Failed(why)) => {
            report.holds(false, || format!("{name}: {why}"));
            return false;
        }
    };
    // How many kernels a step is made of is the backend's own affair.
    let mut expected = LaunchReport {
        kernels: launched.kernels,
        ..LaunchReport::default()
    };
    for ((pair, gradient), diagnostics) in pairs.iter_mut().zip(&gradients).zip(&diagnostics) {
        let before = pair.expected.clone();
        let mapped = match step(map, &case.scalars, gradient, &mut pair.expected) {
            Ok(mapped) => mapped,
            Err(error) => {
                report.holds(false, || format!("{name}: {error}"));
                return false;
            }
        };
        expected.tiles += mapped.tiles.len();
        expected.non_finite_tiles += mapped.non_finite_tiles();
        expected.unorthogonalised_tiles += mapped.unorthogonalised_tiles();
        let name = format!("{name} {}x{}", pair.rows, pair.columns);
        judge_weight(case, pair, &before.weight, &mapped, &name, report);
        judge_state(case, pair, &name, report);
        judge_diagnostics(map, pair, &mapped, diagnostics, &name, report);
        adopt(pair, case);
    }
    report.tiles += expected.tiles;
    report.unorthogonalised += expected.unorthogonalised_tiles;
    report.holds(launched == expected, || {
        format!("{name}: reported {launched:?}, expected {expected:?}")
    });
    true
}

fn launch(
    backend: &mut dyn Backend,
    case: &StepCase,
    pairs: &mut [Pair],
    gradients: &[Matrix],
    diagnostics: &mut [Vec<TileDiagnostics>],
) -> Result<LaunchReport, Refusal> {
    let buffers: Vec<Buffer> = gradients
        .iter()
        .map(|gradient| {
            let leading = gradient.columns() + case.gaps.0;
            Buffer::new(gradient, case.spec.storage.weight, leading, f32::NAN)
        })
        .collect();
    let mut matrices: Vec<MatrixStep<'_>> = pairs
        .iter_mut()
        .zip(&buffers)
        .zip(diagnostics)
        .map(|((pair, gradient), diagnostics)| MatrixStep {
            rows: pair.rows,
            columns: pair.columns,
            gradient: gradient.read(),
            gradient_leading: pair.columns + case.gaps.0,
            momentum: pair.momentum.write(),
            weight: pair.weight.write(),
            weight_leading: pair.weight_leading,
            remainder: Some(pair.remainder.as_mut_slice()).filter(|kept| !kept.is_empty()),
            row_normalisation: case.normalise_rows.then_some(RowNormalisation {
                second_moment: pair.row_moments.as_mut_slice(),
                beta2: 0.95,
                epsilon: 1e-8,
            }),
            coarse: None,
            scalars: case.scalars,
            diagnostics: Some(diagnostics),
        })
        .collect();
    backend.step(&case.spec, &mut matrices)
}

/// Goes on from what the backend stored, so that its rounding to storage does not add up.
fn adopt(pair: &mut Pair, case: &StepCase) {
    pair.expected.weight = pair.found_weight();
    pair.expected.momentum = pair.momentum.matrix(pair.rows, pair.columns, pair.columns);
    if case.normalise_rows
        && let Some(moments) = &mut pair.expected.row_moments
    {
        moments.values = pair.row_moments.iter().map(|v| f64::from(*v)).collect();
    }
}
