//! The suite can fail: backends with one mistake each, which it must find.

use himuon::KernelSpec;
use himuon::launch::{LaunchReport, MatrixStep, ScaleRule};
use himuon::reference::Normalisation;
use himuon::templates::{CoefficientSet, Power, Recurrence, Tile};
use himuon::tensor::TensorRef;
use himuon_tests::backend::{Backend, ReferenceBackend, Refusal};
use himuon_tests::conformance::{criteria, invariances, maps, scaling, steps};
use himuon_tests::grid::Grid;
use himuon_tests::report::Report;

/// One mistake.
#[derive(Clone, Copy, Debug)]
enum Mistake {
    FixedCoefficients,
    FixedSteps,
    SquareTiles,
    LastElementOff,
    TooLargeByAThousandth,
    NoNesterov,
    PaperScale,
    DecayForgotten,
    FirstMatrixOnly,
    TileNormalised,
    CriterionIgnored,
}

struct Mutant(Mistake);

impl Mutant {
    fn spec(&self, spec: &KernelSpec) -> KernelSpec {
        let mut spec = spec.clone();
        let newton_schulz = matches!(spec.recurrence, Recurrence::NewtonSchulz(_));
        match self.0 {
            Mistake::FixedCoefficients if newton_schulz => {
                spec.recurrence = Recurrence::NewtonSchulz(CoefficientSet::Muon);
                spec.steps = spec.steps.min(10);
            }
            Mistake::FixedSteps
                if spec.recurrence == Recurrence::NewtonSchulz(CoefficientSet::Muon) =>
            {
                spec.steps = 5;
            }
            Mistake::SquareTiles => {
                if let Tile::Sized { rows, .. } = spec.tile {
                    spec.tile = Tile::square(rows);
                }
            }
            Mistake::CriterionIgnored => {
                spec.criterion = himuon::templates::Criterion::Always;
            }
            _ => {}
        }
        spec
    }
}

impl Backend for Mutant {
    fn name(&self) -> &str {
        "mutant"
    }

    fn map(
        &mut self,
        spec: &KernelSpec,
        matrix: TensorRef<'_>,
        rows: usize,
        columns: usize,
        normalisation: Normalisation,
    ) -> Result<(Vec<f32>, LaunchReport), Refusal> {
        let normalisation = match (self.0, normalisation) {
            (Mistake::TileNormalised, Normalisation::Rms { factor })
                if spec.power != Power::ZERO =>
            {
                Normalisation::Tile { factor }
            }
            (_, other) => other,
        };
        let spec = self.spec(spec);
        let (mut values, report) =
            ReferenceBackend.map(&spec, matrix, rows, columns, normalisation)?;
        if let Mistake::TooLargeByAThousandth = self.0 {
            values.iter_mut().for_each(|value| *value *= 1.001);
        }
        if let Mistake::LastElementOff = self.0
            && let Some(last) = values.last_mut()
        {
            *last += 1e-3;
        }
        Ok((values, report))
    }

    fn step(
        &mut self,
        spec: &KernelSpec,
        matrices: &mut [MatrixStep<'_>],
    ) -> Result<LaunchReport, Refusal> {
        for matrix in matrices.iter_mut() {
            let scalars = &mut matrix.scalars;
            match self.0 {
                Mistake::NoNesterov => (scalars.alpha, scalars.beta) = (0.0, 1.0),
                Mistake::PaperScale if scalars.scale == ScaleRule::Exact => {
                    scalars.scale = ScaleRule::Paper;
                }
                Mistake::DecayForgotten => scalars.weight_decay = 0.0,
                _ => {}
            }
        }
        let spec = self.spec(spec);
        match self.0 {
            Mistake::FirstMatrixOnly => ReferenceBackend.step(&spec, &mut matrices[..1]),
            _ => ReferenceBackend.step(&spec, matrices),
        }
    }
}

fn maps_alone(backend: &mut dyn Backend) -> Report {
    let mut grid = Grid::recurrences_and_inputs(16);
    grid.tiles.truncate(3);
    let mut report = maps::run(backend, &grid);
    report.merge(maps::run(backend, &Grid::steps_and_powers()));
    report
}

/// One part of the suite.
type Part = fn(&mut dyn Backend) -> Report;

#[test]
fn every_mistake_is_found() {
    let parts: [(Part, &[Mistake]); 5] = [
        (
            maps_alone,
            &[
                Mistake::FixedCoefficients,
                Mistake::FixedSteps,
                Mistake::SquareTiles,
                Mistake::TooLargeByAThousandth,
            ],
        ),
        (
            steps::run_all,
            &[
                Mistake::FixedCoefficients,
                Mistake::SquareTiles,
                Mistake::NoNesterov,
                Mistake::PaperScale,
                Mistake::DecayForgotten,
                Mistake::FirstMatrixOnly,
            ],
        ),
        (criteria::run_all, &[Mistake::CriterionIgnored]),
        (scaling::run_all, &[Mistake::TileNormalised]),
        (invariances::run_all, &[Mistake::LastElementOff]),
    ];
    for (part, mistakes) in parts {
        for mistake in mistakes {
            let report = part(&mut Mutant(*mistake));
            assert!(!report.failures.is_empty(), "{mistake:?} was not found");
        }
    }
}
