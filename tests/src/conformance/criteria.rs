//! MiMuon's criteria: thresholds among the tiles' own measures, so that both branches are taken.

use super::step_case::{StepCase, run};
use crate::backend::Backend;
use crate::report::Report;
use crate::specs::{newton_schulz, with_tile};
use himuon::templates::{
    CoefficientSet, Criterion, Finite, KernelSpec, Measure, Otherwise, Scope, Tile,
};

/// With tiles of 16: whole tiles, ragged ones, single rows and columns and single elements.
const SHAPES: [(usize, usize); 3] = [(48, 64), (33, 17), (17, 33)];

/// Of the Gaussian momentum of the cases: one that separates the matrices or tiles, per measure and scope.
const THRESHOLDS: [(Measure, Scope, f32); 8] = [
    // ||M||_F is 34 for a 16 x 16 tile, less for smaller ones; 51 and 119 for the matrices.
    (Measure::FroNorm, Scope::Tile, 30.0),
    (Measure::FroNorm, Scope::Matrix, 80.0),
    // About w/(h + w) with h <= w, and 1 for a single row.
    (Measure::EffectiveRank, Scope::Tile, 0.75),
    (Measure::EffectiveRank, Scope::Matrix, 0.6),
    // s_K(1)^2 = 0.48 for a single row, more for a square.
    (Measure::NuclearRank, Scope::Tile, 0.55),
    (Measure::NuclearRank, Scope::Matrix, 0.7),
    // About 2/n^2 of Gaussian n x n.
    (Measure::MinGap, Scope::Tile, 4e-3),
    (Measure::MinGap, Scope::Matrix, 8e-4),
];

/// Runs every measure, scope and replacement.
pub fn run_all(backend: &mut dyn Backend) -> Report {
    let mut report = Report::default();
    let muon = THRESHOLDS.map(|threshold| (threshold, (CoefficientSet::Muon, 5)));
    // The measure is of X before turbo's own rescale.
    let turbo = (THRESHOLDS[2], (CoefficientSet::Turbo, 4));
    for ((measure, scope, threshold), iteration) in muon.into_iter().chain([turbo]) {
        for otherwise in [Otherwise::Momentum, Otherwise::RmsMatched] {
            let case = case(measure, scope, otherwise, threshold, iteration.clone());
            let mut one = run(backend, &case);
            let (tiles, kept) = (one.tiles, one.unorthogonalised);
            if tiles > 0 {
                one.holds(0 < kept && kept < tiles, || {
                    format!(
                        "{}: {kept} of {tiles} tiles take the other branch",
                        case.label
                    )
                });
            }
            report.merge(one);
        }
    }
    report
}

#[allow(clippy::expect_used)]
fn case(
    measure: Measure,
    scope: Scope,
    otherwise: Otherwise,
    threshold: f32,
    (coefficients, steps): (CoefficientSet, u32),
) -> StepCase {
    let label = format!("{measure:?} {scope:?} {otherwise:?} {threshold} {coefficients:?}");
    let spec = with_tile(&newton_schulz(coefficients, steps), Tile::square(16));
    let spec = KernelSpec {
        criterion: Criterion::Tested {
            measure,
            threshold: Finite::new(threshold).expect("a finite threshold"),
            scope,
            otherwise,
        },
        ..spec
    };
    StepCase {
        shapes: SHAPES.to_vec(),
        ..StepCase::new(&label, spec)
    }
}
