//! One launch of several matrices, judged against the step in `f64`.

use crate::backend::{Backend, Refusal};
use crate::inputs::{gaussian, rounded};
use crate::random::Random;
use crate::report::Report;
use crate::storage::{Buffer, half_ulp};
use crate::tolerances::{DIAGNOSTICS, INNER_PRODUCT_OF_BF16_MOMENTUM, MOMENTUM, STEP};
use himuon::KernelSpec;
use himuon::launch::{
    GroupScalars, LaunchReport, MatrixStep, RowNormalisation, ScaleRule, TileDiagnostics,
};
use himuon::reference::{MappedMatrix, Matrix, ReferenceMap, RowMoments, StepState, step, tiles};
use himuon::templates::Element;

/// What stands between the rows of a weight, and must stay there.
const BETWEEN: f32 = 12345.0;

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
struct Pair {
    rows: usize,
    columns: usize,
    weight_leading: usize,
    weight: Buffer,
    momentum: Buffer,
    row_moments: Vec<f32>,
    expected: StepState,
}

impl Pair {
    fn new(case: &StepCase, rows: usize, columns: usize, random: &mut Random) -> Pair {
        let storage = case.spec.storage;
        let weight_leading = columns + case.gaps.1;
        let weight = rounded(
            &gaussian(rows, columns, random).scaled(0.02),
            storage.weight,
        );
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
            weight: Buffer::new(&weight, storage.weight, weight_leading, BETWEEN),
            momentum: Buffer::contiguous(&momentum, storage.momentum),
            row_moments,
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
        judge_diagnostics(map, &mapped, diagnostics, &name, report);
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

/// The weight: unchanged in non-finite tiles and between the rows, near the reference elsewhere.
fn judge_weight(
    case: &StepCase,
    pair: &Pair,
    before: &Matrix,
    mapped: &MappedMatrix,
    name: &str,
    report: &mut Report,
) {
    let leading = pair.weight_leading;
    let wide = pair.weight.matrix(pair.rows, leading, leading);
    let between = f64::from(BETWEEN);
    let between = rounded(
        &Matrix::from_fn(1, 1, |_, _| between),
        case.spec.storage.weight,
    )
    .get(0, 0);
    let kept = (0..pair.rows).all(|r| wide.row(r)[pair.columns..].iter().all(|v| *v == between));
    report.holds(kept, || {
        format!("{name}: wrote between the rows of the weight")
    });
    let found = pair.weight.matrix(pair.rows, pair.columns, leading);
    for (bounds, tile) in &mapped.tiles {
        let (found, before) = (found.cut(bounds), before.cut(bounds));
        let place = || format!("{name} tile ({}, {})", bounds.row, bounds.column);
        if tile.non_finite {
            report.holds(found == before, || {
                format!("{}: a non-finite tile changed", place())
            });
            continue;
        }
        let expected = pair.expected.weight.cut(bounds);
        judge_update(
            case.spec.storage.weight,
            &found,
            &expected,
            &before,
            &place(),
            report,
        );
    }
}

fn judge_update(
    element: Element,
    found: &Matrix,
    expected: &Matrix,
    before: &Matrix,
    place: &str,
    report: &mut Report,
) {
    let change = expected.combined(1.0, -1.0, before);
    let (quantity, error) = if element == Element::F32 {
        let difference = found.combined(1.0, -1.0, expected).norm();
        // The last bit of W itself, next to an update that may be much smaller.
        let rounding = 2.0 * half_ulp(element, expected.norm());
        let excess = if difference <= rounding {
            0.0
        } else {
            difference - rounding
        };
        ("step, f32 weight", excess / change.norm())
    } else {
        let pairs = found.values().iter().zip(expected.values());
        let excess = pairs.map(|(f, e)| (f - e).abs() - 1.001 * half_ulp(element, *e));
        let excess = excess.fold(0.0, |m: f64, v| if v > m || v.is_nan() { v } else { m });
        let largest = change.values().iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        ("step, 16-bit weight", excess / largest)
    };
    report.measured(quantity.to_owned(), Ok(STEP), error, place);
}

/// Momentum and row moments.
fn judge_state(case: &StepCase, pair: &Pair, name: &str, report: &mut Report) {
    let element = case.spec.storage.momentum;
    let found = pair.momentum.matrix(pair.rows, pair.columns, pair.columns);
    let pairs = found.values().iter().zip(pair.expected.momentum.values());
    let excess = pairs.map(|(f, e)| {
        if f == e || (f.is_nan() && e.is_nan()) {
            0.0
        } else {
            (f - e).abs() - 1.001 * half_ulp(element, *e)
        }
    });
    let excess = excess.fold(0.0, |m: f64, v| if v > m || v.is_nan() { v } else { m });
    report.measured("momentum".to_owned(), Ok(MOMENTUM), excess, name);
    if let Some(moments) = &pair.expected.row_moments {
        for (found, expected) in pair.row_moments.iter().zip(&moments.values) {
            let error = (f64::from(*found) - expected).abs() / expected.abs().max(1e-30);
            report.measured("second moment".to_owned(), Ok(STEP), error, name);
        }
    }
}

fn judge_diagnostics(
    map: &ReferenceMap,
    mapped: &MappedMatrix,
    found: &[TileDiagnostics],
    name: &str,
    report: &mut Report,
) {
    let always = map.spec().criterion == himuon::templates::Criterion::Always;
    for ((bounds, tile), found) in mapped.tiles.iter().zip(found) {
        let place = || format!("{name} tile ({}, {})", bounds.row, bounds.column);
        report.holds(found.non_finite == tile.non_finite, || {
            format!("{}: {found:?}", place())
        });
        if tile.non_finite {
            continue;
        }
        report.holds(found.orthogonalised == tile.orthogonalised, || {
            format!("{}: {found:?}", place())
        });
        let mut facts = vec![("norm", found.norm, tile.norm)];
        // What an unorthogonalised tile would have been mapped to, a kernel need not know.
        if always {
            facts.push(("<X, O>", found.inner_product, tile.inner_product));
            let squared = tile.values.norm_squared();
            facts.push(("||O||^2", found.mapped_norm_squared, squared));
        }
        for (what, found, expected) in facts {
            let error = (f64::from(found) - expected).abs() / expected.abs().max(1e-30);
            let (quantity, tolerance) = match (what, map.spec().storage.momentum) {
                ("<X, O>", Element::Bf16) => (
                    format!("diagnostics {what}, bf16 momentum"),
                    INNER_PRODUCT_OF_BF16_MOMENTUM,
                ),
                _ => (format!("diagnostics {what}"), DIAGNOSTICS),
            };
            report.measured(quantity, Ok(tolerance), error, &place());
        }
    }
}

/// Goes on from what the backend stored, so that its rounding to storage does not add up.
fn adopt(pair: &mut Pair, case: &StepCase) {
    pair.expected.weight = pair
        .weight
        .matrix(pair.rows, pair.columns, pair.weight_leading);
    pair.expected.momentum = pair.momentum.matrix(pair.rows, pair.columns, pair.columns);
    if case.normalise_rows
        && let Some(moments) = &mut pair.expected.row_moments
    {
        moments.values = pair.row_moments.iter().map(|v| f64::from(*v)).collect();
    }
}
